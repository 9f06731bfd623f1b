"""Multimodal-Mind2Web: real parquet, double-decoded JSON, crops; UGround's copy from the real sample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Trajectory
from tests.training.datasets.formats import candidate, image_bytes, json_lines, mind2web_file, mind2web_row
from tests.training.datasets.importing import import_all
from training.datasets import mind2web
from training.datasets.mind2web import around, block_of
from training.datasets.report import ImportReport

HALF = PointNorm(0.5, 0.47)  # the middle of the rows' box on a page of 128x500


def read(tmp_path: Path, *rows: dict, name: str = "train", **options: object) -> tuple[list[Trajectory], ImportReport]:
    """Imports one parquet file of these rows."""
    return import_all("mind2web", mind2web_file(tmp_path / "set" / "data" / f"{name}-00000-of-00001.parquet", *rows),
                      **options)


def operation(op: str, value: object = "", original: str = "") -> str:
    """The column `operation`."""
    return json.dumps({"original_op": original or op, "value": value, "op": op})


def test_rows_in_any_order_become_the_task_in_order(tmp_path: Path) -> None:
    rows = [mind2web_row("t", 2), mind2web_row("other", 0, 1), mind2web_row("t", 0), mind2web_row("t", 1)]
    kept, report = read(tmp_path, *rows, name="test_website")
    assert [(t.id, t.goal, t.split, t.platform) for t in kept] == [
        ("other", "Task other", "test_website", "browser"), ("t", "Task t", "test_website", "browser"),
    ]
    assert [s.instruction for s in kept[1].steps] == [f'click the button "Step {i}"' for i in range(3)]
    assert kept[1].steps[0].observation.load_image().size == (128, 500)
    assert kept[1].steps[0].action == Action(type="click", point=HALF)
    assert kept[1].meta["target_boxes"] == [[[0.25, 0.44, 0.75, 0.5]]] * 3
    assert kept[1].meta["website"] == "w"
    assert (report.num_records_read, report.num_steps_kept, report.num_problems) == (4, 4, 0)


@pytest.mark.parametrize(
    ("told", "action", "words"),
    [
        (operation("CLICK"), Action(type="click", point=HALF), 'click the button "Step 0"'),
        (operation("CLICK", original="HOVER"), Action(type="click", point=HALF), 'click the button "Step 0"'),
        (operation("CLICK", original="ENTER"), Action(type="click", point=HALF), 'click the button "Step 0"'),
        (operation("TYPE", "08817"), Action(type="type", content="08817", point=HALF),
         'type "08817" into the button "Step 0"'),
        (operation("SELECT", "02 30 PM"), Action(type="select", value="02 30 PM", point=HALF),
         'select "02 30 PM" in the button "Step 0"'),
    ],
)
def test_operations_become_what_they_mean(tmp_path: Path, told: str, action: Action, words: str) -> None:
    (trajectory,), _ = read(tmp_path, mind2web_row("t", 0, 1, operation=told))
    (step,) = trajectory.steps
    assert (step.action, step.instruction) == (action, words)
    assert trajectory.meta["original_ops"] == [json.loads(told)["original_op"]]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("[span]   -> CLICK", "click the span"),
        ("[textbox]  US City -> State -> TYPE: a -> b", 'click the textbox "US City -> State"'),
        ("no form at all", "click at (0.50, 0.47)"),
    ],
)
def test_instructions_come_from_the_step_s_own_words(tmp_path: Path, told: str, words: str) -> None:
    (trajectory,), _ = read(tmp_path, mind2web_row("t", 0, 1, action_reprs=[told]))
    assert trajectory.steps[0].instruction == words


def test_the_original_target_gives_the_point_and_all_boxes_count(tmp_path: Path) -> None:
    boxes = [candidate("0,0,128,50", is_original=False), candidate("32,220,64,30"), candidate("-1,-1,-1,-1")]
    (trajectory,), report = read(tmp_path, mind2web_row("t", 0, 1, pos_candidates=boxes))
    assert trajectory.steps[0].action.point == HALF
    assert trajectory.steps[0].target == BoxNorm(0.25, 0.44, 0.75, 0.5)
    assert trajectory.meta["target_boxes"] == [[[0.25, 0.44, 0.75, 0.5], [0.0, 0.0, 1.0, 0.1]]]
    assert not report.repairs  # a hidden box is nothing to mend


@pytest.mark.parametrize(
    ("boxes", "repairs"),
    [
        ([], {"no target on the page": 1}),
        ([candidate("-1,-1,-1,-1")], {"no target on the page": 1}),
        (["{", candidate("1,2,x,4"), candidate("1,2,3")], {"no target on the page": 1, "candidate left out": 3}),
        ([json.dumps({"attributes": {"bounding_box_rect": "0,0,9,9"}})],
         {"no target on the page": 1, "candidate left out": 1}),
    ],
)
def test_a_step_without_a_box_is_kept_without_a_point(tmp_path: Path, boxes: list[str], repairs: dict) -> None:
    (trajectory,), report = read(tmp_path, mind2web_row("t", 0, 1, pos_candidates=boxes))
    assert trajectory.steps[0].action == Action(type="click")
    assert trajectory.meta["target_boxes"] == [None]
    assert report.repairs == repairs


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"annotation_id": None}, "wrong annotation_id"),
        ({"confirmed_task": " "}, "wrong confirmed_task"),
        ({"operation": "{"}, "not JSON"),
        ({"operation": operation("FLY")}, "wrong operation"),
        ({"operation": operation("TYPE", None)}, "wrong operation"),
        ({"action_reprs": None}, "wrong action_reprs"),
        ({"target_action_index": "7"}, "wrong target_action_index"),
        ({"target_action_index": "-1"}, "wrong target_action_index"),
        ({"target_action_index": None}, "wrong target_action_index"),
        ({"pos_candidates": None}, "wrong pos_candidates"),
        ({"screenshot": None}, "no screenshot"),
        ({"screenshot": {"bytes": None, "path": "s.jpg"}}, "no screenshot"),
        ({"screenshot": {"bytes": b"no image", "path": ""}}, "unreadable image"),
        ({"screenshot": {"bytes": image_bytes((64, 64))[:-500], "path": ""}}, "unreadable image"),
    ],
)
def test_a_broken_row_cuts_its_task_before_it(tmp_path: Path, changes: dict, reason: str) -> None:
    rows = [mind2web_row("t", 0), mind2web_row("t", 1) | changes, mind2web_row("t", 2), mind2web_row("u", 0, 1)]
    kept, report = read(tmp_path, *rows)
    assert [(t.id, len(t.steps)) for t in kept] == [("u", 1), ("t", 1)]
    assert kept[1].meta["num_source_steps"] == 3
    assert len(kept[1].meta["target_boxes"]) == 1
    assert report.skipped_records == {reason: 1, "after a missing step": 1}


def test_a_task_without_its_first_step_is_left_out_whole(tmp_path: Path) -> None:
    kept, report = read(tmp_path, mind2web_row("t", 1), mind2web_row("t", 2), mind2web_row("u", 0, 1))
    assert [t.id for t in kept] == ["u"]
    assert report.skipped_records == {"after a missing step": 2}


def test_a_step_that_stands_twice_is_kept_once(tmp_path: Path) -> None:
    kept, report = read(tmp_path, *[mind2web_row("t", i) for i in (0, 0, 1, 2)], mind2web_row("t", 2))
    assert [len(t.steps) for t in kept] == [3]
    assert report.skipped_records == {"repeated record": 1, "after a missing step": 1}


def test_splits_are_those_of_the_file_names(tmp_path: Path) -> None:
    for name in ("train", "test_task", "test_domain"):
        mind2web_file(tmp_path / "set" / "data" / f"{name}-00000-of-00002.parquet", mind2web_row(name, 0, 1))
    kept, _ = import_all("mind2web", tmp_path / "set")
    assert [(t.id, t.split) for t in kept] == [(name, name) for name in ("test_domain", "test_task", "train")]
    kept, report = import_all("mind2web", tmp_path / "set", split="test_task")
    assert [t.id for t in kept] == ["test_task"]
    assert report.skipped_records == {"not in split test_task": 2}
    with pytest.raises(InputError, match="--crop all is not allowed for mind2web: choose one of block, target, page"):
        import_all("mind2web", tmp_path / "set", crop="all")
    with pytest.raises(MissingFileError, match="no .parquet"):
        import_all("mind2web", tmp_path)


def test_a_file_without_a_column_tells_so_for_each_row(tmp_path: Path) -> None:
    import pyarrow.parquet

    path = mind2web_file(tmp_path / "set" / "train-0.parquet", mind2web_row("t", 0, 1))
    table = pyarrow.parquet.read_table(path).drop_columns(["operation"])
    pyarrow.parquet.write_table(table, path)
    kept, report = import_all("mind2web", path)
    assert (kept, report.skipped_records) == ([], {"wrong operation": 1})


# ------------------------------------------------------------------------------------------------------- crops

PAGE = ImageSize(1280, 5000)


# UGround's make_blocks: blocks of 1280x1000 every 800 pixels, the last one cut at the page's end.
@pytest.mark.parametrize(
    ("page", "target", "block"),
    [
        (PAGE, None, (0, 0, 1280, 1000)),
        (PAGE, (0, 0, 10, 10), (0, 0, 1280, 1000)),
        (PAGE, (0, 990, 10, 10), (0, 0, 1280, 1000)),
        (PAGE, (0, 991, 10, 10), (0, 800, 1280, 1000)),
        (PAGE, (0, 4990, 10, 10), (0, 4000, 1280, 1000)),
        (ImageSize(1280, 4300), (0, 4250, 10, 10), (0, 4000, 1280, 300)),
        (ImageSize(1000, 700), (0, 650, 10, 10), (0, 0, 1000, 700)),
        (PAGE, (10, 500, 100, 1500), (0, 750, 1280, 1000)),  # taller than a block: around its middle
        (ImageSize(1920, 2000), (1500, 100, 200, 50), (640, 0, 1280, 1000)),  # beyond the block's width
    ],
)
def test_the_block_is_the_first_that_holds_the_target(page: ImageSize, target: tuple | None, block: tuple) -> None:
    assert block_of(page, target) == block


@given(
    st.integers(1, 3000), st.integers(1, 9000),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 1), st.floats(0.001, 1)),
)
def test_a_crop_lies_on_the_page_and_shows_the_target(width: int, height: int, share: tuple) -> None:
    page = ImageSize(width, height)
    x, y = share[0] * width * 0.99, share[1] * height * 0.99
    target = (x, y, min(share[2] * 300, width - x), min(share[3] * 300, height - y))
    for left, top, w, h in (block_of(page, target), around(page, target)):
        assert 0 <= left and 0 <= top and left + w <= width and top + h <= height and w > 0 and h > 0
        middle = (target[0] + target[2] / 2, target[1] + target[3] / 2)
        assert left <= middle[0] <= left + w and top <= middle[1] <= top + h


@pytest.mark.parametrize(("crop", "size", "top"), [("block", (128, 100), 160), ("target", (128, 60), 205),
                                                   ("page", (128, 500), 0)])
def test_boxes_and_points_are_moved_into_the_crop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crop: str, size: tuple[int, int], top: int
) -> None:
    monkeypatch.setattr(mind2web, "BLOCK_PX", ImageSize(128, 100))
    monkeypatch.setattr(mind2web, "OVERLAP_PX", 20)
    monkeypatch.setattr(mind2web, "AROUND_PX", ImageSize(192, 60))
    (trajectory,), _ = read(tmp_path, mind2web_row("t", 0, 1), crop=crop)
    (step,) = trajectory.steps
    assert step.observation.load_image().size == size
    assert step.observation.image_size == ImageSize(*size)
    assert step.action.point.y == pytest.approx((235 - top) / size[1])
    assert step.target.contains(step.action.point)


# ------------------------------------------------------------------------------------------------ UGround's copy


def block_record(**changes: object) -> dict:
    """One step of UGround's copy."""
    return {
        "annotation_id": "t", "action_uid": "u", "task": "Do it", "website": "w", "domain": "d", "subdomain": "s",
        "operation": "CLICK", "value": "", "bbox": [[128, 900, 64, 100]], "previous_actions": [], "step": 0,
        "total_steps": 1, "split": "website", "blocks_path": "t_u", "target_blocks": {"1": [[128, 100, 64, 100]]},
        **changes,
    }


def test_blocks_are_read_from_their_folder(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "set" / "cross_website_blocks.jsonl", block_record())
    (tmp_path / "blocks" / "t_u").mkdir(parents=True)
    (tmp_path / "blocks" / "t_u" / "1.png").write_bytes(image_bytes((256, 400)))
    (trajectory,), _ = import_all("mind2web", path, images=tmp_path / "blocks")
    (step,) = trajectory.steps
    assert step.target == BoxNorm(0.5, 0.25, 0.75, 0.5)
    assert step.observation.load_image().size == (256, 400)
    (trajectory,), _ = import_all("mind2web", path)
    assert trajectory.steps[0].observation.image_size is None
    assert trajectory.steps[0].target == BoxNorm(0.1, 0.1, 0.15, 0.2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": None}, "wrong task"), ({"annotation_id": 5}, "wrong annotation_id"), ({"step": 1}, "wrong step"),
        ({"step": "0"}, "wrong step"), ({"target_blocks": []}, "wrong target_blocks"),
        ({"target_blocks": {"x": []}}, "wrong target_blocks"), ({"target_blocks": {"0": 5}}, "wrong target_blocks"),
        ({"operation": "FLY"}, "wrong operation"), ({"blocks_path": "../.."}, "image outside the folder"),
    ],
)
def test_a_broken_line_of_the_copy_is_counted(tmp_path: Path, changes: dict, reason: str) -> None:
    path = json_lines(tmp_path / "set" / "a_blocks.jsonl", block_record() | changes)
    (tmp_path / "blocks" / "t_u").mkdir(parents=True)
    (tmp_path / "blocks" / "t_u" / "1.png").write_bytes(image_bytes())
    kept, report = import_all("mind2web", path, images=tmp_path / "blocks")
    assert (kept, report.skipped_records) == ([], {reason: 1})


def test_all_real_steps_are_imported(samples: Path, tmp_path: Path) -> None:
    """Counts of the test_website split: 142 tasks, 1,019 steps, 827/120/72 by operation, 44 without a box."""
    kept, report = import_all("mind2web", samples / "mind2web", out=tmp_path / "t.jsonl")
    assert (report.num_records_read, report.num_records_kept, len(kept)) == (1019, 1019, 142)
    steps = [step for trajectory in kept for step in trajectory.steps]
    by_type = {kind: sum(step.action.type == kind for step in steps) for kind in ("click", "type", "select")}
    assert by_type == {"click": 827, "type": 120, "select": 72}
    assert sum(step.target is None for step in steps) == 44 == report.repairs["no target on the page"]
    assert all(step.target.contains(step.action.point) for step in steps if step.target is not None)
    assert {trajectory.split for trajectory in kept} == {"test_website"}
