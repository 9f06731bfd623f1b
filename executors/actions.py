"""The one registry of actions.

Every other place derives from `ACTIONS`: the prompt text (`prompt_text`), the parser (executors.parsing), the
formatter (`format_call`), validation (`validate`), the executors' mappings and the overlay's shapes. The verbs are
UI-TARS's computer and mobile spaces with the additions named in each `ActionSpec.spaces`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from executors.errors import InputError
from executors.geometry import ImageSize, ModelFamily, PointNorm, get_family


class Space(StrEnum):
    """Where an action exists."""

    COMPUTER = "computer"
    MOBILE = "mobile"
    BROWSER = "browser"
    TOOLS = "tools"


class ArgKind(StrEnum):
    """What an argument holds, which decides how it is parsed, written and checked."""

    POINT = "point"
    TEXT = "text"
    KEYS = "keys"
    DIRECTION = "direction"
    SECONDS = "seconds"
    NAME = "name"
    MAPPING = "mapping"


class Shape(StrEnum):
    """How the action is drawn on a screenshot."""

    RING = "ring"
    DOUBLE_RING = "double-ring"
    HALF_RING = "half-ring"
    HOLD_RING = "hold-ring"
    HOVER = "hover"
    ARROW = "arrow"
    CHEVRON = "chevron"
    CARET = "caret"
    KEY = "key"
    CLOCK = "clock"
    APP = "app"
    FLAG_DONE = "flag-done"
    FLAG_IMPOSSIBLE = "flag-impossible"
    CALL = "call"


DIRECTIONS = ("up", "down", "left", "right")


@dataclass(frozen=True, slots=True)
class ArgSpec:
    """One argument: its name (a field of `Action`), its kind, and whether an executor needs it."""

    name: str
    kind: ArgKind
    required: bool = True
    doc: str = ""


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action: its arguments, the spaces it belongs to, its drawing and one line for prompts."""

    name: str
    args: tuple[ArgSpec, ...]
    spaces: frozenset[Space]
    shape: Shape
    doc: str
    aliases: tuple[str, ...] = ()
    is_terminal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action with its arguments; arguments the type does not have are None.

    Coordinates are canonical 0..1. `direction` is the direction of the content to reveal ("down" shows what is
    below), never the finger's. `content` is text to type or a final answer; a trailing newline in `type` submits.
    `key` is lower-case key names joined by single spaces ("ctrl c").
    """

    type: str
    point: PointNorm | None = None
    start_point: PointNorm | None = None
    end_point: PointNorm | None = None
    content: str | None = None
    key: str | None = None
    direction: str | None = None
    seconds: float | None = None
    app_name: str | None = None
    value: str | None = None
    name: str | None = None
    arguments: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def spec(self) -> ActionSpec:
        """The registry entry of this action's type."""
        return ACTIONS[self.type]

    @property
    def is_terminal(self) -> bool:
        """True for `finished` and `call_user`, which end an episode."""
        return self.spec.is_terminal

    def to_json(self) -> dict[str, Any]:
        """A JSON object with "type" and the arguments that are set; points as [x, y].

        >>> Action(type="click", point=PointNorm(0.5, 0.25)).to_json()
        {'type': 'click', 'point': [0.5, 0.25]}
        """
        record: dict[str, Any] = {}
        for name in _FIELDS:
            value = getattr(self, name)
            if isinstance(value, PointNorm):
                record[name] = [value.x, value.y]
            elif value is not None:
                record[name] = dict(value) if name == "arguments" else value
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Action:
        """The action of a `to_json` record.

        Raises:
            InputError: unknown type, unknown argument or a wrong value; the message names the field.
        """
        action = cls._build(record)
        problem = validate(action, need_targets=False)
        if problem is not None:
            raise InputError(f"action record {json.dumps(dict(record), default=str)}: {problem}")
        return action

    @classmethod
    def _build(cls, record: Mapping[str, Any]) -> Action:
        if not isinstance(record, Mapping) or record.get("type") not in ACTIONS:
            found = record.get("type") if isinstance(record, Mapping) else record
            raise InputError(f"field 'type': {found!r} is not an action: choose one of {', '.join(ACTIONS)}")
        values: dict[str, Any] = {}
        for key, value in record.items():
            if key not in _FIELDS:
                raise InputError(f"field {key!r} is not an argument of any action: remove it")
            if key in ("point", "start_point", "end_point") and value is not None:
                if not (isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value))):
                    raise InputError(f"field {key!r}: {value!r} is not [x, y] with two numbers 0..1")
                value = PointNorm(float(value[0]), float(value[1]))
            values[key] = value
        return cls(**values)


_FIELDS = tuple(f.name for f in fields(Action))
"""Read once: every step that is read, checked or written goes through them."""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_POINT = ArgSpec("point", ArgKind.POINT)
_C, _M, _B, _T = Space.COMPUTER, Space.MOBILE, Space.BROWSER, Space.TOOLS


def _spec(
    name: str,
    args: tuple[ArgSpec, ...],
    spaces: tuple[Space, ...],
    shape: Shape,
    doc: str,
    *,
    aliases: tuple[str, ...] = (),
    is_terminal: bool = False,
) -> ActionSpec:
    return ActionSpec(name, args, frozenset(spaces), shape, doc, aliases, is_terminal)


# Source of names and arguments: UI-TARS prompt.py COMPUTER_USE_DOUBAO and MOBILE_USE_DOUBAO (commit 582f3a7), its
# GUI-Odyssey and Mind2Web spaces; triple_click and middle_click from Qwen's computer_use and AgentNet.
ACTIONS: dict[str, ActionSpec] = {
    spec.name: spec
    for spec in (
        _spec("click", (_POINT,), (_C, _M, _B), Shape.RING, "Tap or left-click a target.",
              aliases=("left_click", "left_single", "tap")),
        _spec("left_double", (_POINT,), (_C, _B), Shape.DOUBLE_RING, "Double-click a target.",
              aliases=("double_click", "doubleclick")),
        _spec("right_single", (_POINT,), (_C,), Shape.HALF_RING, "Right-click a target.",
              aliases=("right_click", "rightclick")),
        _spec("middle_click", (_POINT,), (_C,), Shape.HALF_RING, "Middle-click a target.", aliases=("middleclick",)),
        _spec("triple_click", (_POINT,), (_C,), Shape.DOUBLE_RING, "Triple-click a target, which selects a line.",
              aliases=("tripleclick", "left_triple")),
        _spec("hover", (_POINT,), (_C, _B), Shape.HOVER, "Move the pointer onto a target.",
              aliases=("mouse_move", "move_to", "moveto")),
        _spec("long_press", (_POINT, ArgSpec("seconds", ArgKind.SECONDS, False, "how long")), (_M,), Shape.HOLD_RING,
              "Press and hold a target."),
        _spec("drag", (ArgSpec("start_point", ArgKind.POINT), ArgSpec("end_point", ArgKind.POINT)), (_C, _M, _B),
              Shape.ARROW, "Drag from one place to another.", aliases=("left_click_drag",)),
        _spec("scroll", (ArgSpec("point", ArgKind.POINT, False), ArgSpec("direction", ArgKind.DIRECTION)),
              (_C, _M, _B), Shape.CHEVRON, "Reveal more content in a direction: up, down, left or right."),
        _spec("type", (ArgSpec("content", ArgKind.TEXT), ArgSpec("point", ArgKind.POINT, False)), (_C, _M, _B),
              Shape.CARET, "Type text into the focused field; end it with \\n to submit.", aliases=("input_text",)),
        _spec("select", (_POINT, ArgSpec("value", ArgKind.TEXT, False)), (_B,), Shape.RING,
              "Select an option of a drop-down."),
        _spec("hotkey", (ArgSpec("key", ArgKind.KEYS),), (_C, _B), Shape.KEY,
              "Press keys together, such as 'ctrl c'; lower case, joined by spaces.", aliases=("press", "key")),
        _spec("open_app", (ArgSpec("app_name", ArgKind.NAME),), (_M,), Shape.APP, "Open an app by name.",
              aliases=("open",)),
        _spec("press_home", (), (_M,), Shape.KEY, "Go to the home screen."),
        _spec("press_back", (), (_M,), Shape.KEY, "Go back one screen."),
        _spec("press_appselect", (), (_M,), Shape.KEY, "Show the recent apps.", aliases=("press_recent",)),
        _spec("wait", (ArgSpec("seconds", ArgKind.SECONDS, False),), (_C, _M, _B), Shape.CLOCK,
              "Wait and look again."),
        _spec("finished", (ArgSpec("content", ArgKind.TEXT, False, "the answer, if one was asked"),),
              (_C, _M, _B, _T), Shape.FLAG_DONE, "The goal is reached; give the answer if one was asked.",
              is_terminal=True),
        _spec("call_user", (ArgSpec("content", ArgKind.TEXT, False, "the reason"),), (_C, _M, _B, _T),
              Shape.FLAG_IMPOSSIBLE, "The goal cannot be reached, or the user's help is needed.",
              aliases=("impossible",), is_terminal=True),
        _spec("tool_call", (ArgSpec("name", ArgKind.NAME), ArgSpec("arguments", ArgKind.MAPPING)), (_T,), Shape.CALL,
              "Call a tool by name with its arguments."),
    )
}

ALIASES: dict[str, str] = {alias: spec.name for spec in ACTIONS.values() for alias in (*spec.aliases, spec.name)}


def actions_in(*spaces: Space) -> tuple[ActionSpec, ...]:
    """The registry's actions that exist in any of the spaces, in registry order."""
    return tuple(spec for spec in ACTIONS.values() if spec.spaces & set(spaces))


def validate(action: Action, *, need_targets: bool = True) -> str | None:
    """None when the action is well formed, else one sentence naming the field and what is wrong.

    Args:
        action: the action to check.
        need_targets: also demand required points; a planner's forecast leaves them to the tool agent.

    >>> validate(Action(type="scroll", direction="sideways"))
    "field 'direction': 'sideways' is not one of up, down, left, right"
    """
    spec = ACTIONS.get(action.type)
    if spec is None:
        return f"field 'type': {action.type!r} is not an action"
    for name in _FIELDS:
        value = getattr(action, name)
        if name == "type" or value is None:
            continue
        arg = next((arg for arg in spec.args if arg.name == name), None)
        if arg is None:
            return f"field {name!r}: {action.type} does not take it"
        problem = _check_value(arg, value)
        if problem is not None:
            return f"field {name!r}: {problem}"
    for arg in spec.args:
        is_missing = getattr(action, arg.name) is None
        if arg.required and is_missing and (need_targets or arg.kind is not ArgKind.POINT):
            return f"field {arg.name!r}: {action.type} needs it"
    return None


def _check_value(arg: ArgSpec, value: object) -> str | None:
    match arg.kind:
        case ArgKind.POINT:
            if not isinstance(value, PointNorm):
                return f"{value!r} is not a point"
            return None if value.is_on_image else f"({value.x:g}, {value.y:g}) is off the image (0..1)"
        case ArgKind.DIRECTION:
            return None if value in DIRECTIONS else f"{value!r} is not one of {', '.join(DIRECTIONS)}"
        case ArgKind.SECONDS:
            return None if _is_number(value) and 0 <= value <= 3600 else f"{value!r} is not 0..3600 seconds"
        case ArgKind.MAPPING:
            return None if isinstance(value, Mapping) else f"{value!r} is not an object of arguments"
        case ArgKind.TEXT:
            return None if isinstance(value, str) else f"{value!r} is not text"
        case _:
            return None if isinstance(value, str) and value.strip() else f"{value!r} is empty or not text"


def quote(text: str) -> str:
    r"""Text between single quotes with backslash escapes for backslash, quote, newline, tab and return.

    The parser reads a single backslash after a drive as part of a Windows path, so a newline, tab or return right
    after one ("C:" and a newline) is written as \x0a, \x09 or \x0d; `parsing.unescape` is the exact inverse.

    >>> print(quote("it's\n"))
    'it\'s\n'
    """
    return "'" + _TO_ESCAPE.sub(_escape, text) + "'"


_TO_ESCAPE = re.compile(r"(?P<drive>[A-Za-z]:)(?P<space>[\n\t\r])|[\\'\n\t\r]")
_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _escape(match: re.Match[str]) -> str:
    if match["drive"]:
        return f"{match['drive']}\\x{ord(match['space']):02x}"
    return _ESCAPES[match[0]]


def format_call(
    action: Action, *, family: ModelFamily | str = "canonical", image: ImageSize | None = None
) -> str:
    """The action as a call in a family's own syntax; points that are None are left out.

    UI-TARS 1.0 writes `start_box='<|box_start|>(x,y)<|box_end|>'`, UI-TARS 1.5 and Doubao
    `point='<point>x y</point>'`, all others `point=[x, y]`.

    Args:
        action: a valid action.
        family: a `ModelFamily` or its name; decides frame and syntax of coordinates.
        image: the screenshot's size; needed by families that count pixels of the resized image.

    >>> format_call(Action(type="click", point=PointNorm(0.5, 0.25)), family="doubao")
    "click(point='<point>500 250</point>')"
    >>> format_call(Action(type="click"))
    'click()'
    """
    family = get_family(family) if isinstance(family, str) else family
    parts = []
    for arg in action.spec.args:
        value = getattr(action, arg.name)
        if value is not None:
            parts.append(_format_argument(arg, value, family, image))
    return f"{action.type}({', '.join(parts)})"


_BOX_NAMES = {"point": "start_box", "start_point": "start_box", "end_point": "end_box"}


def _format_argument(arg: ArgSpec, value: Any, family: ModelFamily, image: ImageSize | None) -> str:
    if arg.kind is ArgKind.POINT:
        if image is None and family.scale is None:
            raise InputError(f"family {family.name} counts pixels of the resized image: give the image size")
        x, y = family.from_norm(value, image or ImageSize(1, 1))
        if family.scale == 1.0:
            return f"{arg.name}=[{x:g}, {y:g}]"
        if family.name == "ui-tars-1.0":
            return f"{_BOX_NAMES[arg.name]}='<|box_start|>({x:.0f},{y:.0f})<|box_end|>'"
        if family.name in ("ui-tars-1.5", "doubao"):
            return f"{arg.name}='<point>{x:.0f} {y:.0f}</point>'"
        return f"{arg.name}=[{x:.0f}, {y:.0f}]"
    if arg.kind is ArgKind.SECONDS:
        return f"{arg.name}={_plain_number(value)}"
    if arg.kind is ArgKind.MAPPING:
        return f"{arg.name}={json.dumps(dict(value), ensure_ascii=False)}"
    return f"{arg.name}={quote(value)}"


def _plain_number(value: float) -> str:
    """The shortest decimal that reads back as the same number: 2, 0.5."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def prompt_text(*spaces: Space, with_points: bool) -> str:
    """The action space as prompt lines, one signature and description per action.

    Args:
        spaces: the spaces whose actions are listed.
        with_points: whether the model writes coordinates itself or leaves them to a tool agent.
    """
    lines = []
    for spec in actions_in(*spaces):
        args = [a for a in spec.args if with_points or a.kind is not ArgKind.POINT]
        lines.append(f"{spec.name}({', '.join(f'{a.name}=...' for a in args)})  # {spec.doc}")
    return "\n".join(lines)
