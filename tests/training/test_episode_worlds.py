"""`tracer1 episode` in MiniWoB++, on a desktop (Xvfb) and on a phone (a real adb server, a fake phone)."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from executors.actions import Action
from executors.audit import check_audit
from executors.device import StopSignal
from executors.geometry import PointNorm
from executors.permission import forbid_real_devices
from executors.safety import Decision, Proposal
from executors.trajectory import Observation, Step, Trajectory, write_trajectories
from tests.executors.fake_adbd import FakeAdbd, Phone
from tests.executors.test_android import adb  # noqa: F401
from tests.executors.xvfb import Window, end, start_xvfb
from tests.support import require_program
from training.benchmarks.miniwob import record_trajectories
from training.cli import main
from training.episode_record import load_episode
from training.terminal_approver import TerminalApprover

RECORDED = Path(__file__).resolve().parents[2] / "assets" / "recorded"
GOAL = "Click the canvas."
CLICK = Action(type="click", point=PointNorm(0.5, 0.75))


@pytest.fixture(autouse=True)
def forbidden_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("SPACE_ID", raising=False)
    forbid_real_devices()
    yield
    forbid_real_devices()


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    server, display = start_xvfb()
    monkeypatch.setenv("DISPLAY", display)
    window = Window(display)
    yield window
    end(window.process)
    end(server)


def plan(folder: Path, goal: str, *actions: tuple[Action, str]) -> str:
    steps = tuple(Step(observation=Observation(), action=action, instruction=words) for action, words in actions)
    made = Trajectory(id="t", goal=goal, steps=steps, source="test", platform="desktop")
    write_trajectories(folder / "plan.jsonl", [made])
    return f"replay:{folder / 'plan.jsonl'}"


def desktop_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: str, *actions: Action) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    planner = plan(tmp_path, GOAL, *((action, "click it") for action in actions))
    return main(["episode", "--env", "desktop", "--allow-real-devices", "--goal", GOAL, "--planner", planner,
                 "--guard", str(tmp_path / "guard"), "--out", str(tmp_path / "out" / "episode.json")])  # fmt: skip


def presses(window: Window) -> int:
    window.process.stdin.write("clear\n")
    window.process.stdin.flush()
    return sum(e["event"] == "down" for e in window.wait_for(lambda e: e["event"] == "cleared"))


def test_desktop_episode_is_approved_step_by_step_and_kept_like_every_other(window, tmp_path, monkeypatch, capsys):
    assert desktop_episode(tmp_path, monkeypatch, "y\n", CLICK, Action(type="finished")) == 0
    assert presses(window) == 1
    kept = load_episode(tmp_path / "out" / "episode.json")
    assert (kept.platform, kept.meta["env"], len(kept.steps)) == ("desktop", "desktop", 2)
    assert kept.steps[0].action == CLICK and kept.steps[1].observation.load_image().size == (640, 480)
    assert "do this on the real device?  click(point=[0.5, 0.75])" in capsys.readouterr().err
    assert check_audit(tmp_path / "guard" / "audit.jsonl") == 9


def test_what_nobody_answers_is_not_done_and_kept_as_rejected(window, tmp_path, monkeypatch):
    desktop_episode(tmp_path, monkeypatch, "", CLICK)
    assert presses(window) == 0
    step = load_episode(tmp_path / "out" / "episode.json").steps[0]
    assert (step.boundary, step.error) == (
        "approve", "approve: click was rejected by the person at the terminal: no answer"
    )


def test_q_ends_the_episode_and_the_device(window, tmp_path, monkeypatch, capsys):
    assert desktop_episode(tmp_path, monkeypatch, "y\nq\n", CLICK, CLICK, CLICK) == 0
    assert presses(window) == 1
    assert "Ended: stopped" in capsys.readouterr().out


def test_phone_episode_finds_its_places_in_the_phones_elements(adb, tmp_path, monkeypatch):  # noqa: F811
    daemon = FakeAdbd(Phone())
    subprocess.run([require_program("adb"), "connect", daemon.serial], check=True, capture_output=True, timeout=30)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\n"))
    planner = plan(tmp_path, "Open Wi-Fi.", (Action(type="click"), 'tap "Settings"'),
                   (Action(type="click"), 'tap the "Wi-Fi" switch'), (Action(type="finished"), "done"))  # fmt: skip
    out = tmp_path / "episode.json"
    assert main(["episode", "--env", "android", "--allow-real-devices", "--goal", "Open Wi-Fi.", "--planner", planner,
                 "--guard", str(tmp_path / "guard"), "--out", str(out)]) == 0  # fmt: skip
    subprocess.run([require_program("adb"), "disconnect"], check=True, capture_output=True, timeout=30)
    daemon.close()
    assert daemon.phone.wifi
    kept = load_episode(out)
    assert (kept.platform, kept.meta["serial"]) == ("phone", daemon.serial)
    assert [step.observation.summary for step in kept.steps] == ["com.toy.launcher", *["com.android.settings"] * 2]


def test_miniwob_episode_is_judged_by_its_page(tmp_path, capsys):
    pytest.importorskip("playwright")
    pytest.importorskip("miniwob")
    require_program("chromium", "chromium-browser")
    write_trajectories(tmp_path / "t.jsonl", record_trajectories(("click-button",), 1, 3))
    out = tmp_path / "episode.json"
    assert main(["episode", "--env", "miniwob", "--task", "click-button", "--seed", "3", "--planner",
                 f"replay:{tmp_path / 't.jsonl'}", "--out", str(out)]) == 0  # fmt: skip
    assert "MiniWoB++ click-button, seed 3" in capsys.readouterr().out
    assert load_episode(out).success is True


@pytest.mark.parametrize(("options", "told"), [
    (["--env", "desktop", "--goal", "g"], "add --allow-real-devices"),
    (["--env", "android", "--goal", "g"], "add --allow-real-devices"),
    (["--env", "desktop", "--allow-real-devices"], "the goal is empty"),
    (["--env", "desktop", "--goal", " ", "--allow-real-devices"], "--goal is empty"),
    (["--env", "desktop", "--task", "alarm_on", "--allow-real-devices"], "--task is not of desktop"),
    (["--env", "miniwob"], "--task is missing"), (["--env", "miniwob", "--task", "click-nothing"], "is unknown"),
    (["--env", "miniwob", "--goal", "g"], "--task is missing"),
    (["--env", "miniwob", "--task", "click-test", "--split", "test"], "--split is not of miniwob but of simulator"),
    (["--serial", "x"], "--serial is not of simulator but of android"),
])  # fmt: skip
def test_option_that_is_missing_or_of_another_world_is_told(options, told, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DISPLAY", ":99")
    assert main(["episode", *options, *(["--guard", str(tmp_path)] if "android" in options else [])]) == 2
    assert told in capsys.readouterr().err


def test_phone_that_is_not_there_is_told(adb, tmp_path, capsys):  # noqa: F811
    assert main(["episode", "--env", "android", "--allow-real-devices", "--goal", "g", "--serial", "R58M"]) == 2
    assert "phone 'R58M' is not ready" in capsys.readouterr().err
    assert main(["episode", "--env", "android", "--allow-real-devices", "--goal", "g"]) == 2
    assert "adb has 0 phones that are ready" in capsys.readouterr().err


@pytest.mark.parametrize(("line", "decision"), [
    ("y\n", Decision.APPROVE), ("Yes\n", Decision.APPROVE), ("n\n", Decision.REJECT), ("q\n", Decision.TERMINATE),
    ("\n", Decision.REJECT), ("", Decision.REJECT), ("yep\n", Decision.REJECT),
])  # fmt: skip
def test_only_a_clear_yes_at_the_terminal_approves(line, decision):
    proposal = Proposal(number=1, action=CLICK, observation=Observation())
    approver = TerminalApprover(io.StringIO(line), io.StringIO())
    assert approver.decide(proposal, StopSignal()).decision is decision


def test_model_cannot_hide_what_it_asks_for_from_the_person_at_the_terminal():
    shown = io.StringIO()
    action = Action(type="type", content="rm -rf /\x1b[2K\x1b[1Gharmless")
    proposal = Proposal(number=1, action=action, observation=Observation(), texts=(action.content,))
    TerminalApprover(io.StringIO(""), shown).decide(proposal, StopSignal())
    assert "rm -rf /" in shown.getvalue() and "\x1b" not in shown.getvalue()


def test_question_at_the_terminal_ends_when_acting_is_stopped():
    class Silent(io.StringIO):
        def readline(self) -> str:
            time.sleep(5)
            return "y\n"

    stop = StopSignal()
    Timer(0.1, stop.trip, ["a test"]).start()
    started = time.monotonic()
    proposal = Proposal(number=1, action=CLICK, observation=Observation())
    verdict = TerminalApprover(Silent(), io.StringIO()).decide(proposal, stop)
    assert verdict.decision is Decision.REJECT and time.monotonic() - started < 2


@pytest.mark.parametrize(("name", "platform"), [("desktop", "desktop"), ("android", "phone")])
def test_recorded_episodes_can_be_read_and_their_pictures_are_small(name, platform):
    kept = load_episode(RECORDED / f"{name}.json")
    assert (kept.platform, str(kept.stop_reason), kept.num_errors) == (platform, "finished", 0)
    pictures = list((RECORDED / f"{name}_images").glob("*.png"))
    assert len(pictures) >= 5 and all(picture.stat().st_size < 150_000 for picture in pictures)
