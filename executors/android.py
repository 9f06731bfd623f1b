"""An Android phone or emulator over adb.

What is handled here because it fails silently otherwise (adbutils 2.12, Android's own tools):

1. A screenshot that cannot be read becomes a black picture in adbutils: here it is an error.
2. adbutils takes coordinates up to 1.0 for shares of the screen: ours are whole pixels.
3. `input text` turns "%s" into a space and drops what is not ASCII, and shell commands report no failure: text is cut
   around "%s", other characters go through the keyboard app ADBKeyBoard or are refused, and every exit code is read.
4. An action that broke off is never repeated; a look at the screen is, once the device is back.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import re
import shlex
import subprocess
from time import monotonic
from typing import Any

from executors.actions import Action, Space
from executors.android_tree import read_hierarchy
from executors.device import DeviceExecutor
from executors.errors import ExecutorError, InputError
from executors.geometry import ImageSize, PointNorm
from executors.permission import check_permission
from executors.trajectory import Observation

LONG_PRESS_SECONDS = 1.0
DRAG_SECONDS = 0.8
SCROLL_SECONDS = 0.3
SCROLL_SHARE = 0.4
"""How much of the screen a scroll moves, and the margin that its finger keeps from the edges."""
_EDGE = 0.05

_LIST_SECONDS = 3.0
_FOCUS_SECONDS = 0.3
_CHUNK_CHARS = 100
_KEYS = {"press_home": "3", "press_back": "4", "press_appselect": "187"}
_ENTER, _TAB = "66", "61"
_KEYBOARD = "com.android.adbkeyboard/.AdbIME"
_DUMP_FILE = "/data/local/tmp/tracer1_window.xml"

# Names people use -> packages of Google's phones and of AOSP; source: AndroidWorld's table of apps, shortened.
APP_PACKAGES = {
    "calculator": ("com.google.android.calculator", "com.android.calculator2"),
    "calendar": ("com.google.android.calendar", "com.android.calendar"),
    "camera": ("com.android.camera2", "com.google.android.GoogleCamera"),
    "chrome": ("com.android.chrome",),
    "clock": ("com.google.android.deskclock", "com.android.deskclock"),
    "contacts": ("com.google.android.contacts", "com.android.contacts"),
    "files": ("com.google.android.documentsui", "com.android.documentsui"),
    "gmail": ("com.google.android.gm",),
    "maps": ("com.google.android.apps.maps",),
    "messages": ("com.google.android.apps.messaging", "com.android.messaging"),
    "phone": ("com.google.android.dialer", "com.android.dialer"),
    "photos": ("com.google.android.apps.photos", "com.android.gallery3d"),
    "play store": ("com.android.vending",),
    "settings": ("com.android.settings",),
    "youtube": ("com.google.android.youtube",),
}


class AndroidExecutor(DeviceExecutor):
    """One Android device; see the module.

    Elements come from `uiautomator`; while the screen does not come to rest it gives none, and the observation has
    none. `reset` goes to the home screen.
    """

    name = "phone"

    def __init__(self, serial: str | None = None, *, with_elements: bool = True, **options: Any) -> None:
        """Nothing is opened yet.

        Args:
            serial: as `adb devices` lists it, or HOST:PORT to connect to; None takes the only device.
            with_elements: False leaves the hierarchy out, which takes a second or two on real phones.
            options: see `DeviceExecutor`.

        Raises:
            InputError: real devices are not permitted.
        """
        super().__init__(**options)
        self._serial, self._with_elements = serial, with_elements
        self._size = ImageSize(1, 1)

    @property
    def spaces(self) -> frozenset[Space]:
        """Mobile."""
        return frozenset({Space.MOBILE})

    def _open(self) -> None:
        import adbutils

        self._errors = (adbutils.AdbError, OSError, EOFError)
        self._client = adbutils.AdbClient(socket_timeout=self._limit_seconds)
        self._connect("reset")

    def _connect(self, boundary: str) -> None:
        """Takes the device that is wanted; one at HOST:PORT is connected to first."""
        try:
            if self._serial is not None and ":" in self._serial and self._serial not in self._ready():
                self._client.connect(self._serial, timeout=self._limit_seconds)
            ready = self._ready()
        except self._errors as error:
            raise ExecutorError(boundary, f"the adb server does not answer ({_words(error)}): install adb") from None
        listed = ", ".join(ready) or "none"
        if self._serial is None and len(ready) != 1:
            raise ExecutorError(boundary, f"adb has {len(ready)} devices ({listed}): name the serial of one")
        serial = self._serial or ready[0]
        if serial not in ready:
            raise ExecutorError(
                boundary, f"device {serial!r} is not ready (ready: {listed}): look at `adb devices` and allow debugging"
            )
        self._device = self._client.device(serial=serial)

    def _ready(self) -> list[str]:
        return [info.serial for info in self._client.list() if info.state == "device"]

    def _restart(self) -> None:
        try:
            self._run("reset", "input", "keyevent", _KEYS["press_home"])
        except ExecutorError:
            self._wait_for_device("reset")
            self._run("reset", "input", "keyevent", _KEYS["press_home"])
        self.stop.sleep(self._settle_seconds)

    def _see(self) -> Observation:
        try:
            return self._look()
        except ExecutorError:
            self._wait_for_device("observe")
            return self._look()

    def _look(self) -> Observation:
        image = self._screenshot()
        self._size = ImageSize(*image.size)
        elements, package = (), ""
        if self._with_elements:
            dump = self._run("observe", "uiautomator", "dump", _DUMP_FILE, then=f"cat {_DUMP_FILE}", is_checked=False)
            elements, package = read_hierarchy(dump.decode(errors="replace"), self._size)
        return Observation(image=image, image_size=self._size, elements=elements, summary=package)

    def _screenshot(self) -> Any:
        import PIL.Image

        data = self._run("observe", "screencap", "-p")
        try:
            with PIL.Image.open(io.BytesIO(data)) as image:
                return image.convert("RGB")
        except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
            message = f"the phone sent no screenshot but {len(data)} bytes ({_words(error)})"
            raise ExecutorError("observe", message) from None

    def _perform(self, action: Action) -> None:
        match action.type:
            case "click":
                self._tap(action.point)
            case "long_press":
                self._swipe(action.point, action.point, action.seconds or LONG_PRESS_SECONDS)
            case "drag":
                self._swipe(action.start_point, action.end_point, DRAG_SECONDS)
            case "scroll":
                self._swipe(*scroll_path(action.point, action.direction), SCROLL_SECONDS)
            case "type":
                self._type(action)
            case "open_app":
                self._open_app(action.app_name)
            case "press_home" | "press_back" | "press_appselect":
                self._run("execute", "input", "keyevent", _KEYS[action.type])
            case _:
                raise ExecutorError("execute", f"the phone has no way to {action.type}")

    def _tap(self, point: PointNorm) -> None:
        self._run("execute", "input", "tap", *map(str, point.to_px(self._size)))

    def _swipe(self, start: PointNorm, end: PointNorm, seconds: float) -> None:
        ends = [*start.to_px(self._size), *end.to_px(self._size)]
        self._run("execute", "input", "swipe", *map(str, ends), str(round(seconds * 1000)), extra_seconds=seconds)

    def _type(self, action: Action) -> None:
        text = action.content.replace("\r\n", "\n")
        strange = next((char for char in text if not (char in "\n\t" or " " <= char <= "~")), None)
        if strange is not None:
            keyboards = self._run("execute", "ime", "list", "-a", "-s").decode().split()
            if _KEYBOARD not in keyboards:
                raise ExecutorError(
                    "execute", f"character {strange!r} cannot be typed: install the app ADBKeyBoard on the phone"
                )
        if action.point is not None:
            self._tap(action.point)
            self.stop.sleep(_FOCUS_SECONDS)
        if strange is None:
            self._type_plain(text)
        else:
            self._type_unicode(text)

    def _type_plain(self, text: str) -> None:
        """In pieces that `input text` types as they are; it reads "%s" as a space, so no piece has one of ours."""
        for piece in re.findall(r"\n|\t|[^\n\t%]+|%(?!s)|%(?=s)", text):
            self.stop.check()
            if piece in "\n\t":
                self._run("execute", "input", "keyevent", _ENTER if piece == "\n" else _TAB)
                continue
            for start in range(0, len(piece), _CHUNK_CHARS):
                self.stop.check()
                self._run("execute", "input", "text", piece[start : start + _CHUNK_CHARS].replace(" ", "%s"))

    def _type_unicode(self, text: str) -> None:
        """Through ADBKeyBoard, and back to the keyboard that was there."""
        before = self._run("execute", "settings", "get", "secure", "default_input_method").decode().strip()
        self._run("execute", "ime", "enable", _KEYBOARD)
        self._run("execute", "ime", "set", _KEYBOARD)
        try:
            self.stop.sleep(_FOCUS_SECONDS)
            for number, line in enumerate(text.split("\n")):
                if number:
                    self._run("execute", "input", "keyevent", _ENTER)
                if line:
                    message = base64.b64encode(line.encode("utf-8", "surrogatepass")).decode()
                    self._run("execute", "am", "broadcast", "-a", "ADB_INPUT_B64", "--es", "msg", message)
            self.stop.sleep(_FOCUS_SECONDS)
        finally:
            if before and before not in ("null", _KEYBOARD):
                self._run("execute", "ime", "set", before)

    def _open_app(self, name: str) -> None:
        listed = self._run("execute", "pm", "list", "packages").decode()
        package = find_package(name, re.findall(r"^package:(\S+)", listed, re.MULTILINE))
        said = self._run(
            "execute", "monkey", "-p", package, "-c", "android.intent.category.LAUNCHER", "1", is_checked=False
        ).decode(errors="replace")
        if "Events injected: 1" not in said:
            raise ExecutorError("execute", f"app {package} did not start: {' '.join(said.split())[:200]}")

    def _run(
        self, boundary: str, *words: str, then: str = "", is_checked: bool = True, extra_seconds: float = 0.0
    ) -> bytes:
        """What a command of the device printed; `then` follows it where it succeeded."""
        line = shlex.join(words) + (f" && {then}" if then else "")
        try:
            answer = self._device.shell2(line, timeout=self._limit_seconds + extra_seconds, encoding=None)
        except self._errors as error:
            raise ExecutorError(boundary, f"the phone broke off `{words[0]}` ({_words(error)})") from None
        if is_checked and answer.returncode != 0:
            said = " ".join(answer.output.decode(errors="replace").split())[:200]
            raise ExecutorError(boundary, f"the phone refused `{words[0]}` (exit code {answer.returncode}): {said}")
        return answer.output

    def _wait_for_device(self, boundary: str) -> None:
        """Waits until the device is back, half the time limit at most; raises why it is not."""
        end = monotonic() + self._limit_seconds / 2
        while True:
            self.stop.check()
            try:
                self._connect(boundary)
                return
            except ExecutorError:
                if monotonic() > end:
                    raise
            self.stop.sleep(0.2)


def list_phones() -> dict[str, str]:
    """Serial -> state of all that adb knows ("device" is ready; "unauthorized", "offline"); starts adb's own server.

    Raises:
        InputError: real devices are not permitted, or adb or the package adbutils is missing or does not answer.
    """
    check_permission()
    if importlib.util.find_spec("adbutils") is None:
        raise InputError("the package adbutils is not installed: pip install adbutils")
    import adbutils

    try:
        return {info.serial: info.state for info in adbutils.AdbClient(socket_timeout=_LIST_SECONDS).list()}
    except (adbutils.AdbError, OSError, subprocess.SubprocessError) as error:
        raise InputError(f"the adb server does not answer ({_words(error)}): apt install adb") from None


def ready_phones() -> list[str]:
    """The serials of the phones that can be acted on; raises InputError as `list_phones`."""
    return [serial for serial, state in list_phones().items() if state == "device"]


def scroll_path(point: PointNorm | None, direction: str) -> tuple[PointNorm, PointNorm]:
    """Where the finger goes to reveal the content in a direction: the other way, `SCROLL_SHARE` of the screen.

    The path starts at the point (the middle, when there is none), moved inwards as far as the finger needs room.

    >>> scroll_path(None, "down")
    (PointNorm(x=0.5, y=0.5), PointNorm(x=0.5, y=0.09999999999999998))
    """
    start = point or PointNorm(0.5, 0.5)
    dx, dy = {"up": (0, 1), "down": (0, -1), "left": (1, 0), "right": (-1, 0)}[direction]
    dx, dy = dx * SCROLL_SHARE, dy * SCROLL_SHARE
    low, high = _EDGE, 1 - _EDGE
    x = min(max(start.x, low - min(dx, 0)), high - max(dx, 0))
    y = min(max(start.y, low - min(dy, 0)), high - max(dy, 0))
    return PointNorm(x, y), PointNorm(x + dx, y + dy)


def find_package(name: str, installed: list[str]) -> str:
    """The installed package that an app's name means.

    A package's own name is taken as it is; then `APP_PACKAGES`; then the one package with the name, without spaces, as
    a part between dots.

    Raises:
        ExecutorError: at "execute", when none or several fit.

    >>> find_package("Simple Notes", ["org.simplenotes.app", "com.android.settings"])
    'org.simplenotes.app'
    """
    if name in installed:
        return name
    wanted = name.strip().casefold()
    for package in APP_PACKAGES.get(wanted, ()):
        if package in installed:
            return package
    word = "".join(wanted.split())
    fitting = [package for package in installed if word in package.casefold().split(".")]
    if len(fitting) != 1:
        found = f"{len(fitting)} packages fit ({', '.join(fitting[:5])})" if fitting else "no package fits"
        raise ExecutorError("execute", f"app {name!r} cannot be opened: {found}; say its package")
    return fitting[0]


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
