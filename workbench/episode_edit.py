"""Editing a forecast before it is acted on: pure functions from one plan to the next.

A plan is a forecast with what a person did to it: `edited` are the steps that must be carried out as they stand
(numbers from 1), `pinned` those whose points the person set, so that no tool agent looks for another place, and
`changes` says it in words. Numbers are those of the steps as they are now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from executors.actions import ACTIONS, Action, ArgKind, format_call, validate
from executors.errors import ExecutorError, InputError
from executors.geometry import PointNorm
from executors.parsing import build_action, scan_call
from executors.tool_agents import ElementTreeAgent
from executors.trajectory import Element, Observation
from training.forecast import Forecast, ForecastStep, format_plan, without_points
from workbench.episode_store import ForecastMade, utc_now

MAX_INSTRUCTION_CHARS = 300
MAX_ARGUMENTS_CHARS = 2000
MAX_PLAN_STEPS = 32

PART_FIELDS = {"point": "point", "start": "start_point", "end": "end_point"}
"""The part of a mark that can be moved -> the action's argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps to come, and what a person did to them; see the module."""

    steps: tuple[ForecastStep, ...] = ()
    edited: frozenset[int] = frozenset()
    pinned: frozenset[int] = frozenset()
    changes: tuple[str, ...] = ()

    @classmethod
    def of(cls, made: ForecastMade | None) -> Plan:
        """The plan of a forecast that is waiting; an empty one when there is none."""
        if made is None:
            return cls()
        return cls(
            steps=made.forecast.steps, edited=frozenset(made.edited), pinned=frozenset(made.pinned),
            changes=made.changes,
        )

    def made(self, before: ForecastMade | None) -> ForecastMade:
        """The plan as a forecast made by a person, after `before`, whose thought and question it keeps."""
        thought = before.forecast.thought if before else ""
        return ForecastMade(
            forecast=Forecast(steps=self.steps, thought=thought, raw=format_plan(self.steps)),
            author="person",
            changes=self.changes,
            edited=tuple(sorted(self.edited)),
            pinned=tuple(sorted(self.pinned)),
            messages=before.messages if before else (),
            plan_seconds=before.plan_seconds if before else 0.0,
            created=utc_now(),
        )


def read_action(type: str, arguments: str) -> Action:
    """The action of a type and its arguments as a call writes them: `direction='down'`.

    Raises:
        InputError: no such type, or arguments that cannot be read or do not fit it.

    >>> read_action("scroll", "direction='down'").direction
    'down'
    """
    if type not in ACTIONS:
        raise InputError(f"field 'type': {type[:40]!r} is not an action: choose one of {', '.join(ACTIONS)}")
    if len(arguments) > MAX_ARGUMENTS_CHARS:
        raise InputError(f"field 'arguments': more than {MAX_ARGUMENTS_CHARS} characters: shorten the text")
    raw, end, problem = scan_call(f"{type}({arguments})")
    if raw is not None and f"{type}({arguments})"[end:].strip():
        problem, raw = f"{arguments!r} is not closed as it should be", None
    if raw is None:
        raise InputError(f"field 'arguments': {problem}: {arguments_hint(type)}")
    known = {arg.name for arg in ACTIONS[type].args}
    strange = sorted(set(raw.args) - known) or [str(value) for value in raw.positional]
    if strange:
        raise InputError(f"field 'arguments': {type} does not take {strange[0][:40]!r}: {arguments_hint(type)}")
    action = build_action(raw, "canonical", None, need_targets=False)
    if isinstance(action, str):
        raise InputError(f"{action}: {arguments_hint(type)}")
    return action


def arguments_hint(type: str) -> str:
    """What may be written as arguments of an action.

    >>> arguments_hint("scroll")
    "write point=[0.5, 0.5], direction='down' (point may be left out)"
    """
    examples = {
        ArgKind.POINT: "[0.5, 0.5]", ArgKind.TEXT: "'text'", ArgKind.KEYS: "'ctrl c'", ArgKind.DIRECTION: "'down'",
        ArgKind.SECONDS: "2", ArgKind.NAME: "'name'", ArgKind.MAPPING: '{"name": "value"}',
    }
    args = ACTIONS[type].args
    if not args:
        return "leave the arguments empty"
    optional = [arg.name for arg in args if not arg.required or arg.kind is ArgKind.POINT]
    may = f" ({', '.join(optional)} may be left out)" if optional else ""
    return "write " + ", ".join(f"{arg.name}={examples[arg.kind]}" for arg in args) + may


def arguments_text(action: Action) -> str:
    """The action's arguments as `read_action` reads them; points rounded to four decimals.

    >>> arguments_text(Action(type="type", content="milk"))
    "content='milk'"
    """
    return format_call(_rounded(action)).removeprefix(action.type)[1:-1]


def _rounded(action: Action) -> Action:
    points = {name: PointNorm(round(p.x, 4), round(p.y, 4)) for name in PART_FIELDS.values()
              if (p := getattr(action, name)) is not None}
    return replace(action, **points)


def change_step(plan: Plan, number: int, action: Action, instruction: str, *, shown: Action) -> Plan:
    """Step `number` replaced by what a person wrote.

    A point that differs from the one shown is the person's and is pinned; one that is as shown stays what it was:
    pinned if it was, else looked up anew from the words.

    Args:
        plan: the plan before.
        number: counted from 1.
        action: the new action.
        instruction: the new words.
        shown: the action as the form showed it, with the points that the tool agent had found.

    Raises:
        InputError: no such step, no words, or an action that is not well formed.
    """
    old, words = _step(plan, number), _words(instruction)
    _check(action)
    has_own_points = _points(_rounded(action)) not in ({}, _points(_rounded(shown)))
    is_pinned = has_own_points or (number in plan.pinned and _points(action) != {})
    if is_pinned and not has_own_points:
        action = replace(action, **_points(shown))  # the form rounds
    elif not is_pinned:
        action = without_points(action)
    step = ForecastStep(action=action, instruction=words)
    before = old if is_pinned else replace(old, action=without_points(old.action))
    if step == before and is_pinned == (number in plan.pinned):
        return plan
    notes = []
    if step.instruction != old.instruction:
        notes.append(f'step {number}: words "{old.instruction}" became "{step.instruction}"')
    if without_points(step.action) != without_points(old.action):
        before, after = format_call(without_points(old.action)), format_call(without_points(step.action))
        notes.append(f"step {number}: {before} became {after}")
    if has_own_points:
        notes.append(f"step {number}: place set to {_places(action)}")
    elif number in plan.pinned and not is_pinned:
        notes.append(f"step {number}: its place is looked up again")
    pinned = plan.pinned | {number} if is_pinned else plan.pinned - {number}
    return _with(plan, number, step, pinned, notes)


def move_point(plan: Plan, number: int, part: str, to: PointNorm, *, shown: Action, seen: Observation) -> Plan:
    """Step `number` with one of its points moved to another place, which is then executed as it is.

    Words that name something elsewhere would tell the planner a lie, so they are replaced by what lies at the new
    place.

    Args:
        plan: the plan before.
        number: counted from 1.
        part: "point", "start" or "end".
        to: the new place on the screen, canonical.
        shown: the step's action as it is drawn, with all its points.
        seen: the screen it is drawn on.

    Raises:
        InputError: no such step or part, or a place off the screen.
    """
    old = _step(plan, number)
    field = PART_FIELDS.get(part)
    if field is None or field not in {arg.name for arg in old.action.spec.args}:
        raise InputError(f"field 'part': {old.action.type} has no {part[:20]!r} to move: choose another mark")
    if not to.is_on_image:
        raise InputError(f"field '{field}': ({to.x:g}, {to.y:g}) is off the screen (0..1): drag it onto the screen")
    action = replace(shown, **{field: to})
    problem = validate(action, need_targets=True)
    if problem is not None:
        raise InputError(f"{problem}: set its other end too, as arguments")
    before = getattr(shown, field)
    note = f"step {number}: {part} moved" + (f" from {_percent(before)}" if before is not None else "")
    changes = plan.changes
    if changes and changes[-1].startswith(f"step {number}: {part} moved"):  # one way in many small moves
        note, changes = changes[-1].rpartition(" to ")[0], changes[:-1]
    notes = [f"{note} to {_percent(to)}"]
    words = old.instruction
    if not _still_true(action, words, seen):
        words = describe_action(action, seen)
    if words != old.instruction:
        notes.append(f'step {number}: words "{old.instruction}" became "{words}"')
    step = ForecastStep(action=action, instruction=words)
    return _with(replace(plan, changes=changes), number, step, plan.pinned | {number}, notes)


def insert_step(plan: Plan, number: int, action: Action, instruction: str) -> Plan:
    """A new step that becomes number `number`; the ones from there on move back.

    Raises:
        InputError: the number is not 1..steps + 1, no words, a malformed action, or too many steps.
    """
    if not 1 <= number <= len(plan.steps) + 1:
        raise InputError(f"step {number} cannot be inserted: give 1..{len(plan.steps) + 1}")
    if len(plan.steps) >= MAX_PLAN_STEPS:
        raise InputError(f"the plan has {MAX_PLAN_STEPS} steps already: delete one first")
    _check(action)
    step = ForecastStep(action=action, instruction=_words(instruction))
    steps = (*plan.steps[: number - 1], step, *plan.steps[number - 1 :])
    edited, pinned = (_shift(numbers, number, 1) for numbers in (plan.edited, plan.pinned))
    if _points(action):
        pinned |= {number}
    note = f'step {number} inserted: {format_call(without_points(action))}, "{step.instruction}"'
    return Plan(steps=steps, edited=edited | {number}, pinned=pinned, changes=(*plan.changes, note))


def delete_step(plan: Plan, number: int) -> Plan:
    """The plan without step `number`; the step that takes its place counts as chosen by the person.

    Raises:
        InputError: no such step.
    """
    old = _step(plan, number)
    steps = (*plan.steps[: number - 1], *plan.steps[number:])
    edited, pinned = (_shift(numbers - {number}, number, -1) for numbers in (plan.edited, plan.pinned))
    if number <= len(steps):
        edited |= {number}
    note = f'step {number} deleted: {format_call(without_points(old.action))}, "{old.instruction}"'
    return Plan(steps=steps, edited=edited, pinned=pinned, changes=(*plan.changes, note))


def carry_on(plan: Plan, screen: int) -> Plan | None:
    """What is left after the first step was done, when a person changed something in it; None otherwise.

    The rest up to the last changed step is followed before the planner is asked again. Points that nobody set were
    about another screen and are dropped.

    Args:
        plan: the plan whose first step was done.
        screen: the screen it was done on, counted from 1.
    """
    later = [number for number in plan.edited if number > 1]
    if not later:
        return None
    rest = tuple(
        step if number in plan.pinned else replace(step, action=without_points(step.action))
        for number, step in enumerate(plan.steps[1 : max(later)], start=2)
    )
    return Plan(
        steps=rest,
        edited=frozenset(number - 1 for number in later),
        pinned=frozenset(number - 1 for number in plan.pinned if number > 1),
        changes=(f"kept from the plan that a person changed on screen {screen}",),
    )


def describe_action(action: Action, seen: Observation) -> str:
    """Words for an action with its points: the thing that lies there, or else the place.

    >>> from executors.geometry import BoxNorm
    >>> seen = Observation(elements=(Element(role="button", text="Save", box=BoxNorm(0.2, 0.4, 0.4, 0.6)),))
    >>> describe_action(Action(type="click", point=PointNorm(0.3, 0.5)), seen)
    'tap the "Save" button'
    >>> describe_action(Action(type="click", point=PointNorm(0.9, 0.5)), seen)
    'tap at 90 %, 50 %'
    """
    verb = _VERBS.get(action.type, action.type.replace("_", " "))
    if action.start_point is not None:
        start, end = _thing_at(action.start_point, seen), _thing_at(action.end_point, seen)
        if start is not None and start.role == "slider":
            share = (action.end_point.x - start.box.left) / (start.box.right - start.box.left)
            return f'{verb} the "{start.text}" slider to "{round(min(1.0, max(0.0, share)) * 100)}"'
        names = [f'the "{thing.text}" {thing.role}' if thing else _percent(point)
                 for thing, point in ((start, action.start_point), (end, action.end_point))]
        return f"{verb} {names[0]} to {names[1]}"
    if action.point is None:
        return format_call(action)
    thing = _thing_at(action.point, seen)
    return f'{verb} the "{thing.text}" {thing.role}' if thing else f"{verb} at {_percent(action.point)}"


_VERBS = {
    "click": "tap", "left_double": "double click", "right_single": "right click", "middle_click": "middle click",
    "triple_click": "triple click", "long_press": "long press", "hover": "point at", "type": "type into",
    "select": "select in",
}


def _thing_at(point: PointNorm | None, seen: Observation) -> Element | None:
    """The smallest thing with a label at a point; one that can be clicked before one that cannot."""
    if point is None:
        return None
    there = [e for e in seen.elements if e.text and e.box.contains(point)]

    def order(e: Element) -> tuple[bool, float]:
        return not e.is_clickable, (e.box.right - e.box.left) * (e.box.bottom - e.box.top)

    return min(there, key=order, default=None)


def _still_true(action: Action, words: str, seen: Observation) -> bool:
    """Whether the words, looked up on the screen, name what the points lie on; unknown words are left as they are."""
    try:
        found = ElementTreeAgent().ground(seen, without_points(action), words)
    except ExecutorError:  # a screen without elements: nothing can be looked up
        return False
    if action.start_point is not None:
        same_end = found.action is not None and found.action.end_point.distance(action.end_point) < 0.02
        return found.target is not None and found.target.contains(action.start_point) and same_end
    return found.target is not None and action.point is not None and found.target.contains(action.point)


def _step(plan: Plan, number: int) -> ForecastStep:
    if not 1 <= number <= len(plan.steps):
        raise InputError(f"step {number} is not in the plan: it has {len(plan.steps)}")
    return plan.steps[number - 1]


def _with(plan: Plan, number: int, step: ForecastStep, pinned: frozenset[int], notes: Iterable[str]) -> Plan:
    steps = (*plan.steps[: number - 1], step, *plan.steps[number:])
    return Plan(steps=steps, edited=plan.edited | {number}, pinned=pinned, changes=(*plan.changes, *notes))


def _shift(numbers: frozenset[int], start: int, by: int) -> frozenset[int]:
    return frozenset(n + by if n >= start else n for n in numbers)


def _words(text: str) -> str:
    words = " ".join(text.split())
    if not words:
        raise InputError("field 'words': the step has no words: say in a few words what is to be done")
    if len(words) > MAX_INSTRUCTION_CHARS:
        raise InputError(f"field 'words': {len(words)} characters are too many: give at most {MAX_INSTRUCTION_CHARS}")
    return words


def _check(action: Action) -> None:
    problem = validate(action, need_targets=False)
    if problem is not None:
        raise InputError(f"{problem}: {arguments_hint(action.type)}")


def _points(action: Action) -> dict[str, PointNorm]:
    return {name: p for name in PART_FIELDS.values() if (p := getattr(action, name)) is not None}


def _percent(point: PointNorm) -> str:
    return f"{point.x * 100:.0f} %, {point.y * 100:.0f} %"


def _places(action: Action) -> str:
    return " and ".join(_percent(point) for point in _points(action).values())
