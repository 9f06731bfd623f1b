"""Chromium through Playwright: one page, seen as pixels and as elements of its DOM.

A browser that may only load files of the page's own folder, or what the page's own server on this machine gives, needs
no permission; with other hosts allowed it is a real device. Everything that is not allowed is cut off before it leaves.
"""

from __future__ import annotations

import io
import os
import shutil
import uuid
from collections.abc import Collection
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit

from executors.actions import Action, Space
from executors.device import DeviceExecutor
from executors.errors import ExecutorError, InputError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Element, Observation

SCROLL_SHARE = 0.6
"""How much of the viewport one scroll reveals."""

MAX_ELEMENTS = 500

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OWN_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_SCRIPT = Path(__file__).resolve().parent.parent / "assets" / "js" / "page_elements.js"
_CHUNK_CHARS = 40
_DRAG_STEP_SECONDS = 0.01

_KEYS = {
    "alt": "Alt", "arrowdown": "ArrowDown", "arrowleft": "ArrowLeft", "arrowright": "ArrowRight", "arrowup": "ArrowUp",
    "backspace": "Backspace", "cmd": "Meta", "control": "Control", "ctrl": "Control", "del": "Delete",
    "delete": "Delete", "down": "ArrowDown", "end": "End", "enter": "Enter", "esc": "Escape", "escape": "Escape",
    "home": "Home", "insert": "Insert", "left": "ArrowLeft", "meta": "Meta", "page_down": "PageDown",
    "page_up": "PageUp", "pagedown": "PageDown", "pageup": "PageUp", "return": "Enter", "right": "ArrowRight",
    "shift": "Shift", "space": " ", "tab": "Tab", "up": "ArrowUp", "win": "Meta",
    **{f"f{number}": f"F{number}" for number in range(1, 13)},
}  # fmt: skip
"""Key names that models use -> Playwright's; single characters are keys of their own."""


class BrowserExecutor(DeviceExecutor):
    """A page in a Chromium of its own; `reset` opens it anew, without cookies or storage.

    A page that opens another is followed to it, and back when it closes. Dialogs of JavaScript, which no screenshot
    shows, are dismissed and told in the observation's summary.
    """

    name = "browser"

    def __init__(
        self,
        url: str,
        *,
        size: ImageSize | None = None,
        pixel_ratio: float = 1.0,
        is_visible: bool = False,
        allowed_hosts: Collection[str] = (),
        judge: str = "",
        program: str | None = None,
        **options: Any,
    ) -> None:
        """Nothing is opened yet.

        Args:
            url: the page to begin at: file:///..., http://localhost:PORT/..., or of an allowed host.
            size: viewport in CSS pixels; None is 1280x800.
            pixel_ratio: pixels of the screenshot for one CSS pixel, 0.5 to 8.
            is_visible: open a window on DISPLAY instead of running headless.
            allowed_hosts: hosts that may be asked for anything, on any port; with any it is a real device.
            judge: JavaScript expression of the page that says whether the goal holds (true, false, null).
            program: path of Chromium; None looks for it on PATH.
            options: see `DeviceExecutor`.

        Raises:
            InputError: the address is not allowed, or Chromium or Playwright is not installed.
        """
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self.is_real = bool(self._hosts)
        super().__init__(**options)
        parts = urlsplit(url)
        self._folder: Path | None = None
        if parts.scheme == "file":
            page = Path(unquote(parts.path)).resolve()
            if not page.is_file():
                raise InputError(f"page {url} does not exist: name an HTML file")
            self._folder = page.parent
        elif parts.scheme not in ("http", "https") or parts.hostname not in self._hosts | _OWN_HOSTS:
            raise InputError(f"page {url!r} is not allowed: give a file:// or localhost address, or allow its host")
        self._server = parts.netloc
        if not 0.5 <= pixel_ratio <= 8:
            raise InputError(f"pixel ratio {pixel_ratio} is not allowed: give 0.5..8")
        self._program = program or next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
        if self._program is None:
            raise InputError("Chromium is not installed: apt install chromium, or name its program")
        if find_spec("playwright") is None:
            raise InputError("the package playwright is not installed: pip install playwright")
        self._url, self._size, self._ratio = url, size or ImageSize(1280, 800), pixel_ratio
        self._is_visible, self._judge = is_visible, judge
        self._mark = f"--tracer1-browser={uuid.uuid4().hex}"
        self._browser: Any = None
        self._pages: list[Any] = []
        self._dialogs: list[str] = []

    @property
    def spaces(self) -> frozenset[Space]:
        """Browser."""
        return frozenset({Space.BROWSER})

    def is_success(self) -> bool | None:
        """What the page's judge says; None without one, and when it says neither true nor false."""
        if not self._judge:
            return None
        verdict = self._call("judge", lambda: self._page.evaluate(self._judge))
        return verdict if isinstance(verdict, bool) else None

    @property
    def _page(self) -> Any:
        if not self._pages:
            raise ExecutorError("observe", "the page is closed: reset")
        return self._pages[-1]

    def _open(self) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()

    def _restart(self) -> None:
        """A new context; and a new browser, when there is none that answers."""
        if self._browser is not None and self._browser.is_connected():
            for context in self._browser.contexts:
                context.close()
        else:
            arguments = [self._mark, "--disable-dev-shm-usage"]
            if hasattr(os, "geteuid") and os.geteuid() == 0:
                arguments.append("--no-sandbox")  # Chromium refuses to start for root otherwise
            if not self.is_real:
                arguments.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1")
            self._browser = self._playwright.chromium.launch(
                executable_path=self._program, headless=not self._is_visible, args=arguments,
                timeout=self._limit_seconds * 1000,
            )  # fmt: skip
        self._pages.clear()
        context = self._browser.new_context(
            viewport={"width": self._size.width_px, "height": self._size.height_px}, device_scale_factor=self._ratio,
            accept_downloads=False, service_workers="block",
        )  # fmt: skip
        context.set_default_timeout(self._limit_seconds * 1000)
        context.route("**/*", self._pass_or_abort)
        context.route_web_socket("**/*", self._connect_or_close)
        context.on("page", self._follow)
        context.new_page().goto(self._url, wait_until="load")
        self._pause(self._settle_seconds)  # drop-downs find their width a moment after the page has loaded

    def _follow(self, page: Any) -> None:
        self._pages.append(page)
        page.on("close", lambda _: self._pages.remove(page) if page in self._pages else None)
        page.on("dialog", self._dismiss)

    def _dismiss(self, dialog: Any) -> None:
        self._dialogs.append(dialog.message)
        dialog.dismiss()

    def _pass_or_abort(self, route: Any) -> None:
        if self._is_allowed(route.request.url):
            route.continue_()
        else:
            route.abort("blockedbyclient")

    def _connect_or_close(self, socket: Any) -> None:
        if self._is_allowed(socket.url):
            socket.connect_to_server()
        else:
            socket.close()

    def _is_allowed(self, url: str) -> bool:
        parts = urlsplit(url)
        if parts.scheme in ("data", "blob", "about"):
            return True
        if parts.scheme == "file":
            return self._folder is not None and Path(unquote(parts.path)).resolve().is_relative_to(self._folder)
        return parts.hostname in self._hosts or bool(self._server) and parts.netloc == self._server

    def _pause(self, seconds: float) -> None:
        """Playwright passes on requests, new pages and dialogs only while it is called."""
        end = monotonic() + seconds
        self.stop.check()
        while (left := end - monotonic()) > 0:
            self._page.wait_for_timeout(max(1.0, min(left, 0.05) * 1000))
            self.stop.check()

    def _see(self) -> Observation:
        """A page that is just going elsewhere cannot be seen and is looked at again."""
        from playwright.sync_api import Error, TimeoutError

        for is_last in (False, False, True):
            self._page.wait_for_timeout(1.0)  # what has come meanwhile is passed on: see _pause
            try:
                return self._look()
            except Error as error:
                if is_last or isinstance(error, TimeoutError) or "closed" in str(error).lower():
                    raise
            self._page.wait_for_load_state("domcontentloaded")
        raise AssertionError("the last look returns or raises")

    def _look(self) -> Observation:
        import PIL.Image

        page = self._page
        with PIL.Image.open(io.BytesIO(page.screenshot(caret="initial"))) as shot:
            image = shot.convert("RGB")
        elements = tuple(self._element(record) for record in page.evaluate(elements_script(), MAX_ELEMENTS))
        summary = " ".join((page.title() or page.url).split())
        if self._dialogs:
            summary += f" (dismissed: {' '.join(self._dialogs[-1].split())[:200]})"
            self._dialogs.clear()
        return Observation(image=image, image_size=ImageSize(*image.size), elements=elements, summary=summary)

    def _element(self, record: dict[str, Any]) -> Element:
        width, height = self._size.width_px, self._size.height_px
        left, top, right, bottom = record.pop("box")
        return Element(**record, box=BoxNorm(left / width, top / height, right / width, bottom / height))

    def _perform(self, action: Action) -> None:
        page = self._page
        match action.type:
            case "click":
                page.mouse.click(*self._css_px(action.point))
            case "left_double":
                page.mouse.dblclick(*self._css_px(action.point))
            case "hover":
                page.mouse.move(*self._css_px(action.point))
            case "drag":
                self._drag(action.start_point, action.end_point)
            case "scroll":
                self._scroll(action)
            case "type":
                if action.point is not None:
                    page.mouse.click(*self._css_px(action.point))
                text = action.content.replace("\r\n", "\n")
                for start in range(0, len(text), _CHUNK_CHARS):
                    self.stop.check()
                    page.keyboard.type(text[start : start + _CHUNK_CHARS])
            case "select":
                self._select(action)
            case "hotkey":
                page.keyboard.press("+".join(_key_name(name) for name in action.key.split()))
            case _:
                raise ExecutorError("execute", f"the browser has no way to {action.type}")

    def _css_px(self, point: PointNorm) -> tuple[float, float]:
        """The point in CSS pixels, inside the viewport."""
        width, height = self._size.width_px, self._size.height_px
        return min(point.x * width, width - 0.5), min(point.y * height, height - 0.5)

    def _drag(self, start: PointNorm, end: PointNorm) -> None:
        mouse = self._page.mouse
        mouse.move(*self._css_px(start))
        mouse.down()
        try:
            for place in self._drag_path(start, end, _DRAG_STEP_SECONDS):
                mouse.move(*self._css_px(place))
        finally:
            mouse.up()

    def _scroll(self, action: Action) -> None:
        self._page.mouse.move(*self._css_px(action.point or PointNorm(0.5, 0.5)))
        dx, dy = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}[action.direction]
        self._page.mouse.wheel(dx * SCROLL_SHARE * self._size.width_px, dy * SCROLL_SHARE * self._size.height_px)

    def _select(self, action: Action) -> None:
        """Chooses by the option's label or value, since the list of a drop-down is on no screenshot."""
        x, y = self._css_px(action.point)
        handle = self._page.evaluate_handle("([x, y]) => document.elementFromPoint(x, y)?.closest('select')", [x, y])
        element = handle.as_element()
        if element is None or action.value is None:
            self._page.mouse.click(x, y)
            return
        options = element.evaluate("node => [...node.options].map(option => option.label.trim())")
        wanted = action.value.strip()
        if wanted not in options:
            raise ExecutorError("execute", f"option {wanted!r} is not in the drop-down: {', '.join(options[:20])}")
        element.select_option(index=options.index(wanted))

    def _release(self) -> None:
        if self._browser is not None:
            self._browser.close()
            self._browser = None
        self._playwright.stop()

    def _abandon(self) -> None:
        """Ends Chromium, known by its mark, and its Playwright driver, when they were not released."""
        if self._browser is None:
            return
        import psutil

        for process in psutil.process_iter(["cmdline"]):
            if self._mark not in (process.info["cmdline"] or []):
                continue
            try:
                parent = process.parent()
                process.kill()
                if parent is not None and "driver" in " ".join(parent.cmdline()) and parent.pid != os.getpid():
                    parent.kill()
            except psutil.NoSuchProcess:
                pass


@cache
def elements_script() -> str:
    """The JavaScript function that lists a page's elements, given how many at most."""
    return _SCRIPT.read_text(encoding="utf-8")


def _key_name(name: str) -> str:
    """Playwright's name of a key; raises ExecutorError for one that is none."""
    if name in _KEYS:
        return _KEYS[name]
    if len(name) == 1 and "!" <= name <= "~":
        return name
    raise ExecutorError("execute", f"key {name!r} is not on this keyboard: use names such as ctrl, enter, f5")
