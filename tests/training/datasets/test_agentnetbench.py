"""AgentNetBench: ground truth, boxes and code of the offline desktop tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import MissingFileError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Trajectory
from tests.training.datasets.formats import bench_step, bench_task, image_bytes
from tests.training.datasets.importing import import_all
from training.datasets.report import ImportReport

HERE = {"position": {"x": 0.5, "y": 0.25}}
HALF = PointNorm(0.5, 0.25)


def read(tmp_path: Path, *tasks: dict) -> tuple[list[Trajectory], ImportReport]:
    """Imports a folder of these tasks."""
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(image_bytes((32, 20)))
    for number, task in enumerate(tasks):
        (folder / f"{number}.json").write_text(json.dumps(task))
    return import_all("agentnetbench", folder)


def test_a_task_keeps_words_boxes_and_outcome(tmp_path: Path) -> None:
    (trajectory,), report = read(tmp_path, bench_task("s_1", meta_info={"system": "Ubuntu", "domain": 5}))
    assert (trajectory.id, trajectory.goal, trajectory.split, trajectory.outcome) == ("s_1", "Do it", "test", "success")
    click, done = trajectory.steps
    assert (click.instruction, click.thought, click.observation.summary) == ("do it", "t", "A desktop")
    assert click.target.contains(HALF) and click.observation.image_size == ImageSize(32, 20)
    assert trajectory.meta == {"target_boxes": [[[0.4, 0.2, 0.6, 0.3]], [[0.4, 0.2, 0.6, 0.3]]], "system": "Ubuntu"}
    assert done.action == Action(type="finished")
    assert report.num_problems == 0


# Types and parameters of the sample tasks' ground truth.
@pytest.mark.parametrize(
    ("truth", "action"),
    [
        ([("click", HERE)], Action(type="click", point=HALF)),
        ([("doubleClick", HERE)], Action(type="left_double", point=HALF)),
        ([("rightClick", HERE)], Action(type="right_single", point=HALF)),
        ([("tripleClick", HERE)], Action(type="triple_click", point=HALF)),
        ([("moveTo", HERE)], Action(type="hover", point=HALF)),
        ([("moveTo", HERE), ("scroll", {**HERE, "amount": -54})], Action(type="scroll", direction="down", point=HALF)),
        ([("scroll", {**HERE, "amount": 3})], Action(type="scroll", direction="up", point=HALF)),
        ([("hscroll", {**HERE, "amount": 3})], Action(type="scroll", direction="right", point=HALF)),
        ([("hscroll", {**HERE, "amount": -3})], Action(type="scroll", direction="left", point=HALF)),
        ([("moveTo", HERE), ("dragTo", {"position": {"x": 1, "y": 0}})],
         Action(type="drag", start_point=HALF, end_point=PointNorm(1, 0))),
        ([("write", {"text": "SPOTIFY\n"})], Action(type="type", content="SPOTIFY\n")),
        ([("press", {"keys": ["enter"]})], Action(type="hotkey", key="enter")),
        ([("hotkey", {"keys": ["Ctrl", "c"]})], Action(type="hotkey", key="ctrl c")),
        ([("terminate", {"status": "success"})], Action(type="finished")),
        ([("terminate", {"status": "failure"})], Action(type="call_user")),
    ],
)
def test_ground_truth_becomes_what_it_means(tmp_path: Path, truth: list, action: Action) -> None:
    (trajectory,), _ = read(tmp_path, bench_task("t", bench_step("", *truth)))
    assert [s.action for s in trajectory.steps] == [action]


def test_the_smallest_box_around_the_point_is_the_target(tmp_path: Path) -> None:
    step = bench_step("pyautogui.click(x=0.5, y=0.25)", ("click", HERE))
    boxes = [[0, 0, 1, 1], [0.45, 0.2, 0.1, 0.1], [0.9, 0.9, 0.05, 0.05], [0, 0, "x", 1]]
    step["ground_truth_actions"][0]["metadata"]["bboxes"] = [{"rel_bbox": box} for box in boxes]
    (trajectory,), report = read(tmp_path, bench_task("t", step))
    assert trajectory.steps[0].target == BoxNorm(0.45, 0.2, 0.55, 0.3)
    assert len(trajectory.meta["target_boxes"][0]) == 3
    assert report.repairs == {"target box left out": 1}


def test_code_is_taken_without_ground_truth_and_told_where_it_differs(tmp_path: Path) -> None:
    without = bench_step("pyautogui.scroll(-3)")
    other = bench_step("pyautogui.write(message='a\"')", ("write", {"text": "a"}))
    unreadable = bench_step("not code at all", ("write", {"text": "a"}))
    (trajectory,), report = read(tmp_path, bench_task("t", without, other, unreadable))
    assert [s.action.type for s in trajectory.steps] == ["scroll", "type", "type"]
    assert trajectory.steps[1].action.content == "a"
    assert report.repairs == {"action from the code": 1, "code and ground truth differ": 2}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"ground_truth_actions": [{"type": "fly", "params": {}}]}, "unknown call"),
        ({"ground_truth_actions": [{"type": 5, "params": {}}]}, "wrong action"),
        ({"ground_truth_actions": [5]}, "wrong action"),
        ({"ground_truth_actions": [{"type": "click", "params": {"position": {"x": "a", "y": 0}}}]}, "wrong argument"),
        ({"ground_truth_actions": [{"type": "click", "params": {"position": {"x": 7, "y": 0}}}]}, "off the image"),
        ({"ground_truth_actions": None, "action": None}, "wrong action"),
        ({"image": "none.png"}, "missing image"),
        (5, "wrong step"),
    ],
)
def test_a_broken_step_cuts_the_task_before_it(tmp_path: Path, raw: object, reason: str) -> None:
    click = bench_step("pyautogui.click(x=0.5, y=0.25)", ("click", HERE))
    task = bench_task("t", click, click, click)
    task["steps"][1] = {**task["steps"][1], **raw} if isinstance(raw, dict) else raw
    (trajectory,), report = read(tmp_path, task)
    assert len(trajectory.steps) == len(trajectory.meta["target_boxes"]) == 1
    assert report.skipped_steps == {reason: 1, "after a broken step": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"task_id": None}, "wrong task_id"), ({"steps": 5}, "wrong steps"),
     ({"user_task_description": None, "high_level_task_description": ""}, "no goal")],
)
def test_a_broken_task_is_counted_and_the_others_are_kept(tmp_path: Path, changes: dict, reason: str) -> None:
    kept, report = read(tmp_path, bench_task("a"), bench_task("b", **changes), bench_task("c"))
    assert [t.id for t in kept] == ["a", "c"]
    assert report.skipped_records == {reason: 1}


def test_a_terminate_in_the_middle_is_left_out(tmp_path: Path) -> None:
    done = bench_step("", ("terminate", {"status": "success"}))
    (trajectory,), report = read(tmp_path, bench_task("t", done, bench_step("", ("click", HERE))))
    assert [s.action.type for s in trajectory.steps] == ["click"]
    assert report.skipped_steps == {"terminate before the end": 1}


def test_a_path_without_tasks_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="task files"):
        import_all("agentnetbench", tmp_path)


def test_all_real_tasks_are_imported(samples: Path, tmp_path: Path) -> None:
    """Three tasks of 31 steps; in one step the code has a quote too many."""
    kept, report = import_all("agentnetbench", samples / "agentnetbench", out=tmp_path / "t.jsonl")
    assert [(t.id, len(t.steps)) for t in kept] == [
        ("s_5473959e0f6e21f7", 10), ("s_7f27a11115e596eb", 11), ("s_a96285eb665bef92", 10),
    ]
    assert (report.num_records_read, report.repairs) == (3, {"code and ground truth differ": 1})
    steps = [step for t in kept for step in t.steps]
    assert sum(step.action.type == "drag" for step in steps) == 2
    assert all(step.target.contains(step.action.point) for step in steps if step.target is not None)
    assert all(step.target is not None for step in steps if step.action.type == "click")
