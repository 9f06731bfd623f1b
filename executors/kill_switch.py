"""Ways for a person to end acting at once: a STOP file, a signal, the pointer in a corner, a button."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from executors.device import StopSignal
from executors.errors import InputError

POLL_SECONDS = 0.04
"""How often file and corner are looked at."""

SIGNALS = (signal.SIGINT, signal.SIGUSR1)
"""Ctrl-C, and `kill -USR1 PID`."""


class KillSwitch:
    """Watches until closed and trips the stop signal; what cannot be watched any more trips it too.

    A button calls `stop.trip("the button")` itself.
    """

    def __init__(
        self, stop: StopSignal, *, stop_file: Path | None = None, is_in_corner: Callable[[], bool] | None = None
    ) -> None:
        """Starts to watch.

        Args:
            stop: what is tripped.
            stop_file: acting ends as soon as this file exists.
            is_in_corner: acting ends when this is true (see `DesktopExecutor.is_pointer_in_corner`).

        Raises:
            InputError: the stop file is there already, or its folder is not.
        """
        if stop_file is not None:
            if not stop_file.absolute().parent.is_dir():
                raise InputError(f"the folder of stop file {stop_file} does not exist: name a file in one that does")
            if stop_file.exists():
                raise InputError(f"stop file {stop_file} is there already: remove it to begin")
        self.stop = stop
        self._stop_file, self._is_in_corner = stop_file, is_in_corner
        self._closing = threading.Event()
        self._replaced: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._watch, name="kill switch", daemon=True)
        self._thread.start()

    def take_signals(self) -> None:
        """Has SIGINT and SIGUSR1 trip the signal as well, SIGINT before what it did so far; main thread only."""
        for number in SIGNALS:
            self._replaced[number] = signal.signal(number, self._on_signal)

    def close(self) -> None:
        """Ends watching and gives signals back; calling it again does nothing."""
        self._closing.set()
        self._thread.join(timeout=2.0)
        for number, handler in self._replaced.items():
            signal.signal(number, handler)
        self._replaced.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stop.trip(f"signal {signal.Signals(number).name}")
        if number == signal.SIGINT and callable(self._replaced.get(number)):
            self._replaced[number](number, frame)

    def _watch(self) -> None:
        try:
            while not self._closing.wait(POLL_SECONDS) and not self.stop.is_tripped:
                if self._stop_file is not None and self._stop_file.exists():
                    self.stop.trip(f"the stop file {self._stop_file}")
                elif self._is_in_corner is not None and self._is_in_corner():
                    self.stop.trip("the pointer in the corner")
        except Exception as error:  # a boundary: a switch that is broken must not look like one that works
            self.stop.trip(f"the kill switch itself, which failed ({type(error).__name__}: {error})")
