"""UI-S1's AndroidControl: Qwen arguments, made-up swipes, screens whose size must be found out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import MissingFileError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Trajectory
from tests.training.datasets.formats import image_bytes, json_lines, ui_s1_record
from tests.training.datasets.importing import import_all
from training.datasets.report import ImportReport


def read(
    tmp_path: Path, *records: dict, name: str = "test", **options: object
) -> tuple[list[Trajectory], ImportReport]:
    """Imports a file of these records."""
    return import_all("ui_s1", json_lines(tmp_path / "set" / f"android_control_{name}.jsonl", *records), **options)


def step(content: dict, **options: object) -> tuple[dict, dict]:
    """One step of these arguments."""
    return content, {**content, **options}


def test_an_episode_keeps_words_targets_and_all_boxes(tmp_path: Path) -> None:
    (trajectory,), report = read(tmp_path, ui_s1_record(7))
    assert (trajectory.id, trajectory.goal, trajectory.split, trajectory.outcome) == ("7", "goal 7", "test", "success")
    assert [s.action for s in trajectory.steps] == [
        Action(type="open_app", app_name="Clock"), Action(type="click", point=PointNorm(0.5, 0.5)),
        Action(type="scroll", direction="down"),
    ]
    assert [s.instruction for s in trajectory.steps] == ["step 0", "step 1", "step 2"]
    assert trajectory.steps[1].target == BoxNorm(0.46296, 0.45833, 0.55556, 0.54167)  # the file has five decimals
    assert trajectory.meta["target_boxes"][1] == [[0.46296, 0.45833, 0.55556, 0.54167], [0.0, 0.19708, 1.0, 0.97375]]
    assert trajectory.meta["screen_px"] == [1080, 2400]
    assert trajectory.steps[0].observation.image_size is None  # there is no screenshot that has a size
    assert report.num_problems == 0


# All four directions as the released file has them: vertical paths reveal the named side, horizontal ones would reveal
# the other; the name is AndroidControl's and decides.
@pytest.mark.parametrize(
    ("start", "end", "direction"),
    [([540.0, 1800.0], [540.0, 600.0], "down"), ([540.0, 600.0], [540.0, 1800.0], "up"),
     ([270.0, 1200.0], [810.0, 1200.0], "right"), ([810.0, 1200.0], [270.0, 1200.0], "left")],
)
def test_a_swipe_s_direction_is_the_recorded_one(tmp_path: Path, start: list, end: list, direction: str) -> None:
    swipe = {"action": "swipe", "coordinate": start, "coordinate2": end}
    (trajectory,), report = read(tmp_path, ui_s1_record(1, (swipe, {"action": "swipe", "direction": direction})))
    assert trajectory.steps[0].action == Action(type="scroll", direction=direction)
    assert report.num_problems == 0
    kept, report = read(tmp_path, ui_s1_record(1, (swipe, {"action": "swipe"})))
    assert (kept, report.skipped_records) == ([], {"wrong direction": 1})


@pytest.mark.parametrize(
    ("content", "action"),
    [
        ({"action": "long_press", "coordinate": [0, 0], "time": 2},
         Action(type="long_press", point=PointNorm(0, 0), seconds=2.0)),
        ({"action": "type", "text": "it's"}, Action(type="type", content="it's")),
        ({"action": "open", "text": " Zoho  Meet"}, Action(type="open_app", app_name="Zoho Meet")),
        ({"action": "wait", "time": 2}, Action(type="wait", seconds=2.0)),
        ({"action": "wait"}, Action(type="wait")),
        ({"action": "system_button", "button": "Back"}, Action(type="press_back")),
        ({"action": "system_button", "button": "Home"}, Action(type="press_home")),
        ({"action": "system_button", "button": "Menu"}, Action(type="press_appselect")),
        ({"action": "system_button", "button": "Enter"}, Action(type="hotkey", key="enter")),
        ({"action": "terminate", "status": "success"}, Action(type="finished")),
        ({"action": "terminate", "status": "failure"}, Action(type="call_user")),
    ],
)
def test_actions_become_what_they_mean(tmp_path: Path, content: dict, action: Action) -> None:
    (trajectory,), _ = read(tmp_path, ui_s1_record(1, step(content)))
    assert [s.action for s in trajectory.steps] == [action]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"action": "fly"}, "unknown action"), ({"action": ["click"]}, "unknown action"), ({}, "unknown action"),
        ({"action": "click"}, "wrong coordinate"), ({"action": "click", "coordinate": [5]}, "wrong coordinate"),
        ({"action": "click", "coordinate": [99999, 5]}, "off the image"),
        ({"action": "type", "text": 5}, "wrong argument"), ({"action": "open", "text": " "}, "wrong argument"),
        ({"action": "system_button", "button": "Power"}, "wrong argument"),
        ({"action": "system_button"}, "wrong argument"), ({"action": "wait", "time": "2"}, "wrong argument"),
        ({"action": "wait", "time": -2}, "wrong argument"), ({"action": "terminate"}, "wrong argument"),
    ],
)
def test_a_broken_step_cuts_the_episode_before_it(tmp_path: Path, content: dict, reason: str) -> None:
    wait = step({"action": "wait"})
    (trajectory,), report = read(tmp_path, ui_s1_record(1, wait, step(content), wait))
    assert len(trajectory.steps) == 1 and trajectory.outcome == ""
    assert len(trajectory.meta["target_boxes"]) == 1
    assert report.skipped_steps == {reason: 1, "after a broken step": 1}


SWIPE = {"action": "swipe", "coordinate": [720.0, 2340.0], "coordinate2": [720.0, 780.0]}


@pytest.mark.parametrize(
    ("steps", "screen_px", "is_assumed"),
    [
        ([step({"action": "click", "coordinate": [540, 100]})], [1080, 2400], True),
        ([step({"action": "click", "coordinate": [1300, 100]})], [1440, 3120], True),
        ([step({"action": "click", "coordinate": [540, 100]}), (SWIPE, {"direction": "down"})], [1440, 3120], False),
        ([step({"action": "wait"})], [1080, 2400], False),  # nothing depends on it
    ],
)
def test_the_screen_is_told_by_a_swipe_or_assumed(
    tmp_path: Path, steps: list, screen_px: list[int], is_assumed: bool
) -> None:
    (trajectory,), report = read(tmp_path, ui_s1_record(1, *steps))
    assert trajectory.meta["screen_px"] == screen_px
    assert report.repairs == ({"screen size assumed": 1} if is_assumed else {})


def test_with_screenshots_their_size_decides(tmp_path: Path) -> None:
    (tmp_path / "shots" / "deep").mkdir(parents=True)
    for index in range(3):
        (tmp_path / "shots" / "deep" / f"1_{index}.png").write_bytes(image_bytes((108, 240), seed=index))
    click = step({"action": "click", "coordinate": [54, 60]}, candidate_bbox=[[40, 50, 60, 70]])
    (trajectory,), report = read(tmp_path, ui_s1_record(1, click, click, click), images=tmp_path / "shots")
    assert trajectory.steps[0].action.point == PointNorm(0.5, 0.25)
    assert trajectory.steps[0].observation.image_size == ImageSize(108, 240)
    assert report.num_problems == 0
    kept, report = read(tmp_path, ui_s1_record(2), images=tmp_path / "shots")
    assert (kept, report.skipped_records) == ([], {"missing image": 1})


@pytest.mark.parametrize("boxes", [[[1, 2, 3]], [[5, 5, 5, 9]], ["box"], 5, [[None, 0, 1, 1]]])
def test_boxes_without_sense_are_left_out(tmp_path: Path, boxes: object) -> None:
    click = step({"action": "click", "coordinate": [540, 1200]}, candidate_bbox=boxes)
    (trajectory,), report = read(tmp_path, ui_s1_record(1, click))
    assert trajectory.steps[0].target is None and trajectory.meta["target_boxes"] == [None]
    assert report.repairs["target box left out"] == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"episode_id": None}, "wrong episode_id"), ({"goal": ""}, "no goal"), ({"steps": None}, "wrong steps"),
     ({"steps": []}, "wrong steps"), ({"steps": [5]}, "wrong step")],
)
def test_a_broken_record_is_counted_and_the_others_are_kept(tmp_path: Path, changes: dict, reason: str) -> None:
    kept, report = read(tmp_path, ui_s1_record(1), ui_s1_record(2, **changes), ui_s1_record(3), name="train")
    assert [(t.id, t.split) for t in kept] == [("1", "train"), ("3", "train")]
    assert report.skipped_records == {reason: 1}


def test_a_path_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="UI-S1"):
        import_all("ui_s1", tmp_path)


def test_all_real_episodes_are_imported(samples: Path, tmp_path: Path) -> None:
    """771 episodes, 4,206 steps; counts by action of the file itself."""
    kept, report = import_all("ui_s1", samples / "android_control" / "android_control_test_part1.jsonl",
                              out=tmp_path / "t.jsonl")
    assert (report.num_records_read, report.num_records_kept, len(kept)) == (771, 771, 771)
    steps = [step for trajectory in kept for step in trajectory.steps]
    assert Counter(step.action.type for step in steps) == {
        "click": 2544, "scroll": 580, "type": 315, "open_app": 308, "wait": 295, "press_back": 159, "long_press": 5,
    }
    assert Counter(s.action.direction for s in steps if s.action.direction) == {
        "down": 454, "up": 47, "right": 42, "left": 37,
    }
    assert all(step.target.contains(step.action.point) for step in steps if step.target is not None)
    assert sum(trajectory.meta["screen_px"] == [1440, 3120] for trajectory in kept) == 9
    assert {trajectory.split for trajectory in kept} == {"test"}
