"""A real desktop (Xvfb) in the Episode tab: permission, arming, the five decisions, the kill switch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from operator import attrgetter
from pathlib import Path

import pytest

from executors.permission import allow_real_devices, forbid_real_devices
from executors.safety import Decision
from executors.x11_connection import find_xauthority
from tests.executors.xvfb import Window, end
from tests.workbench.test_episode_tab import FORM, Tab, make_handlers
from training.planner import ReplayPlanner
from workbench.devices import device_choices
from workbench.episode_handlers import EpisodeHandlers
from workbench.episode_view import Activity
from workbench.people import People, Role

DESKTOP = {"source": "desktop", "goal": "Click the canvas.", "agent": "", "is_armed": True}
CANVAS = "point=[0.5, 0.75]"


@pytest.fixture(scope="module")
def window(display: str) -> Iterator[Window]:
    window = Window(display)
    yield window
    end(window.process)


@pytest.fixture
def permitted(monkeypatch: pytest.MonkeyPatch, display: str) -> Iterator[None]:
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    allow_real_devices()
    yield
    move_pointer(300, 300, display)
    forbid_real_devices()


@pytest.fixture
def handlers(data_root: Path, tmp_path: Path) -> Iterator[EpisodeHandlers]:
    planner = ReplayPlanner({})
    handlers = make_handlers(planner, data_root, tmp_path / "store")
    yield handlers
    handlers.desk.close()


@pytest.fixture
def tab(permitted: None, handlers: EpisodeHandlers, window: Window) -> Tab:
    """An armed desktop whose plan is one click that a person put there; the click waits for a decision."""
    tab = Tab(handlers)
    tab.take(handlers.start(tab.page, *{**FORM, **DESKTOP}.values()))
    tab.do(handlers.insert, "click", CANVAS, "click the canvas")
    window.clear()
    tab.take(handlers.act(tab.page))
    return tab


def events(tab: Tab) -> list[dict]:
    path = tab.handlers.desk.store.root / "guard" / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def clicks(window: Window) -> int:
    """Presses of a button that the window was told of since it was cleared."""
    window.process.stdin.write("clear\n")
    window.process.stdin.flush()
    return sum(e["event"] == "down" for e in window.wait_for(lambda e: e["event"] == "cleared"))


def test_without_the_flag_it_is_not_offered_and_says_how(handlers, monkeypatch):
    forbid_real_devices()
    reason = next(choice.reason for choice in device_choices(is_space=False) if choice.name == "desktop")
    assert "--allow-real-devices" in reason
    tab = Tab(handlers).start(**DESKTOP)
    assert "--allow-real-devices" in tab.status and not tab.page.id


def test_without_a_display_it_is_not_offered(permitted, monkeypatch):
    monkeypatch.delenv("DISPLAY")
    reason = next(choice.reason for choice in device_choices(is_space=False) if choice.name == "desktop")
    assert "there is no display" in reason


@pytest.mark.parametrize(("form", "words"), [({"is_armed": False}, "not armed"), ({"goal": " "}, "goal is empty")])
def test_desktop_that_is_not_armed_or_has_no_goal_is_refused(permitted, handlers, form, words):
    tab = Tab(handlers).start(**{**DESKTOP, **form})
    assert words in tab.status and not tab.page.id


def test_annotator_may_not_let_an_agent_act_on_the_desktop(permitted, data_root, tmp_path):
    handlers = make_handlers(ReplayPlanner({}), data_root, tmp_path / "s", people=People(open_role=Role.ANNOTATOR))
    assert "let an agent act on this desktop" in Tab(handlers).start(**DESKTOP).status


def test_step_waits_for_a_decision_and_is_done_once_it_is_approved(tab, window):
    assert "Do this on the real device?" in tab.approval and "click(point=[0.5, 0.75])" in tab.approval
    assert tab.buttons["approve"] and tab.buttons["stop"] and "data:image/png" in tab.screen
    assert clicks(window) == 0
    tab.do(tab.handlers.decisions.approve)
    tab.until(lambda: "1 step taken" in tab.status)
    assert clicks(window) == 1 and tab.approval == "" and not tab.buttons["approve"]
    assert [e["event"] for e in events(tab)] == ["opened", "armed", "proposed", "decided", "executing", "executed"]


def test_rejected_step_is_not_done(tab, window):
    tab.do(tab.handlers.decisions.reject)
    assert "was rejected by the person at the page" in tab.status
    assert clicks(window) == 0


def test_modified_step_is_done_instead(tab, window):
    assert tab.fields["type"]["interactive"]  # the fields are filled with the step that waits
    tab.do(tab.handlers.decisions.modify, "right_single", CANVAS, "")
    tab.until(lambda: "1 step taken" in tab.status)
    decided = next(e for e in events(tab) if e["event"] == "decided")
    assert (decided["decision"], decided["action"]["type"]) == ("modify", "right_single")
    assert clicks(window) == 1


def test_escalated_step_needs_another_person(tab, window):
    second = tab.handlers.desk.live(tab.page.id)._device.guarding.approvers[1]
    second.wait_seconds = 1.0
    tab.take(tab.handlers.decisions.escalate(tab.page))
    tab.until(lambda: "Passed on by" in tab.approval)
    tab.take(tab.handlers.decisions.approve(tab.page))
    assert "another person has to decide it" in tab.status
    tab.until(lambda: "rejected by nobody" in tab.handlers.desk.view(tab.page.id).message.text)
    assert clicks(window) == 0


def test_other_operator_decides_an_escalated_step(tab, window):
    episode = tab.handlers.desk.live(tab.page.id)
    episode.answer(Decision.ESCALATE, "ann")
    tab.until(lambda: "Passed on by ann" in tab.approval)
    episode.answer(Decision.APPROVE, "ben")
    tab.until(lambda: "1 step taken" in tab.status)
    assert clicks(window) == 1


@pytest.mark.parametrize("way", ["stop", "decisions.terminate"])
def test_stop_ends_it_for_good_while_a_step_waits(tab, window, way):
    started = time.monotonic()
    tab.take(attrgetter(way)(tab.handlers)(tab.page))
    tab.until(lambda: tab.handlers.desk.view(tab.page.id).state == "done")
    assert time.monotonic() - started < 2
    assert "Stopped." in tab.status and not tab.buttons["forecast"] and clicks(window) == 0


def throw_stop_file(tab: Tab) -> None:
    (tab.handlers.desk.store.root / "guard" / "STOP").touch()


def move_pointer(x: int, y: int, display: str | None = None) -> None:
    """As a person does."""
    from Xlib.display import Display

    find_xauthority()
    with closing(Display(display)) as person:
        person.screen().root.warp_pointer(x, y)
        person.sync()


def throw_pointer_into_the_corner(tab: Tab) -> None:
    move_pointer(0, 0)


WAYS = [(throw_stop_file, "By the stop file"), (throw_pointer_into_the_corner, "By the pointer in the corner.")]


def assert_ended_for_good(tab: Tab, window: Window, words: str) -> None:
    started = time.monotonic()
    tab.until(lambda: tab.handlers.desk.view(tab.page.id).state == "done")
    assert time.monotonic() - started < 2
    tab.until(lambda: events(tab)[-1]["event"] == "closed")  # the device is released, not only the page
    tab.tick()
    assert "Stopped." in tab.status and words in tab.status and tab.approval == ""
    assert not any(tab.buttons[name] for name in ("forecast", "act", "run", "stop", "approve"))
    stored = tab.handlers.desk.store.load(tab.page.id)
    assert (stored.state, stored.stop_reason) == ("done", "stopped")
    assert clicks(window) == 0


@pytest.mark.parametrize(("throw", "words"), WAYS)
def test_kill_switch_ends_it_while_a_step_waits_for_a_decision(tab, window, throw, words):
    throw(tab)
    assert_ended_for_good(tab, window, words)


@pytest.mark.parametrize(("throw", "words"), WAYS)
def test_kill_switch_ends_it_while_the_plan_waits_for_its_approval(tab, window, throw, words):
    tab.do(tab.handlers.decisions.reject)
    assert tab.handlers.desk.view(tab.page.id).is_open and not tab.handlers.desk.view(tab.page.id).is_busy
    throw(tab)
    assert_ended_for_good(tab, window, words)


class SlowPlanner(ReplayPlanner):
    """Needs longer for a forecast than a person who wants it to end has patience."""

    def forecast(self, requests):
        time.sleep(3.0)
        return super().forecast(requests)


def test_kill_switch_ends_a_run_while_the_planner_looks_ahead(permitted, window, data_root, tmp_path):
    handlers = make_handlers(SlowPlanner({}), data_root, tmp_path / "store")
    tab = Tab(handlers).start(**DESKTOP)
    window.clear()
    tab.take(handlers.run(tab.page))
    assert tab.handlers.desk.view(tab.page.id).activity is Activity.FORECASTING
    throw_stop_file(tab)
    assert_ended_for_good(tab, window, "By the stop file")
    handlers.desk.close()


def test_desktop_is_never_acted_on_again_by_itself(tab, handlers, data_root, tmp_path):
    tab.do(handlers.decisions.approve)
    tab.until(lambda: "1 step taken" in tab.status)
    id = tab.page.id
    episode = handlers.desk._live.pop(id)  # as when the server is killed
    again = make_handlers(ReplayPlanner({}), data_root, tmp_path / "store")
    assert "never repeated by itself" in again.desk.view(id).read_only
    episode.close()
