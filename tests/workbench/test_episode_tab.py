"""The Episode tab's handlers, called as plain functions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from executors.actions import Action
from training.config import ForecastConfig
from training.forecast import Forecast, ForecastStep, parse_forecast
from training.planner import ReplayPlanner
from workbench.drivers import AHEAD, REACTIVE
from workbench.episode_session import EpisodeSession
from workbench.planner_shelf import PlannerShelf
from workbench.settings import AppSettings
from workbench.tabs.episode import RECORDED, SIMULATOR, EpisodeHandlers
from workbench.ui import build_app, launch_options

PANELS = ("goal", "status", "screen", "forecast", "thought", "history", "position")
BUTTONS = ("forecast", "act", "run", "stop", "reset", "back", "on")
ATTACK = '<img src=x onerror="alert(1)">'


def shown(updates: tuple) -> SimpleNamespace:
    """The outputs of a handler by name; buttons as whether they can be pressed."""
    panels = dict(zip(PANELS, updates[: len(PANELS)], strict=True))
    buttons = {name: button.interactive for name, button in zip(BUTTONS, updates[len(PANELS) :], strict=True)}
    return SimpleNamespace(**panels, buttons=buttons)


@pytest.fixture
def handlers(oracle_planner: ReplayPlanner, data_root: Path) -> EpisodeHandlers:
    """Handlers whose planner knows the way."""
    return EpisodeHandlers(PlannerShelf(lambda path: oracle_planner, "replay:oracle"), data_root)


@pytest.fixture
def session(handlers: EpisodeHandlers) -> EpisodeSession:
    """The session of a page that was just opened, on a task that the planner knows."""
    session, *_ = handlers.load("")
    handlers.open_task(session, "alarm_on", "train", 0, "", AHEAD)
    return session


def test_opening_a_page_shows_a_screen_at_once(handlers: EpisodeHandlers) -> None:
    _, *updates = handlers.load("")
    page = shown(tuple(updates))
    assert "<svg" in page.screen and "data:image/png;base64," in page.screen
    assert page.buttons == {
        "forecast": True, "act": True, "run": True, "stop": False, "reset": True, "back": False, "on": False,
    }  # fmt: skip


def test_a_forecast_is_busy_first_and_then_listed(handlers: EpisodeHandlers, session: EpisodeSession) -> None:
    busy, done = map(shown, handlers.forecast(session, ""))
    assert 'data-busy="true"' in busy.status
    assert not any(busy.buttons[name] for name in ("forecast", "act", "run", "reset"))
    assert done.forecast.count("tw-row") >= 3
    assert 'data-mark="forecast-1"' in done.screen
    assert "on a later screen" in done.forecast


def test_acting_to_success(handlers: EpisodeHandlers, session: EpisodeSession) -> None:
    for _ in range(3):
        *_, last = handlers.act(session, "")
    page = shown(last)
    assert "The goal is reached." in page.status
    assert "3 executed steps" in page.status
    assert page.history.count("<li") == 3
    assert not page.buttons["act"] and page.buttons["reset"]


def test_run_yields_after_every_step_and_stop_ends_it(handlers: EpisodeHandlers, session: EpisodeSession) -> None:
    run = handlers.run(session, "")
    next(run), next(run)
    assert shown(next(run)).buttons["stop"]
    assert "Stopping after this step" in shown(handlers.stop(session, "")).status
    *_, last = run
    assert "Stopped by you" in shown(last).status
    assert shown(last).buttons["run"]


def test_a_run_whose_page_is_closed_ends(handlers: EpisodeHandlers, session: EpisodeSession) -> None:
    run = handlers.run(session, "")
    next(run), next(run)
    run.close()
    assert not session.view().is_busy


def test_reset_starts_again(handlers: EpisodeHandlers, session: EpisodeSession) -> None:
    list(handlers.run(session, ""))
    page = shown(handlers.reset(session, ""))
    assert "0 executed steps" in page.status and page.buttons["run"]


@pytest.mark.parametrize("seed", [-1, 0.5, None, 1_000_000, float("nan"), float("inf")])
def test_a_wrong_seed_is_one_sentence(handlers, session: EpisodeSession, seed: float) -> None:
    page = shown(handlers.open_task(session, "alarm_on", "train", seed, "", AHEAD))
    assert "Seed" in page.status and "0..999999" in page.status


def test_a_hostile_reply_stays_text(data_root: Path) -> None:
    steps = f'1. click() | tap the "{ATTACK}" button\n2. type(content=\'{ATTACK}\') | {ATTACK}'
    reply = f"{ATTACK}</think>{steps}\n{ATTACK}"
    forecast = parse_forecast(reply, horizon=6)
    planner = SimpleNamespace(name="x", config=ForecastConfig(), forecast=lambda requests: [forecast])
    handlers = EpisodeHandlers(PlannerShelf(lambda path: planner, "replay:x"), data_root)
    session, *_ = handlers.load("")
    *_, forecasted = handlers.forecast(session, "")
    *_, acted = handlers.act(session, "")
    for update in (forecasted, acted):
        for panel in update[: len(PANELS)]:
            assert "<img src=x" not in str(panel)
    assert "&lt;img src=x" in shown(forecasted).forecast


def test_a_recording_is_chosen_and_stepped(handlers: EpisodeHandlers, session: EpisodeSession) -> None:
    choices = ("alarm_on", "train", 0, "", AHEAD)
    _, _, files, *updates = handlers.choose_source(session, *choices, RECORDED, None, None)
    assert files.choices == [("desk.jsonl", "desk.jsonl"), ("oracle.jsonl", "oracle.jsonl")]
    assert "No screen yet" in shown(tuple(updates)).screen
    trajectories, *updates = handlers.list_recorded(session, "desk.jsonl", "", AHEAD)
    page = shown(tuple(updates))
    assert trajectories.choices == [("1. Look at <b>three</b> screens. (3 steps)", 0)]
    assert "Look at &lt;b&gt;three&lt;/b&gt; screens." in page.goal
    assert 'viewBox="0 0 1276 718"' in page.screen and 'data-mark="recorded-1"' in page.screen
    assert "Recorded screen" in page.screen
    assert (page.buttons["act"], page.buttons["on"], page.buttons["back"]) == (False, True, False)
    page = shown(handlers.on(session, ""))
    assert "Screen 2 of 3" in page.position and 'data-mark="recorded-2"' in page.screen
    page = shown(handlers.go_to(session, "", SimpleNamespace(_data={"frame": 3})))
    assert "Screen 3 of 3" in page.position
    _, _, _, *updates = handlers.choose_source(session, *choices, SIMULATOR, "desk.jsonl", 0)
    assert "Simulator" in shown(tuple(updates)).goal


def test_another_mode_keeps_the_screen_of_a_recording_and_starts_a_task_again(
    handlers: EpisodeHandlers, session: EpisodeSession
) -> None:
    choices = ("oracle.jsonl", 0)
    handlers.list_recorded(session, "oracle.jsonl", "", AHEAD)
    handlers.on(session, "")
    page = shown(handlers.choose_mode(session, "alarm_on", "train", 0, "", REACTIVE, RECORDED, *choices))
    assert "Screen 2 of 3" in page.position
    *_, last = handlers.forecast(session, "")
    assert "Forecast of 1 step." in shown(last).status
    page = shown(handlers.choose_mode(session, "alarm_on", "train", 0, "", AHEAD, SIMULATOR, *choices))
    assert "Simulator" in page.goal and "Screen 1 of 1" in page.position


def test_a_recording_outside_the_data_folder_is_refused(handlers: EpisodeHandlers, session: EpisodeSession) -> None:
    _, *updates = handlers.list_recorded(session, "../../etc/passwd", "", AHEAD)
    assert "outside" in shown(tuple(updates)).status


def test_a_screenshot_that_is_gone_is_said(handlers: EpisodeHandlers, session: EpisodeSession, tmp_path: Path) -> None:
    from executors.trajectory import write_trajectories
    from tests.workbench.conftest import oracle_trajectories

    write_trajectories(tmp_path / "a.jsonl", oracle_trajectories(0))
    for image in (tmp_path / "a_images").iterdir():
        image.unlink()
    handlers.data_root = tmp_path
    _, *updates = handlers.list_recorded(session, "a.jsonl", "", AHEAD)
    assert "This screenshot cannot be shown" in shown(tuple(updates)).screen


def test_without_a_planner_the_page_says_how_to_get_one(tmp_path: Path) -> None:
    def load(path: str) -> Forecast:
        raise AssertionError("nothing to load")

    handlers = EpisodeHandlers(PlannerShelf(load, str(tmp_path / "tiny_planner")), tmp_path)
    handlers.shelf.warm()
    session, *updates = handlers.load("")
    page = shown(tuple(updates))
    assert "No planner yet" in page.forecast and "tracer1 train" in page.forecast
    assert not any(page.buttons[name] for name in ("forecast", "act", "run"))
    status, timer, *_ = handlers.poll_planner(session, "")
    assert "There is no planner" in status and not timer.active


def test_the_planners_line_is_polled_until_it_is_ready(handlers: EpisodeHandlers, session: EpisodeSession) -> None:
    assert handlers.poll_planner(session, "")[1].active
    handlers.shelf.get()
    status, timer, *updates = handlers.poll_planner(session, "")
    assert "is ready" in status and not timer.active
    assert "Forecast asks" in shown(tuple(updates)).forecast


def test_the_whole_page_is_built_and_offers_no_api(tmp_path: Path) -> None:
    demo = build_app(AppSettings(planner=str(tmp_path / "none"), data_root=tmp_path), load=lambda path: None)
    assert isinstance(demo, gr.Blocks)
    assert {fn.api_visibility for fn in demo.fns.values()} == {"private"}
    shared = {fn.concurrency_id for fn in demo.fns.values() if fn.concurrency_limit == 1}
    assert len(shared) == 1
    options = launch_options(AppSettings())
    assert (options["run_history"], options["share"], options["show_error"]) == (False, False, False)


def test_a_reply_that_is_readable_in_part_shows_that_part(data_root: Path) -> None:
    step = ForecastStep(action=Action(type="press_home"), instruction="go home")
    forecast = Forecast(steps=(step,), reason="step 2: x")
    planner = SimpleNamespace(name="x", config=ForecastConfig(), forecast=lambda requests: [forecast])
    handlers = EpisodeHandlers(PlannerShelf(lambda path: planner, "replay:x"), data_root)
    session, *_ = handlers.load("")
    *_, last = handlers.forecast(session, "")
    assert "could not be read in full" in shown(last).status
    assert "Not readable: step 2: x" in shown(last).forecast
