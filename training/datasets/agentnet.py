"""AgentNet (OpenCUA) -> trajectories: desktop demonstrations, one JSON object a line, screenshots in a folder.

What happens to a record that is not in order:

    the record itself is broken      skipped: not JSON, no task_id, no goal, no steps, an exact repetition of a record
    a step is broken                 the steps before it are kept and the rest is left out, because what follows was
                                     done on screens that the kept steps do not lead to; nothing before it: skipped
    a step does nothing              left out: a scroll of zero, a terminate that is not the last step
    an optional field has no sense   the field is left out
    two records share a task_id      both are kept, the second as `ID#2` (the win_mac file has 93 such pairs)

Every case is counted in the `ImportReport` with file, line and field. The file is read line by line.

Source: the data card of xlangai/AgentNet (MIT) and the raw example of xlang-ai/OpenCUA. `last_step_correct` and
`last_step_redundant` describe the step they stand in, as the card says.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.geometry import ImageSize, PointNorm
from executors.trajectory import Observation, Step, Trajectory
from training.datasets.pyautogui_code import CodeError, read_code
from training.datasets.report import ImportReport, Problem

LICENCE = "MIT"
SOURCE = "agentnet"
IMAGE_FOLDERS = ("images", "ubuntu_images", "win_mac_images", "ubuntu_images/images", "win_mac_images/images", ".")
"""Where screenshots are looked for beside the file, in this order."""

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest line that is parsed; real records are below one megabyte."""

MAX_SUMMARY_CHARS = 160
_META_FIELDS = ("task_completed", "alignment_score", "efficiency_score", "task_difficulty", "domain", "reason",
                "natural_language_task", "actual_task")


def import_file(
    path: Path, report: ImportReport, *, images: Path | None = None, limit: int | None = None
) -> Iterator[Trajectory]:
    """The good trajectories of a file, one by one; the report is filled while they are read.

    Args:
        path: the JSON Lines file, or a folder with exactly one (`meta_data_merged.jsonl` is not counted).
        report: gets the counts and the places of what was repaired or skipped.
        images: folder of the screenshots; by default the folders of `IMAGE_FOLDERS` that exist beside the file.
        limit: stop after so many kept trajectories; None reads all.

    Raises:
        MissingFileError: the file, or the folder of screenshots, does not exist.
        InputError: a folder with several files, of which one must be named.
    """
    file = _find_file(path)
    reader = _Reader(file=file, folders=_find_image_folders(file, images), report=report)
    return reader.read(limit)


def _find_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise MissingFileError(f"cannot read {path} (no such file or folder): give AgentNet's .jsonl file")
    files = sorted(p for p in path.glob("*.jsonl") if p.name != "meta_data_merged.jsonl")
    if not files:
        raise MissingFileError(f"folder {path} holds no .jsonl file: give the folder of agentnet_ubuntu_5k.jsonl")
    if len(files) > 1:
        names = ", ".join(p.name for p in files)
        raise InputError(f"folder {path} holds several files ({names}): name the one to import")
    return files[0]


def _find_image_folders(file: Path, images: Path | None) -> list[Path]:
    if images is not None:
        if not images.is_dir():
            raise MissingFileError(f"--images {images} is not a folder: give the folder of the unzipped screenshots")
        return [images]
    folders = [file.parent / name for name in IMAGE_FOLDERS]
    return [folder for folder in folders if folder.is_dir()]


@dataclass(slots=True)
class _Skip(Exception):
    """Leaves a record, or the rest of it, with the reason that is counted and the field that is at fault."""

    reason: str
    field: str
    message: str


@dataclass(slots=True)
class _Found:
    """What one record needed; counted in the report only when the record is kept."""

    repairs: Counter[str] = field(default_factory=Counter)
    skipped_steps: Counter[str] = field(default_factory=Counter)
    num_instructions_generated: int = 0


@dataclass(slots=True)
class _Reader:
    """The state of one import: file, line, record, what was seen before."""

    file: Path
    folders: list[Path]
    report: ImportReport
    line: int = 0
    record: str = ""
    found: _Found = field(default_factory=_Found)
    seen: dict[str, set[bytes]] = field(default_factory=dict)

    def read(self, limit: int | None) -> Iterator[Trajectory]:
        with self.file.open("rb") as lines:
            while limit is None or self.report.num_records_kept < limit:
                line = lines.readline(MAX_LINE_BYTES + 1)
                if not line:
                    return
                self.line += 1
                if not line.strip():
                    continue
                is_too_long = len(line) > MAX_LINE_BYTES
                while is_too_long and line and not line.endswith(b"\n"):
                    line = lines.readline(MAX_LINE_BYTES)
                trajectory = self._read_line(b"" if is_too_long else line)
                if trajectory is not None:
                    yield trajectory

    def _read_line(self, line: bytes) -> Trajectory | None:
        report = self.report
        report.num_records_read += 1
        self.record, self.found = "", _Found()
        record: Any = None
        try:
            record = self._parse(line)
            trajectory = self._read_record(record, line)
        except _Skip as skip:
            report.num_records_skipped += 1
            report.skipped_records[skip.reason] += 1
            steps = record.get("traj") if isinstance(record, dict) else None
            if isinstance(steps, list):
                report.num_steps_skipped += len(steps)
                report.skipped_steps["of a skipped record"] += len(steps)
            self._note(skip.field, skip.message, "record skipped")
            return None
        report.num_records_kept += 1
        report.num_records_repaired += bool(self.found.repairs)
        report.num_steps_kept += len(trajectory.steps)
        report.num_steps_skipped += self.found.skipped_steps.total()
        report.num_instructions_generated += self.found.num_instructions_generated
        report.repairs.update(self.found.repairs)
        report.skipped_steps.update(self.found.skipped_steps)
        return trajectory

    def _note(self, name: str, message: str, outcome: str) -> None:
        self.report.add_problem(
            Problem(file=str(self.file), line=self.line, record=self.record, field=name, message=message,
                    outcome=outcome)
        )

    def _repair(self, reason: str, name: str, message: str, outcome: str) -> None:
        self.found.repairs[reason] += 1
        self._note(name, message, outcome)

    def _parse(self, line: bytes) -> dict[str, Any]:
        if not line:
            raise _Skip("line too long", "(line)", f"longer than {MAX_LINE_BYTES} bytes")
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise _Skip("not JSON", "(line)", f"not UTF-8 at byte {error.start}") from None
        except (ValueError, RecursionError) as error:
            raise _Skip("not JSON", "(line)", f"not JSON, or cut off ({error})") from None
        if not isinstance(record, dict):
            raise _Skip("not an object", "(line)", f"a {type(record).__name__}, not a JSON object")
        return _mend_text(record) if b"\\ud" in line.lower() else record

    def _read_record(self, record: dict[str, Any], line: bytes) -> Trajectory:
        task_id = record.get("task_id")
        if not isinstance(task_id, str) or not task_id.strip():
            raise _Skip("wrong task_id", "task_id", f"{_show(task_id)} is not text")
        self.record = task_id
        goal = self._read_goal(record)
        steps = record.get("traj")
        if not isinstance(steps, list) or not steps:
            raise _Skip("wrong traj", "traj", f"{_show(steps)} is not a list of steps")
        kept, broken = self._read_steps(steps)
        unique_id = self._unique_id(task_id, line)
        meta = self._read_meta(record)
        if broken:
            meta["num_source_steps"] = len(steps)
        return Trajectory(
            id=unique_id, goal=goal, steps=tuple(kept), source=SOURCE, platform="desktop", licence=LICENCE,
            outcome="" if broken else _outcome(record, kept[-1].action), meta=meta,
        )

    def _read_meta(self, record: dict[str, Any]) -> dict[str, Any]:
        """The annotations that are plain values; null is none, anything else is counted as left out."""
        meta = {}
        for name in _META_FIELDS:
            value = record.get(name)
            if value is None:
                continue
            if isinstance(value, (str, int, float)) and (not isinstance(value, float) or math.isfinite(value)):
                meta[name] = value
            else:
                self._repair("optional field left out", name, f"{_show(value)} is no plain value", "field left out")
        return meta

    def _read_goal(self, record: dict[str, Any]) -> str:
        goal = record.get("instruction")
        if isinstance(goal, str) and goal.strip():
            return goal.strip()
        for name in ("natural_language_task", "actual_task"):
            other = record.get(name)
            if isinstance(other, str) and other.strip():
                self._repair("goal from another field", "instruction", f"{_show(goal)} is not text", f"{name} taken")
                return other.strip()
        raise _Skip("no goal", "instruction", f"{_show(goal)} is not text")

    def _unique_id(self, task_id: str, line: bytes) -> str:
        digest = hashlib.blake2b(line.strip(), digest_size=16).digest()
        earlier = self.seen.setdefault(task_id, set())
        if digest in earlier:
            raise _Skip("repeated record", "task_id", f"the same record as an earlier line of task_id {task_id!r}")
        earlier.add(digest)
        if len(earlier) == 1:
            return task_id
        unique = f"{task_id}#{len(earlier)}"
        self._repair("task_id used twice", "task_id", f"{task_id!r} names another record too", f"kept as {unique!r}")
        return unique

    def _read_steps(self, steps: list[Any]) -> tuple[list[Step], bool]:
        """The good steps up to the first broken one, and whether there was one."""
        kept: list[Step] = []
        for number, raw in enumerate(steps):
            try:
                step = self._read_step(raw, number, is_last=number == len(steps) - 1)
            except _Skip as skip:
                if not kept:
                    raise
                num_after = len(steps) - number - 1
                self.found.skipped_steps += Counter({skip.reason: 1, "after a broken step": num_after})
                self._repair("cut at a broken step", skip.field, skip.message,
                             f"cut to the {len(kept)} steps before it, {num_after} steps after it left out")
                return kept, True
            if step is not None:
                kept.append(step)
        if not kept:
            raise _Skip("no step does anything", "traj", "no step is left")
        return kept, False

    def _read_step(self, raw: Any, number: int, *, is_last: bool) -> Step | None:
        place = f"traj[{number}]"
        value = raw.get("value") if isinstance(raw, dict) else None
        if not isinstance(value, dict):
            name = f"{place}.value" if isinstance(raw, dict) else place
            raise _Skip("wrong step", name, f"{_show(value if isinstance(raw, dict) else raw)} is not an object")
        action = self._read_action(value.get("code"), f"{place}.value.code")
        if action is None:
            return None
        if action.is_terminal and not is_last:
            self._repair("terminate before the end", f"{place}.value.code", "steps follow it", "step left out")
            self.found.skipped_steps["terminate before the end"] += 1
            return None
        image_path, size = self._read_image(raw.get("image"), f"{place}.image")
        told = {name: self._optional(value, name, str, place) for name in ("observation", "thought", "action")}
        words = " ".join((told["action"] or "").split())
        self.found.num_instructions_generated += not words
        flags = set()
        if self._optional(value, "last_step_redundant", bool, place):
            flags.add("redundant")
        if self._optional(value, "last_step_correct", bool, place) is False:
            flags.add("incorrect")
        return Step(
            observation=Observation(image_path=image_path, image_size=size, summary=_summary(told["observation"])),
            action=action, instruction=words or describe(action), thought=(told["thought"] or "").strip(),
            flags=frozenset(flags),
        )

    def _read_action(self, code: Any, name: str) -> Action | None:
        if not isinstance(code, str):
            raise _Skip("wrong code", name, f"{_show(code)} is not text")
        try:
            reading = read_code(code)
        except CodeError as error:
            raise _Skip(error.kind, name, str(error)) from None
        for note in reading.repairs:
            self._repair(note, name, _show(code), "step left out" if reading.action is None else "mended")
        if reading.action is None:
            self.found.skipped_steps["does nothing"] += 1
        return reading.action

    def _optional(self, value: Mapping[str, Any], name: str, kind: type, place: str) -> Any:
        found = value.get(name)
        if found is None or isinstance(found, kind):
            return found
        self._repair("optional field left out", f"{place}.value.{name}",
                     f"{_show(found)} is not {'text' if kind is str else 'true or false'}", "field left out")
        return None

    def _read_image(self, image: Any, name: str) -> tuple[Path, ImageSize]:
        """Path and size of a screenshot; its name may not leave the folder of the screenshots."""
        if not isinstance(image, str) or not image:
            raise _Skip("wrong image name", name, f"{_show(image)} is not a file name")
        relative = PurePosixPath(image)
        if relative.is_absolute() or ".." in relative.parts or "\\" in image or "\0" in image or ":" in image:
            raise _Skip("image outside the folder", name, f"{_show(image)} leaves the folder of the screenshots")
        for folder in self.folders:
            path = folder / relative
            try:
                if path.is_file():
                    return path, _check_image(path)
            except (OSError, ValueError, SyntaxError) as error:
                raise _Skip("unreadable image", name, f"{path} is not a readable image ({error})") from None
        looked = ", ".join(map(str, self.folders)) or "no folder"
        raise _Skip("missing image", name, f"{_show(image)} was not found in {looked}")


def _check_image(path: Path) -> ImageSize:
    import PIL.Image

    try:
        with PIL.Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            size = ImageSize(*image.size)
            if image.format == "PNG":
                image.verify()  # the checksums tell a cut file without decoding it
            else:
                image.load()
    except PIL.Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
    return size


def _outcome(record: Mapping[str, Any], last: Action) -> str:
    completed = record.get("task_completed")
    if last.type == "call_user" and record.get("domain") == "infeasible":
        return "impossible"
    return {True: "success", False: "failure"}[completed] if isinstance(completed, bool) else ""


def _summary(observation: str | None) -> str:
    """The first sentence of a description of the screen, at most `MAX_SUMMARY_CHARS` characters."""
    text = " ".join((observation or "").split())
    sentence = text.partition(". ")[0].rstrip(".")
    return sentence if len(sentence) <= MAX_SUMMARY_CHARS else sentence[: MAX_SUMMARY_CHARS - 1].rstrip() + "…"


def describe(action: Action) -> str:
    """An action in words, for a step that was recorded without any.

    >>> describe(Action(type="click", point=PointNorm(0.9722, 0.9701)))
    'click at (0.97, 0.97)'
    >>> describe(Action(type="hotkey", key="ctrl c"))
    'press ctrl c'
    """
    at = f" at {_place(action.point)}" if action.point is not None else ""
    match action.type:
        case "drag":
            return f"drag from {_place(action.start_point)} to {_place(action.end_point)}"
        case "scroll":
            return f"scroll {action.direction}{at}"
        case "type":
            text = " ".join(action.content.split())
            return f'type "{text}"' + (" and press enter" if action.content.endswith("\n") else "")
        case "hotkey":
            return f"press {action.key}"
        case "wait":
            return "wait" if action.seconds is None else f"wait {action.seconds:g} seconds"
        case "finished":
            return "the task is done"
        case "call_user":
            return "the task cannot be done"
    return _VERBS[action.type] + at


_VERBS = {"click": "click", "left_double": "double-click", "triple_click": "triple-click", "hover": "move the pointer",
          "right_single": "right-click", "middle_click": "middle-click"}


def _place(point: PointNorm) -> str:
    return f"({point.x:.2f}, {point.y:.2f})"


def _mend_text(value: Any) -> Any:
    """The value with halves of surrogate pairs, which no file can hold, replaced."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_mend_text(item) for item in value]
    if isinstance(value, dict):
        return {_mend_text(key): _mend_text(item) for key, item in value.items()}
    return value


def _show(value: object, limit: int = 60) -> str:
    if value is None:
        return "null or missing"
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
