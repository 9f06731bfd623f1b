"""One person's episode, without any gradio: what is on the screen, what is forecast, what was done.

An episode is a row of frames. A frame is one screen with what was forecast on it and what was done on it; the last
frame of a simulator episode is live, all others can only be looked at. A recorded trajectory is the same row with
nothing live. A cursor says which frame is shown.

Methods never raise for what a person, a planner or a device did wrong: the sentence lands in `message`. Every
method may be called at any time and from any thread; a lock makes them follow one another, and `run` looks between
steps whether it was stopped or its episode replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event, RLock
from typing import Any

from executors.errors import WorkbenchError
from executors.trajectory import Observation
from training.forecast import Forecast
from workbench.forecast_marks import forecast_marks, taken_mark
from workbench.screen import Kind, Mark, png_data_uri

log = logging.getLogger(__name__)

UNEXPECTED = "Something inside the workbench failed; the terminal it was started from shows what. Try Reset."


class Tone(StrEnum):
    """How a message is shown."""

    INFO = "info"
    SUCCESS = "success"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """One sentence about the episode's state."""

    text: str
    tone: Tone = Tone.INFO


@dataclass(slots=True, kw_only=True)
class Frame:
    """One screen, the forecast made on it with its marks, and the step taken on it."""

    observation: Observation
    forecast: Forecast | None = None
    marks: tuple[Mark, ...] = ()
    taken: Mark | None = None
    fault: str = ""
    thought: str = ""
    image_uri: str = field(default="", repr=False)

    def uri(self) -> str:
        """The screenshot as a data URI, encoded once; raises MissingFileError or InputError when it is gone."""
        if not self.image_uri:
            self.image_uri = png_data_uri(self.observation.load_image())
        return self.image_uri


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One step taken: its mark, what went wrong, and the frame it was taken on, counted from 1."""

    mark: Mark
    fault: str
    frame_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeView:
    """All that the tab shows, as plain values; made by `EpisodeSession.view`."""

    goal: str
    subtitle: str
    message: Message
    is_busy: bool
    is_recorded: bool
    frame: Frame | None
    frame_number: int
    num_frames: int
    history: tuple[HistoryEntry, ...]
    can_forecast: bool
    can_act: bool
    can_run: bool
    can_stop: bool
    can_reset: bool
    can_go_back: bool
    can_go_on: bool


class EpisodeSession:
    """An episode that a person steps through; kept for each open page."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._stop = Event()
        self._epoch = 0
        self._is_running = False
        self._has_failed = False
        self._driver: Any = None
        self._opener: Callable[[], Any] | None = None
        self._is_working = False
        self.frames: list[Frame] = []
        self.cursor = 0
        self.planner = ""
        self.message = Message("Choose a task to begin.")

    def __deepcopy__(self, memo: dict) -> EpisodeSession:
        """A fresh session: gradio copies a state's first value for each page, also for one it has forgotten."""
        return EpisodeSession()

    # ---- opening

    def open(self, opener: Callable[[], Any]) -> None:
        """Starts what `opener` makes (a driver, see workbench.drivers); it is kept for `reset`."""
        self.request_stop()
        with self._lock, self._reporting():
            self._close_driver()
            self._epoch += 1
            self.frames, self.cursor, self._opener = [], 0, opener
            self._driver = opener()
            self.frames = self._driver.start()
            self.message = Message(self._driver.greeting)

    def reset(self) -> None:
        """Starts the same episode again from its beginning."""
        if self._opener is not None:
            self.open(self._opener)

    def clear(self, text: str) -> None:
        """Ends what is open and shows an empty state."""
        self.close()
        with self._lock:
            self.frames, self.cursor, self._opener = [], 0, None
            self.message = Message(text)

    def fail(self, error: WorkbenchError) -> None:
        """Shows an error that came before the episode could be opened."""
        with self._lock:
            self.message = Message(_sentence(error), Tone.ERROR)

    def close(self) -> None:
        """Ends a run and releases the device."""
        self.request_stop()
        with self._lock:
            self._epoch += 1
            self._close_driver()

    def _close_driver(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    # ---- stepping

    def forecast(self) -> None:
        """Asks the planner for a forecast on the screen that is shown, and moves to the live screen first."""
        with self._lock, self._reporting():
            if self._driver is None or self._driver.is_over:
                return
            if not self._driver.is_recorded:
                self.cursor = len(self.frames) - 1
            self._make_forecast(self.frames[self.cursor])

    def _make_forecast(self, frame: Frame) -> None:
        frame.forecast = self._driver.forecast(self.cursor)
        frame.marks = forecast_marks(frame.forecast, frame.observation, self._driver.tool_agent)
        self.message = self._forecast_message(frame.forecast)

    def _forecast_message(self, forecast: Forecast) -> Message:
        count = len(forecast.steps)
        steps = f"{count} step{'' if count == 1 else 's'}"
        if forecast.ok:
            after = "It was not carried out: the screen is a recording." if self._driver.is_recorded else (
                "Act carries out the first.")
            return Message(f"Forecast of {steps}. {after}")
        return Message(f"The planner's reply could not be read {'in full' if count else 'at all'}: {forecast.reason}.",
                       Tone.ERROR)

    def act(self) -> None:
        """Carries out the first forecast step; forecasts first where that was not done."""
        with self._lock, self._reporting():
            if self._driver is None or self._driver.is_over or self._driver.is_recorded:
                return
            self.cursor = len(self.frames) - 1
            frame = self.frames[-1]
            if frame.forecast is None:
                self._make_forecast(frame)
            self._take_step(frame)

    def _take_step(self, frame: Frame) -> None:
        outcome = self._driver.act()
        frame.fault = outcome.fault
        if outcome.action is not None:
            number = sum(1 for f in self.frames if f.taken is not None) + 1
            frame.taken = taken_mark(number, Kind.EXECUTED, outcome.action, outcome.instruction)
        if outcome.has_new_screen or not self._driver.is_over:
            self.frames.append(Frame(observation=outcome.observation))
            self.cursor = len(self.frames) - 1
        self.message = self._driver.verdict()

    def run(self) -> Iterator[None]:
        """Forecasts and acts until the episode is over or `request_stop`; yields after each forecast and action.

        Calling it while a run is going on does nothing.
        """
        with self._lock:
            if self._is_running or self._driver is None or self._driver.is_recorded:
                return
            self._is_running, epoch = True, self._epoch
            self._stop.clear()
        try:
            for act in self._beats():
                with self._lock:
                    if self._epoch != epoch:
                        return
                    if self._stop.is_set():
                        self.message = Message("Stopped by you. Run goes on from here.")
                        return
                    act()
                    if self._epoch != epoch or self._driver.is_over or self._has_failed:
                        return
                yield
        finally:
            self._is_running = False

    def _beats(self) -> Iterator[Callable[[], None]]:
        while True:
            if self.frames[-1].forecast is None:
                yield self.forecast
            yield self.act

    def request_stop(self) -> None:
        """Asks a run to end after the step it is at; never waits."""
        self._stop.set()
        if self._is_running:
            self.message = Message("Stopping after this step …")

    def move(self, offset: int) -> None:
        """Shows the frame this many places further; stays within the row, and never waits for a forecast."""
        self.cursor = max(0, min(len(self.frames) - 1, self.cursor + offset))

    def go_to(self, number: int) -> None:
        """Shows frame `number`, counted from 1."""
        self.move(number - 1 - self.cursor)

    # ---- showing

    def view(self, *, is_busy: bool = False) -> EpisodeView:
        """What the tab shows now; never waits for a forecast.

        Args:
            is_busy: a handler is at work; buttons that would start another are off.
        """
        busy = is_busy or self._is_running or self._is_working
        driver, frames = self._driver, self.frames  # another thread may open another episode meanwhile
        cursor = min(self.cursor, len(frames) - 1)
        is_open = driver is not None and bool(frames)
        is_recorded = is_open and driver.is_recorded
        can_step = is_open and not busy and not driver.is_over
        return EpisodeView(
            goal=driver.goal if is_open else "",
            subtitle=driver.subtitle if is_open else "",
            message=self.message,
            is_busy=busy,
            is_recorded=is_recorded,
            frame=frames[cursor] if is_open else None,
            frame_number=cursor + 1 if is_open else 0,
            num_frames=len(frames),
            history=tuple(
                HistoryEntry(f.taken, f.fault, number)
                for number, f in enumerate(frames, start=1)
                if f.taken is not None
            ),
            can_forecast=can_step,
            can_act=can_step and not is_recorded,
            can_run=can_step and not is_recorded,
            can_stop=self._is_running and not self._stop.is_set(),
            can_reset=self._opener is not None and (not busy or self._is_running),
            can_go_back=is_open and cursor > 0,
            can_go_on=is_open and cursor < len(frames) - 1,
        )

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """The boundary at which errors become the message; what is unexpected also goes to the log."""
        self._has_failed = self._is_working = True
        try:
            yield
            self._has_failed = False
        except WorkbenchError as error:
            self.message = Message(_sentence(error), Tone.ERROR)
        except Exception:
            log.exception("episode handler failed")
            self.message = Message(UNEXPECTED, Tone.ERROR)
        finally:
            self._is_working = False


def _sentence(error: WorkbenchError) -> str:
    text = str(error).strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
