"""An X11 desktop: input by pyautogui, pixels by mss, text by a keyboard of our own.

What is handled here because it fails silently otherwise (pyautogui 0.9.54, python-xlib 0.15):

1. Importing pyautogui needs DISPLAY, a file ~/.Xauthority and tkinter; without the last it ends the process.
2. pyautogui types "<" as ">" and drops every character outside ASCII: text goes through `X11Keyboard`.
3. Keys that it does not know or that the keyboard does not have are ignored: they are refused here.
4. Its corners raise an error on the next call: switched off, since clicks in corners are legitimate; the stop signal
   and `is_pointer_in_corner` take their place.
5. A picture is of one monitor: points are moved to its place on the whole screen.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from typing import Any

from executors.actions import Action, Space
from executors.device import DeviceExecutor
from executors.errors import ExecutorError, InputError
from executors.geometry import ImageSize, PointNorm
from executors.trajectory import Observation
from executors.x11_connection import end_with_server, find_xauthority
from executors.x11_keyboard import X11Keyboard

SCROLL_CLICKS = 5
"""Turns of the wheel for one scroll, as in UI-TARS's own runtime."""

_WM_NAME = 39  # the predefined atom
_DRAG_STEP_SECONDS = 0.02
_CLICK_INTERVAL_SECONDS = 0.05
_PACKAGES = {"pyautogui": "pip install pyautogui", "mss": "pip install mss", "tkinter": "apt install python3-tk"}

KEY_NAMES = {
    "arrowdown": "down", "arrowleft": "left", "arrowright": "right", "arrowup": "up", "cmd": "win", "command": "win",
    "control": "ctrl", "ctl": "ctrl", "meta": "win", "page_down": "pagedown", "page_up": "pageup", "super": "win",
    "windows": "win", "option": "alt",
}  # fmt: skip
"""Names that models use -> pyautogui's; all others must be pyautogui's own."""

_in_use = threading.Lock()
"""pyautogui holds one display for the whole process, so one desktop is open at a time."""


class DesktopExecutor(DeviceExecutor):
    """One monitor of an X11 display, real or Xvfb, with mouse and keyboard; see the module.

    There is no element tree, so a tool agent that sees is needed. `reset` changes nothing on the desktop.
    """

    name = "desktop"

    def __init__(self, *, display: str | None = None, monitor: int = 1, **options: Any) -> None:
        """Nothing is opened yet.

        Args:
            display: X11 display such as ":99"; None takes the DISPLAY of the environment.
            monitor: which monitor is seen and acted on, from 1; 0 is all of them as one picture.
            options: see `DeviceExecutor`.

        Raises:
            InputError: no display is named, a package is missing, or the system is not Linux.
        """
        super().__init__(**options)
        if not sys.platform.startswith("linux"):
            raise InputError(f"the desktop executor needs an X11 display, {sys.platform} has none: use a Linux machine")
        self._display_name = display or os.environ.get("DISPLAY", "")
        if not self._display_name:
            raise InputError(
                "there is no display: log in to a desktop, or start `Xvfb :99 -screen 0 1280x800x24` and set "
                "DISPLAY=:99"
            )
        if monitor < 0:
            raise InputError(f"monitor {monitor} is not allowed: give 0 (all) or the number of one, from 1")
        for package, remedy in _PACKAGES.items():
            if importlib.util.find_spec(package) is None:
                raise InputError(f"the desktop executor needs the package {package}: {remedy}")
        self._monitor = monitor
        self._place: dict[str, int] = {}
        self._own_pointer: tuple[int, int] | None = None
        self._watched: Any = None
        self._holds_display = False

    @property
    def spaces(self) -> frozenset[Space]:
        """Computer."""
        return frozenset({Space.COMPUTER})

    def is_pointer_in_corner(self) -> bool:
        """True when the pointer is in the top left corner and no action has put it there: a person's way to stop.

        May be asked from any one thread besides the device's; False where the display does not answer.
        """
        from Xlib.display import Display
        from Xlib.error import ConnectionClosedError, DisplayError

        find_xauthority()
        try:
            self._watched = self._watched or end_with_server(Display(self._display_name))
            pointer = self._watched.screen().root.query_pointer()
        except (ConnectionClosedError, DisplayError, OSError):
            return False
        position = (pointer.root_x, pointer.root_y)
        return max(position) <= 1 and position != self._own_pointer

    def _open(self) -> None:
        if not _in_use.acquire(blocking=False):
            raise ExecutorError("reset", "another desktop executor is open in this process: close it first")
        self._holds_display = True
        try:
            self._gui = _load_pyautogui(self._display_name)
            import mss

            self._screens = mss.MSS(display=self._display_name)
            if self._monitor >= len(self._screens.monitors):
                raise ExecutorError(
                    "reset", f"there is no monitor {self._monitor}: choose 0 (all) to {len(self._screens.monitors) - 1}"
                )
            self._keyboard = X11Keyboard(self._gui.platformModule._display)
            self._net_wm_name = self._gui.platformModule._display.intern_atom("_NET_WM_NAME")
        except BaseException:
            self._abandon()
            raise

    def _see(self) -> Observation:
        import PIL.Image

        self._place = self._screens.monitors[self._monitor]
        shot = self._screens.grab(self._place)
        image = PIL.Image.frombytes("RGB", shot.size, shot.bgra, "raw", "BGRX")
        return Observation(image=image, image_size=ImageSize(*image.size), summary=self._title())

    def _title(self) -> str:
        """The name of the window that has the keyboard; empty when none has, or it has just gone."""
        from Xlib.error import XError

        window = self._gui.platformModule._display.get_input_focus().focus
        try:
            while hasattr(window, "query_tree"):  # no focus and focus under the pointer are numbers
                name = window.get_full_property(self._net_wm_name, 0) or window.get_full_property(_WM_NAME, 0)
                if name and name.value:
                    text = name.value
                    return text if isinstance(text, str) else text.decode(errors="replace")
                window = window.query_tree().parent
        except XError:
            pass
        return ""

    def _perform(self, action: Action) -> None:
        match action.type:
            case "click" | "triple_click" | "left_double" | "right_single" | "middle_click":
                self._click(action.point, *_CLICKS[action.type])
            case "hover":
                self._move(action.point)
            case "drag":
                self._drag(action.start_point, action.end_point)
            case "scroll":
                self._scroll(action)
            case "type":
                if action.point is not None:
                    self._click(action.point, "left", 1)
                self._keyboard.type(action.content, self.stop)
            case "hotkey":
                self._press(action.key.split())
            case _:
                raise ExecutorError("execute", f"the desktop executor has no way to {action.type}")

    def _move(self, point: PointNorm) -> None:
        self._place = self._place or self._screens.monitors[self._monitor]
        self._own_pointer = to_screen_px(point, self._place)
        self._gui.moveTo(*self._own_pointer)

    def _click(self, point: PointNorm, button: str, count: int) -> None:
        self._move(point)
        for number in range(count):
            if number:
                self.stop.sleep(_CLICK_INTERVAL_SECONDS)
            self._gui.mouseDown(button=button)
            self._gui.mouseUp(button=button)

    def _drag(self, start: PointNorm, end: PointNorm) -> None:
        self._move(start)
        self._gui.mouseDown()
        try:
            for place in self._drag_path(start, end, _DRAG_STEP_SECONDS):
                self._move(place)
        finally:
            self._gui.mouseUp()

    def _scroll(self, action: Action) -> None:
        """The direction is that of the content to reveal; positive turns go up and right."""
        self._move(action.point or PointNorm(0.5, 0.5))
        turn = self._gui.vscroll if action.direction in ("up", "down") else self._gui.hscroll
        turn(SCROLL_CLICKS if action.direction in ("up", "right") else -SCROLL_CLICKS)

    def _press(self, names: list[str]) -> None:
        keys = [KEY_NAMES.get(name, name) for name in names]
        for name, key in zip(names, keys):
            if key not in self._gui.KEYBOARD_KEYS or not self._gui.platformModule.keyboardMapping.get(key):
                raise ExecutorError("execute", f"key {name!r} is not on this keyboard: use names such as ctrl, enter")
        if "<" in keys:
            keys[keys.index("<") : keys.index("<") + 1] = ["shift", ","]
        held: list[str] = []
        try:
            for key in keys:
                held.append(key)
                self._gui.keyDown(key)
        finally:
            for key in reversed(held):
                self._gui.keyUp(key)

    def _release(self) -> None:
        self._keyboard.restore()
        self._screens.close()
        self._gui.platformModule._display.close()

    def _abandon(self) -> None:
        if self._holds_display:
            self._holds_display = False
            _in_use.release()


_CLICKS = {
    "click": ("left", 1), "left_double": ("left", 2), "triple_click": ("left", 3), "right_single": ("right", 1),
    "middle_click": ("middle", 1),
}  # fmt: skip


def to_screen_px(point: PointNorm, place: dict[str, int]) -> tuple[int, int]:
    """The pixel of the whole screen that a point of one monitor's picture means, never outside that monitor.

    Args:
        point: canonical point of the picture.
        place: the monitor's left, top, width and height in pixels of the whole screen.

    >>> to_screen_px(PointNorm(1.0, 0.5), {"left": 1280, "top": 100, "width": 800, "height": 600})
    (2079, 400)
    """
    x, y = point.to_px(ImageSize(place["width"], place["height"]))
    return place["left"] + x, place["top"] + y


def _load_pyautogui(display: str) -> Any:
    """pyautogui, bound to this display by a connection of its own.

    Raises:
        ExecutorError: the display does not answer, or pyautogui cannot be imported.
    """
    os.environ["DISPLAY"] = display  # pyautogui takes it from nowhere else
    find_xauthority()
    from Xlib.display import Display
    from Xlib.error import DisplayError

    try:
        Display(display).close()
    except (DisplayError, OSError) as error:
        raise ExecutorError("reset", f"display {display} does not answer ({error}): is it running?") from None
    is_first = "pyautogui" not in sys.modules
    try:
        import pyautogui
    except SystemExit as error:
        raise ExecutorError("reset", f"pyautogui cannot be imported ({error}): apt install python3-tk") from None
    if not is_first:
        importlib.reload(pyautogui.platformModule)  # its connection may be to another display, or dead
    end_with_server(pyautogui.platformModule._display)
    pyautogui.FAILSAFE = False
    pyautogui.PAUSE = 0
    return pyautogui
