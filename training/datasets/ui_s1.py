"""UI-S1's standardised AndroidControl -> trajectories: JSON Lines of Qwen `mobile_use` arguments, screenshots apart.

    swipe            `check_options.direction` is AndroidControl's own direction, what to reveal, and is taken. The two
                     points are made up by the release (always the same), and contradict it on the horizontal axis:
                     "right" goes from left to right there, which would reveal the left side
    coordinates      pixels of the screenshot. Its size comes from the screenshot; without screenshots (they are not in
                     the file) from the episode's swipe, which spans a known share of the screen; else the smallest of
                     `SCREENS_PX` that holds all points, counted as "screen size assumed". `meta.screen_px` tells it
    candidate_bbox   boxes around the target: the smallest is the step's, unless it fills the screen; all are kept in
                     `meta.target_boxes`, one list a step (null without any)
    open             `open_app`; its `candidate_bbox` (the app's icon, where it is visible) is kept in the same way
    system_button    Back, Home, Menu (recent apps) -> `press_back`, `press_home`, `press_appselect`; Enter -> `hotkey`
    terminate        `finished` or `call_user`; the released test file has none, and none is added
    screenshots      looked for under `--images` by file name; without that folder the steps have none

Source: UI-S1 in X-PLUG/MobileAgent (MIT), evaluation/dataset; all 771 episodes of part 1 of the test file were read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from executors.actions import DIRECTIONS, Action
from executors.errors import MissingFileError
from executors.geometry import BoxNorm, ImageSize
from executors.trajectory import Observation, Step, Trajectory, box_to_json
from training.datasets.base import Importer, ImportOptions, Notes, RawRecord, read_steps, show, text_of
from training.datasets.json_records import parse_object, read_lines
from training.datasets.normalise import clip, describe, norm_point, target_around
from training.datasets.screens import ImageFolders, ScreenStore
from training.datasets.skip import Skip

SCREENS_PX = (ImageSize(1080, 2400), ImageSize(1440, 3120))
"""The screens that the swipes of the released file were made for, the usual one first."""

_BUTTONS = {"back": "press_back", "home": "press_home", "menu": "press_appselect"}


class UiS1(Importer):
    """Reads UI-S1's AndroidControl file; a record is one episode."""

    name = "ui_s1"
    licence = "MIT"
    id_field = "episode_id"

    def __init__(self, options: ImportOptions, screens: ScreenStore) -> None:
        super().__init__(options, screens)
        self.images = ImageFolders(self.files[0].parent, options.images, (), is_nested=True)

    def find_files(self, path: Path) -> list[Path]:
        """The file, or all .jsonl files of a folder."""
        if path.is_file():
            return [path]
        files = sorted(path.glob("*.jsonl"))
        if not files:
            raise MissingFileError(f"{path} is no file and holds no .jsonl file: give UI-S1's android_control_*.jsonl")
        return files

    def read(self, file: Path) -> Iterator[RawRecord]:
        """The file's lines."""
        return read_lines(file)

    def convert(self, raw: RawRecord, notes: Notes) -> Trajectory:
        """The trajectory of one line."""
        record = parse_object(raw.data)
        steps = record.get("steps")
        notes.num_source_steps = len(steps) if isinstance(steps, list) else 0
        number = record.get("episode_id")
        if not isinstance(number, (int, str)) or isinstance(number, bool) or not str(number).strip():
            raise Skip("wrong episode_id", "episode_id", f"{show(number)} is not an id")
        notes.record = str(number)
        goal = text_of(record.get("goal"))
        if not goal:
            raise Skip("no goal", "goal", f"{show(record.get('goal'))} is not text")
        if not isinstance(steps, list) or not steps:
            raise Skip("wrong steps", "steps", f"{show(steps)} is not a list of steps")
        episode = _Episode(self, steps, notes)
        kept, is_cut = read_steps(steps, episode.read_step, notes)
        meta: dict[str, Any] = {"screen_px": [episode.size.width_px, episode.size.height_px],
                                "target_boxes": episode.target_boxes}
        if is_cut:
            meta["num_source_steps"] = len(steps)
        is_successful = None if is_cut else record.get("is_successful")
        outcome = {True: "success", False: "failure"}[is_successful] if isinstance(is_successful, bool) else ""
        split = self.choose_split("test" if "test" in raw.file.rpartition("/")[2] else "train")
        return Trajectory(
            id=notes.record, goal=goal, steps=tuple(kept), source=self.name, platform="phone", split=split,
            licence=self.licence, outcome=outcome, meta=meta,
        )


class _Episode:
    """One episode while its steps are made: the screen's size, and the target boxes of the steps so far."""

    def __init__(self, importer: UiS1, steps: list[Any], notes: Notes) -> None:
        self.importer = importer
        self.notes = notes
        self.target_boxes: list[list[list[float]] | None] = []
        self.size = SCREENS_PX[0]
        if not importer.images.folders:
            self.size = self._guess_size(steps)

    def _guess_size(self, steps: list[Any]) -> ImageSize:
        arguments = [step["action_content"] for step in steps
                     if isinstance(step, dict) and isinstance(step.get("action_content"), dict)]
        for size in SCREENS_PX:
            if any(_spans(size, action) for action in arguments):
                return size
        points = [action["coordinate"] for action in arguments if action.get("action") in ("click", "long_press")
                  and _is_point(action.get("coordinate"))]
        if points:
            self.notes.repair("screen size assumed", "steps", "no screenshot and no swipe tells it",
                              "the smallest usual screen that holds all points is taken")
        for size in SCREENS_PX:
            if all(x <= size.width_px and y <= size.height_px for x, y in points):
                return size
        return SCREENS_PX[-1]

    def read_step(self, raw: Any, index: int) -> Step | None:
        """The step of one raw one; None when it writes nothing."""
        place = f"steps[{index}]"
        action_content = raw.get("action_content") if isinstance(raw, dict) else None
        if not isinstance(action_content, dict):
            raise Skip("wrong step", f"{place}.action_content", f"{show(action_content)} is not an object")
        options = raw.get("check_options")
        options = options if isinstance(options, dict) else {}
        observation = self._observe(raw.get("screenshot"), f"{place}.screenshot")
        action = action_of(action_content, options, self.size, f"{place}.action_content", self.notes)
        if action is None:
            return None
        boxes = self._boxes(options.get("candidate_bbox"), f"{place}.check_options.candidate_bbox")
        words = text_of(raw.get("step_instruction"))
        self.notes.num_instructions_generated += not words
        self.target_boxes.append([box_to_json(box) for box in boxes] or None)
        return Step(
            observation=observation, action=action, instruction=words or describe(action),
            target=target_around(action.point, boxes),
        )

    def _observe(self, screenshot: Any, name: str) -> Observation:
        images = self.importer.images
        if not images.folders:
            return Observation()
        file = screenshot.replace("\\", "/").rpartition("/")[2] if isinstance(screenshot, str) else screenshot
        path, self.size = self.importer.screens.add(images.read(file, name), name)
        return Observation(image_path=path, image_size=self.size)

    def _boxes(self, value: Any, name: str) -> list[BoxNorm]:
        if value is None:
            return []
        boxes = []
        for box in value if isinstance(value, list) else [value]:
            is_box = isinstance(box, list) and len(box) == 4 and _is_point(box[:2]) and _is_point(box[2:])
            if not is_box or not (box[0] < box[2] and box[1] < box[3]):
                self.notes.repair("target box left out", name, f"{show(box)} is not [left, top, right, bottom]",
                                  "box left out")
                continue
            boxes.append(clip(BoxNorm.from_px(*box, self.size)))
        return [box for box in boxes if box is not None]


def _spans(size: ImageSize, action: dict[str, Any]) -> bool:
    """Whether a swipe of the release goes over half of a screen of this size, up, down, left or right."""
    if action.get("action") != "swipe":
        return False
    width, height = size.width_px, size.height_px
    path = [action.get("coordinate"), action.get("coordinate2")]
    low, high = [width * 0.5, height * 0.75], [width * 0.5, height * 0.25]
    left, right = [width * 0.25, height * 0.5], [width * 0.75, height * 0.5]
    return path in ([low, high], [high, low], [left, right], [right, left])


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_px(value[0]) and _is_px(value[1])


def _is_px(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e6


def action_of(
    content: dict[str, Any], options: dict[str, Any], size: ImageSize, name: str, notes: Notes
) -> Action | None:
    """The canonical action of one step's arguments; None when it writes nothing.

    Args:
        content: the step's `action_content`.
        options: its `check_options`, which hold a swipe's direction.
        size: the screen that its pixels are of.
        name: the field, for messages.
        notes: gets the repairs.

    Raises:
        Skip: an unknown action, or a wrong argument.
    """
    kind = content.get("action")
    text = content.get("text")
    match kind:
        case "click" | "long_press":
            point, is_moved = norm_point(content.get("coordinate"), size.width_px, size.height_px, f"{name}.coordinate")
            if is_moved:
                notes.repair("coordinate moved to the edge", f"{name}.coordinate", show(content), "mended")
            seconds = content.get("time") if kind == "long_press" else None
            return Action(type=kind, point=point, seconds=_seconds(seconds, name))
        case "swipe":
            direction = options.get("direction")
            if direction not in DIRECTIONS:
                raise Skip("wrong direction", f"{name} (check_options.direction)",
                           f"{show(direction)} is not a direction, and the swipe's points are made up")
            return Action(type="scroll", direction=direction)
        case "type" | "open":
            if not isinstance(text, str) or (kind == "open" and not text.strip()):
                raise Skip("wrong argument", f"{name}.text", f"{show(text)} is not text")
            if not text:
                notes.repair("writing of nothing left out", name, show(content), "step left out")
                notes.skipped_steps["does nothing"] += 1
                return None
            if kind == "open":
                return Action(type="open_app", app_name=text_of(text))
            return Action(type="type", content=text)
        case "system_button":
            button = content.get("button")
            key = button.lower() if isinstance(button, str) else ""
            if key == "enter":
                return Action(type="hotkey", key="enter")
            if key not in _BUTTONS:
                raise Skip("wrong argument", f"{name}.button", f"{show(button)} is not Back, Home, Menu or Enter")
            return Action(type=_BUTTONS[key])
        case "wait":
            return Action(type="wait", seconds=_seconds(content.get("time"), name))
        case "terminate":
            status = content.get("status")
            if status not in ("success", "failure"):
                raise Skip("wrong argument", f"{name}.status", f"{show(status)} is not success or failure")
            return Action(type="finished" if status == "success" else "call_user")
    raise Skip("unknown action", f"{name}.action", f"{show(kind)} is not an action of mobile_use")


def _seconds(value: Any, name: str) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 3600:
        raise Skip("wrong argument", f"{name}.time", f"{show(value)} is not 0..3600 seconds")
    return float(value)
