"""GUI-Odyssey: annotation files of both releases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Trajectory
from tests.training.datasets.formats import odyssey_episode, odyssey_folder
from tests.training.datasets.importing import import_all
from training.datasets.report import ImportReport


def read(tmp_path: Path, *episodes: dict, **options: object) -> tuple[list[Trajectory], ImportReport]:
    """Imports a release of these episodes."""
    return import_all("gui_odyssey", odyssey_folder(tmp_path / "set", *episodes), **options)


def step(action: object, info: object = "", **changes: object) -> dict:
    """One raw step."""
    return {"action": action, "info": info, **changes}


def test_an_episode_of_the_new_release_keeps_words_thoughts_and_boxes(tmp_path: Path) -> None:
    (trajectory,), report = read(tmp_path, odyssey_episode("918"))
    assert (trajectory.id, trajectory.goal, trajectory.outcome) == ("918", "Set an alarm", "success")
    assert trajectory.meta == {
        "category": "General_Tool", "apps": ["Clock"], "meta_task": "Set {}", "device": "Pixel 7 Pro",
        "splits": {"random": "train", "task": "test", "device": "train", "app": "test"},
    }
    click, scroll, done = trajectory.steps
    assert click.action == Action(type="click", point=PointNorm(0.5, 0.25))
    assert (click.instruction, click.thought, click.observation.summary) == ("do 0", "I want to.", "A page")
    assert click.target == BoxNorm(0.4, 0.2, 0.6, 0.3)
    assert click.observation.image_size == ImageSize(20, 40)  # the image's, not device_info's
    assert scroll.action == Action(type="scroll", point=PointNorm(0.5, 0.8), direction="down")
    assert (scroll.target, done.target) == (None, None)
    assert done.action == Action(type="finished")
    assert report.num_problems == 0


def test_an_episode_of_the_old_release_is_told_in_words_and_found_in_folders(tmp_path: Path) -> None:
    folder = odyssey_folder(tmp_path / "set", odyssey_episode("1", is_new=False), is_nested=True)
    (trajectory,), report = import_all("gui_odyssey", folder)
    assert [s.instruction for s in trajectory.steps] == [
        "click at (0.50, 0.25)", "scroll down at (0.50, 0.80)", "the task is done",
    ]
    assert trajectory.steps[0].target is None
    assert report.num_instructions_generated == 3


# Finger paths of the converter: its labels are the finger's, ours what is revealed.
@pytest.mark.parametrize(
    ("info", "revealed"),
    [
        ([[500, 800], [500, 300]], "down"), ([[500, 300], [500, 800]], "up"),
        ([[800, 500], [300, 500]], "right"), ([[300, 500], [800, 500]], "left"),
        ([[500, 500], [300, 300]], "down"), ([[500, 500], [500, 500]], "up"),
        ([[500, 800], [500, 600], [500, 300]], "down"),
    ],
)
def test_a_swipe_scrolls_to_the_side_it_reveals(tmp_path: Path, info: list, revealed: str) -> None:
    (trajectory,), report = read(tmp_path, odyssey_episode("1", step("SCROLL", info)))
    assert trajectory.steps[0].action.direction == revealed
    assert report.repairs == ({"swipe without length": 1} if info[0] == info[-1] else {})


@pytest.mark.parametrize(
    ("raw", "action"),
    [
        (step("CLICK", [[0, 1000], [0, 1000]]), Action(type="click", point=PointNorm(0, 1))),
        (step("CLICK", [250, 500]), Action(type="click", point=PointNorm(0.25, 0.5))),
        (step("LONG_PRESS", [[250, 500], [250, 500]]), Action(type="long_press", point=PointNorm(0.25, 0.5))),
        (step("CLICK", "KEY_HOME"), Action(type="press_home")),
        (step("CLICK", "KEY_BACK"), Action(type="press_back")),
        (step("CLICK", "KEY_APPSELECT"), Action(type="press_appselect")),
        (step("HOME"), Action(type="press_home")),
        (step("BACK"), Action(type="press_back")),
        (step("TEXT", "it's: so"), Action(type="type", content="it's: so")),
        (step("TYPE", "a"), Action(type="type", content="a")),
        (step("COMPLETE"), Action(type="finished")),
        (step("INCOMPLETE"), Action(type="call_user")),
        (step("IMPOSSIBLE"), Action(type="call_user")),
    ],
)
def test_actions_become_what_they_mean(tmp_path: Path, raw: dict, action: Action) -> None:
    (trajectory,), report = read(tmp_path, odyssey_episode("1", raw))
    assert [s.action for s in trajectory.steps] == [action]
    assert not report.skipped_steps and not report.skipped_records


@pytest.mark.parametrize(
    ("last", "outcome"), [("COMPLETE", "success"), ("INCOMPLETE", "impossible"), ("HOME", "")],
)
def test_the_last_step_tells_the_outcome(tmp_path: Path, last: str, outcome: str) -> None:
    (trajectory,), _ = read(tmp_path, odyssey_episode("1", step("HOME"), step(last)))
    assert trajectory.outcome == outcome


@pytest.mark.parametrize(
    ("raw", "reason", "field"),
    [
        (step("FLY"), "unknown action", "steps[1].action"),
        (step(None), "unknown action", "steps[1].action"),
        (step(["CLICK"]), "unknown action", "steps[1].action"),
        (step("CLICK", "KEY_POWER"), "wrong info", "steps[1].info"),
        (step("CLICK", ""), "wrong info", "steps[1].info"),
        (step("CLICK", []), "wrong coordinate", "steps[1].info"),
        (step("CLICK", [[5]]), "wrong coordinate", "steps[1].info"),
        (step("CLICK", [[1500, 5]]), "off the image", "steps[1].info[0]"),
        (step("SCROLL", [[500, 500]]), "wrong info", "steps[1].info"),
        (step("SCROLL", [[500, 500], None]), "wrong coordinate", "steps[1].info[1]"),
        (step("TEXT", None), "wrong info", "steps[1].info"),
        ("step", "wrong step", "steps[1]"),
        (step("HOME", screenshot="gone.png"), "missing image", "steps[1].screenshot"),
        (step("HOME", screenshot="../../x.png"), "image outside the folder", "steps[1].screenshot"),
        (step("HOME", screenshot=None), "wrong image name", "steps[1].screenshot"),
    ],
)
def test_a_broken_step_cuts_the_episode_before_it(tmp_path: Path, raw: object, reason: str, field: str) -> None:
    episode = odyssey_episode("1", step("HOME"), step("BACK"), step("COMPLETE"))
    episode["steps"][1] = {**episode["steps"][1], **raw} if isinstance(raw, dict) else raw
    (trajectory,), report = read(tmp_path, episode)
    assert [s.action.type for s in trajectory.steps] == ["press_home"]
    assert (trajectory.outcome, trajectory.meta["num_source_steps"]) == ("", 3)
    assert report.skipped_steps == {reason: 1, "after a broken step": 1}
    assert report.problems[0].field == field
    assert report.problems[0].record == "1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"episode_id": 5}, "wrong episode_id"),
        ({"task_info": {}}, "no goal"),
        ({"task_info": None}, "no goal"),
        ({"steps": []}, "wrong steps"),
        ({"steps": {}}, "wrong steps"),
        ({"steps": [None]}, "wrong step"),
    ],
)
def test_a_broken_episode_is_counted_and_the_others_are_kept(tmp_path: Path, changes: dict, reason: str) -> None:
    folder = odyssey_folder(tmp_path / "set", odyssey_episode("1"), odyssey_episode("3"))
    (folder / "annotations" / "2.json").write_text(json.dumps(odyssey_episode("2") | changes))
    (folder / "annotations" / "4.json").write_text('{"episode_id": "4", "ste')
    kept, report = import_all("gui_odyssey", folder)
    assert [t.id for t in kept] == ["1", "3"]
    assert report.skipped_records == {reason: 1, "not JSON": 1}
    assert [Path(problem.file).name for problem in report.problems] == ["2.json", "4.json"]


def test_small_damage_is_mended_and_counted(tmp_path: Path) -> None:
    (trajectory,), report = read(tmp_path, odyssey_episode(
        "1", step("CLICK", [[1003, -2]], sam2_bbox=[5, 5]), step("COMPLETE"), step("TEXT", ""), step("HOME")))
    assert [s.action.type for s in trajectory.steps] == ["click", "press_home"]
    assert trajectory.steps[0].action.point == PointNorm(1, 0)
    assert report.repairs == {"coordinate moved to the edge": 1, "target box left out": 1,
                              "terminate before the end": 1, "writing of nothing left out": 1}
    assert report.skipped_steps == {"terminate before the end": 1, "does nothing": 1}


@pytest.mark.parametrize(
    ("split", "is_kept"),
    [(None, True), ("train", True), ("test", False), ("random_train", True), ("task_test", True), ("task_train", False),
     ("device_test", False), ("app_test", True)],
)
def test_splits_of_all_four_kinds_can_be_chosen(tmp_path: Path, split: str | None, is_kept: bool) -> None:
    kept, report = read(tmp_path, odyssey_episode("1"), split=split)
    assert [t.split for t in kept] == [split or "train"] * is_kept
    assert report.skipped_records == ({} if is_kept else {f"not in split {split}": 1})


def test_paths_and_splits_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="holds no annotations"):
        import_all("gui_odyssey", tmp_path)
    folder = odyssey_folder(tmp_path / "set", odyssey_episode("1"))
    assert len(import_all("gui_odyssey", folder / "annotations" / "1.json")[0]) == 1
    (folder / "splits" / "app_split.json").write_text('{"train": 5}')
    with pytest.raises(InputError, match="app_split.json: field 'train'"):
        import_all("gui_odyssey", folder)
    (folder / "splits" / "app_split.json").unlink()
    assert len(import_all("gui_odyssey", folder)[0]) == 1
    with pytest.raises(MissingFileError, match="--split app_test needs"):
        import_all("gui_odyssey", folder, split="app_test")
    with pytest.raises(InputError, match="--crop block is not allowed for gui_odyssey: leave it out"):
        import_all("gui_odyssey", folder, crop="block")
