"""GUI-Odyssey -> trajectories: phone demonstrations across apps, one annotation file an episode, both releases.

    layout        annotations/<episode>.json, screenshots/ (the old release has folders in it), splits/*_split.json
    coordinates   0..1000 of the image, whatever `device_info` says about the screen
    SCROLL        the finger's path; ours is what it reveals, so the direction is the opposite
    CLICK         a point, or KEY_HOME, KEY_BACK, KEY_APPSELECT -> `press_home`, `press_back`, `press_appselect`
    TEXT, TYPE    the released code reads TEXT, the card says TYPE: the same; it presses no enter
    COMPLETE      `finished`; INCOMPLETE and IMPOSSIBLE -> `call_user`
    sam2_bbox     (new release) the step's target box
    instruction   (new release) `low_level_instruction`; the old one has none, so the action is told in words

The trajectory's split is that of random_split; `--split device_test` and the like choose another one, and
`meta.splits` names all.

Source: introduction.md and the converter of OpenGVLab/GUI-Odyssey (9ef208d, fefcbe9) and the cards of both releases. No
annotation file could be had; names that only one of these sources gives are accepted too. They do not state the data's
licence, so the trajectories name none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.geometry import BoxNorm
from executors.trajectory import Observation, Step, Trajectory
from training.datasets.base import Importer, ImportOptions, Notes, RawRecord, read_steps, show, text_of
from training.datasets.json_records import parse_object, read_whole
from training.datasets.normalise import clip, describe, norm_point, reveal_of_finger, summary_of
from training.datasets.screens import ImageFolders, ScreenStore
from training.datasets.skip import Skip

SCHEMES = ("random", "task", "device", "app")
SCALE = 1000
_KEYS = {"KEY_HOME": "press_home", "KEY_BACK": "press_back", "KEY_APPSELECT": "press_appselect",
         "KEY_RECENT": "press_appselect"}


class GuiOdyssey(Importer):
    """Reads GUI-Odyssey's annotation files; a record is one file, an episode."""

    name = "gui_odyssey"
    id_field = "episode_id"
    splits = ("train", "test", *(f"{scheme}_{part}" for scheme in SCHEMES for part in ("train", "test")))

    def __init__(self, options: ImportOptions, screens: ScreenStore) -> None:
        super().__init__(options, screens)
        folder = self.files[0].parent
        root = folder.parent if folder.name == "annotations" else folder
        self.images = ImageFolders(root, options.images, ("screenshots", "."), is_nested=True)
        self.schemes = {scheme: _read_split(root / "splits" / f"{scheme}_split.json") for scheme in SCHEMES}
        scheme = (options.split or "").partition("_")[0]
        if options.split is not None and not self.schemes.get(scheme if scheme in SCHEMES else "random"):
            raise MissingFileError(f"--split {options.split} needs its file in {root / 'splits'}: download the splits")

    def find_files(self, path: Path) -> list[Path]:
        """One annotation file, or all of the folder, or of `annotations/` in it or in its `data/`."""
        if path.is_file():
            return [path]
        for folder in (path / "annotations", path / "data" / "annotations", path):
            files = sorted(folder.glob("*.json"))
            if files:
                return files
        raise MissingFileError(f"{path} holds no annotations/*.json: give the folder of GUI-Odyssey's release")

    def read(self, file: Path) -> Iterator[RawRecord]:
        """The annotation file."""
        return read_whole(file)

    def convert(self, raw: RawRecord, notes: Notes) -> Trajectory:
        """The trajectory of one annotation file."""
        record = parse_object(raw.data)
        steps = record.get("steps")
        notes.num_source_steps = len(steps) if isinstance(steps, list) else 0
        number = record.get("episode_id")
        if not isinstance(number, str) or not number.strip():
            raise Skip("wrong episode_id", "episode_id", f"{show(number)} is not text")
        notes.record = number
        parts = {scheme: part for scheme, ids in self.schemes.items() if (part := ids.get(number))}
        split = self.choose_split(parts.get("random", "train"), [f"{scheme}_{part}" for scheme, part in parts.items()])
        task = record.get("task_info")
        task = task if isinstance(task, dict) else {}
        goal = text_of(task.get("instruction")) or text_of(task.get("task"))
        if not goal:
            raise Skip("no goal", "task_info.instruction", f"{show(task.get('instruction'))} is not text")
        if not isinstance(steps, list) or not steps:
            raise Skip("wrong steps", "steps", f"{show(steps)} is not a list of steps")
        kept, is_cut = read_steps(
            steps, lambda step, index: self._read_step(step, index, index == len(steps) - 1, notes), notes
        )
        device = record.get("device_info")
        meta = {"category": task.get("category"), "apps": task.get("app"), "meta_task": task.get("meta_task"),
                "device": device.get("device_name") if isinstance(device, dict) else None, "splits": parts or None}
        meta = {name: value for name, value in meta.items() if value is not None}
        if is_cut:
            meta["num_source_steps"] = len(steps)
        last = kept[-1].action.type
        return Trajectory(
            id=number, goal=goal, steps=tuple(kept), source=self.name, platform="phone", split=split,
            licence=self.licence, outcome={"finished": "success", "call_user": "impossible"}.get(last, ""), meta=meta,
        )

    def _read_step(self, raw: Any, index: int, is_last: bool, notes: Notes) -> Step | None:
        place = f"steps[{index}]"
        if not isinstance(raw, dict):
            raise Skip("wrong step", place, f"{show(raw)} is not an object")
        action = action_of(raw, place, notes)
        if action is None:
            return None
        if action.is_terminal and not is_last:
            notes.repair("terminate before the end", f"{place}.action", "steps follow it", "step left out")
            notes.skipped_steps["terminate before the end"] += 1
            return None
        name = f"{place}.screenshot"
        path, size = self.screens.add(self.images.read(raw.get("screenshot"), name), name)
        words = text_of(raw.get("low_level_instruction"))
        notes.num_instructions_generated += not words
        summary = summary_of(text_of(raw.get("description")))
        return Step(
            observation=Observation(image_path=path, image_size=size, summary=summary),
            action=action, instruction=words or describe(action), thought=text_of(raw.get("intention")),
            target=None if action.point is None or action.type == "scroll" else _target(raw, place, notes),
        )


def action_of(raw: dict[str, Any], place: str, notes: Notes) -> Action | None:
    """The canonical action of one raw step; None when it writes nothing.

    Raises:
        Skip: an unknown action, or a wrong `info`.
    """
    kind, info, name = raw.get("action"), raw.get("info"), f"{place}.info"
    match kind:
        case "COMPLETE":
            return Action(type="finished")
        case "INCOMPLETE" | "IMPOSSIBLE":
            return Action(type="call_user")
        case "HOME" | "BACK" | "RECENT":
            return Action(type=_KEYS[f"KEY_{kind}"])
        case "CLICK" if isinstance(info, str):
            key = _KEYS.get(info if info.startswith("KEY_") else f"KEY_{info}")
            if key is None:
                raise Skip("wrong info", name, f"{show(info)} is not a point and not one of {', '.join(_KEYS)}")
            return Action(type=key)
        case "CLICK" | "LONG_PRESS":
            value = info[0] if isinstance(info, list) and info and isinstance(info[0], list) else info
            return Action(type="click" if kind == "CLICK" else "long_press", point=_point(value, name, notes))
        case "SCROLL":
            if not isinstance(info, list) or len(info) < 2:
                raise Skip("wrong info", name, f"{show(info)} is not [start, end]")
            start, end = _point(info[0], f"{name}[0]", notes), _point(info[-1], f"{name}[{len(info) - 1}]", notes)
            if start == end:
                notes.repair("swipe without length", name, show(info), "taken as one that reveals what is above")
            return Action(type="scroll", point=start, direction=reveal_of_finger(start, end))
        case "TEXT" | "TYPE":
            if not isinstance(info, str):
                raise Skip("wrong info", name, f"{show(info)} is not text")
            if not info:
                notes.repair("writing of nothing left out", name, show(raw), "step left out")
                notes.skipped_steps["does nothing"] += 1
                return None
            return Action(type="type", content=info)
    raise Skip("unknown action", f"{place}.action", f"{show(kind)} is not an action of GUI-Odyssey")


def _point(value: Any, name: str, notes: Notes) -> Any:
    point, is_moved = norm_point(value, SCALE, SCALE, name)
    if is_moved:
        notes.repair("coordinate moved to the edge", name, show(value), "mended")
    return point


def _target(raw: dict[str, Any], place: str, notes: Notes) -> BoxNorm | None:
    box = raw.get("sam2_bbox")
    if box is None or box == []:
        return None
    is_box = isinstance(box, list) and len(box) == 4 and all(type(edge) in (int, float) for edge in box)
    target = clip(BoxNorm(*(edge / SCALE for edge in box))) if is_box else None
    if target is None:
        notes.repair("target box left out", f"{place}.sam2_bbox", f"{show(box)} is not [left, top, right, bottom]",
                     "box left out")
    return target


def _read_split(path: Path) -> dict[str, str]:
    """Episode id -> "train" or "test"; empty when there is no such file."""
    if not path.is_file():
        return {}
    try:
        record = parse_object(path.read_bytes())
    except (OSError, Skip) as error:
        raise InputError(f"cannot read {path} ({error}): download it again") from None
    split_of = {}
    for part in ("train", "test"):
        names = record.get(part)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path}: field {part!r} is not a list of annotation files: download it again")
        split_of |= {name.removesuffix(".json"): part for name in names}
    return split_of
