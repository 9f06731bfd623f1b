"""MM-Traj: turns of Thought, Code and Observation become tool steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import MissingFileError
from executors.trajectory import Trajectory
from tests.training.datasets.formats import image_bytes, json_array, json_lines, mm_traj_record
from tests.training.datasets.importing import import_all
from training.datasets.base import Notes
from training.datasets.mm_traj import action_of
from training.datasets.report import ImportReport


def read(tmp_path: Path, *records: dict, **options: object) -> tuple[list[Trajectory], ImportReport]:
    """Imports a file of these records."""
    return import_all("mm_traj", json_array(tmp_path / "set" / "mm_traj.json", *records), **options)


def test_turns_become_steps_on_what_they_answer(tmp_path: Path) -> None:
    (trajectory,), report = read(tmp_path, mm_traj_record("a"))
    first, last = trajectory.steps
    assert (trajectory.goal, trajectory.platform, trajectory.outcome) == ("task a", "tools", "success")
    assert first.action == Action(type="tool_call", name="ask_search_agent", arguments={"query": "x"})
    assert (first.instruction, first.thought, first.observation.text) == ("thought 0", "thought 0. More.", None)
    assert last.action == Action(type="finished", content="42")
    assert last.observation.text == "output 1"
    assert trajectory.meta["codes"] == ['a = ask_search_agent(query="x")\nprint(a)', 'final_answer("42")']
    assert report.num_problems == 0


TOOL = {"question": "q", "image_path": "a.jpg"}


@pytest.mark.parametrize(
    ("code", "name", "arguments"),
    [
        ('visualizer(question="q", image_path="a.jpg")', "visualizer", TOOL),
        ('print(visualizer(question="q", image_path="a.jpg"))', "visualizer", TOOL),
        ('a = visualizer("q", "a.jpg")\nprint("It is", a)', "visualizer", TOOL),
        ('a = visualizer("q", "a.jpg")', "visualizer", TOOL),
        ('p = "a.jpg"\na = visualizer(question="q", image_path=p)\nprint(a)', "visualizer", TOOL),
        ('p = open("a.jpg")\na = visualizer(question="q", image_path=p)\nprint(a)', "python", None),
        ('p = "a.jpg"', "python", None),
        ('segmentation(image_path="a.jpg", prompt=[[1, 2, 3, 4]])', "segmentation",
         {"image_path": "a.jpg", "prompt": [[1, 2, 3, 4]]}),
        ('a = visualizer(question=q, image_path="a.jpg")', "python", None),  # not literal
        ('a = visualizer("q", "a.jpg")\nprint(b)', "python", None),
        ('a = visualizer("q", "a.jpg")\nb = ocr("a.jpg")', "python", None),
        ('a = visualizer("q", "a.jpg", 3)', "python", None),
        ('a = visualizer(**k)', "python", None),
        ('print(5)', "python", None),
        ('a.visualizer("q")', "python", None),
        ('x = (', "python", None),
        ("(" * 3000, "python", None),
    ],
)
def test_code_is_a_tool_call_or_python(code: str, name: str, arguments: dict | None) -> None:
    action = action_of(code, "", Notes(), "turn")
    assert action == Action(type="tool_call", name=name, arguments=arguments or {"code": code})


@pytest.mark.parametrize(
    ("code", "answer", "content"),
    [
        ('final_answer("A")', "B", "B"),
        ('x = 5\nfinal_answer(x)', "five", "five"),
        ('final_answer("A")', "", "A"),
        ('final_answer(120)', "", "120"),
        ('final_answer(x)', "", None),
        ('final_answer()', "", None),
    ],
)
def test_a_final_answer_is_the_record_s_answer(code: str, answer: str, content: str | None) -> None:
    assert action_of(code, answer, Notes(), "turn") == Action(type="finished", content=content)


def test_a_turn_without_code_and_its_error_are_left_out(tmp_path: Path) -> None:
    record = mm_traj_record("a", "print(1)", "print(2)", 'final_answer("42")')
    record["conversations"][4]["value"] = "I cannot do this."
    (trajectory,), report = read(tmp_path, record)
    assert [s.action.type for s in trajectory.steps] == ["tool_call", "finished"]
    assert trajectory.steps[1].observation.text == "output 1"  # what the first turn's code gave, not the error
    assert report.skipped_steps == {"turn without code": 1}


@pytest.mark.parametrize(
    ("image", "size", "repairs"),
    [
        ("pics/a.jpg", (27, 60), {}),
        ({"<image_00>": "pics/a.jpg"}, (27, 60), {}),
        ({"<image_01>": "pics/b.jpg", "<image_00>": "pics/a.jpg"}, (27, 60), {"more than one image": 1}),
        ({}, None, {}),
        (None, None, {}),
        ("pics/gone.jpg", None, {"image left out": 1}),
        ("../secret.jpg", None, {"image left out": 1}),
        (5, None, {"image left out": 1}),
    ],
)
def test_the_task_s_image_is_on_the_first_step(
    tmp_path: Path, image: object, size: tuple | None, repairs: dict
) -> None:
    (tmp_path / "files" / "pics").mkdir(parents=True)
    (tmp_path / "files" / "pics" / "a.jpg").write_bytes(image_bytes(form="JPEG"))
    (tmp_path / "secret.jpg").write_bytes(image_bytes(form="JPEG"))
    (trajectory,), report = read(tmp_path, mm_traj_record("a", image=image), images=tmp_path / "files")
    first, last = trajectory.steps
    assert (first.observation.load_image().size if first.observation.image_path else None) == size
    assert last.observation.image_path is None
    assert report.repairs == repairs


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": None}, "wrong id"), ({"id": True}, "wrong id"), ({"conversations": None}, "wrong conversations"),
        ({"conversations": []}, "wrong conversations"), ({"conversations": [{"from": "user"}]}, "wrong conversations"),
        ({"conversations": [{"from": ["user"], "value": ""}]}, "wrong conversations"),
        ({"conversations": [{"from": "user", "value": "Task: "}, {"from": "assistant", "value": "x"}]}, "no goal"),
        ({"conversations": [{"from": "user", "value": "Task: x"}, {"from": "assistant", "value": "y"}]},
         "no step does anything"),
    ],
)
def test_a_broken_record_is_counted_and_the_others_are_kept(tmp_path: Path, changes: dict, reason: str) -> None:
    kept, report = read(tmp_path, mm_traj_record("a"), mm_traj_record("b", **changes), mm_traj_record("c"))
    assert [t.id for t in kept] == ["a", "c"]
    assert report.skipped_records == {reason: 1}
    assert report.problems[0].line == 2


def test_other_names_of_roles_and_lines_instead_of_an_array_are_read(tmp_path: Path) -> None:
    record = mm_traj_record("a")
    record["conversations"] = [{"role": turn["from"], "content": turn["value"]} for turn in record["conversations"]]
    kept, _ = import_all("mm_traj", json_lines(tmp_path / "set" / "m.jsonl", record))
    assert kept == read(tmp_path, mm_traj_record("a"))[0]
    with pytest.raises(MissingFileError, match="MM-Traj"):
        import_all("mm_traj", tmp_path)


def test_all_real_trajectories_are_imported(samples: Path, tmp_path: Path) -> None:
    """47 trajectories, 125 assistant turns, 116 of them with code, all answered right."""
    kept, report = import_all("mm_traj", samples / "mm_traj", out=tmp_path / "t.jsonl")
    assert (report.num_records_read, report.num_records_kept, len(kept)) == (47, 47, 47)
    assert (report.num_steps_kept, report.skipped_steps) == (116, {"turn without code": 9})
    assert all(t.outcome == "success" and t.steps[-1].action.type == "finished" for t in kept)
    assert all(t.steps[-1].action.content for t in kept)
    names = {s.action.name for t in kept for s in t.steps if s.action.type == "tool_call"}
    assert names == {"python", "visualizer", "ask_search_agent", "image_generator", "facedetection", "objectlocation"}
    assert all(len(t.meta["codes"]) == len(t.steps) for t in kept)
