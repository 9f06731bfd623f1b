"""Live episodes on the server: stepping, stopping, editing, and being found again."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import ExecutorError, InputError, MissingFileError, OutputError
from executors.geometry import PointNorm
from training.config import ForecastConfig
from training.forecast import Forecast, ForecastStep, parse_forecast
from training.planner import ReplayPlanner
from workbench.episode_desk import EpisodeDesk
from workbench.episode_store import EpisodeSetup, EpisodeStore
from workbench.episode_view import UNEXPECTED, Activity, EpisodeView, Tone
from workbench.live_episode import LiveEpisode

TASK = EpisodeSetup(task="alarm_on", split="train", seed=0, planner="oracle")
DESK_RECORDING = EpisodeSetup(executor="replay", task="desk.jsonl", planner="oracle")
WAIT = Forecast(steps=(ForecastStep(action=Action(type="wait"), instruction="wait"),))


class ScriptedPlanner:
    """Gives the same answer to every request, or raises it; waits for its gate where it has one."""

    name = "scripted"

    def __init__(self, answer: Forecast | Exception, *, gate: threading.Event | None = None) -> None:
        self.config = ForecastConfig()
        self.answer, self.gate = answer, gate
        self.asked = threading.Event()
        self.requests: list = []

    def forecast(self, requests: Sequence) -> list[Forecast]:
        self.requests += requests
        self.asked.set()
        if self.gate is not None:
            assert self.gate.wait(20)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer for _ in requests]


class Bench:
    """A desk over a fresh store, whose planners are given by name."""

    def __init__(self, root: Path, data_root: Path, **planners: object) -> None:
        self.root, self.data_root, self.planners = root, data_root, planners
        self.open()

    def open(self) -> None:
        """A new desk over the same files, as after a restart of the server."""
        self.store = EpisodeStore(self.root)
        self.desk = EpisodeDesk(self.store, self.data_root, self.planners.__getitem__)

    def start(self, setup: EpisodeSetup = TASK, **changes: object) -> LiveEpisode:
        """A live episode."""
        return self.desk.live(self.desk.start(dataclasses.replace(setup, **changes)))


@pytest.fixture
def bench(tmp_path: Path, data_root: Path, oracle_planner: ReplayPlanner) -> Iterator[Bench]:
    """A desk whose default planner knows the way."""
    bench = Bench(tmp_path / "store", data_root, oracle=oracle_planner)
    yield bench
    bench.desk.close()


def wait_until(episode: LiveEpisode, holds: Callable[[EpisodeView], bool]) -> EpisodeView:
    """The first view that holds; fails after ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if holds(episode.view):
            return episode.view
        time.sleep(0.005)
    pytest.fail(f"still {episode.view.activity}: {episode.view.message.text}")


def done(episode: LiveEpisode, order: Callable[[], None]) -> EpisodeView:
    """Gives an order and waits until nothing is under way."""
    order()
    return wait_until(episode, lambda view: not view.is_busy)


def forecast_of(text: str) -> Forecast:
    return parse_forecast(text, horizon=6)


def test_a_forecast_waits_for_approval_and_an_episode_steps_to_success(bench: Bench) -> None:
    episode = bench.start()
    assert (episode.view.can_forecast, episode.view.can_act, episode.view.can_stop) == (True, False, False)
    view = done(episode, episode.forecast)
    assert view.can_act and view.num_steps == 0
    assert len(view.plan.forecast.steps) == 3
    for _ in range(2):
        done(episode, episode.act)
        done(episode, episode.forecast)
    view = done(episode, episode.act)
    assert (view.state, view.outcome, view.message.tone) == ("done", "success", Tone.SUCCESS)
    assert (view.can_forecast, view.can_act, view.can_reset) == (False, False, True)


def test_every_change_makes_a_higher_version_and_reading_never_changes_it(bench: Bench) -> None:
    episode = bench.start()
    before = episode.view.version
    assert bench.desk.view(episode.view.id).version == before
    assert done(episode, episode.forecast).version > before


def test_a_run_reaches_the_goal_and_all_of_it_is_stored(bench: Bench) -> None:
    episode = bench.start()
    view = done(episode, episode.run)
    stored = bench.store.load(view.id)
    assert (stored.state, stored.outcome, stored.num_steps, stored.planner_name) == ("done", "success", 3, "replay")
    assert [len(f.forecasts) for f in stored.frames] == [1, 1, 1]
    assert stored.frames[0].forecasts[0].messages[0]["content"][0]["sha256"] == stored.frames[0].screen
    assert [step.action.type for step in stored.frames[0].reference] == ["left_double", "click", "finished"]
    assert stored.frames[0].ground_seconds > 0 and stored.frames[0].execute_seconds > 0


def test_stop_in_the_middle_of_a_forecast_takes_effect_at_once_and_the_late_reply_is_thrown_away(bench: Bench) -> None:
    gate = threading.Event()
    planner = bench.planners["oracle"] = ScriptedPlanner(WAIT, gate=gate)
    episode = bench.start()
    episode.run()
    assert planner.asked.wait(10)
    assert episode.view.activity is Activity.FORECASTING
    started = time.monotonic()
    episode.stop()
    assert time.monotonic() - started < 1
    view = episode.view
    assert (view.is_busy, view.state, view.can_forecast) == (False, "waiting", True)
    assert "thrown away" in view.message.text
    assert bench.store.load(view.id).state == "waiting"
    gate.set()
    time.sleep(0.2)
    assert episode.view.plan is None and episode.view.num_steps == 0


def test_after_a_stop_a_new_forecast_does_not_mix_with_the_late_one(bench: Bench, oracle_planner) -> None:
    gate = threading.Event()
    slow = bench.planners["oracle"] = ScriptedPlanner(WAIT, gate=gate)
    episode = bench.start()
    episode.forecast()
    assert slow.asked.wait(10)
    episode.stop()
    bench.planners["oracle"] = oracle_planner
    view = done(episode, episode.forecast)
    gate.set()
    time.sleep(0.2)
    assert episode.view == view
    assert len(view.plan.forecast.steps) == 3


def test_pause_finishes_what_is_under_way_and_run_goes_on(bench: Bench, oracle_planner) -> None:
    gate = threading.Event()

    class Slow(ScriptedPlanner):
        def forecast(self, requests: Sequence) -> list[Forecast]:
            super().forecast(requests)
            return oracle_planner.forecast(requests)

    planner = bench.planners["oracle"] = Slow(WAIT, gate=gate)
    episode = bench.start()
    episode.run()
    assert planner.asked.wait(10)
    assert episode.view.can_pause
    episode.pause()
    assert episode.view.is_pausing and episode.view.is_busy
    gate.set()
    view = wait_until(episode, lambda view: not view.is_busy)
    assert view.can_act and "waits for your approval" in view.message.text
    assert done(episode, episode.run).outcome == "success"


def test_stopping_during_an_action_records_it_and_nothing_follows(bench: Bench) -> None:
    episode = bench.start()
    done(episode, episode.forecast)
    device, entered, leave = episode._device.executor, threading.Event(), threading.Event()
    execute = device.execute

    def slow(action: Action):
        entered.set()
        assert leave.wait(10)
        return execute(action)

    device.execute = slow
    episode.run()
    assert entered.wait(10)
    started = time.monotonic()
    episode.stop()
    assert time.monotonic() - started < 1
    assert episode.view.activity is Activity.ACTING and not episode.view.is_auto
    assert not episode.view.can_forecast
    leave.set()
    view = wait_until(episode, lambda view: not view.is_busy)
    assert (view.num_steps, len(view.frames), view.plan) == (1, 2, None)
    device.execute = execute
    assert done(episode, episode.run).outcome == "success"


def test_orders_that_are_not_possible_change_nothing(bench: Bench) -> None:
    episode = bench.start()
    before = episode.view
    for order in (episode.act, episode.pause, episode.stop, lambda: episode.reforecast(1)):
        order()
        assert episode.view == before
    view = done(episode, episode.run)
    for order in (episode.act, episode.forecast, episode.run, episode.stop):
        order()
        assert episode.view == view


def test_an_edited_place_is_what_is_executed_and_what_the_planner_is_told(bench: Bench) -> None:
    episode = bench.start()
    done(episode, episode.forecast)
    other = next(e for e in episode.view.frames[0].observation.elements if e.role == "icon" and e.text != "Clock")
    episode.move(1, "point", other.box.center)
    view = episode.view
    assert view.plan.author == "person" and 1 in view.plan.pinned
    assert [made.author for made in view.frames[0].forecasts] == ["planner", "person"]
    assert "moved from" in view.plan.changes[0]
    view = done(episode, episode.act)
    assert view.frames[0].step.action.point == other.box.center
    assert view.frames[1].observation.summary == other.text
    assert episode._episode.history[0].instruction == f'double click the "{other.text}" icon'


def test_many_small_moves_are_one_change(bench: Bench) -> None:
    episode = bench.start()
    done(episode, episode.forecast)
    place = episode.shown_action(1).point
    for number in range(1, 5):
        episode.move(1, "point", PointNorm(place.x + number / 1000, place.y))
    view = episode.view
    assert len(view.frames[0].forecasts) == 2
    assert len(view.plan.changes) == 1
    assert view.plan.forecast.steps[0].instruction == 'double click the "Clock" icon'  # still the same thing


def test_deleting_a_step_changes_what_happens_next(bench: Bench) -> None:
    step = '{n}. {call}() | {words}'
    plan = "\n".join(
        step.format(n=n, call=call, words=words)
        for n, (call, words) in enumerate((("wait", "wait a moment"), ("wait", "wait more"), ("finished", "done")), 1)
    )
    planner = bench.planners["oracle"] = ScriptedPlanner(forecast_of(plan))
    episode = bench.start()
    done(episode, episode.forecast)
    episode.delete(2)
    done(episode, episode.act)
    assert episode.view.plan.forecast.steps[0].action.type == "finished"  # followed without asking again
    assert "kept from the plan" in episode.view.plan.changes[0]
    view = done(episode, episode.act)
    assert (view.state, view.stop_reason) == ("done", "finished")
    assert len(planner.requests) == 1


def test_an_inserted_step_is_done_and_later_untouched_steps_are_asked_for_again(bench: Bench) -> None:
    episode = bench.start()
    done(episode, episode.forecast)
    episode.insert(1, "wait", "seconds=1", "wait a second")
    assert len(episode.view.plan.forecast.steps) == 4
    view = done(episode, episode.act)
    assert view.frames[0].step.action == Action(type="wait", seconds=1)
    assert view.plan is None


def test_a_person_can_go_without_any_planner(bench: Bench) -> None:
    bench.planners["oracle"] = ScriptedPlanner(MissingFileError("no planner here: train one"))
    episode = bench.start()
    while episode.view.state != "done":
        episode.take_reference()
        assert episode.view.plan.author == "person"
        done(episode, episode.act)
    assert episode.view.outcome == "success"


def test_forecast_again_from_here_tells_the_planner_the_kept_steps(bench: Bench, oracle_planner) -> None:
    episode = bench.start()
    done(episode, episode.forecast)
    episode.change(1, "left_double", "", 'double click the "Clock" icon please')
    planner = bench.planners["oracle"] = ScriptedPlanner(WAIT)
    view = done(episode, lambda: episode.reforecast(1))
    (request,) = planner.requests
    assert [item.instruction for item in request.history] == ['double click the "Clock" icon please']
    assert request.horizon == planner.config.horizon - 1
    assert [step.instruction for step in view.plan.forecast.steps] == ['double click the "Clock" icon please', "wait"]
    assert view.plan.author == "person"
    assert view.plan.changes[-1] == "forecast again from step 1 on"
    assert "please" in str(view.plan.messages)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda e: e.change(9, "click", "", "tap"), "step 9 is not in the plan"),
        (lambda e: e.change(1, "fly", "", "fly"), "'type'"),
        (lambda e: e.change(1, "scroll", "direction='sideways'", "scroll"), "'direction'"),
        (lambda e: e.change(1, "click", "point=[2, 2]", "tap"), "off the image"),
        (lambda e: e.change(1, "type", "content='a') or evil(", "type"), "arguments"),
        (lambda e: e.change(1, "click", "", "  "), "'words'"),
        (lambda e: e.move(1, "end", PointNorm(0.5, 0.5)), "'part'"),
        (lambda e: e.move(1, "point", PointNorm(1.5, 0.5)), "off the screen"),
        (lambda e: e.move(1, "point", PointNorm(float("nan"), 0.5)), "off the screen"),
        (lambda e: e.insert(7, "wait", "", "wait"), "give 1..4"),
        (lambda e: e.delete(0), "step 0 is not in the plan"),
    ],
)
def test_a_wrong_edit_is_one_sentence_and_changes_nothing(bench: Bench, edit: Callable, words: str) -> None:
    episode = bench.start()
    plan = done(episode, episode.forecast).plan
    edit(episode)
    assert episode.view.message.tone is Tone.ERROR
    assert words in episode.view.message.text[:1].lower() + episode.view.message.text[1:]
    assert episode.view.plan == plan


def test_nothing_can_be_edited_while_a_forecast_is_under_way(bench: Bench) -> None:
    gate = threading.Event()
    planner = bench.planners["oracle"] = ScriptedPlanner(WAIT, gate=gate)
    episode = bench.start()
    episode.forecast()
    assert planner.asked.wait(10)
    episode.insert(1, "wait", "", "wait")
    assert "cannot be changed now" in episode.view.message.text
    gate.set()


def test_t_and_k_of_the_setup_are_the_ones_asked_with(bench: Bench) -> None:
    planner = bench.planners["oracle"] = ScriptedPlanner(WAIT)
    episode = bench.start(horizon=2, history_length=1)
    for _ in range(3):
        done(episode, episode.forecast)
        done(episode, episode.act)
    assert {request.horizon for request in planner.requests} == {2}
    text = str(episode.view.frames[2].forecasts[0].messages)
    assert text.count("Step 2: ") == 1 and "Step 1: " not in text  # only the last one is told
    assert planner.config == ForecastConfig()


def test_a_goal_in_own_words_is_not_judged_and_has_no_reference(bench: Bench) -> None:
    bench.planners["oracle"] = ScriptedPlanner(forecast_of("1. finished() | done"))
    episode = bench.start(goal="Look around")
    assert (episode.view.goal, episode.view.frames[0].reference) == ("Look around", ())
    view = done(episode, episode.run)
    assert (view.outcome, view.stop_reason) == ("unknown", "finished")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ExecutorError("plan", "the server is away"), "the server is away"),
        (MissingFileError("nowhere does not exist: train one"), "Nowhere does not exist: train one."),
        (ZeroDivisionError("secret"), UNEXPECTED),
    ],
)
@pytest.mark.parametrize("order", ["forecast", "run"])
def test_a_planner_that_fails_is_one_sentence(bench: Bench, order: str, error: Exception, words: str) -> None:
    bench.planners["oracle"] = ScriptedPlanner(error)
    episode = bench.start()
    view = done(episode, getattr(episode, order))
    assert view.message.tone is Tone.ERROR
    assert words in view.message.text and "secret" not in view.message.text
    assert view.can_forecast


def test_an_unreadable_reply_can_be_mended_by_hand_or_ends_a_run(bench: Bench) -> None:
    bench.planners["oracle"] = ScriptedPlanner(forecast_of("I would rather <b>not</b>"))
    episode = bench.start()
    view = done(episode, episode.forecast)
    assert "could not be read at all" in view.message.text
    assert not view.can_act
    episode.insert(1, "wait", "", "wait")
    assert episode.view.can_act
    episode = bench.start()
    view = done(episode, episode.run)
    assert (view.state, view.stop_reason) == ("done", "parse_failure")


def test_a_step_that_fits_nothing_is_recorded_and_a_run_ends_after_three(bench: Bench) -> None:
    bench.planners["oracle"] = ScriptedPlanner(forecast_of('1. click() | tap the "Nowhere" button'))
    episode = bench.start()
    done(episode, episode.forecast)
    view = done(episode, episode.act)
    assert "was not done" in view.message.text and "Nowhere" in view.frames[0].step.error
    while episode.view.state != "done":
        done(episode, episode.run)
    assert episode.view.stop_reason == "not_grounded"


def test_a_run_stops_after_the_most_steps(bench: Bench) -> None:
    bench.planners["oracle"] = ScriptedPlanner(WAIT)
    episode = bench.start(max_steps=2)
    view = done(episode, episode.run)
    assert (view.stop_reason, view.num_steps, len(view.frames)) == ("max_steps", 2, 3)


@pytest.mark.parametrize(
    "changes",
    [{"seed": -1}, {"seed": 10**7}, {"max_steps": 0}, {"horizon": 0}, {"horizon": 99}, {"history_length": -1},
     {"task": "nothing"}, {"split": "nowhere"}, {"goal": "x" * 2000}],
)
def test_a_setup_that_is_not_allowed_is_refused_and_leaves_nothing_behind(bench: Bench, changes: dict) -> None:
    with pytest.raises(InputError):
        bench.start(**changes)
    assert bench.store.search().total == 0


def test_reset_begins_a_new_episode_and_keeps_the_old_one(bench: Bench) -> None:
    episode = bench.start()
    done(episode, episode.run)
    other = bench.desk.restart(episode.view.id)
    assert other != episode.view.id
    assert bench.desk.view(other).num_steps == 0
    assert bench.store.load(episode.view.id).num_steps == 3


def test_two_episodes_do_not_share_anything(bench: Bench) -> None:
    one, other = bench.start(), bench.start(seed=1)
    done(one, one.run)
    assert other.view.num_steps == 0 and other.view.can_forecast


def test_a_recording_is_a_device_whose_screens_do_not_answer(bench: Bench, recorded) -> None:
    episode = bench.start(DESK_RECORDING)
    assert episode.view.frames[0].reference[0].action == recorded.steps[0].action
    for number in range(1, 4):
        episode.take_reference()
        view = done(episode, episode.act)
        assert view.num_steps == number
    assert (view.state, view.stop_reason, view.outcome) == ("done", "recording_ended", "unknown")


def test_a_restarted_server_finds_an_episode_and_goes_on(bench: Bench) -> None:
    episode = bench.start()
    done(episode, episode.forecast)
    done(episode, episode.act)
    done(episode, episode.forecast)
    episode.delete(2)
    before = episode.view
    bench.desk.close()
    bench.open()
    again = bench.desk.live(before.id)
    assert again is not None and again is not episode
    assert again.view.plan == before.plan
    assert [f.screen for f in again.view.frames] == [f.screen for f in before.frames]
    assert (again.view.state, again.view.planner_name) == ("waiting", "replay")
    assert done(again, again.run).outcome == "success"
    assert bench.store.load(before.id).num_steps == 3


def test_a_killed_server_loses_at_most_the_step_in_flight(bench: Bench) -> None:
    gate = threading.Event()
    planner = bench.planners["oracle"] = ScriptedPlanner(WAIT, gate=gate)
    episode = bench.start()
    episode.run()
    assert planner.asked.wait(10)
    assert bench.store.load(episode.view.id).state == "running"
    bench.open()  # nothing was closed
    again = bench.desk.live(episode.view.id)
    assert again.view.state == "waiting" and again.view.can_forecast
    assert bench.store.load(episode.view.id).state == "waiting"
    gate.set()


def test_a_server_killed_between_an_action_and_its_screen_shows_the_screen(bench: Bench) -> None:
    episode = bench.start()
    done(episode, episode.forecast)
    before = done(episode, episode.act)
    with bench.store._store.writing() as db:
        db["frames"].delete((before.id, 2))
    bench.open()
    again = bench.desk.live(before.id)
    assert (len(again.view.frames), again.view.num_steps) == (2, 1)
    assert again.view.frames[1].screen == before.frames[1].screen
    assert done(again, again.run).outcome == "success"


def test_a_server_killed_before_it_could_say_that_an_episode_is_over_says_so(bench: Bench) -> None:
    episode = bench.start()
    id = done(episode, episode.run).id
    bench.store.save_state(id, state="running", outcome="unknown", stop_reason="")
    bench.open()
    view = bench.desk.view(id)
    assert (view.state, view.outcome, view.stop_reason) == ("done", "success", "finished")
    assert bench.store.load(id).outcome == "success"


def test_an_episode_that_was_never_begun_can_be_opened(bench: Bench) -> None:
    id = bench.store.create(TASK, goal="x")
    view = bench.desk.view(id)
    assert view.frames == () and "never begun" in view.read_only and bench.desk.live(id) is None


def test_a_device_that_shows_another_screen_is_only_looked_at(bench: Bench) -> None:
    episode = bench.start()
    done(episode, episode.forecast)
    done(episode, episode.act)
    id = episode.view.id
    frame = bench.store.load(id).frames[0]
    step = dataclasses.replace(frame.step, action=Action(type="wait"))
    bench.store.save_frame(id, dataclasses.replace(frame, step=step))
    bench.open()
    view = bench.desk.view(id)
    assert bench.desk.live(id) is None
    assert "another screen" in view.read_only and not view.can_forecast
    assert view.num_steps == 1


def test_a_finished_episode_is_opened_to_be_looked_at(bench: Bench) -> None:
    episode = bench.start()
    done(episode, episode.run)
    bench.open()
    view = bench.desk.view(episode.view.id)
    assert bench.desk.live(view.id) is None
    assert (view.outcome, view.num_steps, view.message.tone) == ("success", 3, Tone.SUCCESS)


def test_an_id_that_does_not_exist_is_one_sentence(bench: Bench) -> None:
    for id in ("", "nothing", "../../etc/passwd", "x" * 10_000):
        with pytest.raises(MissingFileError, match="not in this store"):
            bench.desk.view(id)


def test_a_store_that_cannot_be_written_is_said_and_the_episode_goes_on(bench: Bench, monkeypatch) -> None:
    episode = bench.start()

    def full(*args: object, **options: object) -> None:
        raise OutputError("disk full: free some")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "save_frame", full)
        done(episode, episode.forecast)
        view = done(episode, episode.act)
        assert view.storage_fault == "Disk full: free some."
        assert bench.store.load(view.id).num_steps == 0
    view = done(episode, episode.run)
    assert (view.outcome, view.storage_fault) == ("success", "")
    assert bench.store.load(view.id).num_steps == 3  # what was missed is stored once there is room


def test_many_episodes_are_put_away_and_opened_again(bench: Bench, monkeypatch) -> None:
    monkeypatch.setattr("workbench.episode_desk.MAX_LIVE", 2)
    first, *_ = [bench.start() for _ in range(4)]
    assert len(bench.desk._live) == 2
    again = bench.desk.live(first.view.id)
    assert again is not first
    assert done(again, again.run).outcome == "success"
