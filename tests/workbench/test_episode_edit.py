"""Editing a plan: pure functions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import ACTIONS, Action, ArgKind
from executors.errors import InputError
from executors.geometry import BoxNorm, PointNorm
from executors.trajectory import Element, Observation
from training.forecast import Forecast, ForecastStep
from workbench.episode_edit import (
    MAX_PLAN_STEPS,
    Plan,
    arguments_hint,
    arguments_text,
    carry_on,
    change_step,
    delete_step,
    describe_action,
    insert_step,
    move_point,
    read_action,
)
from workbench.episode_store import ForecastMade

SAVE = Element(role="button", text="Save", box=BoxNorm(0.2, 0.4, 0.4, 0.6))
MENU = Element(role="button", text="Menu", box=BoxNorm(0.8, 0.0, 1.0, 0.1))
SOUND = Element(role="slider", text="Sound", value="30", box=BoxNorm(0.1, 0.7, 0.9, 0.75))
SEEN = Observation(elements=(SAVE, MENU, SOUND))
CLICK = Action(type="click")


def plan(*steps: tuple[Action, str]) -> Plan:
    return Plan(steps=tuple(ForecastStep(action=a, instruction=words) for a, words in steps))


TWO = plan((CLICK, 'tap the "Save" button'), (CLICK, 'tap the "Menu" button'))
SHOWN = Action(type="click", point=SAVE.box.center)


def test_a_moved_point_is_pinned_and_words_that_would_lie_follow_it() -> None:
    moved = move_point(TWO, 1, "point", MENU.box.center, shown=SHOWN, seen=SEEN)
    step = moved.steps[0]
    assert (step.action.point, step.instruction) == (MENU.box.center, 'tap the "Menu" button')
    assert (moved.edited, moved.pinned) == ({1}, {1})
    assert moved.changes == (
        "step 1: point moved from 30 %, 50 % to 90 %, 5 %",
        'step 1: words "tap the "Save" button" became "tap the "Menu" button"',
    )


def test_words_stay_while_the_point_is_on_what_they_name() -> None:
    moved = move_point(TWO, 1, "point", PointNorm(0.21, 0.41), shown=SHOWN, seen=SEEN)
    assert moved.steps[0].instruction == TWO.steps[0].instruction


def test_a_point_on_nothing_is_named_by_its_place() -> None:
    moved = move_point(TWO, 1, "point", PointNorm(0.6, 0.3), shown=SHOWN, seen=SEEN)
    assert moved.steps[0].instruction == "tap at 60 %, 30 %"


def test_small_moves_of_one_point_are_one_change_from_where_it_was() -> None:
    moved = move_point(TWO, 1, "point", PointNorm(0.31, 0.5), shown=SHOWN, seen=SEEN)
    moved = move_point(moved, 1, "point", PointNorm(0.35, 0.5), shown=moved.steps[0].action, seen=SEEN)
    assert moved.changes == ("step 1: point moved from 30 %, 50 % to 35 %, 50 %",)


def test_the_end_of_a_drag_is_moved_and_a_slider_says_its_new_value() -> None:
    drag = plan((Action(type="drag"), 'drag the "Sound" slider to "50"'))
    shown = Action(type="drag", start_point=PointNorm(0.34, 0.725), end_point=PointNorm(0.5, 0.725))
    moved = move_point(drag, 1, "end", PointNorm(0.74, 0.725), shown=shown, seen=SEEN)
    assert moved.steps[0].instruction == 'drag the "Sound" slider to "80"'
    assert moved.steps[0].action.start_point == shown.start_point


@pytest.mark.parametrize(
    ("part", "to", "shown", "words"),
    [
        ("end", PointNorm(0.5, 0.5), SHOWN, "'part'"),
        ("type", PointNorm(0.5, 0.5), SHOWN, "'part'"),
        ("point", PointNorm(1.01, 0.5), SHOWN, "off the screen"),
        ("point", PointNorm(float("inf"), 0.5), SHOWN, "off the screen"),
    ],
)
def test_a_wrong_move_is_refused(part: str, to: PointNorm, shown: Action, words: str) -> None:
    with pytest.raises(InputError, match=words):
        move_point(TWO, 1, part, to, shown=shown, seen=SEEN)


def test_half_a_drag_cannot_be_moved() -> None:
    drag = plan((Action(type="drag"), "drag it"))
    with pytest.raises(InputError, match="end_point"):
        move_point(drag, 1, "start", PointNorm(0.5, 0.5), shown=Action(type="drag"), seen=SEEN)


def test_new_words_are_looked_up_anew_and_not_executed_at_the_old_place() -> None:
    with_point = plan((SHOWN, 'tap the "Save" button'))
    changed = change_step(with_point, 1, SHOWN, 'tap the "Menu" button', shown=SHOWN)
    assert changed.steps[0].action.point is None and changed.pinned == set()
    assert changed.edited == {1} and "became" in changed.changes[0]


def test_a_point_that_is_typed_is_pinned() -> None:
    action = read_action("click", "point=[0.5, 0.25]")
    changed = change_step(TWO, 1, action, TWO.steps[0].instruction, shown=SHOWN)
    assert changed.steps[0].action.point == PointNorm(0.5, 0.25) and changed.pinned == {1}
    assert changed.changes == ("step 1: place set to 50 %, 25 %",)


def test_a_pinned_point_that_is_taken_out_is_looked_up_again() -> None:
    moved = move_point(TWO, 1, "point", MENU.box.center, shown=SHOWN, seen=SEEN)
    changed = change_step(moved, 1, CLICK, moved.steps[0].instruction, shown=moved.steps[0].action)
    assert changed.pinned == set() and changed.steps[0].action.point is None
    assert changed.changes[-1] == "step 1: its place is looked up again"


def test_applying_what_is_shown_changes_nothing() -> None:
    odd = Action(type="click", point=PointNorm(1 / 3, 2 / 3))
    moved = move_point(TWO, 1, "point", odd.point, shown=SHOWN, seen=SEEN)
    for before, shown in ((TWO, SHOWN), (moved, odd)):
        action = read_action(shown.type, arguments_text(shown))
        assert change_step(before, 1, action, before.steps[0].instruction, shown=shown) == before


def test_insert_and_delete_renumber_what_a_person_changed() -> None:
    moved = move_point(TWO, 2, "point", SAVE.box.center, shown=SHOWN, seen=SEEN)
    longer = insert_step(moved, 1, Action(type="wait"), "wait")
    assert (longer.edited, longer.pinned) == ({1, 3}, {3})
    shorter = delete_step(longer, 2)
    assert (shorter.edited, shorter.pinned) == ({1, 2}, {2})
    assert [step.instruction for step in shorter.steps] == ["wait", 'tap the "Save" button']
    assert shorter.changes[-1] == 'step 2 deleted: click(), "tap the "Save" button"'


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda: insert_step(TWO, 0, CLICK, "x"), "give 1..3"),
        (lambda: insert_step(TWO, 4, CLICK, "x"), "give 1..3"),
        (lambda: insert_step(TWO, 1, CLICK, " \n"), "'words'"),
        (lambda: insert_step(TWO, 1, CLICK, "x" * 301), "'words'"),
        (lambda: insert_step(TWO, 1, Action(type="type"), "x"), "'content'"),
        (lambda: insert_step(plan(*[(CLICK, "x")] * MAX_PLAN_STEPS), 1, CLICK, "x"), "delete one first"),
        (lambda: delete_step(TWO, 3), "step 3 is not in the plan"),
        (lambda: change_step(Plan(), 1, CLICK, "x", shown=SHOWN), "step 1 is not in the plan"),
    ],
)
def test_a_wrong_edit_is_refused(edit: Callable, words: str) -> None:
    with pytest.raises(InputError, match=words):
        edit()


def test_a_plan_goes_on_up_to_its_last_changed_step() -> None:
    steps = plan(*[(SHOWN, f"step {n}") for n in range(1, 6)])
    assert carry_on(steps, 1) is None
    assert carry_on(change_step(steps, 1, CLICK, "other", shown=SHOWN), 1) is None  # it was the one that was done
    changed = change_step(steps, 3, CLICK, "other", shown=SHOWN)
    rest = carry_on(changed, 7)
    assert [step.instruction for step in rest.steps] == ["step 2", "other"]
    assert all(step.action.point is None for step in rest.steps)  # those points were about another screen
    assert rest.edited == {2} and "screen 7" in rest.changes[0]


def test_a_place_that_a_person_set_for_a_later_screen_is_kept() -> None:
    moved = move_point(TWO, 2, "point", PointNorm(0.6, 0.3), shown=SHOWN, seen=SEEN)
    rest = carry_on(moved, 1)
    assert rest.steps[0].action.point == PointNorm(0.6, 0.3) and rest.pinned == {1}


def test_a_plan_becomes_a_forecast_and_is_read_back() -> None:
    forecast = Forecast(steps=TWO.steps, thought="hm")
    made = ForecastMade(forecast=forecast, messages=({"role": "user"},), plan_seconds=2.0)
    assert Plan.of(made) == TWO and Plan.of(None) == Plan()
    changed = delete_step(TWO, 1)
    again = changed.made(made)
    assert Plan.of(again) == changed
    assert (again.author, again.forecast.thought, again.messages) == ("person", "hm", made.messages)


@pytest.mark.parametrize("type", list(ACTIONS))
def test_the_hint_of_every_action_is_itself_allowed(type: str) -> None:
    arguments = arguments_hint(type).removeprefix("write ").partition(" (")[0]
    arguments = "" if arguments.startswith("leave") else arguments
    action = read_action(type, arguments)
    assert action.type == type
    assert read_action(type, arguments_text(action)) == action


@given(st.text(), st.sampled_from(list(ACTIONS)))
def test_any_arguments_are_read_or_refused_in_one_sentence(arguments: str, type: str) -> None:
    try:
        assert read_action(type, arguments).type == type
    except InputError as error:
        assert str(error)


@given(st.text())
def test_text_to_type_comes_back_as_it_was(text: str) -> None:
    action = Action(type="type", content=text)
    if all(ord(c) >= 32 or c in "\n\t\r" for c in text) and len(arguments_text(action)) < 2000:
        assert read_action("type", arguments_text(action)) == action


def test_every_pointed_action_has_words() -> None:
    for spec in ACTIONS.values():
        points = {arg.name: PointNorm(0.3, 0.5) for arg in spec.args if arg.kind is ArgKind.POINT}
        words = describe_action(Action(type=spec.name, **points), SEEN)
        assert words and (not points or "Save" in words)
