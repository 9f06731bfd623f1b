"""The desktop executor on a real X server (Xvfb) with a window that says what it received."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from executors.actions import Action
from executors.audit import AuditLog
from executors.desktop import DesktopExecutor, to_screen_px
from executors.device import StopSignal
from executors.errors import ExecutorError, InputError
from executors.geometry import PointNorm
from executors.kill_switch import KillSwitch
from executors.safety import Decision, GuardedExecutor, Verdict
from tests.executors.conformance import *  # noqa: F403
from tests.executors.conformance import Subject
from tests.executors.xvfb import HEIGHT, WIDTH, Window, end, start_xvfb

pytestmark = pytest.mark.usefixtures("permitted")

CANVAS = PointNorm(0.5, 0.75)
TEXT = PointNorm(0.5, 0.1)


@pytest.fixture
def other_server() -> Iterator[tuple[subprocess.Popen, str]]:
    """An X server of the test's own, to be ended or stopped."""
    server, name = start_xvfb()
    yield server, name
    server.kill()
    server.wait(timeout=10)


@pytest.fixture
def desktop(display, window, permitted) -> Iterator[DesktopExecutor]:
    executor = DesktopExecutor(display=display, settle_seconds=0.05)
    executor.reset()
    yield executor
    executor.close()


@pytest.fixture
def subject(display, window, permitted) -> Iterator[Subject]:
    executor = DesktopExecutor(display=display, settle_seconds=0.05)
    yield Subject(executor, [
        Action(type="click", point=CANVAS), Action(type="left_double", point=CANVAS),
        Action(type="middle_click", point=CANVAS), Action(type="hover", point=CANVAS),
        Action(type="type", content="a <b> é 你好 😀\n", point=TEXT),
        Action(type="hotkey", key="ctrl a"),
        Action(type="drag", start_point=CANVAS, end_point=PointNorm(0.9, 0.9)), Action(type="wait", seconds=0.0),
        Action(type="scroll", direction="down"), Action(type="right_single", point=CANVAS),
    ])  # fmt: skip
    executor.close()


def typed(window: Window, desktop: DesktopExecutor, text: str) -> str:
    desktop.execute(Action(type="type", content=text, point=TEXT))
    return window.wait_for(lambda e: e["event"] == "text" and e["text"] == text)[-1]["text"]


@pytest.mark.parametrize("text", [
    "plain words 123", "".join(map(chr, range(0x20, 0x7F))), "<<>><", "naïve café ÄÖÜß", "你好 привет مرحبا", "😀👍🏽",
    "one\ntwo\tthree\n", "".join(map(chr, range(0x410, 0x450))),  # more characters than there are keys to spare
])  # fmt: skip
def test_text_arrives_as_it_was_typed(window, desktop, text):
    assert typed(window, desktop, text) == text


def test_caps_lock_does_not_turn_letters_round(window, desktop):
    desktop.execute(Action(type="click", point=TEXT))
    desktop.execute(Action(type="hotkey", key="capslock"))
    assert typed(window, desktop, "aBc") == "aBc"


def test_character_that_no_key_can_carry_is_refused_before_anything_is_typed(window, desktop):
    with pytest.raises(ExecutorError, match=r"U\+0007 cannot be typed"):
        desktop.execute(Action(type="type", content="ab\a"))
    assert typed(window, desktop, "x") == "x"


@pytest.mark.parametrize(("kind", "button", "last"), [
    ("click", 1, "up"), ("right_single", 3, "down"), ("middle_click", 2, "down"), ("left_double", 1, "double"),
    ("triple_click", 1, "triple"),
])  # fmt: skip
def test_click_lands_on_its_pixel_with_its_button(window, desktop, kind, button, last):
    desktop.execute(Action(type=kind, point=CANVAS))
    told = window.wait_for(lambda e: e["event"] == last)
    assert (told[-1]["button"], told[-1]["x"], told[-1]["y"]) == (button, WIDTH // 2, HEIGHT * 3 // 4)
    assert not [e for e in told if e["event"] == "triple"] or kind == "triple_click"
    time.sleep(0.3)  # or the next click would count as one more of these


def test_point_on_the_far_edge_stays_on_the_screen(window, desktop):
    desktop.execute(Action(type="click", point=PointNorm(1.0, 1.0)))
    down = window.wait_for(lambda e: e["event"] == "down")[-1]
    assert (down["x"], down["y"]) == (WIDTH - 1, HEIGHT - 1)
    assert desktop.execute(Action(type="click", point=CANVAS)).had_effect  # pyautogui's own corners would raise here


def test_points_of_another_monitor_are_moved_to_it():
    place = {"left": -800, "top": 200, "width": 800, "height": 600}
    assert to_screen_px(PointNorm(0.0, 0.0), place) == (-800, 200)
    assert to_screen_px(PointNorm(1.0, 1.0), place) == (-1, 799)


def test_drag_is_a_press_a_path_and_a_release(window, desktop):
    desktop.execute(Action(type="drag", start_point=CANVAS, end_point=PointNorm(0.75, 0.9)))
    told = window.wait_for(lambda e: e["event"] == "up")
    assert (told[-1]["x"], told[-1]["y"]) == (WIDTH * 3 // 4, int(HEIGHT * 0.9))
    assert len([e for e in told if e["event"] == "motion"]) >= 5


# Tk 8 tells the wheel's sideways buttons 6 and 7 as 4 and 5 with shift.
@pytest.mark.parametrize(("direction", "button", "is_shifted"), [
    ("up", 4, False), ("down", 5, False), ("left", 4, True), ("right", 5, True),
])  # fmt: skip
def test_scroll_turns_the_wheel_that_reveals_the_direction(window, desktop, direction, button, is_shifted):
    desktop.execute(Action(type="scroll", direction=direction, point=CANVAS))
    down = window.wait_for(lambda e: e["event"] == "down")[-1]
    assert (down["button"], down["is_shifted"]) == (button, is_shifted)


@pytest.mark.parametrize(("key", "keysym"), [("shift a", "A"), ("ctrl c", "c"), ("escape", "Escape"), ("f5", "F5"),
                                             ("arrowleft", "Left"), ("page_down", "Next"), ("ctrl <", "less")])
def test_keys_are_pressed_together_under_the_names_that_models_use(window, desktop, key, keysym):
    desktop.execute(Action(type="click", point=TEXT))
    desktop.execute(Action(type="hotkey", key=key))
    told = window.wait_for(lambda e: e.get("key") == keysym)[-1]
    assert bool(told["state"] & 4) == ("ctrl" in key)


@pytest.mark.parametrize("key", ["ctrl banana", "fn", "ctrl é"])
def test_unknown_key_is_refused_and_none_is_pressed(window, desktop, key):
    with pytest.raises(ExecutorError, match="is not on this keyboard") as caught:
        desktop.execute(Action(type="hotkey", key=key))
    assert caught.value.boundary == "execute"
    assert typed(window, desktop, "c") == "c"  # with ctrl still down this would be another key


def test_summary_is_the_title_of_the_window_that_has_the_keyboard(desktop):
    assert desktop.execute(Action(type="click", point=TEXT)).observation.summary == "Ein Fenster – 窗口"


def test_action_that_changes_nothing_says_so(desktop):
    desktop.execute(Action(type="hover", point=CANVAS))
    result = desktop.execute(Action(type="wait", seconds=0.0))
    assert (result.had_effect, result.message) == (False, "wait changed nothing on the screen")


def test_stop_ends_a_long_text_and_lets_go_of_the_keys(window, desktop):
    threading.Timer(0.2, desktop.stop.trip, ["a test"]).start()
    started = time.monotonic()
    with pytest.raises(ExecutorError, match="stopped by a test") as caught:
        desktop.execute(Action(type="type", content="A" * 500_000, point=TEXT))
    assert time.monotonic() - started < 0.5
    assert caught.value.boundary == "stop"
    with pytest.raises(ExecutorError, match="stopped by a test"):
        desktop.observe()


def test_stop_ends_a_wait_at_once(display):
    executor = DesktopExecutor(display=display, stop=StopSignal())
    executor.reset()
    threading.Timer(0.2, executor.stop.trip, ["a test"]).start()
    started = time.monotonic()
    with pytest.raises(ExecutorError, match="stopped"):
        executor.execute(Action(type="wait", seconds=60.0))
    assert time.monotonic() - started < 0.5
    executor.close()


def test_pointer_thrown_into_the_corner_by_a_person_is_seen_and_a_click_there_is_not(display, desktop):
    from Xlib.display import Display
    from Xlib.ext.xtest import fake_input

    desktop.execute(Action(type="hover", point=PointNorm(0.0, 0.0)))
    assert not desktop.is_pointer_in_corner()
    desktop.execute(Action(type="hover", point=CANVAS))
    assert not desktop.is_pointer_in_corner()
    person = Display(display)
    fake_input(person, 6, x=0, y=0)  # a motion of the pointer
    person.sync()
    assert desktop.is_pointer_in_corner()
    person.close()


def test_pointer_in_the_corner_stops_a_guarded_desktop_in_the_middle_of_a_text(display, window, tmp_path):
    from Xlib.display import Display
    from Xlib.ext.xtest import fake_input

    class Approves:
        def decide(self, proposal, stop):
            return Verdict(decision=Decision.APPROVE, by="a test")

    person, thrown = Display(display), []

    def put_pointer(x: int, y: int) -> None:
        fake_input(person, 6, x=x, y=y)  # a motion of the pointer
        person.sync()

    def throw() -> None:
        thrown.append(time.monotonic())
        put_pointer(0, 0)

    put_pointer(50, 50)
    device = DesktopExecutor(display=display, settle_seconds=0.05)
    switch = KillSwitch(device.stop, is_in_corner=device.is_pointer_in_corner)
    audit = AuditLog(tmp_path / "audit.jsonl")
    with closing(GuardedExecutor(device, approvers=[Approves()], audit=audit, kill_switch=switch)) as guard:
        guard.arm("Ann")
        guard.reset()
        threading.Timer(0.5, throw).start()
        with pytest.raises(ExecutorError, match="stopped by the pointer in the corner"):
            guard.execute(Action(type="type", content="a" * 500_000, point=TEXT))
        assert time.monotonic() - thrown[0] < 0.5  # 0.3 on a machine with nothing else to do
    person.close()


def test_second_desktop_in_one_process_is_refused(display, desktop):
    other = DesktopExecutor(display=display)
    with pytest.raises(ExecutorError, match="another desktop executor is open"):
        other.reset()
    other.close()
    assert desktop.observe().image is not None


def is_running(name: str) -> bool:
    """True when a thread of this name does not end within a few seconds."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if all(thread.name != name for thread in threading.enumerate()):
            return False
        time.sleep(0.02)
    return True


def test_display_that_dies_is_a_failure_and_another_can_be_opened(display, shown, other_server):
    server, name = other_server
    executor = DesktopExecutor(display=name, settle_seconds=0.0, time_limit_seconds=3.0)
    executor.reset()
    end(server)
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(ExecutorError, match="desktop"):
            executor.execute(Action(type="hover", point=CANVAS))
    executor.close()
    assert time.monotonic() - started < 8
    assert not is_running("desktop")
    again = DesktopExecutor(display=display)
    assert again.reset().image_size.width_px == WIDTH
    again.close()


def test_display_that_hangs_is_a_failure_within_the_time_limit(other_server):
    server, name = other_server
    executor = DesktopExecutor(display=name, settle_seconds=0.0, time_limit_seconds=3.0)
    executor.reset()
    server.send_signal(19)  # SIGSTOP
    started = time.monotonic()
    with pytest.raises(ExecutorError, match="did not answer within 3 s"):
        executor.execute(Action(type="hover", point=CANVAS))
    with pytest.raises(ExecutorError, match="still hangs"):
        executor.observe()
    executor.close()
    assert time.monotonic() - started < 8
    server.kill()
    assert not is_running("desktop")


def test_display_that_is_not_there_is_told():
    executor = DesktopExecutor(display=":4242")
    with pytest.raises(ExecutorError, match="display :4242 does not answer"):
        executor.reset()
    executor.close()


def test_monitor_that_is_not_there_is_told(display):
    executor = DesktopExecutor(display=display, monitor=7)
    with pytest.raises(ExecutorError, match="there is no monitor 7: choose 0"):
        executor.reset()
    executor.close()
    with pytest.raises(InputError, match="monitor -1"):
        DesktopExecutor(display=display, monitor=-1)


def test_no_display_is_told_before_anything_is_imported(run_python):
    code = (
        "import os, sys; os.environ.pop('DISPLAY', None)\n"
        "from executors.desktop import DesktopExecutor\n"
        "from executors.permission import allow_real_devices; allow_real_devices()\n"
        "try: DesktopExecutor()\n"
        "except ValueError as error: print(error)\n"
        "print('pyautogui' in sys.modules or 'Xlib' in sys.modules)"
    )
    told = run_python("-c", code).stdout
    assert "there is no display" in told and told.endswith("False\n")


def test_missing_package_is_told(display, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tkinter" else object())
    with pytest.raises(InputError, match="needs the package tkinter: apt install python3-tk"):
        DesktopExecutor(display=display)


def test_corner_is_watched_before_the_desktop_is_open_also_without_a_file_of_authority(
    display, permitted, monkeypatch, tmp_path
):
    monkeypatch.delenv("XAUTHORITY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DesktopExecutor(display=display).is_pointer_in_corner() in (True, False)
