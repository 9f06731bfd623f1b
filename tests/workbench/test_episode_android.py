"""An Android phone in the Episode tab, through a real adb server: which are offered, arming, the five decisions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.permission import allow_real_devices, forbid_real_devices
from executors.safety import Decision
from tests.executors.fake_adbd import FakeAdbd, Phone
from tests.executors.test_android import adb  # noqa: F401
from tests.support import require_program
from tests.workbench.test_episode_tab import FORM, Tab, make_handlers
from training.forecast import parse_forecast
from training.planner import ReplayPlanner
from workbench import devices
from workbench.devices import device_choice
from workbench.episode_handlers import EpisodeHandlers
from workbench.people import People, Role

ANDROID = {"source": "android", "goal": "Turn Wi-Fi on.", "agent": "", "is_armed": True}
SETTINGS = "point=[0.4, 0.31]"
"""A place on the label "Settings" of the home screen."""


@pytest.fixture
def permitted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("SPACE_ID", raising=False)
    allow_real_devices()
    yield
    forbid_real_devices()


@pytest.fixture
def daemon(adb: int) -> Iterator[FakeAdbd]:  # noqa: F811
    """A phone that adb is connected to."""
    daemon = FakeAdbd(Phone())
    subprocess.run([require_program("adb"), "connect", daemon.serial], check=True, capture_output=True, timeout=30)
    yield daemon
    subprocess.run([require_program("adb"), "disconnect"], check=True, capture_output=True, timeout=30)
    daemon.close()


@pytest.fixture
def handlers(permitted: None, data_root: Path, tmp_path: Path) -> Iterator[EpisodeHandlers]:
    handlers = make_handlers(ReplayPlanner({}), data_root, tmp_path / "store")
    yield handlers
    handlers.desk.close()


@pytest.fixture
def tab(handlers: EpisodeHandlers, daemon: FakeAdbd) -> Tab:
    """An armed phone whose plan is one tap that a person put there; the tap waits for a decision."""
    tab = Tab(handlers)
    tab.take(handlers.start(tab.page, *{**FORM, **ANDROID, "serial": daemon.serial}.values()))
    tab.do(handlers.insert, "click", SETTINGS, "tap Settings")
    daemon.phone.touches.clear()
    tab.take(handlers.act(tab.page))
    return tab


def is_over(tab: Tab) -> bool:
    return tab.handlers.desk.view(tab.page.id).state == "done"


def events(tab: Tab, serial: str) -> list[str]:
    path = tab.handlers.desk.store.root / "guard" / f"audit-{serial.replace(':', '_')}.jsonl"
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def reason() -> str:
    return device_choice("android", is_space=False).reason


def test_without_the_flag_it_is_not_offered_and_adb_is_not_asked(handlers, monkeypatch):
    forbid_real_devices()
    monkeypatch.setattr(subprocess, "run", pytest.fail)
    assert "--allow-real-devices" in reason()
    assert "--allow-real-devices" in Tab(handlers).start(**ANDROID, serial="x").status


def test_without_adb_it_is_not_offered(permitted, monkeypatch, tmp_path):
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "9")  # nobody answers there
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(tmp_path / "adb"))
    assert "the adb server does not answer" in reason() and "apt install adb" in reason()


def test_without_a_phone_it_is_not_offered_and_with_one_it_is(permitted, adb, handlers, request):  # noqa: F811
    assert "adb knows no phone" in reason()
    source, missing = handlers.load(Tab(handlers).page, "")[4:6]
    assert "android" not in dict(source.choices).values() and "Android: adb knows no phone" in missing.value
    daemon = request.getfixturevalue("daemon")
    source, missing = handlers.load(Tab(handlers).page, "")[4:6]
    assert ("Android", "android") in source.choices and "Android" not in missing.value
    *_, arm, _, serial = handlers.choose_source("android", "train")
    assert serial.visible and serial.choices == [(daemon.serial, daemon.serial)] and "this phone" in arm.label


def test_phone_that_is_not_ready_is_told_with_its_state(permitted, monkeypatch):
    monkeypatch.setattr(devices, "list_phones", lambda: {"R58M": "unauthorized"})
    assert "no phone is ready (R58M is unauthorized): allow debugging" in reason()


@pytest.mark.parametrize(("form", "words"), [
    ({"is_armed": False}, "not armed"), ({"goal": " "}, "goal is empty"),
    ({"serial": "R58M"}, "R58M&#x27; is not ready"), ({"serial": None}, "is not ready"),
])  # fmt: skip
def test_phone_that_is_not_armed_or_named_or_has_no_goal_is_refused(handlers, daemon, form, words):
    tab = Tab(handlers).start(**{**ANDROID, "serial": daemon.serial, **form})
    assert words in tab.status and not tab.page.id and daemon.phone.touches == []


def test_annotator_may_not_let_an_agent_act_on_a_phone(permitted, daemon, data_root, tmp_path):
    handlers = make_handlers(ReplayPlanner({}), data_root, tmp_path / "s", people=People(open_role=Role.ANNOTATOR))
    assert "let an agent act on a phone" in Tab(handlers).start(**ANDROID, serial=daemon.serial).status
    assert daemon.phone.log == []


def test_step_waits_for_a_decision_and_is_done_once_it_is_approved(tab, daemon):
    assert "Do this on the real device?" in tab.approval and "Settings" in tab.approval
    assert f"Android · {daemon.serial} · grounded by elements" in tab.goal and "data:image/png" in tab.screen
    assert daemon.phone.touches == []
    tab.do(tab.handlers.decisions.approve)
    tab.until(lambda: "1 step taken" in tab.status)
    assert daemon.phone.app == "com.android.settings" and tab.approval == ""
    assert events(tab, daemon.serial) == ["opened", "armed", "proposed", "decided", "executing", "executed"]


def test_rejected_step_is_not_done(tab, daemon):
    tab.do(tab.handlers.decisions.reject)
    assert "was rejected by the person at the page" in tab.status and daemon.phone.touches == []


def test_modified_step_is_done_instead(tab, daemon):
    assert "long_press" in tab.fields["type"]["choices"]  # the actions are a phone's
    tab.do(tab.handlers.decisions.modify, "press_back", "", "")
    tab.until(lambda: "1 step taken" in tab.status)
    assert daemon.phone.touches == [("key", "4")]


def test_escalated_step_needs_another_person(tab, daemon):
    episode = tab.handlers.desk.live(tab.page.id)
    episode.answer(Decision.ESCALATE, "ann")
    tab.until(lambda: "Passed on by ann" in tab.approval)
    episode.answer(Decision.APPROVE, "ben")
    tab.until(lambda: "1 step taken" in tab.status)
    assert daemon.phone.app == "com.android.settings"


@pytest.mark.parametrize("way", ["stop", "terminate"])
def test_stop_ends_it_for_good_while_a_step_waits(tab, daemon, way):
    tab.take(getattr(tab.handlers if way == "stop" else tab.handlers.decisions, way)(tab.page))
    tab.until(lambda: is_over(tab), seconds=2.0)
    assert "Stopped." in tab.status and not tab.buttons["forecast"] and daemon.phone.touches == []


def test_phone_that_an_episode_acts_on_is_not_given_to_another(tab, handlers, daemon):
    other = Tab(handlers).start(**ANDROID, serial=daemon.serial)
    assert "end that first" in other.status and not other.page.id
    tab.do(handlers.decisions.approve)
    tab.until(lambda: "1 step taken" in tab.status)


def test_words_of_a_forecast_are_found_in_the_phones_own_elements(permitted, daemon, data_root, tmp_path):
    forecast = parse_forecast('1. click() | tap "Notes"', horizon=1)
    handlers = make_handlers(ReplayPlanner({ANDROID["goal"]: [forecast]}), data_root, tmp_path / "s")
    tab = Tab(handlers).start(**ANDROID, serial=daemon.serial)
    tab.do(handlers.forecast)
    assert 'data-mark="forecast-1"' in tab.screen
    tab.take(handlers.act(tab.page))
    tab.until(lambda: "Notes" in tab.approval)
    tab.do(handlers.decisions.approve)
    tab.until(lambda: "1 step taken" in tab.status)
    assert daemon.phone.app == "org.toy.notes"
    handlers.desk.close()


def test_phone_that_drops_ends_the_step_with_a_reason(tab, daemon):
    tab.handlers.desk.live(tab.page.id)._device.guarding.guard.device._limit_seconds = 2.0
    daemon.close()
    tab.do(tab.handlers.decisions.approve)
    tab.until(lambda: is_over(tab))
    view = tab.handlers.desk.view(tab.page.id)
    assert view.stop_reason == "executor_error" and "the phone broke off `input`" in view.frames[0].step.error
