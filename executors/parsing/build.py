"""A `RawCall` in a model family's frame -> a canonical `Action`, or the reason why it is none."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from executors.actions import ACTIONS, ALIASES, Action, ArgKind, ArgSpec, validate
from executors.errors import InputError
from executors.geometry import ImageSize, ModelFamily, PointNorm, get_family
from executors.parsing.calls import RawCall
from executors.parsing.literals import MalformedError, read_literal, shown

_START = ("start_point", "start_box", "start_coordinate", "start")
_POINT = ("point", "coordinate", "coordinates", "box", "bbox", "position", *_START)
_END = ("end_point", "end_box", "end_coordinate", "coordinate2", "end")
_TEXT_NAMES: dict[str, tuple[str, ...]] = {
    "content": ("content", "text", "answer", "message", "reason"),
    "key": ("key", "keys", "hotkey", "text"),
    "direction": ("direction",),
    "app_name": ("app_name", "app", "text", "name"),
    "value": ("value", "text", "option"),
    "name": ("name",),
}
_SECONDS = ("seconds", "time", "t", "duration")
_OPPOSITE = {"up": "down", "down": "up", "left": "right", "right": "left"}
_BUTTONS = {
    "back": Action(type="press_back"),
    "home": Action(type="press_home"),
    "menu": Action(type="press_appselect"),
    "enter": Action(type="hotkey", key="enter"),
}

_COORDINATE_TOKENS = re.compile(r"<\|?/?(?:box_start|box_end|point|bbox|box)\|?>|[()\[\]]")
_COORDINATE = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?(?i:nan|inf|infinity)")
_DURATION = re.compile(r"\s*([0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+)\s*(ms|milliseconds|s|sec|secs|seconds?)?\s*")
_QUOTED_COMMA = re.compile(r"['\"]\s*+,\s*+['\"]")
_MAX_COORDINATES_CHARS = 500


class _ContentError(Exception):
    """A value that makes the call no action; its text is the reason."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Width and height of the frame that a reply's coordinates are written in."""

    width: float
    height: float

    @classmethod
    def of(cls, family: ModelFamily | str, image: ImageSize | None) -> Frame:
        """The family's frame for an image of this size.

        Raises:
            InputError: unknown family, no image for a family that counts its pixels, or an aspect ratio above 200.
        """
        family = get_family(family) if isinstance(family, str) else family
        if image is None and family.scale is None:
            raise InputError(f"family {family.name} counts pixels of the resized image: give the image size")
        return cls(*family.frame_size(image or ImageSize(1, 1)))

    def to_norm(self, name: str, x: float, y: float) -> PointNorm:
        """The canonical point; raises _ContentError naming the coordinate that is off the image."""
        for axis, value, limit in (("x", x, self.width), ("y", y, self.height)):
            if not 0.0 <= value <= limit:
                raise _ContentError(f"{name}: {axis}={value:g} is off the image (0..{limit:g})")
        return PointNorm(x / self.width + 0.0, y / self.height + 0.0)


def build_action(
    raw: RawCall, family: ModelFamily | str, image: ImageSize | None, *, need_targets: bool
) -> Action | str:
    """The action that a call means, or one sentence why it is none.

    Verbs are registry names and aliases, and Qwen's tool-call verbs. `swipe`, and `scroll` with two points, are paths
    of the finger and become the opposite direction of content; system_button Menu is the list of recent apps (Qwen's
    schema: "opening the application background menu"); left_click_drag ends at `coordinate` and needs
    `start_coordinate`, since where the pointer was is not in the reply. Arguments an action does not have are ignored;
    an argument that is empty or None counts as missing, but an empty text stays.

    Args:
        raw: a call of `scan_call`.
        family: whose frame the coordinates are in.
        image: the screenshot's size; may be None for families with a relative frame.
        need_targets: whether required points must be there; a forecast leaves them out.

    >>> build_action(RawCall("tap", {"start_box": "(500,250)"}), "ui-tars-1.0", None, need_targets=True).point
    PointNorm(x=0.5, y=0.25)
    >>> build_action(RawCall("fly"), "canonical", None, need_targets=True)
    "'fly' is not an action"
    """
    return build_in_frame(raw, Frame.of(family, image), need_targets=need_targets)


def build_in_frame(raw: RawCall, frame: Frame, *, need_targets: bool) -> Action | str:
    """`build_action` with the frame already worked out."""
    verb = raw.name.lower()
    try:
        if special := _SPECIAL.get(verb):
            action = special(_Arguments(raw, frame, ACTIONS["scroll"].args if verb == "scroll" else ()))
        elif verb in ALIASES:
            spec = ACTIONS[ALIASES[verb]]
            action = _registered(spec.name, _Arguments(raw, frame, spec.args))
        else:
            return f"{shown(raw.name)} is not an action"
    except _ContentError as problem:
        return str(problem)
    problem = validate(action, need_targets=need_targets)
    return action if problem is None else _short(problem)


def _short(problem: str, limit: int = 240) -> str:
    return problem if len(problem) <= limit else problem[:limit] + "..."


class _Arguments:
    """Typed access to a call's arguments by any of their names; None when missing, _ContentError when wrong."""

    def __init__(self, raw: RawCall, frame: Frame, specs: tuple[ArgSpec, ...]) -> None:
        self.frame = frame
        self.values = dict(raw.args)
        positional = raw.positional
        points = [spec for spec in specs if spec.kind is ArgKind.POINT]
        if points and len(positional) in (2, 4) and all(_as_number(value) is not None for value in positional):
            positional = (list(positional),)  # click(100, 200)
        if [spec.kind for spec in specs] == [ArgKind.KEYS] and len(positional) > 1:
            positional = (list(positional),)  # hotkey('ctrl', 'c')
        if len(positional) > max(1, len(specs)):
            raise _ContentError(f"{shown(raw.name)} takes {len(specs)} arguments, {len(positional)} were given")
        for spec, value in zip(specs, positional, strict=False):
            self.values.setdefault(spec.name, value)

    def get(self, names: tuple[str, ...]) -> Any:
        """The first value under any of the names that is not None."""
        return next((value for name in names if (value := self.values.get(name)) is not None), None)

    def xy(self, names: tuple[str, ...]) -> tuple[float, float] | None:
        """A point in the family's own units; of a box with four numbers the centre."""
        value = self.get(names)
        if value is None and names is _POINT and "x" in self.values and "y" in self.values:
            value = [self.values["x"], self.values["y"]]
        if value is None or value in ("", [], {}):
            return None
        numbers = _numbers(value)
        if numbers is None or len(numbers) not in (2, 4):
            raise _ContentError(f"{names[0]}: {shown(value)} is not a point or a box")
        if not all(map(math.isfinite, numbers)):
            raise _ContentError(f"{names[0]}: {shown(value)} holds a number that is not finite")
        if len(numbers) == 4:
            return (numbers[0] + numbers[2]) / 2, (numbers[1] + numbers[3]) / 2
        return numbers[0], numbers[1]

    def point(self, names: tuple[str, ...]) -> PointNorm | None:
        """A canonical point on the image."""
        xy = self.xy(names)
        return None if xy is None else self.frame.to_norm(names[0], *xy)

    def text(self, names: tuple[str, ...]) -> str | None:
        """A text; numbers and truth values are written out."""
        value = self.get(names)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (bool, int, float)):
            return str(value)
        raise _ContentError(f"{names[0]}: {shown(value)} is not text")

    def word(self, name: str) -> str | None:
        """A text in lower case without space around it; an empty one counts as missing."""
        text = self.text((name,))
        return text.strip().lower() or None if text is not None else None

    def seconds(self) -> float | None:
        """A duration from a number or a text such as '2', '2s' or '500ms'."""
        value = self.get(_SECONDS)
        if value is None or value == "":
            return None
        if isinstance(value, str) and len(value) <= 40 and (match := _DURATION.fullmatch(value)):
            return float(match[1]) / (1000.0 if (match[2] or "").startswith("m") else 1.0)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        raise _ContentError(f"seconds: {shown(value)} is not a number of seconds")

    def number(self, name: str) -> float | None:
        """A finite number."""
        value = self.values.get(name)
        if value is None:
            return None
        number = _as_number(value)
        if number is None or not math.isfinite(number):
            raise _ContentError(f"{name}: {shown(value)} is not a number")
        return number

    def keys(self) -> str | None:
        """Key names in lower case joined by single spaces, from a list, 'ctrl c', 'ctrl+c', 'ctrl, c' or 'ctrl','c'."""
        value = self.get(_TEXT_NAMES["key"])
        if value is None:
            return None
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = _listed(value)
        items = value if isinstance(value, list) else _QUOTED_COMMA.sub(" ", str(value)).split()
        names: list[str] = []
        for item in items:
            if not isinstance(item, (str, int)):
                raise _ContentError(f"key: {shown(value)} is not key names")
            names += _split_keys("".join(str(item).split()).lower())
        return " ".join(names)

    def mapping(self) -> Mapping[str, Any]:
        """A tool's arguments, as an object or its JSON text; none means no arguments."""
        value = self.get(("arguments", "args", "parameters"))
        if isinstance(value, str):
            try:
                value = read_literal(value, 0)[0] if value.strip() else {}
            except MalformedError as problem:
                raise _ContentError(f"arguments: {problem}") from None
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _ContentError(f"arguments: {shown(value)} is not an object")
        _refuse_nonfinite(value)
        return value


def _listed(text: str) -> Any:
    """The list that a text such as '["ctrl", "c"]' writes; any other text, such as the key [, as it is."""
    try:
        value, end = read_literal(text, 0)
    except MalformedError:
        return text
    return value if not text[end:].strip() else text


def _split_keys(text: str) -> list[str]:
    if len(text) > 1 and "," in text:
        return [key for name in text.split(",") if name for key in _split_keys(name)] or [","]
    if "+" not in text or len(text) == 1:
        return [text]
    names = [name for name in text.split("+") if name]
    return [*names, "+"] if text.endswith("++") else names or ["+"]


def _refuse_nonfinite(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise _ContentError("arguments: a number is not finite")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _refuse_nonfinite(item)


def _as_number(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and len(value) <= 40 and _COORDINATE.fullmatch(value.strip()):
        return float(value)
    return None


def _numbers(value: Any) -> list[float] | None:
    """The numbers of a coordinate value, or None when it holds anything else."""
    if isinstance(value, str):
        if len(value) > _MAX_COORDINATES_CHARS:
            return None
        value = unicodedata.normalize("NFKC", value)  # full-width brackets, commas and digits
        words = _COORDINATE_TOKENS.sub(" ", value).replace(",", " ").split()
        return [float(word) for word in words] if all(map(_COORDINATE.fullmatch, words)) else None
    if isinstance(value, dict):
        value = [value.get("x"), value.get("y")]
    if not isinstance(value, list) or len(value) > 4:
        return None
    if value and all(isinstance(item, list) and len(item) <= 4 for item in value):
        value = [number for item in value for number in item]
    numbers = [_as_number(item) for item in value]
    return None if None in numbers else numbers


def _registered(name: str, args: _Arguments) -> Action:
    values: dict[str, Any] = {}
    for spec in ACTIONS[name].args:
        match spec.kind:
            case ArgKind.POINT:
                names = {"start_point": _START, "end_point": _END}.get(spec.name, _POINT)
                values[spec.name] = args.point(names)
            case ArgKind.KEYS:
                values[spec.name] = args.keys()
            case ArgKind.SECONDS:
                values[spec.name] = args.seconds()
            case ArgKind.MAPPING:
                values[spec.name] = args.mapping()
            case ArgKind.DIRECTION:
                values[spec.name] = args.word(spec.name)
            case _:
                values[spec.name] = args.text(_TEXT_NAMES[spec.name])
    return Action(type=name, **values)


def _scroll(args: _Arguments) -> Action:
    """`direction` names what to reveal; Qwen's `pixels` above 0 reveal what is above; two points are a finger path."""
    direction = args.word("direction")
    if direction is None and (pixels := args.number("pixels")) is not None:
        direction = _by_sign("pixels", pixels, "up", "down")
    if direction is None and (end := args.xy(_END)) is not None:
        return _finger_path(args, end)
    return Action(type="scroll", point=args.point(_POINT), direction=direction)


def _hscroll(args: _Arguments) -> Action:
    pixels = args.number("pixels")
    if pixels is None:
        raise _ContentError("pixels: hscroll needs it")
    return Action(type="scroll", point=args.point(_POINT), direction=_by_sign("pixels", pixels, "right", "left"))


def _by_sign(name: str, value: float, positive: str, negative: str) -> str:
    if value == 0:
        raise _ContentError(f"{name}: 0 scrolls nowhere")
    return positive if value > 0 else negative


def _swipe(args: _Arguments) -> Action:
    """A finger's movement: its direction, or a path of two points."""
    finger = args.word("direction")
    if finger is not None:
        return Action(type="scroll", point=args.point(_POINT), direction=_OPPOSITE.get(finger, finger))
    end = args.xy(_END)
    if end is None:
        raise _ContentError("end_point: swipe needs it (coordinate2)")
    return _finger_path(args, end)


def _finger_path(args: _Arguments, end: tuple[float, float]) -> Action:
    """The scroll of a finger path: dominant axis in the family's own units, ties vertical, content moves with it.

    Source: GUI-Odyssey's evaluation (strict > for horizontal; no movement at all counts as a finger moving up).
    """
    start = args.xy(_POINT)
    if start is None:
        raise _ContentError("start_point: a swipe needs it")
    point = args.frame.to_norm("start_point", *start)
    args.frame.to_norm("end_point", *end)
    dx, dy = end[0] - start[0], end[1] - start[1]
    if abs(dx) > abs(dy):
        direction = "left" if dx > 0 else "right"
    else:
        direction = "up" if dy > 0 else "down"
    return Action(type="scroll", point=point, direction=direction)


def _left_click_drag(args: _Arguments) -> Action:
    end = args.point(_END)
    if end is not None:  # coordinate -> coordinate2, or start_coordinate -> end_coordinate
        start = args.point(_POINT if args.get(_START) is None else _START)
    else:
        start, end = args.point(_START), args.point(("coordinate", "point"))
    if start is None and end is not None:
        raise _ContentError("start_coordinate: left_click_drag needs it, the reply does not tell where the pointer is")
    return Action(type="drag", start_point=start, end_point=end)


def _system_button(args: _Arguments) -> Action:
    button = args.word("button")
    if button not in _BUTTONS:
        raise _ContentError(f"button: {shown(button)} is not one of Back, Home, Menu, Enter")
    return _BUTTONS[button]


def _terminate(args: _Arguments) -> Action:
    status = args.word("status")
    if status not in ("success", "failure"):
        raise _ContentError(f"status: {shown(status)} is not success or failure")
    return Action(type="finished" if status == "success" else "call_user", content=args.text(_TEXT_NAMES["content"]))


def _answer(args: _Arguments) -> Action:
    content = args.text(_TEXT_NAMES["content"])
    if content is None:
        raise _ContentError("text: answer needs it")
    return Action(type="finished", content=content)


def _interact(args: _Arguments) -> Action:
    return Action(type="call_user", content=args.text(_TEXT_NAMES["content"]))


_SPECIAL: dict[str, Callable[[_Arguments], Action]] = {
    "scroll": _scroll,
    "swipe": _swipe,
    "hscroll": _hscroll,
    "left_click_drag": _left_click_drag,
    "system_button": _system_button,
    "terminate": _terminate,
    "answer": _answer,
    "interact": _interact,
}
