"""Multimodal-Mind2Web -> trajectories: steps on full-page screenshots, one parquet row a step; also UGround's copy.

    rows            a task's rows may stand in any order: they are put in order by `target_action_index`, which counts
                    steps (not candidates); what lies behind a missing step is left out
    JSON            `operation`, `pos_candidates` and inside these `attributes` are JSON text and decoded again
    boxes           `bounding_box_rect` is "x,y,width,height" in pixels of the page; "-1,-1,-1,-1" is hidden. Any
                    positive box counts as right, so all are kept in `meta.target_boxes`, one list a step. The point is
                    the middle of the original target's box, else of the first
    no box          4 to 6 % of the test steps: the step is kept without a point (it cannot be grounded), and counted
    CLICK           `click`, also where `meta.original_ops` says HOVER or ENTER, as in the benchmark
    TYPE, SELECT    `type` and `select` with their value, both with a point
    finish          the data has no closing step and no screenshot of the end; none is added
    crop            `block` (default): the 1280x1000 blocks with 200 px overlap of UGround, the first that holds the
                    target whole, else one moved so that it does; `target`: 1920x1080 around the target, as SeeClick;
                    `page`: all of it. The target is always visible, and its boxes are moved into the crop's frame
    screenshot      null in some rows: the task is cut before it

UGround's copy (`*_blocks.jsonl`) holds the test steps with their boxes inside the blocks, and no screenshots: with
`--images` the blocks are read as `<blocks_path>/<number>.png`, without it the steps have none, and a block is taken to
be 1280x1000.

Source: the card of osunlp/Multimodal-Mind2Web (openrail), make_blocks.py of OSU-NLP-Group/UGround (04dc3b3).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from executors.actions import Action
from executors.errors import MissingFileError
from executors.geometry import BoxNorm, ImageSize
from executors.trajectory import Observation, Step, Trajectory, box_to_json
from training.datasets.base import Importer, ImportOptions, Notes, Place, RawRecord, show, text_of
from training.datasets.json_records import parse_object, read_lines
from training.datasets.normalise import clip, describe
from training.datasets.parquet_records import read_rows
from training.datasets.screens import MAX_PIXELS, ImageFolders, ScreenStore
from training.datasets.skip import Skip

COLUMNS = ("action_uid", "operation", "pos_candidates", "website", "domain", "subdomain", "annotation_id",
           "confirmed_task", "screenshot", "action_reprs", "target_action_index", "target_action_reprs")
BLOCK_PX = ImageSize(1280, 1000)
OVERLAP_PX = 200
AROUND_PX = ImageSize(1920, 1080)

_SPLITS = ("train", "test_task", "test_website", "test_domain")
_REPR = re.compile(r"\[(?P<role>[^\]]*)\]\s+(?P<name>.*) -> [A-Z]+(?:: .*)?", re.DOTALL)

Rect = tuple[float, float, float, float]
"""left, top, width, height in pixels of a page or a crop."""


class Mind2Web(Importer):
    """Reads Multimodal-Mind2Web; a record is one row, a step."""

    name = "mind2web"
    licence = "openrail"
    id_field = "annotation_id"
    splits = _SPLITS
    crops = ("block", "target", "page")
    grouping = "task"

    def __init__(self, options: ImportOptions, screens: ScreenStore) -> None:
        super().__init__(options, screens)
        self.images = ImageFolders(self.files[0].parent, options.images, ())
        self.crop = options.crop or "block"

    def find_files(self, path: Path) -> list[Path]:
        """One file, or all parquet files of a folder or of its `data/`, else its *_blocks.jsonl."""
        if path.is_file():
            return [path]
        for folder, pattern in ((path, "*.parquet"), (path / "data", "*.parquet"), (path, "*_blocks.jsonl")):
            files = sorted(folder.glob(pattern))
            if files:
                return files
        raise MissingFileError(f"{path} is no file and holds no .parquet and no *_blocks.jsonl file: give their folder")

    def read(self, file: Path) -> Iterator[RawRecord]:
        """The file's rows or lines."""
        return read_rows(file, COLUMNS) if file.suffix == ".parquet" else read_lines(file)

    def convert(self, raw: RawRecord, notes: Notes) -> tuple[Trajectory, Place]:
        """The step of one row as a trajectory of its own, and its place in its task."""
        notes.num_source_steps = 1
        if isinstance(raw.data, dict):
            return self._read_row(raw.data, raw.file.rpartition("/")[2].partition("-")[0], notes)
        return self._read_block(parse_object(raw.data), notes)

    def _read_row(self, row: dict[str, Any], split: str, notes: Notes) -> tuple[Trajectory, Place]:
        notes.record = task_id = _text(row, "annotation_id")
        split = self.choose_split(split if split in _SPLITS else "train")
        goal = _text(row, "confirmed_task")
        reprs = row.get("action_reprs")
        if not isinstance(reprs, list) or not all(isinstance(text, str) for text in reprs):
            raise Skip("wrong action_reprs", "action_reprs", f"{show(reprs)} is not a list of texts")
        index = row.get("target_action_index")
        if not isinstance(index, str) or not index.isdecimal() or not int(index[:9]) < max(1, len(reprs)):
            raise Skip("wrong target_action_index", "target_action_index",
                       f"{show(index)} is not the number of one of {len(reprs)} steps")
        operation = parse_object(_text(row, "operation").encode())
        rects = _read_candidates(row.get("pos_candidates"), notes)
        observation, boxes = self._observe(row.get("screenshot"), rects, text_of(row.get("website")), notes)
        named = _REPR.fullmatch(reprs[int(index)]) if reprs else None
        target = f"{named['role']} \"{text_of(named['name'])}\"" if named and text_of(named["name"]) else ""
        target = f"the {target}" if target else f"the {named['role']}" if named else ""
        step = _make_step(observation, operation.get("op"), operation.get("value"), boxes, target, notes)
        return self._place(
            task_id, goal, step, boxes, text_of(operation.get("original_op")), split, int(index), len(reprs),
            {name: text_of(row.get(name)) for name in ("website", "domain", "subdomain")},
        )

    def _read_block(self, record: dict[str, Any], notes: Notes) -> tuple[Trajectory, Place]:
        notes.record = task_id = _text(record, "annotation_id")
        split = self.choose_split(f"test_{record.get('split')}")
        goal = _text(record, "task")
        index, total = record.get("step"), record.get("total_steps")
        if type(index) is not int or type(total) is not int or not 0 <= index < total:
            raise Skip("wrong step", "step", f"{show(index)} is not the number of one of {show(total)} steps")
        blocks = record.get("target_blocks")
        if not isinstance(blocks, dict) or not all(number.isdecimal() for number in blocks):
            raise Skip("wrong target_blocks", "target_blocks", f"{show(blocks)} is not an object of block numbers")
        number = min(blocks, key=int, default="0")
        told = blocks.get(number, [])
        if not isinstance(told, list):
            raise Skip("wrong target_blocks", f"target_blocks.{number}", f"{show(told)} is not a list of boxes")
        rects = [rect for rect in (_read_rect(box, f"target_blocks.{number}", notes) for box in told) if rect]
        observation, size = Observation(summary=text_of(record.get("website"))), BLOCK_PX
        if self.images.folders:
            data = self.images.read(f"{_text(record, 'blocks_path')}/{number}.png", "blocks_path")
            path, size = self.screens.add(data, "blocks_path")
            observation = Observation(image_path=path, image_size=size, summary=text_of(record.get("website")))
        boxes = _norm_boxes(rects, (0, 0), size)
        step = _make_step(observation, record.get("operation"), record.get("value"), boxes, "", notes)
        notes.num_instructions_generated += 1
        return self._place(
            task_id, goal, step, boxes, text_of(record.get("operation")), split, index, total,
            {name: text_of(record.get(name)) for name in ("website", "domain", "subdomain")},
        )

    def _place(
        self, task_id: str, goal: str, step: Step, boxes: Sequence[BoxNorm], original_op: str, split: str, index: int,
        num_steps: int, meta: dict[str, Any],
    ) -> tuple[Trajectory, Place]:
        per_step = {"target_boxes": [[box_to_json(box) for box in boxes] or None], "original_ops": [original_op]}
        trajectory = Trajectory(
            id=task_id, goal=goal, steps=(step,), source=self.name, platform="browser", split=split,
            licence=self.licence, meta={name: value for name, value in meta.items() if value} | per_step,
        )
        return trajectory, Place(key=task_id, step=index, num_steps=num_steps or None)

    def _observe(
        self, screenshot: Any, rects: Sequence[Rect], website: str, notes: Notes
    ) -> tuple[Observation, list[BoxNorm]]:
        """The part of the page that the crop keeps, and the boxes in it."""
        data = screenshot.get("bytes") if isinstance(screenshot, dict) else screenshot
        if not isinstance(data, bytes) or not data:
            raise Skip("no screenshot", "screenshot", "it is null")
        if self.crop == "page":
            path, size = self.screens.add(data, "screenshot")
            return Observation(image_path=path, image_size=size, summary=website), _norm_boxes(rects, (0, 0), size)
        page = _open_page(data)
        size = ImageSize(*page.size)
        left, top, width, height = (block_of if self.crop == "block" else around)(size, rects[0] if rects else None)
        path = self.screens.add_part(page, (left, top, left + width, top + height))
        size = ImageSize(width, height)
        return Observation(image_path=path, image_size=size, summary=website), _norm_boxes(rects, (left, top), size)


def block_of(page: ImageSize, target: Rect | None) -> tuple[int, int, int, int]:
    """(left, top, width, height) in pixels of the block of a page that a step is shown on.

    The first of the blocks of `BLOCK_PX`, from the top down with `OVERLAP_PX` between them, that holds the whole
    target; without a target the first of all. Where none holds it, a block around its middle.

    Source: make_blocks.py of UGround; there the place of the last kind of block is drawn at random.

    >>> block_of(ImageSize(1280, 5000), (10, 1500, 100, 50))
    (0, 800, 1280, 1000)
    >>> block_of(ImageSize(1280, 5000), (10, 1790, 100, 50))
    (0, 1600, 1280, 1000)
    """
    width, height = min(page.width_px, BLOCK_PX.width_px), min(page.height_px, BLOCK_PX.height_px)
    if target is None:
        return 0, 0, width, height
    x, y, w, h = target
    stride = BLOCK_PX.height_px - OVERLAP_PX
    for number in range(max(0, page.height_px - OVERLAP_PX) // stride + 1):
        top = number * stride
        bottom = min(top + BLOCK_PX.height_px, page.height_px)
        if x + w <= width and top <= y and y + h <= bottom:
            return 0, top, width, bottom - top
    return _window(page, target, ImageSize(width, height))


def around(page: ImageSize, target: Rect | None) -> tuple[int, int, int, int]:
    """(left, top, width, height) in pixels of `AROUND_PX` of a page, the target in its middle as far as the page goes.

    >>> around(ImageSize(1280, 5000), (10, 1500, 100, 50))
    (0, 985, 1280, 1080)
    """
    size = ImageSize(min(page.width_px, AROUND_PX.width_px), min(page.height_px, AROUND_PX.height_px))
    return (0, 0, size.width_px, size.height_px) if target is None else _window(page, target, size)


def _window(page: ImageSize, target: Rect, size: ImageSize) -> tuple[int, int, int, int]:
    x, y, w, h = target
    left = int(min(max(0, x + w / 2 - size.width_px / 2), page.width_px - size.width_px))
    top = int(min(max(0, y + h / 2 - size.height_px / 2), page.height_px - size.height_px))
    return left, top, size.width_px, size.height_px


def _open_page(data: bytes) -> Any:
    import PIL.Image

    try:
        page = PIL.Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
        if page.width * page.height > MAX_PIXELS:
            raise ValueError(f"{page.width}x{page.height} pixels are more than {MAX_PIXELS}")
        page.load()
        return page if page.mode == "RGB" else page.convert("RGB")
    except (OSError, SyntaxError, ValueError, IndexError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise Skip("unreadable image", "screenshot", f"not a readable image ({error})") from None


def _make_step(
    observation: Observation, op: Any, value: Any, boxes: Sequence[BoxNorm], target: str, notes: Notes
) -> Step:
    """The step of an operation on the first box; `target` tells in words what it acts on."""
    point = boxes[0].center if boxes else None
    if point is None:
        notes.repair("no target on the page", "pos_candidates", "no visible positive box", "step kept without a point")
    match op:
        case "CLICK":
            action = Action(type="click", point=point)
        case "TYPE" if isinstance(value, str):
            action = Action(type="type", content=value, point=point)
        case "SELECT" if isinstance(value, str):
            action = Action(type="select", value=value, point=point)
        case _:
            raise Skip("wrong operation", "operation", f"{show(op)} with {show(value)} is not CLICK, TYPE or SELECT")
    return Step(observation=observation, action=action, instruction=describe(action, target),
                target=boxes[0] if boxes else None)


def _read_candidates(candidates: Any, notes: Notes) -> list[Rect]:
    """The positive boxes that are visible, the original target's first."""
    if not isinstance(candidates, list):
        raise Skip("wrong pos_candidates", "pos_candidates", f"{show(candidates)} is not a list")
    found: list[tuple[bool, Rect]] = []
    for index, text in enumerate(candidates):
        name = f"pos_candidates[{index}]"
        try:
            candidate = parse_object(text.encode()) if isinstance(text, str) else None
            told = candidate.get("attributes") if candidate else None
            attributes = parse_object(told.encode()) if isinstance(told, str) else None
        except Skip:
            attributes = None
        box = attributes.get("bounding_box_rect") if attributes else None
        rect = _read_rect(box.split(","), name, notes) if isinstance(box, str) else None
        if box is None:
            notes.repair("candidate left out", name, f"{show(text)} has no readable box", "candidate left out")
        if rect is not None:
            found.append((candidate.get("is_original_target") is True, rect))
    return [rect for _, rect in sorted(found, key=lambda item: not item[0])]


def _read_rect(box: Any, name: str, notes: Notes) -> Rect | None:
    """The box of four numbers or their texts; None when it is hidden, or wrong, which is counted."""
    try:
        left, top, width, height = (float(edge) for edge in box)
    except (TypeError, ValueError):
        left = float("nan")
    if not (left == left and abs(left) < 1e6 and abs(top) < 1e6 and abs(width) < 1e6 and abs(height) < 1e6):
        notes.repair("candidate left out", name, f"{show(box)} is not [x, y, width, height]", "candidate left out")
        return None
    return (left, top, width, height) if width > 0 and height > 0 else None


def _norm_boxes(rects: Sequence[Rect], origin: tuple[int, int], size: ImageSize) -> list[BoxNorm]:
    """The boxes in the frame of a crop with this origin and size; those outside are left out."""
    boxes = []
    for x, y, w, h in rects:
        left, top = x - origin[0], y - origin[1]
        box = clip(BoxNorm.from_px(left, top, left + w, top + h, size))
        if box is not None:
            boxes.append(box)
    return boxes


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Skip(f"wrong {name}", name, f"{show(value)} is not text")
    return text_of(value) if name != "operation" else value
