r"""A grounded action as the one string of Python that OSWorld runs in its virtual machine.

What is handled here because it fails silently there (pyautogui 0.9.54 on X11; desktop-env 1.0.2):

1. pyautogui types "<" as ">", and OSWorld's repair of that breaks texts that also hold a newline, an apostrophe or a
   letter outside ASCII: no command holds a "<" or `typewrite`; the character is shift and comma.
2. pyautogui drops every character outside ASCII, and pasting fails in terminals: such characters are put on keys that
   have no meaning, pressed, and taken off again.
3. Keys that it does not know are ignored: they are refused here.
4. The first line runs behind `import pyautogui; ...;`, so it is no compound statement. Commands are ASCII only.
"""

from __future__ import annotations

import re
import string

from executors.actions import Action
from executors.desktop import KEY_NAMES, SCROLL_CLICKS
from executors.errors import ExecutorError
from executors.geometry import ImageSize, PointNorm
from executors.x11_keyboard import keysym_of

TYPE_INTERVAL_SECONDS = 0.01
DRAG_SECONDS = 1.0

# Source: keyboardMapping of pyautogui's _pyautogui_x11.py, without keys that no keyboard of today has.
_KEYS = frozenset(
    """add alt altleft altright apps backspace capslock ctrl ctrlleft ctrlright decimal del delete divide down end enter
    esc escape f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 home insert left multiply num0 num1 num2 num3 num4 num5 num6 num7
    num8 num9 numlock pagedown pageup pause pgdn pgup print printscreen prntscrn prtsc prtscr return right scrolllock
    shift shiftleft shiftright space subtract tab up win winleft winright""".split()
) | frozenset(string.ascii_letters + string.digits + string.punctuation)

_CLICKS = {
    "click": "click", "left_double": "doubleClick", "triple_click": "tripleClick", "right_single": "rightClick",
    "middle_click": "middleClick",
}  # fmt: skip

_PRESS_KEYSYMS = """\
import Xlib.display, Xlib.X, Xlib.ext.xtest
def press_keysyms(keysyms):
    display = Xlib.display.Display()
    rows = display.get_keyboard_mapping(8, 248)
    spare = [8 + number for number, row in enumerate(rows) if not any(row)]
    for start in range(0, len(keysyms), len(spare)):
        keys = list(zip(spare, keysyms[start:start + len(spare)]))
        for key, keysym in keys:
            display.change_keyboard_mapping(key, [(keysym, keysym)])
        display.sync()
        time.sleep(0.3)
        for key, _ in keys:
            Xlib.ext.xtest.fake_input(display, Xlib.X.KeyPress, key)
            Xlib.ext.xtest.fake_input(display, Xlib.X.KeyRelease, key)
            display.sync()
            time.sleep(0.02)
        time.sleep(0.3)
    for key in spare[:len(keysyms)]:
        display.change_keyboard_mapping(key, [(0, 0)])
    display.sync()
"""
"""Runs in the virtual machine. Programs learn of a new key a moment later, and may read one late, hence the pauses."""


def to_command(action: Action, size: ImageSize) -> str:
    r"""The Python that carries out a grounded action, or OSWorld's own WAIT, DONE and FAIL.

    Args:
        action: a checked action of a computer, its points set; `scroll` without a point turns in the middle.
        size: of the screenshot in pixels, which is also the screen's.

    Raises:
        ExecutorError: at "execute": an unknown key, a character that no key carries, or another device's action.

    Source: desktop-env 1.0.2 (PyPI), DesktopEnv.step and PythonController.execute_python_command.

    >>> to_command(Action(type="click", point=PointNorm(0.5, 0.25)), ImageSize(1920, 1080))
    'pyautogui.click(960, 270)'
    >>> to_command(Action(type="type", content="a<b\n"), ImageSize(1920, 1080))
    "pyautogui.write('a', interval=0.01); pyautogui.hotkey('shift', ','); pyautogui.write('b\\n', interval=0.01)"
    >>> to_command(Action(type="call_user"), ImageSize(1920, 1080))
    'FAIL'
    """
    match action.type:
        case "wait":
            return "WAIT"
        case "finished":
            return "DONE"
        case "call_user":
            return "FAIL"
        case "click" | "left_double" | "triple_click" | "right_single" | "middle_click":
            return f"pyautogui.{_CLICKS[action.type]}({_px(action.point, size)})"
        case "hover":
            return f"pyautogui.moveTo({_px(action.point, size)}, duration=0.2)"
        case "drag":
            start, end = _px(action.start_point, size), _px(action.end_point, size)
            return f"pyautogui.moveTo({start}); pyautogui.dragTo({end}, duration={DRAG_SECONDS}, button='left')"
        case "scroll":
            turn = "scroll" if action.direction in ("up", "down") else "hscroll"
            clicks = SCROLL_CLICKS if action.direction in ("up", "right") else -SCROLL_CLICKS
            return f"pyautogui.moveTo({_px(action.point or PointNorm(0.5, 0.5), size)}); pyautogui.{turn}({clicks})"
        case "type":
            click = "" if action.point is None else f"pyautogui.click({_px(action.point, size)})"
            return _type(action.content, click)
        case "hotkey":
            return _press(action.key.split())
    raise ExecutorError("execute", f"OSWorld has no way to {action.type}")


def _px(point: PointNorm, size: ImageSize) -> str:
    x, y = point.to_px(size)
    return f"{x}, {y}"


def _type(text: str, click: str) -> str:
    text = text.replace("\r\n", "\n")
    keysyms = [keysym_of(char) for char in text]  # a character that no key can carry is refused
    parts = [click, "time.sleep(0.3)"] if click else []
    for match in re.finditer(r"<+|[^<\x80-\U0010ffff]+|[\x80-\U0010ffff]+", text):
        part = match[0]
        if part[0] == "<":
            parts += ["pyautogui.hotkey('shift', ',')"] * len(part)
        elif part.isascii():
            parts.append(f"pyautogui.write({part!r}, interval={TYPE_INTERVAL_SECONDS})")
        else:
            parts.append(f"press_keysyms({keysyms[match.start() : match.end()]})")
    statements = "; ".join(parts) or "pass"
    return statements if text.isascii() else f"{_PRESS_KEYSYMS}{statements}"


def _press(names: list[str]) -> str:
    keys: list[str] = []
    for name in names:
        key = KEY_NAMES.get(name, name)
        if key not in _KEYS:
            raise ExecutorError("execute", f"key {name!r} is not on this keyboard: use names such as ctrl, enter")
        keys += ["shift", ","] if key == "<" else [key]
    listed = ", ".join(map(repr, keys))
    return f"pyautogui.press({listed})" if len(keys) == 1 else f"pyautogui.hotkey({listed})"
