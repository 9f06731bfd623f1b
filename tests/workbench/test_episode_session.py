"""An episode as a person steps through it, without gradio."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence

import pytest

from executors.actions import Action
from executors.errors import ExecutorError, MissingFileError
from executors.trajectory import Trajectory
from training.config import ForecastConfig
from training.forecast import Forecast, ForecastStep, parse_forecast
from training.planner import ReplayPlanner
from workbench.drivers import AHEAD, MAX_STEPS, REACTIVE, RecordedDriver, SimulatorDriver, splits, templates
from workbench.episode_session import UNEXPECTED, EpisodeSession, Tone
from workbench.screen import Kind


class ScriptedPlanner:
    """Gives the same answer to every request, or raises it."""

    name = "scripted"
    config = ForecastConfig()

    def __init__(self, answer: Forecast | Exception) -> None:
        self.answer = answer
        self.histories: list[int] = []

    def forecast(self, requests: Sequence) -> list[Forecast]:
        self.histories += [len(request.history) for request in requests]
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer for _ in requests]


def opened(planner: object, mode: str = AHEAD, seed: int = 0) -> EpisodeSession:
    session = EpisodeSession()
    session.open(lambda: SimulatorDriver("alarm_on", "train", seed, lambda: planner, mode))
    return session


def forecast_of(text: str) -> Forecast:
    return parse_forecast(text, horizon=6)


WAIT = Forecast(steps=(ForecastStep(action=Action(type="wait"), instruction="wait"),))


def test_an_episode_steps_to_success(oracle_planner: ReplayPlanner) -> None:
    session = opened(oracle_planner)
    first = session.view()
    assert (first.can_forecast, first.can_act, first.can_run, first.can_stop) == (True, True, True, False)
    session.forecast()
    assert session.view().message.text == "Forecast of 3 steps. Act carries out the first."
    assert [m.number for m in session.frames[0].marks] == [1, 2, 3]
    for _ in range(3):
        session.act()
    view = session.view()
    assert view.message.tone is Tone.SUCCESS
    assert [entry.mark.kind for entry in view.history] == [Kind.EXECUTED] * 3
    assert (view.can_forecast, view.can_act, view.can_run, view.can_reset) == (False, False, False, True)


def test_acting_after_the_end_changes_nothing(oracle_planner: ReplayPlanner) -> None:
    session = opened(oracle_planner)
    list(session.run())
    before = session.view()
    session.act()
    session.forecast()
    assert list(session.run()) == []
    assert session.view() == before


def test_run_shows_every_forecast_and_every_step(oracle_planner: ReplayPlanner) -> None:
    session = opened(oracle_planner)
    seen = [(len(session.view().history), session.frames[-1].forecast is not None) for _ in session.run()]
    assert seen == [(0, True), (1, False), (1, True), (2, False), (2, True)]
    assert session.view().message.tone is Tone.SUCCESS


def test_stop_ends_a_run_between_steps_and_run_goes_on(oracle_planner: ReplayPlanner) -> None:
    session = opened(oracle_planner)
    run = session.run()
    next(run), next(run)
    assert session.view().can_stop
    session.request_stop()
    assert not session.view().can_stop
    assert list(run) == []
    assert "Stopped by you" in session.view().message.text
    assert len(session.view().history) == 1
    list(session.run())
    assert session.view().message.tone is Tone.SUCCESS


def test_a_second_run_at_the_same_time_does_nothing(oracle_planner: ReplayPlanner) -> None:
    session = opened(oracle_planner)
    run = session.run()
    next(run)
    assert list(session.run()) == []
    run.close()
    assert not session.view().is_busy


def test_reset_during_a_run_ends_it_and_starts_again(oracle_planner: ReplayPlanner) -> None:
    session = opened(oracle_planner)
    run = session.run()
    next(run), next(run)
    session.reset()
    assert list(run) == []
    view = session.view()
    assert (len(view.history), view.num_frames, view.message.tone) == (0, 1, Tone.INFO)
    list(session.run())
    assert session.view().message.tone is Tone.SUCCESS


def test_reset_while_the_planner_is_at_work_waits_for_it(oracle_planner: ReplayPlanner) -> None:
    entered, leave = threading.Event(), threading.Event()

    class SlowPlanner(ScriptedPlanner):
        def forecast(self, requests: Sequence) -> list[Forecast]:
            entered.set()
            assert leave.wait(10)
            return oracle_planner.forecast(requests)

    session = opened(SlowPlanner(WAIT))
    running = threading.Thread(target=lambda: list(session.run()))
    running.start()
    assert entered.wait(10)
    resetting = threading.Thread(target=session.reset)
    resetting.start()
    leave.set()
    running.join(10), resetting.join(10)
    assert len(session.view().history) == 0
    assert not session.view().is_busy


def test_looking_back_shows_what_was_done_and_the_live_screen_is_acted_on(oracle_planner: ReplayPlanner) -> None:
    session = opened(oracle_planner)
    session.act()
    session.move(-1)
    view = session.view()
    assert (view.frame_number, view.can_go_back, view.can_go_on) == (1, False, True)
    assert view.frame.taken.instruction == 'double click the "Clock" icon'
    session.act()
    assert session.view().frame_number == 3
    session.move(99)
    assert session.view().frame_number == 3
    session.go_to(1)
    assert session.view().frame_number == 1


def test_one_step_at_a_time_asks_for_one(oracle_planner: ReplayPlanner) -> None:
    session = opened(oracle_planner, REACTIVE)
    session.forecast()
    assert len(session.frames[0].marks) == 1


def test_an_unreadable_reply_is_shown_and_ends_the_episode_when_acted_on() -> None:
    session = opened(ScriptedPlanner(forecast_of("I would rather <b>not</b>")))
    session.forecast()
    assert session.view().message.tone is Tone.ERROR
    assert "could not be read at all" in session.view().message.text
    session.act()
    view = session.view()
    assert "no readable step" in view.message.text
    assert not view.can_forecast and view.can_reset


def test_a_step_that_fits_nothing_is_recorded_and_asked_again() -> None:
    session = opened(ScriptedPlanner(forecast_of('1. click() | tap the "Nowhere" button')))
    session.act()
    view = session.view()
    assert "was not done" in view.message.text and "Nowhere" in view.history[0].fault
    assert view.can_act
    assert [f.fault != "" for f in session.frames] == [True, False]
    list(session.run())
    assert "fit nothing on the screen" in session.view().message.text


def test_a_run_that_never_ends_is_cut_off() -> None:
    session = opened(ScriptedPlanner(WAIT))
    list(session.run())
    assert session.view().message.text.startswith(f"Stopped after {MAX_STEPS} steps.")


def test_a_wrong_finish_is_no_success() -> None:
    session = opened(ScriptedPlanner(forecast_of("1. finished() | done")))
    session.act()
    assert "The goal is not reached" in session.view().message.text


@pytest.mark.parametrize("act", [EpisodeSession.forecast, EpisodeSession.act, lambda session: list(session.run())])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ExecutorError("plan", "the server is away"), "the server is away"),
        (MissingFileError("nowhere does not exist: train one"), "Nowhere does not exist: train one."),
        (ZeroDivisionError("secret"), UNEXPECTED),
    ],
)
def test_a_planner_that_fails_is_one_sentence(act: Callable, error: Exception, words: str) -> None:
    session = opened(ScriptedPlanner(error))
    act(session)
    message = session.view().message
    assert message.tone is Tone.ERROR
    assert words in message.text
    assert "secret" not in message.text
    assert not session.view().is_busy


def test_a_task_that_does_not_exist_is_one_sentence() -> None:
    session = EpisodeSession()
    session.open(lambda: SimulatorDriver("nothing", "train", 0, lambda: None))
    assert "nothing" in session.view().message.text
    assert session.view().frame is None


def test_two_sessions_do_not_share_anything(oracle_planner: ReplayPlanner) -> None:
    one, other = opened(oracle_planner), opened(oracle_planner)
    list(one.run())
    assert len(other.view().history) == 0


def test_every_split_lists_tasks_easiest_first() -> None:
    for split in splits():
        levels = [int(label[-1]) for label, _ in templates(split)]
        assert levels and levels == sorted(levels)


def recording(trajectory: Trajectory, planner: object) -> EpisodeSession:
    session = EpisodeSession()
    session.open(lambda: RecordedDriver(trajectory, lambda: planner))
    return session


def test_a_recording_is_looked_at_and_never_acted_on(recorded: Trajectory) -> None:
    session = recording(recorded, ScriptedPlanner(WAIT))
    view = session.view()
    assert view.is_recorded and view.can_forecast
    assert (view.num_frames, view.can_act, view.can_run) == (3, False, False)
    session.act()
    assert list(session.run()) == []
    assert [entry.mark.kind for entry in session.view().history] == [Kind.RECORDED] * 3


def test_a_forecast_on_a_recording_is_told_the_steps_before_it(recorded: Trajectory) -> None:
    planner = ScriptedPlanner(WAIT)
    session = recording(recorded, planner)
    session.move(2)
    session.forecast()
    assert planner.histories == [2]
    assert session.frames[2].forecast is WAIT and session.frames[0].forecast is None
    assert "not carried out" in session.view().message.text


def test_closing_twice_is_harmless(oracle_planner: ReplayPlanner) -> None:
    session = opened(oracle_planner)
    session.close()
    session.close()
    session.forecast()
    assert session.view().frame is None


def test_a_page_that_the_server_forgot_gets_an_empty_session(oracle_planner: ReplayPlanner) -> None:
    session = copy.deepcopy(opened(oracle_planner))
    session.forecast(), session.act(), session.reset(), session.move(1)
    assert list(session.run()) == []
    assert session.view().message.text == "Choose a task to begin."
