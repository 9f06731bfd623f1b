"""What a person does to a document: each edit is a pure function from a document to the `Change` it makes.

`document.apply` carries a change out, its `inverted` takes it back. An edit that changes nothing gives an empty change.
Steps are named by key; numbers in notes count from 1, as a person reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from executors.actions import ACTIONS, Action, ArgKind, format_call, validate
from executors.errors import InputError
from executors.geometry import BoxNorm, PointNorm
from executors.trajectory import STEP_FLAGS, Observation, Step
from training.datasets.normalise import target_around
from workbench.annotate.document import (
    TARGET_BOXES,
    Change,
    Document,
    DocumentStep,
    change_between,
    check_document,
    new_key,
    rounded_box,
)
from workbench.episode_edit import PART_FIELDS, arguments_hint, read_action

MARKS = ("correct", *STEP_FLAGS)
"""What a step can be marked as; "correct" is kept by the document, the others are flags of the step."""
_OPPOSITE = {"correct": ("incorrect", "redundant"), "incorrect": ("correct",), "redundant": ("correct",)}


# -------------------------------------------------------------------------------------------------- the trajectory


def set_goal(document: Document, goal: str) -> Change:
    """Another goal; raises InputError when it is too long."""
    return _fields(document, "goal set", goal=goal.strip())


def set_outcome(document: Document, outcome: str) -> Change:
    """Another outcome, one of `document.OUTCOMES`; raises InputError for any other."""
    return _fields(document, f"outcome set to {outcome or 'unknown'}", outcome=outcome)


def set_difficulty(document: Document, difficulty: int | None) -> Change:
    """Another difficulty 0..10, None for unknown; raises InputError for any other."""
    return _fields(document, f"difficulty set to {'unknown' if difficulty is None else difficulty}",
                   difficulty=difficulty)


# -------------------------------------------------------------------------------------------------- one step


def set_point(document: Document, key: str, part: str, to: PointNorm) -> Change:
    """The step's action with a point moved to `to`, and the target box that belongs to the new place.

    The target stays where the point is still inside; else it becomes the smallest element around the point, none where
    there is none (`training.datasets.normalise.target_around`). A drag's end has no part in that.

    Args:
        document: the trajectory.
        key: the step.
        part: "point", "start" or "end", a key of `PART_FIELDS`.
        to: the new place, canonical, on the image.

    Raises:
        InputError: no such step, its action has no such point, or the place is off the image.
    """
    old = document.step(key).step
    name = PART_FIELDS.get(part)
    if name not in {arg.name for arg in old.action.spec.args}:
        raise InputError(f"field 'part': {old.action.type} has no {part[:20]!r} to move: choose another mark")
    action = replace(old.action, **{name: to})
    target = old.target
    if part != "end" and (target is None or not target.contains(to)):
        around = target_around(to, (element.box for element in old.observation.elements))
        target = None if around is None else rounded_box(around)
    return _step(document, key, f"{part} moved to {to.x:.1%}, {to.y:.1%}", action=action, target=target)


def set_target(document: Document, key: str, box: BoxNorm | None) -> Change:
    """The step with another target box, None for none; raises InputError when it is no box on the image."""
    return _step(document, key, "target box removed" if box is None else "target box set",
                 target=None if box is None else rounded_box(box))


def set_action(document: Document, key: str, type: str, arguments: str | None = None) -> Change:
    """The step with another action.

    Args:
        document: the trajectory.
        key: the step.
        type: an action's name.
        arguments: as a call writes them (`direction='down'`); None keeps those of the old action that the new type
            takes too, and its point as the start of a drag or the other way round.

    Raises:
        InputError: no such step or type, or arguments that are wrong or missing; the message says what to write.
    """
    old = document.step(key).step.action
    action = _converted(old, type) if arguments is None else read_action(type, arguments)
    return _step(document, key, f"action {_call(old)} became {_call(action)}", action=action)


def _converted(old: Action, type: str) -> Action:
    if type not in ACTIONS:
        raise InputError(f"field 'type': {type[:40]!r} is not an action: choose one of {', '.join(ACTIONS)}")
    values: dict[str, Any] = {}
    for arg in ACTIONS[type].args:
        value = getattr(old, arg.name)
        if value is None and arg.name in ("point", "start_point"):
            value = old.point or old.start_point
        if value is None and arg.kind is ArgKind.TEXT and arg.required:
            value = ""
        if value is not None:
            values[arg.name] = value
    action = Action(type=type, **values)
    problem = validate(action, need_targets=False)
    if problem is not None:
        raise InputError(f"{problem}: {arguments_hint(type)}")
    return action


def set_instruction(document: Document, key: str, instruction: str) -> Change:
    """The step with other words."""
    return _step(document, key, "instruction set", instruction=" ".join(instruction.split()))


def set_thought(document: Document, key: str, thought: str) -> Change:
    """The step with another thought."""
    return _step(document, key, "thought set", thought=thought.strip())


def pair_screen(document: Document, key: str, screen: Observation) -> Change:
    """The step on another screen: one of the same trajectory that was seen earlier or later, also one whose own step is
    gone by now. Points stay where they are; the target box goes, because it was found on the old screen.
    """
    old = document.step(key).step
    target = old.target if screen == old.observation else None
    return _step(document, key, "paired with another screen", observation=screen, target=target)


def mark(document: Document, key: str, name: str, is_on: bool) -> Change:
    """The step with a mark set or taken away; "correct" and "incorrect" or "redundant" take each other away.

    Taking "private" away takes its boxes away. Raises InputError for a mark that is none of `MARKS`.
    """
    if name not in MARKS:
        raise InputError(f"field 'mark': {name[:40]!r} is not one of {', '.join(MARKS)}")
    old = document.step(key)
    marks = set(old.step.flags) | ({"correct"} if old.is_correct else set())
    marks = marks - {name} if not is_on else (marks | {name}) - set(_OPPOSITE.get(name, ()))
    new = replace(
        old, is_correct="correct" in marks, step=replace(old.step, flags=frozenset(marks - {"correct"})),
        blur=old.blur if "private" in marks else (),
    )
    return _with_step(document, key, f"{'marked' if is_on else 'no longer marked'} {name}", new)


def set_private_boxes(document: Document, key: str, boxes: Sequence[BoxNorm]) -> Change:
    """The step marked private, with the boxes that an exported copy blurs; none blurs the whole screen.

    Raises:
        InputError: a box is none, or there are too many.
    """
    old = document.step(key)
    new = replace(old, step=replace(old.step, flags=old.step.flags | {"private"}),
                  blur=tuple(map(rounded_box, boxes)))
    return _with_step(document, key, f"{len(boxes)} private boxes set", new)


# -------------------------------------------------------------------------------------------------- the row of steps


def insert_step(
    document: Document, place: int, action: Action, instruction: str, *, screen: Observation | None = None
) -> Change:
    """A new step that comes to stand at `place` (from 0); the ones from there on move back.

    Args:
        document: the trajectory.
        place: 0..number of steps.
        action: what is done; points may be missing.
        instruction: the step in words.
        screen: what is seen before it; None takes the screen of the step that stood there, or the last one's.

    Raises:
        InputError: a place outside, a malformed action, or too many steps.
    """
    if not 0 <= place <= len(document.steps):
        raise InputError(f"field 'place': {place} is not 0..{len(document.steps)}")
    if screen is None:
        screen = document.steps[min(place, len(document.steps) - 1)].step.observation
    step = Step(observation=screen, action=action, instruction=" ".join(instruction.split()))
    return _rearranged(document, f"step {place + 1} inserted", _spliced(document, place, place, [_new(step)]))


def delete_step(document: Document, key: str) -> Change:
    """The trajectory without this step; raises InputError for its only one."""
    place = document.place(key)
    return _rearranged(document, f"step {place + 1} deleted", _spliced(document, place, place + 1, []))


def duplicate_step(document: Document, key: str) -> Change:
    """The step a second time, right after itself, without its marks; raises InputError when there are too many."""
    place = document.place(key)
    copy = _new(replace(document.steps[place].step, flags=frozenset()))
    return _rearranged(document, f"step {place + 1} duplicated", _spliced(document, place + 1, place + 1, [copy]))


def move_step(document: Document, key: str, place: int) -> Change:
    """The step at another place (from 0), the others in their order; raises InputError for a place outside."""
    if not 0 <= place < len(document.steps):
        raise InputError(f"field 'place': {place} is not 0..{len(document.steps) - 1}")
    old = document.place(key)
    rest = [step for step in document.steps if step.key != key]
    rest.insert(place, document.steps[old])
    return _rearranged(document, f"step {old + 1} moved to {place + 1}", rest)


def split_step(document: Document, key: str) -> Change:
    """One step as the two that it does at once, on the same screen; the first keeps the key.

    Typing at a point becomes a click and typing, typing that submits becomes typing and the key enter.

    Raises:
        InputError: the action does one thing only, which `duplicate_step` is for.
    """
    place, old = document.place(key), document.step(key)
    action = old.step.action
    if action.type == "type" and action.point is not None:
        actions = (Action(type="click", point=action.point), replace(action, point=None))
    elif action.type == "type" and len(action.content) > 1 and action.content.endswith("\n"):
        actions = (replace(action, content=action.content[:-1]), Action(type="hotkey", key="enter"))
    else:
        raise InputError(f"step {place + 1}: {action.type} does one thing only: duplicate the step instead")
    parts = [replace(old, step=replace(old.step, action=actions[0])),
             replace(_new(replace(old.step, action=actions[1], target=None)), blur=old.blur)]
    return _rearranged(document, f"step {place + 1} split in two", _spliced(document, place, place + 1, parts))


def merge_steps(document: Document, key: str) -> Change:
    """The step and the next one as one, on the first one's screen and under its key: the inverse of `split_step`, and
    typing in two parts becomes one. Words are joined by "and", marks and private boxes of both are kept.

    Raises:
        InputError: there is no next step, or the two actions are not one.
    """
    place = document.place(key)
    if place + 1 == len(document.steps):
        raise InputError(f"step {place + 1} is the last one: choose the first of the two to merge")
    first, second = document.steps[place : place + 2]
    action = _joined(first.step.action, second.step.action)
    if action is None:
        raise InputError(
            f"steps {place + 1} and {place + 2}: {first.step.action.type} and {second.step.action.type} are not one "
            "action: delete one of them instead"
        )
    words = " and ".join(dict.fromkeys(filter(None, (first.step.instruction, second.step.instruction))))
    thoughts = "\n".join(dict.fromkeys(filter(None, (first.step.thought, second.step.thought))))
    step = replace(first.step, action=action, instruction=words, thought=thoughts,
                   flags=first.step.flags | second.step.flags)
    merged = replace(
        first, step=step, is_correct=first.is_correct and second.is_correct,
        blur=tuple(dict.fromkeys((*first.blur, *second.blur))),
    )
    return _rearranged(document, f"steps {place + 1} and {place + 2} merged",
                       _spliced(document, place, place + 2, [merged]))


def _joined(first: Action, second: Action) -> Action | None:
    if first.type == "click" and second.type == "type" and second.point is None:
        return replace(second, point=first.point)
    if first.type == "type" and second.type == "hotkey" and second.key == "enter":
        return replace(first, content=first.content + "\n")
    if first.type == second.type == "type" and second.point is None and not first.content.endswith("\n"):
        return replace(first, content=first.content + second.content)
    return None


# -------------------------------------------------------------------------------------------------- helpers


def _fields(document: Document, note: str, **values: Any) -> Change:
    return _checked(document, replace(document, **values), note)


def _step(document: Document, key: str, note: str, **values: Any) -> Change:
    """The step with other values; the benchmark's right places go with a point or target that is put elsewhere."""
    old = document.step(key)
    step = replace(old.step, **values)
    is_elsewhere = (step.action.point, step.target) != (old.step.action.point, old.step.target)
    per_step = dict(old.per_step)
    if is_elsewhere and TARGET_BOXES in per_step:
        per_step[TARGET_BOXES] = None
    return _with_step(document, key, note, replace(old, step=step, per_step=per_step))


def _with_step(document: Document, key: str, note: str, new: DocumentStep) -> Change:
    place = document.place(key)
    return _rearranged(document, f"step {place + 1}: {note}", _spliced(document, place, place + 1, [new]))


def _spliced(document: Document, start: int, end: int, steps: Iterable[DocumentStep]) -> list[DocumentStep]:
    return [*document.steps[:start], *steps, *document.steps[end:]]


def _rearranged(document: Document, note: str, steps: Iterable[DocumentStep]) -> Change:
    return _checked(document, replace(document, steps=tuple(steps)), note)


def _checked(document: Document, result: Document, note: str) -> Change:
    check_document(result)
    return change_between(document, result, note)


def _new(step: Step) -> DocumentStep:
    return DocumentStep(key=new_key(), step=step)


def _call(action: Action) -> str:
    call = format_call(action)
    return call if len(call) <= 60 else call[:57] + "..."
