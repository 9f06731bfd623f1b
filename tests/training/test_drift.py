"""Forecast drift: what was forecast earlier, laid over what was done; how steady a plan is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.geometry import BoxNorm, PointNorm
from executors.simulator import make_task, record_episode
from executors.tool_agents import ElementTreeAgent
from executors.trajectory import Element, Observation, Step
from training.drift import drift, hit, hit_rate_by_lookahead, plan_stability, same_step
from training.forecast import Forecast, ForecastStep, parse_forecast, without_points

UNSEEN = Observation()
AGENT = ElementTreeAgent()
WIFI = Element(role="switch", text="Wi-Fi", box=BoxNorm(0.1, 0.1, 0.9, 0.2))
ALARM_TAB = Element(role="tab", text="Alarm", box=BoxNorm(0.1, 0.8, 0.4, 0.9))
ALARM_SWITCH = Element(role="switch", text="Alarm", box=BoxNorm(0.1, 0.3, 0.9, 0.4))
SCREEN = Observation(elements=(WIFI, ALARM_TAB, ALARM_SWITCH))


def step_of(line: str) -> ForecastStep:
    return parse_forecast(f"1. {line}", horizon=1).steps[0]


def plan(*lines: str) -> Forecast:
    text = "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))
    forecast = parse_forecast(text, horizon=9)
    assert forecast.ok
    return forecast


def done(line: str, observation: Observation = UNSEEN, **values: object) -> Step:
    step = step_of(line)
    return Step(observation=observation, action=replace(step.action, **values), instruction=step.instruction)


TAP_SWITCH = replace(
    done('click() | tap the "Alarm" switch', SCREEN, point=ALARM_SWITCH.box.center), target=ALARM_SWITCH.box
)


@pytest.mark.parametrize(
    ("forecast", "is_hit"),
    [
        ('click() | tap the "Alarm" switch', True),
        ('click() | turn the "Alarm" switch on at last', True),
        ('click() | tap the "Alarm" tab', False),
        ('click() | tap the "Wi-Fi" switch', False),
        ('click() | tap the "Bluetooth" switch', False),
        ('click() | tap "Alarm"', False),  # two elements fit, so nothing would have been tapped
        ('long_press() | hold the "Alarm" switch', False),
        ("click(point=[0.5, 0.35]) | tap here", True),
        ("click(point=[0.5, 0.45]) | tap here", False),
        ("press_back() | go back", False),
    ],
)
def test_a_hit_would_have_done_the_same_on_the_screen_it_became_due_on(forecast: str, is_hit: bool) -> None:
    assert hit(step_of(forecast), TAP_SWITCH, AGENT) is is_hit


@pytest.mark.parametrize(
    ("forecast", "is_hit"),
    [
        ('click() | tap the "Wi-Fi" row', True),
        ('click() | tap the "Sound" row', False),
        ("click(point=[0.55, 0.5]) | tap", True),
        ("click(point=[0.9, 0.5]) | tap", False),
        ("left_double() | tap the \"Wi-Fi\" row", False),
    ],
)
def test_without_an_element_tree_words_or_points_decide(forecast: str, is_hit: bool) -> None:
    executed = done('click() | tap the "Wi-Fi" switch', point=PointNorm(0.5, 0.5))
    assert hit(step_of(forecast), executed, AGENT) is is_hit


@pytest.mark.parametrize(
    ("forecast", "executed", "is_hit"),
    [
        ("type(content='milk') | type milk", "type(content='Milk ') | write it down", True),
        ("type(content='milk') | type milk", "type(content='milk\\n') | type milk and submit", False),
        ("scroll(direction='down') | look further down", "scroll(direction='down') | scroll", True),
        ("scroll(direction='down') | scroll", "scroll(direction='up') | scroll", False),
        ("finished() | done", "finished() | the alarm is set", True),
        ("finished() | done", "call_user() | cannot be done", False),
        ("hotkey(key='ctrl c') | copy", "hotkey(key='c ctrl') | copy it", True),
        ("open_app(app_name='Notes') | open notes", "open_app(app_name='Clock') | open notes", False),
    ],
)
def test_actions_without_a_place_are_judged_by_their_arguments(forecast: str, executed: str, is_hit: bool) -> None:
    assert hit(step_of(forecast), done(executed), AGENT) is is_hit


def test_drift_lists_each_earlier_forecast_of_a_step_nearest_first() -> None:
    forecasts = [plan("press_home() | a", "wait() | b", "press_back() | c"), None, plan("press_back() | c")]
    rows = drift(forecasts, [done("press_home() | a"), done("press_back() | c"), done("press_back() | c")], AGENT)
    assert [[(f.lookahead, f.made_after, f.is_hit) for f in row] for row in rows] == [
        [], [(2, 0, False)], [(3, 0, True)]]


def test_the_first_step_of_a_forecast_is_no_drift() -> None:
    assert drift([plan("press_home() | a")], [done("press_back() | b")], AGENT) == ((),)


def test_steps_after_a_forecasts_own_end_and_steps_never_due_are_not_counted() -> None:
    forecasts = [plan("wait() | a", "finished() | b", "wait() | c"), plan("wait() | a", "wait() | b", "wait() | c")]
    executed = [done("wait() | a"), done("wait() | a"), done("wait() | a")]
    rates = hit_rate_by_lookahead(drift(forecasts, executed, AGENT))
    assert [(r.lookahead, r.num_hits, r.num_forecasts) for r in rates] == [(2, 1, 2)]


def test_no_forecasts_and_no_steps_have_no_drift() -> None:
    assert drift([], [], AGENT) == ()
    assert drift([], [done("wait() | a")], AGENT) == ((),)
    assert hit_rate_by_lookahead([]) == ()
    assert plan_stability([]) is None
    assert plan_stability([plan("wait() | a"), plan("wait() | a")]) is None
    assert plan_stability([plan("wait() | a", "wait() | b"), None]) is None


@pytest.mark.parametrize(
    ("after", "share"),
    [
        (plan("press_back() | b", "finished() | c"), 1.0),
        (plan("press_home() | close the pop-up", "press_back() | b", "finished() | c"), 1.0),
        (plan("finished() | c", "press_back() | b"), 0.5),
        (plan("press_back() | b"), 0.5),
        (plan("wait() | x"), 0.0),
        (parse_forecast("I do not know", horizon=3), 0.0),
    ],
)
def test_stability_is_the_share_of_the_tail_that_comes_again_in_order(after: Forecast, share: float) -> None:
    assert plan_stability([plan("wait() | a", "press_back() | b", "finished() | c"), after]) == share


def test_the_oracle_foresees_itself() -> None:
    steps = record_episode(make_task("alarm_on", "train", 0), interruption_rate=0.0).steps
    plans = [
        Forecast(steps=tuple(ForecastStep(action=without_points(s.action), instruction=s.instruction) for s in rest))
        for rest in (steps[place:] for place in range(len(steps)))
    ]
    rates = hit_rate_by_lookahead(drift(plans, steps, AGENT))
    assert [r.lookahead for r in rates] == list(range(2, len(steps) + 1))
    assert {r.rate for r in rates} == {1.0}
    assert plan_stability(plans) == 1.0


lines = st.sampled_from(["wait() | a", "press_back() | b", 'click() | tap "X"', 'click() | tap "Y"', "finished() | c"])
plans = st.lists(st.none() | st.lists(lines, min_size=1, max_size=4).map(lambda some: plan(*some)), max_size=6)


@given(plans)
def test_stability_is_a_share_and_one_for_a_plan_that_only_moves_on(forecasts: list[Forecast | None]) -> None:
    share = plan_stability(forecasts)
    assert share is None or 0.0 <= share <= 1.0
    for forecast in filter(None, forecasts):
        rest = replace(forecast, steps=forecast.steps[1:])
        assert plan_stability([forecast, rest]) in (None, 1.0)


@given(plans, st.lists(lines.map(lambda line: done(line, SCREEN, **(
    {"point": PointNorm(0.5, 0.5)} if line.startswith("click") else {}))), max_size=6))
def test_drift_has_a_row_for_each_step_and_every_forecast_lies_before_it(forecasts, executed) -> None:
    rows = drift(forecasts, executed, AGENT)
    assert len(rows) == len(executed)
    for number, row in enumerate(rows, start=1):
        for forecast in row:
            assert forecast.lookahead >= 2
            assert forecast.made_after + forecast.lookahead == number
            assert forecasts[forecast.made_after].steps[forecast.lookahead - 1] == forecast.step


@given(lines, lines)
def test_same_step_does_not_depend_on_the_order(one: str, other: str) -> None:
    assert same_step(step_of(one), step_of(other)) == same_step(step_of(other), step_of(one))
    assert same_step(step_of(one), step_of(one))
