"""A whole reply as a model of a family writes it: the inverse of `parsing.parse_reply`."""

from __future__ import annotations

import json
from typing import Any

from executors.actions import ALIASES, Action, Space, format_call
from executors.errors import InputError
from executors.geometry import ImageSize, ModelFamily, PointNorm, get_family
from executors.parsing.calls import MORE_VERBS
from executors.parsing.replies import TOOL_NAMES


def format_reply(
    action: Action,
    *,
    family: ModelFamily | str = "canonical",
    image: ImageSize | None = None,
    thought: str | None = None,
    space: Space | None = None,
) -> str:
    r"""A whole reply with this action, as a model of the family writes it; `parse_reply` reads it back.

    UI-TARS families write `Thought:` and `Action:` lines, Qwen families a `<tool_call>` for mobile_use or
    computer_use, the canonical family a bare call (below a thought, an `Action:` line). White space in the thought
    becomes single spaces. Qwen's functions lack some of our arguments; these keep a key of their own:
    `start_coordinate` of left_click_drag, `coordinate` of scroll and type, `text` of terminate.

    Args:
        action: a valid action.
        family: a `ModelFamily` or its name.
        image: the screenshot's size; needed by families that count pixels of the resized image.
        thought: the reasoning before the action, if any.
        space: with `Space.MOBILE`, Qwen families use mobile_use wherever it has the action, so that a scroll is a
            swipe over 0.4 of the screen, its start moved inwards where the finger lacks room; else computer_use comes
            first, which keeps a scroll's point exactly.

    >>> format_reply(Action(type="press_back"), family="doubao", thought="Go back.")
    'Thought: Go back.\nAction: press_back()'
    >>> print(format_reply(Action(type="press_back"), family="qwen3-vl"))
    <tool_call>
    {"name": "mobile_use", "arguments": {"action": "system_button", "button": "Back"}}
    </tool_call>
    """
    family = get_family(family) if isinstance(family, str) else family
    reason = " ".join(thought.split()) if thought else ""
    lines = [f"Thought: {reason}"] if reason else []
    if family.name.startswith("qwen"):
        record = json.dumps(_tool_call(action, family, image, space), ensure_ascii=False)
        return "\n".join([*lines, "<tool_call>", record, "</tool_call>"])
    call = format_call(action, family=family, image=image)
    is_labelled = bool(lines) or family.scale != 1.0
    return "\n".join([*lines, f"Action: {call}" if is_labelled else call])


_QWEN_CLICKS = {
    "click": "left_click", "left_double": "double_click", "right_single": "right_click",
    "middle_click": "middle_click", "triple_click": "triple_click", "hover": "mouse_move",
}  # fmt: skip
_QWEN_BUTTONS = {"press_back": "Back", "press_home": "Home", "press_appselect": "Menu"}
_QWEN_SCROLLS = {"up": ("scroll", 500), "down": ("scroll", -500), "right": ("hscroll", 500), "left": ("hscroll", -500)}
_TAKEN_NAMES = frozenset({*ALIASES, *MORE_VERBS, *TOOL_NAMES})
_FINGER = {"up": (0.0, 0.4), "down": (0.0, -0.4), "left": (0.4, 0.0), "right": (-0.4, 0.0)}


def _tool_call(
    action: Action, family: ModelFamily, image: ImageSize | None, space: Space | None
) -> dict[str, Any]:
    """Qwen's tool call of an action as {"name", "arguments"}."""

    def at(point: PointNorm | None) -> list[int] | None:
        return None if point is None else _family_point(point, family, image)

    is_mobile = space is Space.MOBILE
    call: dict[str, Any]
    match action.type:
        case "click" if is_mobile:
            call = {"action": "click", "coordinate": at(action.point)}
        case "long_press":
            is_mobile, call = True, {"action": "long_press", "coordinate": at(action.point), "time": action.seconds}
        case "drag":
            is_mobile = False
            start, end = at(action.start_point), at(action.end_point)
            call = {"action": "left_click_drag", "start_coordinate": start, "coordinate": end}
        case "scroll" if is_mobile:
            start, end = _finger_path(action)
            call = {"action": "swipe", "coordinate": at(start), "coordinate2": at(end)}
        case "scroll":
            verb, pixels = _QWEN_SCROLLS[action.direction]
            call = {"action": verb, "coordinate": at(action.point), "pixels": pixels}
        case "type":
            call = {"action": "type", "text": action.content, "coordinate": at(action.point)}
        case "hotkey":
            is_mobile, call = False, {"action": "key", "keys": action.key.split()}
        case "open_app":
            is_mobile, call = True, {"action": "open", "text": action.app_name}
        case "press_back" | "press_home" | "press_appselect":
            is_mobile, call = True, {"action": "system_button", "button": _QWEN_BUTTONS[action.type]}
        case "wait":
            call = {"action": "wait", "time": action.seconds}
        case "finished" if action.content is not None:
            call = {"action": "answer", "text": action.content}
        case "finished":
            call = {"action": "terminate", "status": "success"}
        case "call_user":
            call = {"action": "terminate", "status": "failure", "text": action.content}
        case "tool_call" if action.name.lower() not in _TAKEN_NAMES:
            return {"name": action.name, "arguments": dict(action.arguments)}
        case "tool_call":  # a tool that is named like an action
            return {"name": "tool_call", "arguments": {"name": action.name, "arguments": dict(action.arguments)}}
        case "select":
            call = {"coordinate": at(action.point), "value": action.value}
            return {"name": "select", "arguments": {k: v for k, v in call.items() if v is not None}}
        case _:
            is_mobile, call = False, {"action": _QWEN_CLICKS[action.type], "coordinate": at(action.point)}
    arguments = {key: value for key, value in call.items() if value is not None}
    return {"name": "mobile_use" if is_mobile else "computer_use", "arguments": arguments}


def _finger_path(action: Action) -> tuple[PointNorm, PointNorm]:
    """Start and end of the swipe that reveals content in the action's direction."""
    dx, dy = _FINGER[action.direction]
    start = action.point or PointNorm(0.5, 0.5)
    x = min(max(start.x, -dx), 1.0 - dx) if dx else start.x
    y = min(max(start.y, -dy), 1.0 - dy) if dy else start.y
    x, y = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
    return PointNorm(x, y), PointNorm(min(max(x + dx, 0.0), 1.0), min(max(y + dy, 0.0), 1.0))


def _family_point(point: PointNorm, family: ModelFamily, image: ImageSize | None) -> list[int]:
    if image is None and family.scale is None:
        raise InputError(f"family {family.name} counts pixels of the resized image: give the image size")
    x, y = family.from_norm(point, image or ImageSize(1, 1))
    return [int(x), int(y)]
