"""AgentNet (OpenCUA) -> trajectories: desktop demonstrations, one JSON object a line, screenshots in a folder.

What happens to a record that is not in order, besides the rules of `base.py`:

    a step does nothing              left out: a scroll of zero, a terminate that is not the last step
    an optional field has no sense   the field is left out
    two records share a task_id      both are kept, the second as `ID#2` (the win_mac file has 93 such pairs)

The set comes as two files, Ubuntu's and that of Windows and Mac; a folder that holds both is imported whole. The
operating system of a record is only in `meta_data_merged.jsonl`, which is read when it lies beside the file.

Source: the data card of xlangai/AgentNet (MIT) and the raw example of xlang-ai/OpenCUA. `last_step_correct` and
`last_step_redundant` describe the step they stand in, as the card says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.geometry import ImageSize
from executors.trajectory import Observation, Step, Trajectory
from training.datasets.base import Importer, ImportOptions, Notes, RawRecord, read_steps, show, text_of
from training.datasets.json_records import parse_object, read_lines
from training.datasets.normalise import describe, summary_of
from training.datasets.pyautogui_code import CodeError, CodeReading, read_code
from training.datasets.screens import ImageFolders, ScreenStore
from training.datasets.skip import Skip

IMAGE_FOLDERS = ("images", "ubuntu_images", "win_mac_images", "ubuntu_images/images", "win_mac_images/images", ".")
"""Where screenshots are looked for beside the file, in this order."""

META_FILE = "meta_data_merged.jsonl"
ARCHIVES = ("agentnet_ubuntu_5k.jsonl", "agentnet_win_mac_18k.jsonl")

META_FIELDS = ("task_completed", "alignment_score", "efficiency_score", "task_difficulty", "domain", "reason",
               "natural_language_task", "actual_task")


class AgentNet(Importer):
    """Reads AgentNet's files; a record is one line, a trajectory of pyautogui code."""

    name = "agentnet"
    licence = "MIT"
    id_field = "task_id"

    def __init__(self, options: ImportOptions, screens: ScreenStore) -> None:
        super().__init__(options, screens)
        folder = self.files[0].parent
        self.images = ImageFolders(folder, options.images, IMAGE_FOLDERS)
        self.systems = _read_systems(folder / META_FILE)

    def find_files(self, path: Path) -> list[Path]:
        """The file, or the files of a folder: its only one, or both of the released ones."""
        if path.is_file():
            return [path]
        if not path.is_dir():
            raise MissingFileError(f"cannot read {path} (no such file or folder): give AgentNet's .jsonl file")
        files = sorted(p for p in path.glob("*.jsonl") if p.name != META_FILE)
        if not files:
            raise MissingFileError(f"folder {path} holds no .jsonl file: give the folder of agentnet_ubuntu_5k.jsonl")
        if len(files) > 1 and not {file.name for file in files} <= set(ARCHIVES):
            names = ", ".join(p.name for p in files)
            raise InputError(f"folder {path} holds several files ({names}): name the one to import")
        return files

    def read(self, file: Path) -> Iterator[RawRecord]:
        """The file's lines."""
        return read_lines(file)

    def convert(self, raw: RawRecord, notes: Notes) -> Trajectory:
        """The trajectory of one line."""
        record = parse_object(raw.data)
        task_id = record.get("task_id")
        if not isinstance(task_id, str) or not task_id.strip():
            raise Skip("wrong task_id", "task_id", f"{show(task_id)} is not text")
        notes.record = task_id
        steps = record.get("traj")
        notes.num_source_steps = len(steps) if isinstance(steps, list) else 0
        goal = _read_goal(record, notes)
        if not isinstance(steps, list) or not steps:
            raise Skip("wrong traj", "traj", f"{show(steps)} is not a list of steps")
        kept, is_cut = read_steps(
            steps, lambda step, index: self._read_step(step, index, index == len(steps) - 1, notes), notes, "traj"
        )
        meta = _read_meta(record, notes)
        if task_id in self.systems:
            meta["system"] = self.systems[task_id]
        if is_cut:
            meta["num_source_steps"] = len(steps)
        return Trajectory(
            id=task_id, goal=goal, steps=tuple(kept), source=self.name, platform="desktop", licence=self.licence,
            outcome="" if is_cut else _outcome(record, kept[-1].action), meta=meta,
        )

    def _read_step(self, raw: Any, index: int, is_last: bool, notes: Notes) -> Step | None:
        place = f"traj[{index}]"
        value = raw.get("value") if isinstance(raw, dict) else None
        if not isinstance(value, dict):
            name = f"{place}.value" if isinstance(raw, dict) else place
            raise Skip("wrong step", name, f"{show(value if isinstance(raw, dict) else raw)} is not an object")
        code = value.get("code")
        if not isinstance(code, str):
            raise Skip("wrong code", f"{place}.value.code", f"{show(code)} is not text")
        action = action_of(lambda: read_code(code), notes, f"{place}.value.code", show(code))
        if action is None:
            return None
        if action.is_terminal and not is_last:
            notes.repair("terminate before the end", f"{place}.value.code", "steps follow it", "step left out")
            notes.skipped_steps["terminate before the end"] += 1
            return None
        image_path, size = self._read_image(raw.get("image"), f"{place}.image")
        told = {name: _optional(value, name, str, place, notes) for name in ("observation", "thought", "action")}
        words = text_of(told["action"])
        notes.num_instructions_generated += not words
        flags = set()
        if _optional(value, "last_step_redundant", bool, place, notes):
            flags.add("redundant")
        if _optional(value, "last_step_correct", bool, place, notes) is False:
            flags.add("incorrect")
        return Step(
            observation=Observation(image_path=image_path, image_size=size, summary=summary_of(told["observation"])),
            action=action, instruction=words or describe(action), thought=(told["thought"] or "").strip(),
            flags=frozenset(flags),
        )

    def _read_image(self, image: Any, name: str) -> tuple[Path, ImageSize]:
        return self.screens.add(self.images.read(image, name), name)


def action_of(read: Any, notes: Notes, name: str, shown: str) -> Action | None:
    """The action that `read` (a call of `pyautogui_code`) gives, its repairs noted; None where it does nothing.

    Raises:
        Skip: the code is not one action.
    """
    try:
        reading: CodeReading = read()
    except CodeError as error:
        raise Skip(error.kind, name, str(error)) from None
    for note in reading.repairs:
        notes.repair(note, name, shown, "step left out" if reading.action is None else "mended")
    if reading.action is None:
        notes.skipped_steps["does nothing"] += 1
    return reading.action


def _read_systems(path: Path) -> dict[str, str]:
    """task_id -> operating system, of the file of annotations that lies beside the records; empty without it."""
    systems = {}
    for raw in read_lines(path) if path.is_file() else ():
        try:
            record = parse_object(raw.data)
        except Skip:
            continue
        task_id, system = record.get("task_id"), record.get("system")
        if isinstance(task_id, str) and isinstance(system, str):
            systems[task_id] = system
    return systems


def _read_meta(record: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """The annotations that are plain values; null is none, anything else is counted as left out."""
    meta = {}
    for name in META_FIELDS:
        value = record.get(name)
        if value is None:
            continue
        if isinstance(value, (str, int, float)) and (not isinstance(value, float) or math.isfinite(value)):
            meta[name] = value
        else:
            notes.repair("optional field left out", name, f"{show(value)} is no plain value", "field left out")
    return meta


def _read_goal(record: Mapping[str, Any], notes: Notes) -> str:
    goal = record.get("instruction")
    if isinstance(goal, str) and goal.strip():
        return goal.strip()
    for name in ("natural_language_task", "actual_task"):
        other = record.get(name)
        if isinstance(other, str) and other.strip():
            notes.repair("goal from another field", "instruction", f"{show(goal)} is not text", f"{name} taken")
            return other.strip()
    raise Skip("no goal", "instruction", f"{show(goal)} is not text")


def _optional(value: Mapping[str, Any], name: str, kind: type, place: str, notes: Notes) -> Any:
    found = value.get(name)
    if found is None or isinstance(found, kind):
        return found
    notes.repair("optional field left out", f"{place}.value.{name}",
                 f"{show(found)} is not {'text' if kind is str else 'true or false'}", "field left out")
    return None


def _outcome(record: Mapping[str, Any], last: Action) -> str:
    completed = record.get("task_completed")
    if last.type == "call_user" and record.get("domain") == "infeasible":
        return "impossible"
    return {True: "success", False: "failure"}[completed] if isinstance(completed, bool) else ""
