"""Which steps may be drawn on the screen that is seen: forecast, executed before, and forecast before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from executors.actions import Action
from executors.errors import ExecutorError
from executors.geometry import BoxNorm, PointNorm
from executors.tool_agents import ElementTreeAgent
from executors.trajectory import Element, Observation, Step
from training.forecast import Forecast, ForecastStep
from workbench.forecast_marks import earlier_mark, forecast_marks, past_mark
from workbench.screen import Kind, Layer, Outcome, Place

SAVE = Element(role="button", text="Save", box=BoxNorm(0.2, 0.4, 0.4, 0.6))
MENU = Element(role="button", text="Menu", box=BoxNorm(0.8, 0.0, 1.0, 0.1))
SEEN = Observation(elements=(SAVE, MENU))


def places(*steps: tuple[Action, str], seen: Observation = SEEN) -> list[Place]:
    forecast = Forecast(steps=tuple(ForecastStep(action=a, instruction=words) for a, words in steps))
    return [m.place for m in forecast_marks(forecast, seen, ElementTreeAgent())]


def test_the_first_step_is_on_this_screen_where_the_tool_agent_finds_it() -> None:
    forecast = Forecast(steps=(ForecastStep(action=Action(type="click"), instruction='tap the "Save" button'),))
    (mark,) = forecast_marks(forecast, SEEN, ElementTreeAgent())
    assert (mark.place, mark.action.point) == (Place.HERE, SAVE.box.center)


def test_a_first_step_that_is_not_found_says_why() -> None:
    forecast = Forecast(steps=(ForecastStep(action=Action(type="click"), instruction='tap the "Send" button'),))
    (mark,) = forecast_marks(forecast, SEEN, ElementTreeAgent())
    assert (mark.place, mark.anchor) == (Place.NOT_FOUND, None)
    assert "Send" in mark.where


def test_later_steps_are_here_only_where_their_words_are_found() -> None:
    click = Action(type="click")
    assert places((click, 'tap the "Save" button'), (click, 'tap the "Menu" button'), (click, 'tap "Gone"')) == [
        Place.HERE, Place.VISIBLE, Place.LATER,
    ]  # fmt: skip


def test_points_that_a_model_gave_for_a_later_screen_are_not_believed() -> None:
    click = Action(type="click", point=PointNorm(0.5, 0.5))
    assert places((click, "tap here"), (click, 'tap "Gone"')) == [Place.HERE, Place.LATER]


def test_keys_and_endings_need_no_place() -> None:
    steps = ((Action(type="press_home"), "go home"), (Action(type="finished"), "done"))
    assert places(*steps) == [Place.NOWHERE, Place.NOWHERE]


def test_a_screen_without_elements_shows_nothing_that_must_be_found() -> None:
    click = Action(type="click")
    assert places((click, 'tap "A"'), (click, 'tap "B"'), seen=Observation()) == [Place.NOT_FOUND, Place.LATER]


def test_a_place_that_a_person_set_is_kept_as_it_is() -> None:
    point = PointNorm(0.77, 0.66)
    step = ForecastStep(action=Action(type="click", point=point), instruction='tap the "Save" button')
    forecast = Forecast(steps=(step, step, step))
    marks = forecast_marks(forecast, SEEN, ElementTreeAgent(), pinned={1, 2})
    assert [m.place for m in marks] == [Place.HERE, Place.PLACED, Place.VISIBLE]
    assert [m.action.point for m in marks] == [point, point, SAVE.box.center]
    assert marks[1].where == "placed by a person"


def test_marks_say_whether_they_may_be_moved() -> None:
    forecast = Forecast(steps=(ForecastStep(action=Action(type="click"), instruction='tap the "Save" button'),) * 2)
    assert not any(m.is_editable for m in forecast_marks(forecast, SEEN, ElementTreeAgent()))
    assert all(m.is_editable for m in forecast_marks(forecast, SEEN, ElementTreeAgent(), is_editable=True))


def test_typing_shows_at_the_focused_field_and_nowhere_without_one() -> None:
    typing = ForecastStep(action=Action(type="type", content="milk"), instruction='type "milk"')
    forecast = Forecast(steps=(typing,))
    focused = replace(SEEN, elements=(replace(SAVE, role="field", is_focused=True), MENU))
    assert forecast_marks(forecast, focused, ElementTreeAgent())[0].anchor == SAVE.box.center
    assert forecast_marks(forecast, SEEN, ElementTreeAgent())[0].anchor is None
    both = replace(SEEN, elements=(replace(SAVE, is_focused=True), replace(MENU, is_focused=True)))
    assert forecast_marks(forecast, both, ElementTreeAgent())[0].place is Place.NOWHERE


class BrokenAgent:
    """A tool agent that fails at every call."""

    name = "broken"

    def ground(self, observation: Observation, action: Action, instruction: str) -> None:
        raise ExecutorError("ground", "the server is gone")


def test_a_tool_agent_that_fails_is_told_as_the_reason() -> None:
    forecast = Forecast(steps=(ForecastStep(action=Action(type="click"), instruction="tap it"),) * 2)
    first, later = forecast_marks(forecast, SEEN, BrokenAgent())
    assert (first.place, later.place) == (Place.NOT_FOUND, Place.LATER)
    assert "the server is gone" in first.where


TAPPED_SAVE = Step(observation=SEEN, action=Action(type="click", point=SAVE.box.center), instruction="tap Save")


@pytest.mark.parametrize("now, place", [
    (SEEN, Place.VISIBLE),
    (Observation(elements=(MENU, SAVE)), Place.VISIBLE),
    (Observation(elements=(MENU,)), Place.PAST),
    (Observation(elements=(MENU, replace(SAVE, text="Send"))), Place.PAST),
    (Observation(elements=(replace(SAVE, box=BoxNorm(0.2, 0.5, 0.4, 0.7)),)), Place.PAST),
    (Observation(), Place.PAST),
])  # fmt: skip
def test_a_past_step_is_drawn_only_where_its_target_still_stands(now: Observation, place: Place) -> None:
    mark = past_mark(1, TAPPED_SAVE, now, outcome=Outcome.HIT)
    assert (mark.place, mark.layer, mark.outcome) == (place, Layer.PAST, Outcome.HIT)


def test_a_past_step_without_a_point_is_of_an_earlier_screen() -> None:
    went_back = Step(observation=SEEN, action=Action(type="press_back"), instruction="go back")
    assert past_mark(2, went_back, SEEN).place is Place.PAST


def test_a_past_drag_is_drawn_only_where_both_of_its_ends_stand() -> None:
    action = Action(type="drag", start_point=SAVE.box.center, end_point=MENU.box.center)
    dragged = Step(observation=SEEN, action=action, instruction="drag")
    assert past_mark(1, dragged, SEEN).place is Place.VISIBLE
    assert past_mark(1, dragged, Observation(elements=(SAVE,))).place is Place.PAST


def test_an_earlier_forecast_is_laid_over_the_screen_by_its_words() -> None:
    point = PointNorm(0.9, 0.9)  # of a screen that was not there yet: not believed
    found = ForecastStep(action=Action(type="click", point=point), instruction='tap the "Save" button')
    mark = earlier_mark(4, 2, found, SEEN, ElementTreeAgent(), outcome=Outcome.HIT)
    assert (mark.key, mark.kind, mark.place) == ("earlier-4-2", Kind.EARLIER, Place.VISIBLE)
    assert mark.anchor == SAVE.box.center
    gone = ForecastStep(action=Action(type="click"), instruction='tap the "Send" button')
    missed = earlier_mark(4, 1, gone, SEEN, ElementTreeAgent())
    assert missed.place is Place.NOT_FOUND and "Send" in missed.where
