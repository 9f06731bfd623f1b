"""Which of an episode's forecasts are judged, and on which frames they were made."""

from __future__ import annotations

from executors.actions import Action
from executors.tool_agents import ElementTreeAgent
from executors.trajectory import Observation
from training.episode_record import StepRecord
from training.forecast import Forecast, parse_forecast
from workbench.episode_drift import episode_drift
from workbench.episode_store import ForecastMade, StoredFrame

SEEN = Observation()


def plan(*names: str) -> Forecast:
    text = "\n".join(f"{number}. {name}() | {name}" for number, name in enumerate(names, start=1))
    return parse_forecast(text, horizon=9)


def frame_of(number: int, *made: ForecastMade, done: str = "", error: str | None = None) -> StoredFrame:
    forecast = made[-1].forecast if made else None
    action = Action(type=done) if done and error is None else None
    step = StepRecord(number=number, observation=SEEN, forecast=forecast, action=action, error=error) if done else None
    return StoredFrame(number=number, observation=SEEN, forecasts=made, step=step)


def by_planner(*names: str) -> ForecastMade:
    return ForecastMade(forecast=plan(*names))


def by_person(*names: str) -> ForecastMade:
    return ForecastMade(forecast=plan(*names), author="person", changes=("changed",))


def test_rows_name_the_frames_of_steps_and_forecasts() -> None:
    frames = [
        frame_of(1, by_planner("press_home", "wait"), done="press_home"),
        frame_of(2, by_planner("wait", "finished"), done="wait"),
        frame_of(3, by_planner("press_back"), done="press_back"),
        frame_of(4),
    ]
    found = episode_drift(frames, ElementTreeAgent())
    assert [(row.frame_number, row.made_on, [f.is_hit for f in row.earlier]) for row in found.rows] == [
        (1, (), []), (2, (1,), [True]), (3, (2,), [False])]
    assert [(rate.lookahead, rate.rate) for rate in found.rates] == [(2, 0.5)]
    assert found.stability == 0.5


def test_what_a_person_wrote_is_not_the_planners_foresight() -> None:
    frames = [
        frame_of(1, by_planner("press_home", "wait"), by_person("press_home", "press_back"), done="press_home"),
        frame_of(2, by_person("press_back"), done="press_back"),
    ]
    found = episode_drift(frames, ElementTreeAgent())
    assert [(f.step.instruction, f.is_hit) for f in found.rows[1].earlier] == [("wait", False)]
    assert found.stability is None


def test_a_step_that_failed_takes_no_time() -> None:
    frames = [
        frame_of(1, by_planner("press_home", "wait"), done="press_home", error="no such place"),
        frame_of(2, by_planner("press_back", "wait"), done="press_back"),
        frame_of(3, by_planner("wait"), done="wait"),
    ]
    found = episode_drift(frames, ElementTreeAgent())
    assert [(row.frame_number, row.made_on) for row in found.rows] == [(2, ()), (3, (2,))]
    assert found.stability == 1.0


def test_an_episode_without_steps_has_no_drift() -> None:
    found = episode_drift([frame_of(1, by_planner("wait", "wait"))], ElementTreeAgent())
    assert (found.rows, found.rates, found.stability) == ((), (), None)


def test_known_rows_are_taken_over_and_new_ones_added() -> None:
    frames = [
        frame_of(1, by_planner("press_home", "wait", "finished"), done="press_home"),
        frame_of(2, by_planner("wait", "finished"), done="wait"),
        frame_of(3, by_planner("finished"), done="finished"),
    ]
    whole = episode_drift(frames, ElementTreeAgent())
    before = episode_drift(frames[:2], ElementTreeAgent())
    assert episode_drift(frames, ElementTreeAgent(), before) == whole
    assert episode_drift(frames, None, whole) == whole  # nothing is left to be grounded
