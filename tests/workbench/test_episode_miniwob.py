"""MiniWoB++ in the Episode tab: handlers called as plain functions, pages in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import require_program
from tests.workbench.test_episode_tab import Tab, make_handlers
from training.benchmarks.miniwob import record_trajectories
from training.planner import ReplayPlanner
from workbench import devices, episode_desk
from workbench.devices import device_choices
from workbench.episode_handlers import EpisodeHandlers
from workbench.episode_html import render_missing_devices

pytest.importorskip("playwright")
pytest.importorskip("miniwob")

CHECKBOXES = {"source": "miniwob", "template": "click-checkboxes", "seed": 1}


@pytest.fixture(scope="module")
def planner() -> ReplayPlanner:
    """Forecasts what the task's oracle did."""
    require_program("chromium", "chromium-browser")
    return ReplayPlanner.of_trajectories(record_trajectories(("click-checkboxes",), 1, 1))


@pytest.fixture
def handlers(planner: ReplayPlanner, data_root: Path, tmp_path: Path) -> Iterator[EpisodeHandlers]:
    handlers = make_handlers(planner, data_root, tmp_path / "store")
    yield handlers
    handlers.desk.close()


def test_episode_is_shown_with_its_forecast_and_ends_by_the_pages_judgement(handlers):
    tab = Tab(handlers).start(**CHECKBOXES)
    assert "MiniWoB++ · click-checkboxes · seed 1" in tab.goal and "data:image/png" in tab.screen
    tab.do(handlers.forecast)
    assert 'data-mark="forecast-1"' in tab.screen and "checkbox" in tab.plan
    tab.do(handlers.act)
    assert "1 step taken" in tab.status
    tab.do(handlers.run)
    assert "The world ended the episode. The goal is reached." in tab.status


def test_oracle_is_the_reference_and_a_finished_episode_holds_no_browser(handlers):
    tab = Tab(handlers).start(**CHECKBOXES)
    episode = handlers.desk.live(tab.page.id)
    while "The world ended" not in tab.status:
        assert tab.buttons["reference"]
        tab.do(handlers.take_reference)
        tab.do(handlers.act)
    assert "The goal is reached." in tab.status
    assert not episode.is_heavy
    stored = handlers.desk.store.load(tab.page.id)
    assert (stored.outcome, stored.stop_reason, stored.platform) == ("success", "world_ended", "browser")


def test_episode_is_opened_again_after_a_restart_of_the_server(handlers, planner, data_root, tmp_path):
    tab = Tab(handlers).start(**CHECKBOXES)
    tab.do(handlers.take_reference).do(handlers.act)
    id = tab.page.id
    handlers.desk.close()
    again = make_handlers(planner, data_root, tmp_path / "store")
    view = again.desk.view(id)
    assert view.read_only == "" and "Opened again where it was left" in view.message.text
    again.desk.close()


def test_few_browsers_are_kept_open(handlers, monkeypatch):
    monkeypatch.setattr(episode_desk, "MAX_HEAVY", 1)
    first, second = Tab(handlers).start(**CHECKBOXES), Tab(handlers).start(**CHECKBOXES)
    assert set(handlers.desk._live) == {second.page.id}
    assert "Opened again" in handlers.desk.view(first.page.id).message.text  # brought back when it is asked for
    assert set(handlers.desk._live) == {first.page.id}


def test_choosing_a_source_shows_its_tasks(handlers):
    tasks, split = handlers.choose_source("miniwob", "train")[3:5]
    assert ("click-checkboxes", "click-checkboxes") in tasks.choices and len(tasks.choices) == 125
    assert not split.visible
    tasks, split = handlers.choose_source("simulator", "train")[3:5]
    assert split.visible and "alarm_on" in dict((name, label) for label, name in tasks.choices)


@pytest.mark.parametrize(("form", "words"), [
    ({"template": "click-nothing"}, "is unknown"), ({"seed": -1}, "seed"), ({"source": "toaster"}, "not one of"),
])  # fmt: skip
def test_what_is_not_there_is_told(handlers, form, words):
    assert words in Tab(handlers).start(**{**CHECKBOXES, **form}).status


def test_what_is_missing_is_told_beside_the_choice_and_refused(handlers, monkeypatch):
    reason = "Chromium is not installed: apt install chromium"
    monkeypatch.setattr(devices, "_why_no_miniwob", lambda is_space: reason)
    assert f"MiniWoB++: {reason}" in render_missing_devices(device_choices(is_space=False))
    assert f"not available: {reason}" in Tab(handlers).start(**CHECKBOXES).status


def test_visitors_of_a_space_get_no_browser_each():
    choice = next(choice for choice in device_choices(is_space=True) if choice.name == "miniwob")
    assert "browser of its own" in choice.reason
