"""What is recorded, stored and trained on: elements, observations, steps, trajectories.

One JSON form with a schema version: a trajectory is one JSON object, a file of them is JSON Lines, and screenshots
are PNG files named by relative path from the folder of that file. Images are loaded when asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.actions import Action
from executors.errors import InputError, MissingFileError, OutputError, WorkbenchError
from executors.files import partial_path
from executors.geometry import BoxNorm, ImageSize

if TYPE_CHECKING:
    from PIL.Image import Image

SCHEMA_VERSION = 1

STEP_FLAGS = ("interruption", "redundant", "incorrect", "ambiguous", "private")
"""interruption: dismisses something that came by chance; redundant or incorrect: not to be imitated;
ambiguous: several actions would be right; private: the screenshot holds private data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One thing on a screen that a person could point at.

    `role` is a short lower-case word (button, switch, field, row, icon, tab, slider, text, image ...), `text` its
    label as shown, `value` its state in words ("on", "off", the text of a field), `box` its canonical box.
    """

    role: str
    text: str
    box: BoxNorm
    value: str | None = None
    id: str = ""
    is_clickable: bool = True
    is_focused: bool = False

    def to_json(self) -> dict[str, Any]:
        """The element as a JSON object; defaults are left out."""
        record: dict[str, Any] = {"role": self.role, "text": self.text, "box": box_to_json(self.box)}
        if self.value is not None:
            record["value"] = self.value
        if self.id:
            record["id"] = self.id
        if not self.is_clickable:
            record["is_clickable"] = False
        if self.is_focused:
            record["is_focused"] = True
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Element:
        """The element of a `to_json` record; raises InputError naming the field."""
        return cls(
            role=_get(record, "role", str),
            text=_get(record, "text", str),
            box=box_from_json(record.get("box"), "box"),
            value=_get(record, "value", str, None),
            id=_get(record, "id", str, ""),
            is_clickable=_get(record, "is_clickable", bool, True),
            is_focused=_get(record, "is_focused", bool, False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the agent sees at one moment: a screenshot, an element tree, or a tool's text answer.

    The screenshot is held as a PIL RGB image or named by `image_path`; `image_size` is always its real size when
    there is one. `summary` is the short text that stands for this observation in a history (the screen's title).
    """

    image_size: ImageSize | None = None
    image: Image | None = field(default=None, compare=False, repr=False)
    image_path: Path | None = None
    elements: tuple[Element, ...] = ()
    summary: str = ""
    text: str | None = None

    def load_image(self) -> Image:
        """The screenshot as a PIL RGB image.

        Raises:
            MissingFileError: there is no screenshot or its file is gone.
            InputError: the file is not an image.
        """
        if self.image is not None:
            return self.image
        return load_screenshot(self.image_path)


def load_screenshot(path: Path | None) -> Image:
    """The image file as PIL RGB; raises MissingFileError or InputError with the path."""
    import PIL.Image

    if path is None:
        raise MissingFileError("this observation has no screenshot: import it again with its images")
    try:
        with PIL.Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise MissingFileError(f"screenshot {path} does not exist: put it back or import again") from None
    except (OSError, PIL.Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise InputError(f"screenshot {path} is not a readable image ({error}): replace the file") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: the observation before the action, the action, and its instruction in words.

    `thought` is the reasoning that led to it, `target` the box of the element meant, where known, `error` what an
    executor reported when the action failed.
    """

    observation: Observation
    action: Action
    instruction: str
    thought: str = ""
    target: BoxNorm | None = None
    flags: frozenset[str] = frozenset()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """A goal and the steps taken for it.

    `platform` is "phone", "desktop", "browser" or "tools"; `outcome` is "success", "failure", "impossible" or ""
    (unknown); `meta` holds JSON values of the source (task template, seed, level ...).
    """

    id: str
    goal: str
    steps: tuple[Step, ...]
    source: str
    platform: str
    split: str = "train"
    licence: str = ""
    outcome: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


def box_to_json(box: BoxNorm) -> list[float]:
    """[left, top, right, bottom], rounded to five decimals."""
    return [round(v, 5) for v in (box.left, box.top, box.right, box.bottom)]


def box_from_json(value: object, name: str) -> BoxNorm:
    """The box of [left, top, right, bottom]; raises InputError naming the field."""
    is_box = isinstance(value, (list, tuple)) and len(value) == 4
    if not is_box or not all(isinstance(v, (int, float)) and not isinstance(v, bool) and isfinite(v) for v in value):
        raise InputError(f"field {name!r}: {value!r} is not [left, top, right, bottom] in 0..1")
    return BoxNorm(*(float(v) for v in value))


_REQUIRED = object()


def _get(record: Mapping[str, Any], name: str, kind: type, default: Any = _REQUIRED) -> Any:
    if not isinstance(record, Mapping):
        raise InputError(f"{record!r} is not a JSON object with field {name!r}")
    value = record.get(name, default)
    if value is _REQUIRED:
        raise InputError(f"field {name!r} is missing")
    if value is not default and not isinstance(value, kind):
        raise InputError(f"field {name!r}: {value!r} is not a {kind.__name__}")
    return value


def step_to_json(step: Step, image_path: str | None) -> dict[str, Any]:
    """The step as a JSON object, its screenshot named by `image_path` (relative to the file's folder)."""
    seen = step.observation
    observation: dict[str, Any] = {"summary": seen.summary}
    if image_path is not None:
        observation["image"] = image_path
    if seen.image_size is not None:
        observation["image_size"] = [seen.image_size.width_px, seen.image_size.height_px]
    if seen.elements:
        observation["elements"] = [element.to_json() for element in seen.elements]
    if seen.text is not None:
        observation["text"] = seen.text
    record: dict[str, Any] = {
        "observation": observation,
        "action": step.action.to_json(),
        "instruction": step.instruction,
    }
    if step.thought:
        record["thought"] = step.thought
    if step.target is not None:
        record["target"] = box_to_json(step.target)
    if step.flags:
        record["flags"] = sorted(step.flags)
    if step.error is not None:
        record["error"] = step.error
    return record


def step_from_json(record: Mapping[str, Any], folder: Path) -> Step:
    """The step of a `step_to_json` record; image paths are resolved in `folder` and may not leave it."""
    seen = _get(record, "observation", dict)
    image = _get(seen, "image", str, None)
    size = seen.get("image_size")
    is_size = isinstance(size, list) and len(size) == 2 and all(type(v) is int and v >= 1 for v in size)
    if size is not None and not is_size:
        raise InputError(f"field 'image_size': {size!r} is not [width, height] in whole pixels")
    flags = _get(record, "flags", list, [])
    for flag in flags:
        if flag not in STEP_FLAGS:
            raise InputError(f"field 'flags': {flag!r} is not one of {', '.join(STEP_FLAGS)}")
    observation = Observation(
        image_size=None if size is None else ImageSize(*size),
        image_path=None if image is None else _resolve_inside(folder, image),
        elements=tuple(Element.from_json(e) for e in _get(seen, "elements", list, [])),
        summary=_get(seen, "summary", str, ""),
        text=_get(seen, "text", str, None),
    )
    target = record.get("target")
    return Step(
        observation=observation,
        action=Action.from_json(_get(record, "action", dict)),
        instruction=_get(record, "instruction", str),
        thought=_get(record, "thought", str, ""),
        target=None if target is None else box_from_json(target, "target"),
        flags=frozenset(flags),
        error=_get(record, "error", str, None),
    )


def _resolve_inside(folder: Path, name: str) -> Path:
    try:
        path = (folder / name).resolve()
    except (OSError, ValueError, RuntimeError):
        path = None  # a NUL character, or a circle of links
    if path is None or not path.is_relative_to(folder.resolve()):
        raise InputError(f"field 'image': {name!r} leaves the folder of its file: use a path below it")
    return path


def trajectory_to_json(trajectory: Trajectory, image_paths: Iterable[str | None]) -> dict[str, Any]:
    """The trajectory as a JSON object with its schema version; one image path (or None) per step."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": trajectory.id,
        "goal": trajectory.goal,
        "source": trajectory.source,
        "platform": trajectory.platform,
        "split": trajectory.split,
        "licence": trajectory.licence,
        "outcome": trajectory.outcome,
        "meta": dict(trajectory.meta),
        "steps": [step_to_json(s, p) for s, p in zip(trajectory.steps, image_paths, strict=True)],
    }


def trajectory_from_json(record: Mapping[str, Any], folder: Path) -> Trajectory:
    """The trajectory of a `trajectory_to_json` record.

    Args:
        record: the JSON object.
        folder: the folder that image paths are relative to.

    Raises:
        InputError: another schema version, or a missing or wrong field, which the message names.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"a trajectory is a JSON object, not {type(record).__name__}")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"field 'schema_version': {record.get('schema_version')!r} is not {SCHEMA_VERSION}: "
            "write the file again with this version's `tracer1 import`"
        )
    steps = []
    for number, step in enumerate(_get(record, "steps", list)):
        try:
            steps.append(step_from_json(step, folder))
        except InputError as error:
            raise InputError(f"step {number}: {error}") from None
    return Trajectory(
        id=_get(record, "id", str),
        goal=_get(record, "goal", str),
        source=_get(record, "source", str),
        platform=_get(record, "platform", str),
        split=_get(record, "split", str, "train"),
        licence=_get(record, "licence", str, ""),
        outcome=_get(record, "outcome", str, ""),
        meta=_get(record, "meta", dict, {}),
        steps=tuple(steps),
    )


def write_trajectories(path: Path, trajectories: Iterable[Trajectory]) -> int:
    """Writes a JSON Lines file and the screenshots beside it; returns how many trajectories were written.

    Screenshots go to `<stem>_images/` beside the file, named by content hash, so equal screens are stored once. The
    file is written under a temporary name and moved into place at the end.

    Raises:
        OutputError: the folder cannot be written.
    """
    image_folder = path.parent / f"{path.stem}_images"
    temporary: Path | None = None
    count = 0
    try:
        temporary = partial_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as out:
            for trajectory in trajectories:
                names = [store_screenshot(step.observation, image_folder, path.parent) for step in trajectory.steps]
                out.write(json_bytes(trajectory_to_json(trajectory, names)))
                count += 1
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, WorkbenchError):
            raise
        raise OutputError(f"cannot write {path} ({error.strerror or error}): choose a folder you may write") from None
    finally:
        with contextlib.suppress(OSError):
            if temporary is not None:
                temporary.unlink(missing_ok=True)
    return count


def json_bytes(record: dict[str, Any], *, indent: int | None = None) -> bytes:
    r"""The record as JSON in UTF-8 with a newline; where it holds half a surrogate pair, as escapes throughout.

    >>> json_bytes({"goal": "Größe"}).decode()
    '{"goal": "Größe"}\n'
    >>> json_bytes({"goal": "\ud83d"})
    b'{"goal": "\\ud83d"}\n'
    """
    try:
        return (json.dumps(record, ensure_ascii=False, indent=indent) + "\n").encode()
    except UnicodeEncodeError:  # as models and web pages write it: only an escape can hold it
        return (json.dumps(record, indent=indent) + "\n").encode()


def store_screenshot(observation: Observation, image_folder: Path, base: Path) -> str | None:
    """Stores the screenshot in the folder under its content's hash; its path from `base`, None when there is none.

    Raises:
        MissingFileError: the screenshot's file is gone or unreadable.
        OSError: the folder cannot be written.
    """
    if observation.image is None and observation.image_path is None:
        return None
    data, suffix = image_bytes(observation)
    target = image_folder / f"{hashlib.sha256(data).hexdigest()[:24]}{suffix}"
    if not target.exists():
        image_folder.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(target.name + ".partial")
        temporary.write_bytes(data)
        temporary.replace(target)
    return target.relative_to(base).as_posix()


def image_bytes(observation: Observation) -> tuple[bytes, str]:
    """The screenshot as the bytes and the suffix of an image file: its own file as it is, else a PNG.

    Raises:
        MissingFileError: there is no screenshot, or its file is gone or unreadable.
    """
    if observation.image_path is not None:
        try:
            data = observation.image_path.read_bytes()
        except OSError as error:
            raise MissingFileError(
                f"cannot read screenshot {observation.image_path} ({error.strerror}): put it back or import again"
            ) from None
        return data, observation.image_path.suffix.lower() or ".png"
    if observation.image is None:
        raise MissingFileError("this observation has no screenshot: import it again with its images")
    buffer = io.BytesIO()
    observation.image.save(buffer, format="PNG")
    return buffer.getvalue(), ".png"


def read_trajectories(path: Path) -> Iterator[Trajectory]:
    """The trajectories of a JSON Lines file, one by one.

    Raises:
        MissingFileError: the file does not exist.
        InputError: a line is not a trajectory; the message names file, line and field.
    """
    try:
        lines = path.open("rb")
    except OSError as error:
        raise MissingFileError(f"cannot read trajectories {path} ({error.strerror}): check the path") from None
    with lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8"))
                yield trajectory_from_json(record, path.parent)
            except InputError as error:
                raise InputError(f"{path} line {number}: {error}") from None
            except (ValueError, RecursionError) as error:  # a whole number of too many digits is a bare ValueError
                reason = getattr(error, "msg", None) or error
                raise InputError(f"{path} line {number}: not JSON ({reason}): mend or remove the line") from None


def with_meta(trajectory: Trajectory, **values: Any) -> Trajectory:
    """A copy with these entries added to `meta`."""
    return replace(trajectory, meta={**trajectory.meta, **values})
