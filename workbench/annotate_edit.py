"""What a page asks to be done to a document, read with distrust and turned into a `Change`.

A request is {"name": one of `EDITS` or "screen", "key": the step's, ...}; what else it holds stands at each edit. Boxes
are [left, top, right, bottom] and points {"x", "y"}, canonical 0..1, or a person's text "0.1, 0.2, 0.3, 0.4".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from executors.actions import Action
from executors.errors import InputError
from executors.geometry import BoxNorm, PointNorm
from executors.trajectory import Observation
from workbench.annotate import edits
from workbench.annotate.document import MAX_TEXT_CHARS, Change, Document, apply, change_between

Ask = Mapping[str, Any]
_MAX_REQUEST_CHARS = 2 * MAX_TEXT_CHARS


def change_of(document: Document, ask: Ask, screens: Mapping[str, Observation]) -> Change:
    """The change that a request makes.

    Args:
        document: the trajectory as the person sees it.
        ask: the request.
        screens: what a step may be paired with, by the key of the step that it was seen at.

    Raises:
        InputError: no such edit, a value that is none, or what the edit refuses.
    """
    name = text(ask, "name")
    if name == "screen":
        return _pair(document, ask, screens)
    if name not in EDITS:
        raise InputError(f"edit {name[:40]!r} is unknown: load the page again")
    return EDITS[name](document, ask)


def _ends(document: Document, ask: Ask) -> Change:
    """Both ends of a drag at once: "start" and "end"."""
    key = text(ask, "key")
    half = apply(document, edits.set_point(document, key, "start", _point(ask.get("start"))))
    whole = apply(half, edits.set_point(half, key, "end", _point(ask.get("end"))))
    return change_between(document, whole, f"step {document.place(key) + 1}: drag set")


def _action(document: Document, ask: Ask) -> Change:
    """Another "type", and "arguments" as text; without them what fits of the old ones stays."""
    arguments = text(ask, "arguments") if ask.get("arguments") is not None else None
    return edits.set_action(document, text(ask, "key"), text(ask, "type"), arguments)


def _difficulty(document: Document, ask: Ask) -> Change:
    given = text(ask, "value").strip()
    if given and not (given.isascii() and given.isdecimal() and len(given) < 4):
        raise InputError(f"field 'difficulty': {given[:40]!r} is not a whole number 0..10, or empty for unknown")
    return edits.set_difficulty(document, int(given) if given else None)


def _target(document: Document, ask: Ask) -> Change:
    given = ask.get("value")
    return edits.set_target(document, text(ask, "key"), None if given in (None, "") else _box(given))


def _add_private(document: Document, ask: Ask) -> Change:
    key = text(ask, "key")
    return edits.set_private_boxes(document, key, [*document.step(key).blur, _box(ask.get("value"))])


def _remove_private(document: Document, ask: Ask) -> Change:
    key, number = text(ask, "key"), whole(ask, "value")
    boxes = document.step(key).blur
    return edits.set_private_boxes(document, key, [box for n, box in enumerate(boxes) if n != number])


def _insert(document: Document, ask: Ask) -> Change:
    """A step to wait (with tools: to finish), right after the step of this key, or with "before" right before it."""
    place = document.place(text(ask, "key")) + (ask.get("before") is not True)
    return edits.insert_step(document, place, Action(type="finished" if document.platform == "tools" else "wait"), "")


def _move(document: Document, ask: Ask) -> Change:
    """The step one place on or back, as "by" says: 1 or -1; at either end it stays."""
    key = text(ask, "key")
    to = document.place(key) + whole(ask, "by", least=-1)
    return edits.move_step(document, key, max(0, min(len(document.steps) - 1, to)))


def _pair(document: Document, ask: Ask, screens: Mapping[str, Observation]) -> Change:
    source = text(ask, "value")
    if source not in screens:
        raise InputError(f"screen {source[:40]!r} is none of this trajectory: choose one of the list")
    return edits.pair_screen(document, text(ask, "key"), screens[source])


def replace_step(document: Document, key: str, action: Action, instruction: str | None, note: str) -> Change:
    """The step with the action that a planner or a tool agent proposed, and its words where they are given."""
    place = document.place(key)
    old = document.steps[place]
    step = replace(old.step, action=action, instruction=old.step.instruction if instruction is None else instruction)
    if action.point is not None and old.step.target is not None and not old.step.target.contains(action.point):
        step = replace(step, target=None)
    new = (*document.steps[:place], replace(old, step=step), *document.steps[place + 1 :])
    return change_between(document, replace(document, steps=new), f"step {place + 1}: {note}")


EDITS: dict[str, Callable[[Document, Ask], Change]] = {
    "goal": lambda d, a: edits.set_goal(d, text(a, "value")),
    "outcome": lambda d, a: edits.set_outcome(d, text(a, "value")),
    "difficulty": _difficulty,
    "point": lambda d, a: edits.set_point(d, text(a, "key"), text(a, "part"), _point(a.get("to"))),
    "ends": _ends,
    "target": _target,
    "action": _action,
    "instruction": lambda d, a: edits.set_instruction(d, text(a, "key"), text(a, "value")),
    "thought": lambda d, a: edits.set_thought(d, text(a, "key"), text(a, "value")),
    "mark": lambda d, a: edits.mark(d, text(a, "key"), text(a, "mark"), a.get("is_on") is True),
    "private": _add_private,
    "unprivate": _remove_private,
    "insert": _insert,
    "delete": lambda d, a: edits.delete_step(d, text(a, "key")),
    "duplicate": lambda d, a: edits.duplicate_step(d, text(a, "key")),
    "split": lambda d, a: edits.split_step(d, text(a, "key")),
    "merge": lambda d, a: edits.merge_steps(d, text(a, "key")),
    "move": _move,
}
"""Name of an edit -> what it makes of a document and a request; "screen" also needs the screens (`change_of`)."""


# ---- values from a page


def text(ask: Ask, name: str, limit: int = _MAX_REQUEST_CHARS) -> str:
    """A text of a request, "" where it is missing; raises InputError when it is none or too long."""
    value = ask.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > limit:
        raise InputError(f"field {name!r}: {str(value)[:60]!r} is not a text of at most {limit} characters")
    return value


def whole(ask: Ask, name: str, *, least: int = 0) -> int:
    """A whole number of a request, 0 where it is missing; raises InputError for any other value."""
    value = ask.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 10**9:
        raise InputError(f"field {name!r}: {str(value)[:60]!r} is not a whole number of at least {least}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{str(value)[:40]!r} is not a number: drag the mark again, or write numbers 0..1")
    return float(value)


def _point(value: object) -> PointNorm:
    if not isinstance(value, Mapping):
        raise InputError(f"{str(value)[:60]!r} is not a point: drag the mark again")
    return PointNorm(*(min(1.0, max(0.0, _number(value.get(axis)))) for axis in "xy"))


def _box(value: object) -> BoxNorm:
    """The box of four numbers, or of a text with four numbers; edges are clamped to the image and put in order."""
    if isinstance(value, str):
        try:
            value = [float(part) for part in value.replace("[", " ").replace("]", " ").replace(",", " ").split()]
        except ValueError:
            value = None
    if not isinstance(value, list) or len(value) != 4:
        raise InputError("a box is four numbers 0..1: left, top, right, bottom")
    left, top, right, bottom = (min(1.0, max(0.0, _number(edge))) for edge in value)
    return BoxNorm(min(left, right), min(top, bottom), max(left, right), max(top, bottom))
