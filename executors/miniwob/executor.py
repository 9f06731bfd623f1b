"""MiniWoB++ (Farama Foundation, MIT): small web tasks with a goal in words, judged by the page's own JavaScript.

The pages come with the package `miniwob`, whose Python part is not used: only its files are read. How this differs
from that package's environments:

1. The time limit of 7 to 60 seconds is lifted, since a large model thinks longer; the time never counts.
2. Reward, time left and the cover between two episodes are not shown: the screenshot is the task's 160 x 210 pixels.
   No caret blinks, so that one state has one picture.
3. The actions are a browser's (click, double click, hover, drag, scroll, type, select, hotkey).
4. The three FlightWoB tasks, which live in a frame of a server, are left out.

A task counts as done with a raw reward of 1, the package's `get_binary_reward`.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

from executors.actions import Action
from executors.browser import BrowserExecutor
from executors.errors import ExecutorError, InputError
from executors.geometry import ImageSize
from executors.miniwob.tree import PageTree

SIZE_PX = ImageSize(160, 210)
"""The task's area in CSS pixels, as in the package."""

MAX_SEED = 2**31 - 1

_LIMIT_MS = 1_000_000_000
"""Eleven days; a browser's timers take no more than 2**31 - 1."""
_STILL_SECONDS = 2.0
"""How long animations and late parts of a page are waited for."""
_UNREGISTERED = frozenset({"button-delay", "chase-circle", "hover-shape", "moving-items", "simon-says"})
"""Pages that the package ships without registering them as environments."""
_RELOADED = frozenset({
    "book-flight", "book-flight-nodelay", "choose-date", "choose-date-easy", "choose-date-medium",
    "choose-date-nodelay", "click-pie", "click-pie-nodelay", "drag-items", "drag-items-grid", "drag-sort-numbers",
    "form-sequence", "form-sequence-2", "form-sequence-3", "stock-market", "terminal", "use-autocomplete",
    "use-autocomplete-nodelay", "use-colorwheel", "use-colorwheel-2", "use-slider", "use-slider-2",
})  # fmt: skip
"""Tasks whose page keeps something of an episode (seen by comparing a used page with a fresh one, seed by seed); they
are loaded anew each time, the others as rarely as the package's own environments do."""
_JS = Path(__file__).resolve().parents[2] / "assets" / "js"


@cache
def pages_folder() -> Path:
    """The folder `html` of the installed package.

    Raises:
        InputError: the package is not installed.
    """
    spec = find_spec("miniwob")  # it is not imported: that would import gymnasium and selenium
    folder = Path(spec.origin).parent / "html" if spec is not None and spec.origin else None
    if folder is None or not folder.is_dir():
        raise InputError("the package miniwob is not installed: pip install -e '.[miniwob]'")
    return folder


@cache
def task_names() -> tuple[str, ...]:
    """The names of the 125 tasks, such as "click-test"; raises InputError when the package is not installed."""
    names = sorted(page.stem for page in (pages_folder() / "miniwob").glob("*.html"))
    return tuple(name for name in names if name not in _UNREGISTERED)


def check_task(name: str) -> str:
    """The name, when there is such a task; raises InputError otherwise."""
    if name not in task_names():
        raise InputError(f"MiniWoB++ task {name!r} is unknown: choose some of {', '.join(task_names())}")
    return name


class MiniWobExecutor(BrowserExecutor):
    """One MiniWoB++ task after another in one Chromium; `choose` says which the next `reset` begins.

    Needs no permission: its pages are files of the package, and it can load nothing else.
    """

    name = "MiniWoB++ browser"

    def __init__(self, task: str, seed: int = 0, *, pixel_ratio: float = 2.0, **options: Any) -> None:
        """Nothing is opened yet.

        Args:
            task: see `task_names`.
            seed: decides the task's words and layout, 0..2**31-1.
            pixel_ratio: pixels of the screenshot for one of the page's, 0.5 to 8.
            options: see `BrowserExecutor`.

        Raises:
            InputError: the task is unknown, the seed is not allowed, or miniwob, Playwright or Chromium is missing.
        """
        check_task(task)
        options.setdefault("settle_seconds", 0.0)
        super().__init__(_url(task), size=SIZE_PX, pixel_ratio=pixel_ratio, **options)
        self._folder = pages_folder()  # pages share scripts and styles with their neighbours
        self._has_ended = False
        self.choose(task, seed)

    def choose(self, task: str, seed: int) -> None:
        """What the next reset begins; raises InputError when there is no such task or seed."""
        if not 0 <= seed <= MAX_SEED:
            raise InputError(f"seed {seed} is not allowed: give 0..{MAX_SEED}")
        self.task, self.seed, self._url = check_task(task), seed, _url(task)

    @property
    def world_has_ended(self) -> bool:
        """True once the page has given its reward: nothing counts any more."""
        return self._has_ended

    @property
    def is_done(self) -> bool:
        """True after a terminal action, and once the page has given its reward."""
        return super().is_done or self._has_ended

    def is_success(self) -> bool:
        """Whether the page gave the full reward."""
        return self._call("judge", self._judged) == (True, 1)

    def tree(self) -> PageTree:
        """The page's elements as they are now, for oracles."""
        return PageTree.of_records(self._goal, self._call("observe", lambda: self._page.evaluate(_script("page_tree"))))

    def execute(self, action: Action) -> Any:
        """As of `DeviceExecutor`; also raises ExecutorError("execute") once the page has given its reward."""
        if self._has_ended:
            raise ExecutorError("execute", "the page has ended the episode: reset before acting again")
        return super().execute(action)

    def _restart(self) -> None:
        self._has_ended = False
        if self._browser is None or not self._browser.is_connected() or len(self._pages) != 1:
            super()._restart()
        elif self._page.url != self._url or self.task in _RELOADED:
            self._page.goto(self._url, wait_until="load")
        self._page.mouse.move(0, 0)
        self._page.evaluate(_script("miniwob_start"), [self.seed, "train", _LIMIT_MS])
        self._wait_still()
        self._goal = self._page.evaluate(
            "() => { const said = core.getUtterance(); return typeof said === 'string' ? said : said.utterance; }"
        ).strip()

    def _act(self, action: Action) -> None:
        super()._act(action)
        self._wait_still()
        self._has_ended = self._judged()[0]

    def _judged(self) -> tuple[bool, float]:
        """(whether the page has ended the episode, its reward without regard to time)."""
        is_done, reward = self._page.evaluate("[WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]")
        return is_done, reward

    def _wait_still(self) -> None:
        """Waits until nothing is being animated; what moves by itself all the time is not waited for longer."""
        end = monotonic() + _STILL_SECONDS
        while not self._page.evaluate("WOB_TASK_READY && !(window.jQuery && jQuery.timers.length)"):
            if monotonic() > end:
                return
            self._pause(0.02)


def _url(task: str) -> str:
    return (pages_folder() / "miniwob" / f"{task}.html").as_uri()


@cache
def _script(name: str) -> str:
    return (_JS / f"{name}.js").read_text(encoding="utf-8")
