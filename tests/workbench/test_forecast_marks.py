"""Which forecast steps may be drawn on the screen that is seen."""

from __future__ import annotations

from executors.actions import Action
from executors.geometry import BoxNorm, PointNorm
from executors.tool_agents import ElementTreeAgent
from executors.trajectory import Element, Observation
from training.forecast import Forecast, ForecastStep
from workbench.forecast_marks import forecast_marks
from workbench.screen import Place

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
