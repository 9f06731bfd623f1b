"""AndroidControl -> trajectories: phone demonstrations, GZIP TFRecord shards with screenshots and element trees.

    episode           one tf.train.Example: N actions, N or N+1 screenshots and accessibility forests
    scroll            `direction` is what to reveal, as ours
    input_text        types only, so it is `type` without a closing newline; the documented `type` taps, types and
                      presses enter
    navigate_*        `press_home`, `press_back`
    finish            the data has no closing step. Episodes of the train and validation splits get a `finished` step on
                      their last screenshot, so that a planner learns to stop; those of the test split do not, because
                      benchmarks count recorded steps only
    no actions        nine released episodes have none and are skipped

`splits.json` must lie beside the shards, because an episode's split is nowhere else; the sub-splits of the test
episodes are taken from `test_subsplits.json` when it is there, first the one to which OS-Atlas assigns the episode.

Source: android_control/README.md of google-research/google-research (0ced6d0). It does not state the data's licence, so
the trajectories name none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from executors.actions import DIRECTIONS, Action
from executors.errors import InputError, MissingFileError
from executors.geometry import ImageSize
from executors.trajectory import Observation, Step, Trajectory
from training.datasets.android_elements import elements_of
from training.datasets.base import Importer, ImportOptions, Notes, RawRecord, read_steps, show, text_of
from training.datasets.json_records import parse_object
from training.datasets.normalise import describe, norm_point, target_around
from training.datasets.screens import ScreenStore
from training.datasets.skip import Skip
from training.datasets.tfrecords import read_example, read_records

SPLITS = ("train", "validation", "test")
SUBSPLITS = ("IDD", "app_unseen", "task_unseen", "category_unseen")
"""The names of test_subsplits.json; "IDD" is spelled so there."""


class AndroidControl(Importer):
    """Reads AndroidControl's shards; a record is one episode."""

    name = "android_control"
    id_field = "episode_id"
    splits = SPLITS + SUBSPLITS

    def __init__(self, options: ImportOptions, screens: ScreenStore) -> None:
        super().__init__(options, screens)
        folder = self.files[0].parent
        self.split_of = {number: name for name, ids in _read_splits(folder / "splits.json").items() for number in ids}
        path = folder / "test_subsplits.json"
        if options.split in SUBSPLITS and not path.is_file():
            raise MissingFileError(f"--split {options.split} needs {path}: download it from the data set's bucket")
        self.subsplits = _read_splits(path) if path.is_file() else {}

    def find_files(self, path: Path) -> list[Path]:
        """The shard, or all shards of a folder."""
        if path.is_file():
            return [path]
        files = sorted(file for file in path.glob("android_control-*-of-*") if file.is_file())
        if not files:
            raise MissingFileError(f"{path} is no shard and holds none: give the folder of android_control-*-of-00020")
        return files

    def read(self, file: Path) -> Iterator[RawRecord]:
        """The shard's records."""
        return read_records(file)

    def convert(self, raw: RawRecord, notes: Notes) -> Trajectory:
        """The trajectory of one episode."""
        features = read_example(raw.data)
        number = _one(features, "episode_id", int)
        notes.record = str(number)
        actions = features.get("actions", [])
        notes.num_source_steps = len(actions)
        main = self.split_of.get(number, "unlisted")
        subsplits = [name for name, ids in self.subsplits.items() if number in ids]
        split = self.choose_split(main, subsplits)
        goal = text_of(_text(_one(features, "goal", bytes), "goal", notes))
        if not goal:
            raise Skip("no goal", "goal", "it is empty")
        if not actions:
            raise Skip("no actions", "actions", "the episode has none")
        episode = _Episode(features, self.screens, notes)
        steps, is_cut = read_steps(actions, episode.read_step, notes, "actions")
        meta: dict[str, Any] = {"subsplits": subsplits} if subsplits else {}
        if is_cut:
            meta["num_source_steps"] = len(actions)
        elif main in ("train", "validation"):
            steps += episode.finish_step(len(actions))
        return Trajectory(
            id=str(number), goal=goal, steps=tuple(steps), source=self.name, platform="phone", split=split,
            licence=self.licence, meta=meta,
        )


class _Episode:
    """The features of one episode while its steps are made."""

    def __init__(self, features: dict[str, list], screens: ScreenStore, notes: Notes) -> None:
        self.features = features
        self.screens = screens
        self.notes = notes

    def read_step(self, raw: object, index: int) -> Step | None:
        """The step of one action; None when it does nothing."""
        name = f"actions[{index}]"
        if not isinstance(raw, bytes):
            raise Skip("wrong action", name, f"{show(raw)} is not text")
        observation = self.observe(index)
        action = action_of(parse_object(raw), observation.image_size, name, self.notes)
        if action is None:
            return None
        instructions = self.features.get("step_instructions", [])
        words = instructions[index] if index < len(instructions) else b""
        words = text_of(_text(words, f"step_instructions[{index}]", self.notes)) if isinstance(words, bytes) else ""
        self.notes.num_instructions_generated += not words
        return Step(
            observation=observation, action=action, instruction=words or describe(action),
            target=target_around(action.point, (element.box for element in observation.elements)),
        )

    def observe(self, index: int) -> Observation:
        """Screenshot and elements before action `index`; the one after the last action is the end."""
        name = f"screenshots[{index}]"
        screenshots = self.features.get("screenshots", [])
        if index >= len(screenshots) or not isinstance(screenshots[index], bytes):
            raise Skip("missing image", name, f"there are {len(screenshots)} screenshots")
        path, size = self.screens.add(screenshots[index], name)
        told = tuple(self._number(f"screenshot_{side}s", index) for side in ("width", "height"))
        if told not in ((None, None), (size.width_px, size.height_px)):
            self.notes.repair("image size taken from the image", name, f"said to be {told[0]}x{told[1]}",
                              f"{size.width_px}x{size.height_px} taken")
        trees = self.features.get("accessibility_trees", [])
        try:
            elements = elements_of(trees[index], size) if index < len(trees) else ()
        except (ValueError, TypeError) as error:
            elements = ()
            self.notes.repair("element tree left out", f"accessibility_trees[{index}]", f"unreadable ({error})"[:200],
                              "elements left out")
        return Observation(image_path=path, image_size=size, elements=elements)

    def _number(self, name: str, index: int) -> int | None:
        values = self.features.get(name, [])
        return values[index] if index < len(values) else None

    def finish_step(self, index: int) -> list[Step]:
        """The closing step on the screenshot after the last action; none when there is no such screenshot."""
        try:
            observation = self.observe(index)
        except Skip as skip:
            self.notes.repair("no finish step", skip.field, skip.message, "the episode ends without one")
            return []
        self.notes.num_steps_added += 1
        action = Action(type="finished")
        return [Step(observation=observation, action=action, instruction=describe(action))]


def action_of(record: dict[str, Any], size: ImageSize, name: str, notes: Notes) -> Action | None:
    """The canonical action of one raw one; None when it writes nothing.

    Args:
        record: the action's JSON.
        size: the screenshot that its pixels are of.
        name: the field, for messages.
        notes: gets the repairs.

    Raises:
        Skip: an unknown action, or a wrong argument.
    """
    kind = record.get("action_type")
    if not isinstance(kind, str):
        raise Skip("wrong action", f"{name}.action_type", f"{show(kind)} is not text")
    match kind:
        case "click" | "long_press":
            return Action(type=kind, point=_point(record, size, name, notes))
        case "scroll":
            direction = record.get("direction")
            if not isinstance(direction, str) or direction.lower() not in DIRECTIONS:
                raise Skip("wrong direction", f"{name}.direction", f"{show(direction)} is not a direction")
            return Action(type="scroll", direction=direction.lower())
        case "open_app":
            app = record.get("app_name")
            if not text_of(app):
                raise Skip("wrong argument", f"{name}.app_name", f"{show(app)} is not a name")
            return Action(type="open_app", app_name=text_of(app))
        case "input_text" | "type":
            text = record.get("text")
            if not isinstance(text, str):
                raise Skip("wrong argument", f"{name}.text", f"{show(text)} is not text")
            if kind == "type":
                return Action(type="type", content=text + "\n", point=_point(record, size, name, notes))
            if not text:
                notes.repair("writing of nothing left out", name, show(record), "step left out")
                notes.skipped_steps["does nothing"] += 1
                return None
            return Action(type="type", content=text)
        case "navigate_home":
            return Action(type="press_home")
        case "navigate_back":
            return Action(type="press_back")
        case "wait":
            return Action(type="wait")
    raise Skip("unknown action", f"{name}.action_type", f"{show(kind)} is not an action of AndroidControl")


def _point(record: dict[str, Any], size: ImageSize, name: str, notes: Notes) -> Any:
    value = [record.get("x"), record.get("y")]
    point, is_moved = norm_point(value, size.width_px, size.height_px, name)
    if is_moved:
        notes.repair("coordinate moved to the edge", name, show(value), "mended")
    return point


def _one(features: dict[str, list], name: str, kind: type) -> Any:
    values = features.get(name, [])
    if len(values) != 1 or not isinstance(values[0], kind):
        raise Skip(f"wrong {name}", name, f"{len(values)} values, or not of the right kind")
    return values[0]


def _text(data: bytes, name: str, notes: Notes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        notes.repair("text not UTF-8", name, f"wrong byte at {error.start}", "mended")
        return data.decode(errors="replace")


def _read_splits(path: Path) -> dict[str, frozenset[int]]:
    try:
        record = parse_object(path.read_bytes())
    except OSError as error:
        raise MissingFileError(
            f"cannot read {path} ({error.strerror}): download it from the data set's bucket, it tells the splits"
        ) from None
    except Skip as skip:
        raise InputError(f"{path}: {skip.message}: download it again") from None
    for name, ids in record.items():
        if not isinstance(ids, list) or not all(isinstance(number, int) for number in ids):
            raise InputError(f"{path}: field {name!r} is not a list of episode ids: download it again")
    return {name: frozenset(ids) for name, ids in record.items()}
