"""One place for what data sets write differently: scroll direction, keys, coordinates, and steps without words.

The canonical scroll direction is that of the content to reveal: "down" shows what is below. Sources that record it so
(AndroidControl) are taken as they are; a finger's path reveals the opposite side; a wheel's sign says up or down.
"""

from __future__ import annotations

from collections.abc import Iterable

from executors.actions import Action
from executors.geometry import BoxNorm, PointNorm
from training.datasets.skip import Skip

CLAMP_TOLERANCE = 0.005
"""How far a coordinate may leave 0..1 and still be taken for the edge (ours: about ten pixels of a wide screen)."""


def reveal_of_finger(start: PointNorm, end: PointNorm) -> str:
    """The side that a finger's path reveals: the opposite of its longer axis, vertical when both are equal.

    A path without length counts as the finger going down, as in GUI-Odyssey's own converter, and so reveals "up".

    Source: `data_formats` of GUI-Odyssey (official converter at fefcbe9: horizontal only when strictly longer).

    >>> reveal_of_finger(PointNorm(0.5, 0.8), PointNorm(0.5, 0.3))
    'down'
    """
    dx, dy = end.x - start.x, end.y - start.y
    if abs(dx) > abs(dy):
        return "left" if dx > 0 else "right"
    return "down" if dy < 0 else "up"


def reveal_of_wheel(dx: float, dy: float) -> str | None:
    """The side that a page scrolled by (dx, dy) pixels reveals, vertical when both are equal; None when both are zero.

    Positive dy goes down, positive dx right, as in a browser.

    >>> reveal_of_wheel(0, 400)
    'down'
    """
    if dx == 0 and dy == 0:
        return None
    if abs(dx) > abs(dy):
        return "right" if dx > 0 else "left"
    return "down" if dy > 0 else "up"


def norm_value(value: object, scale: float, name: str) -> tuple[float, bool]:
    """A coordinate in 0..1, and whether it was moved to the edge.

    Args:
        value: the coordinate in the source's frame.
        scale: the frame's full width or height.
        name: the field, for messages.

    Raises:
        Skip: not a finite number, or more than `CLAMP_TOLERANCE` outside.

    >>> norm_value(1001, 1000, "x")
    (1.0, True)
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e9:
        raise Skip("wrong coordinate", name, f"{str(value)[:60]!r} is not a number")
    norm = value / scale
    if 0 <= norm <= 1:
        return norm, False
    if -CLAMP_TOLERANCE <= norm <= 1 + CLAMP_TOLERANCE:
        return min(1.0, max(0.0, norm)), True
    raise Skip("off the image", name, f"{value:g} is not in 0..{scale:g}")


def norm_point(value: object, scale_x: float, scale_y: float, name: str) -> tuple[PointNorm, bool]:
    """The point of [x, y] in a frame of this width and height, and whether it was moved to the edge.

    Raises:
        Skip: not two numbers, or off the image.
    """
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise Skip("wrong coordinate", name, f"{str(value)[:60]!r} is not [x, y]")
    x, is_x_moved = norm_value(value[0], scale_x, f"{name}[0]")
    y, is_y_moved = norm_value(value[1], scale_y, f"{name}[1]")
    return PointNorm(x, y), is_x_moved or is_y_moved


MAX_TARGET_AREA = 0.25
"""Largest share of the screen that a tapped element may fill to be the target (ours): a tap on a whole page or a game's
canvas has no target box, because any point would be right."""


def target_around(point: PointNorm | None, boxes: Iterable[BoxNorm]) -> BoxNorm | None:
    """The smallest of an element tree's boxes around the point; None without a point, or when all are too large.

    Source: UGround's rule for AndroidControl, with `MAX_TARGET_AREA` added.

    >>> boxes = [BoxNorm(0, 0, 1, 1), BoxNorm(0.4, 0.4, 0.6, 0.6), BoxNorm(0.45, 0.45, 0.55, 0.55)]
    >>> target_around(PointNorm(0.5, 0.5), boxes)
    BoxNorm(left=0.45, top=0.45, right=0.55, bottom=0.55)
    >>> target_around(PointNorm(0.9, 0.9), boxes) is None
    True
    """
    around = [box for box in boxes if point is not None and box.contains(point) and _area(box) <= MAX_TARGET_AREA]
    return min(around, key=_area, default=None)


def _area(box: BoxNorm) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def clip(box: BoxNorm) -> BoxNorm | None:
    """The part of the box that lies on the image; None when nothing does.

    >>> clip(BoxNorm(-0.5, 0.5, 0.5, 1.5))
    BoxNorm(left=0.0, top=0.5, right=0.5, bottom=1.0)
    """
    if 0 < box.left < box.right < 1 and 0 < box.top < box.bottom < 1:
        return box
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in (box.left, box.top, box.right, box.bottom))
    return BoxNorm(left, top, right, bottom) if left < right and top < bottom else None


_KEY_NAMES = {"control": "ctrl", "command": "cmd", "meta": "cmd", "return": "enter", "escape": "esc", "del": "delete",
              " ": "space", "\n": "enter", "\t": "tab", "arrowup": "up", "arrowdown": "down", "arrowleft": "left",
              "arrowright": "right"}


def key_name(name: str) -> str:
    """The canonical name of a key: lower case, no spaces, one spelling; empty when nothing is left.

    >>> key_name("ArrowDown"), key_name("Control"), key_name(" ")
    ('down', 'ctrl', 'space')
    """
    return _KEY_NAMES.get(name.lower(), "".join(name.lower().split()))


def describe(action: Action, target: str = "") -> str:
    """An action in words, for a step that was recorded without any.

    Args:
        action: the action.
        target: what it acts on, in words; without it, its point is told.

    >>> describe(Action(type="click", point=PointNorm(0.9722, 0.9701)))
    'click at (0.97, 0.97)'
    >>> describe(Action(type="hotkey", key="ctrl c"))
    'press ctrl c'
    """
    at = f" {target}" if target else f" at {_place(action.point)}" if action.point is not None else ""
    into = f" into {target}" if target else ""
    match action.type:
        case "drag":
            return f"drag from {_place(action.start_point)} to {_place(action.end_point)}"
        case "scroll":
            return f"scroll {action.direction}" + ("" if target else at)
        case "type":
            text = " ".join(action.content.split())
            return f'type "{text}"{into}' + (" and press enter" if action.content.endswith("\n") else "")
        case "select":
            return (f'select "{action.value}" in' if action.value else "select") + (at or " a list")
        case "hotkey":
            return f"press {action.key}"
        case "open_app":
            return f"open the {action.app_name} app"
        case "wait":
            return "wait" if action.seconds is None else f"wait {action.seconds:g} seconds"
        case "hover":
            return "move the pointer" + (f" onto {target}" if target else at)
        case "tool_call":
            return f"call {action.name}"
    return _VERBS[action.type] + at


_VERBS = {"click": "click", "left_double": "double-click", "triple_click": "triple-click",
          "right_single": "right-click", "middle_click": "middle-click", "long_press": "long-press",
          "press_home": "go to the home screen", "press_back": "go back", "press_appselect": "show the recent apps",
          "finished": "the task is done", "call_user": "the task cannot be done"}


def _place(point: PointNorm) -> str:
    return f"({point.x:.2f}, {point.y:.2f})"


MAX_SUMMARY_CHARS = 160


def summary_of(description: str | None) -> str:
    """The first sentence of a description of the screen, at most `MAX_SUMMARY_CHARS` characters."""
    words = (description or "").split(None, MAX_SUMMARY_CHARS)[:MAX_SUMMARY_CHARS]  # as many are always enough
    text = " ".join(words)
    sentence = text.partition(". ")[0].rstrip(".")
    return sentence if len(sentence) <= MAX_SUMMARY_CHARS else sentence[: MAX_SUMMARY_CHARS - 1].rstrip() + "…"
