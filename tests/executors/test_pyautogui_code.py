"""The commands for OSWorld, carried out on a real X server (Xvfb) as its virtual machine does it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action, Space, actions_in
from executors.errors import ExecutorError
from executors.geometry import ImageSize, PointNorm
from executors.pyautogui_code import _KEYS, to_command
from tests.executors.xvfb import HEIGHT, WIDTH

SIZE = ImageSize(WIDTH, HEIGHT)
CANVAS, TEXT = PointNorm(0.5, 0.75), PointNorm(0.5, 0.1)
AT_CANVAS = (WIDTH // 2, HEIGHT * 3 // 4)
PREFIX = "import pyautogui; import time; pyautogui.FAILSAFE = False; "  # desktop-env 1.0.2, controllers/python.py


@pytest.fixture
def carry_out(display, tmp_path) -> Callable[..., None]:
    """Runs the command of an action as OSWorld's machine runs it."""
    (tmp_path / "Xauthority").touch()

    def run(kind: str, **values: object) -> None:
        command = to_command(Action(type=kind, **values), SIZE)
        done = subprocess.run(
            [sys.executable, "-c", PREFIX + command], capture_output=True, text=True, timeout=60,
            env={**os.environ, "DISPLAY": display, "XAUTHORITY": str(tmp_path / "Xauthority")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    return run


@pytest.mark.parametrize("text", [
    "plain words 123", "".join(map(chr, range(0x20, 0x7F))), "<<>><", "it's \"quoted\" \\ and <b>\n", "naïve café <é>",
    "你好 привет 😀", "one\ntwo\tthree\n", "{braces} %s #", "pyautogui.typewrite('<') pyautogui.press('<')",
    "".join(map(chr, range(0x410, 0x450))),  # more characters than there are keys to spare
])  # fmt: skip
def test_text_arrives_as_it_was_written(window, carry_out, text):
    carry_out("type", content=text, point=TEXT)
    told = window.wait_for(lambda e: e["event"] == "text" and e["text"] == text)
    assert told[-1]["text"] == text


@pytest.mark.parametrize(("kind", "button", "last"), [
    ("click", 1, "up"), ("right_single", 3, "down"), ("middle_click", 2, "down"), ("left_double", 1, "double"),
    ("triple_click", 1, "triple"),
])  # fmt: skip
def test_click_lands_on_its_pixel_with_its_button(window, carry_out, kind, button, last):
    carry_out(kind, point=CANVAS)
    told = window.wait_for(lambda e: e["event"] == last)
    assert (told[-1]["button"], told[-1]["x"], told[-1]["y"]) == (button, *AT_CANVAS)


def test_pointer_moves_without_a_click(window, carry_out):
    carry_out("hover", point=PointNorm(0.25, 0.9))
    carry_out("hover", point=CANVAS)
    told = window.wait_for(lambda e: e["event"] == "hover" and (e["x"], e["y"]) == AT_CANVAS)
    assert not [event for event in told if event["event"] == "down"]


def test_drag_is_a_press_a_path_and_a_release(window, carry_out):
    carry_out("drag", start_point=CANVAS, end_point=PointNorm(0.75, 0.9))
    told = window.wait_for(lambda e: e["event"] == "up")
    down = next(event for event in told if event["event"] == "down")
    assert (down["x"], down["y"]) == AT_CANVAS
    assert (told[-1]["x"], told[-1]["y"]) == (WIDTH * 3 // 4, int(HEIGHT * 0.9))
    assert len([event for event in told if event["event"] == "motion"]) >= 5


# Tk 8 tells the wheel's sideways buttons 6 and 7 as 4 and 5 with shift.
@pytest.mark.parametrize(("direction", "button", "is_shifted"), [
    ("up", 4, False), ("down", 5, False), ("left", 4, True), ("right", 5, True),
])  # fmt: skip
def test_scroll_turns_the_wheel_that_reveals_the_direction(window, carry_out, direction, button, is_shifted):
    carry_out("scroll", direction=direction, point=CANVAS)
    down = window.wait_for(lambda e: e["event"] == "down")[-1]
    assert (down["button"], down["is_shifted"]) == (button, is_shifted)


@pytest.mark.parametrize(("key", "keysym", "is_ctrl"), [
    ("ctrl c", "c", True), ("shift a", "A", False), ("escape", "Escape", False), ("page_down", "Next", False),
    ("ctrl <", "less", True), ("ctrl shift left", "Left", True),
])  # fmt: skip
def test_keys_are_pressed_together(window, carry_out, key, keysym, is_ctrl):
    carry_out("click", point=TEXT)
    carry_out("hotkey", key=key)
    told = window.wait_for(lambda e: e.get("key") == keysym)[-1]
    assert bool(told["state"] & 4) is is_ctrl


def test_keys_are_those_of_pyautogui(display, tmp_path):
    (tmp_path / "Xauthority").touch()
    code = "import pyautogui; print([k for k, c in pyautogui.platformModule.keyboardMapping.items() if c])"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "DISPLAY": display, "XAUTHORITY": str(tmp_path / "Xauthority")},
    ).stdout  # fmt: skip
    assert {key for key in _KEYS if repr(key) not in told} == set()


def test_words_of_osworld_stand_for_the_rest():
    kinds = {"wait": "WAIT", "finished": "DONE", "call_user": "FAIL"}
    assert {kind: to_command(Action(type=kind), SIZE) for kind in kinds} == kinds


def test_every_action_of_a_computer_has_a_command():
    given = {"point": CANVAS, "start_point": CANVAS, "end_point": TEXT, "content": "a", "key": "a", "direction": "up"}
    for spec in actions_in(Space.COMPUTER):
        values = {arg.name: given[arg.name] for arg in spec.args if arg.required}
        assert to_command(Action(type=spec.name, **values), SIZE)


@pytest.mark.parametrize(("values", "words"), [
    ({"type": "hotkey", "key": "ctrl banana"}, "key 'banana' is not on this keyboard"),
    ({"type": "hotkey", "key": "ctrl é"}, "key 'é' is not on this keyboard"),
    ({"type": "type", "content": "a\x07"}, r"U\+0007 cannot be typed"),
    ({"type": "press_home"}, "no way to press_home"),
])  # fmt: skip
def test_what_the_machine_would_ignore_is_refused(values, words):
    with pytest.raises(ExecutorError, match=words) as caught:
        to_command(Action(**values), SIZE)
    assert caught.value.boundary == "execute"


def as_desktop_env_repairs_it(command: str) -> str:
    """What desktop-env 1.0.2 makes of a command before it is sent (`_fix_pyautogui_less_than_bug`), by its patterns."""
    if re.search(r"""pyautogui\.press\(["'](?:<|\\u003c)["']\)""", command):
        return "changed"
    for match in re.finditer(r"""pyautogui\.typewrite\((["'])(.*?)\1\)""", command):
        if "<" in match[2].encode("utf-8").decode("unicode_escape", "ignore"):
            return "changed"
    return command


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("<\n'\"\\"), max_size=40))
def test_any_text_becomes_python_in_ascii_that_osworld_does_not_repair(text):
    for content in (text, f"pyautogui.typewrite('{text}')", f"pyautogui.press('{text}')"):
        command = to_command(Action(type="type", content=content), SIZE)
        assert command.isascii() and "<" not in command
        compile(PREFIX + command, "command", "exec")
        assert as_desktop_env_repairs_it(command) == command
