"""Planners of the running app: loaded once, in the background, and shared by all sessions.

A planner keeps nothing between forecasts, so sharing is safe as long as forecasts are made one at a time; the
handlers see to that with one common concurrency limit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any

from executors.errors import CheckpointError, InputError, WorkbenchError

log = logging.getLogger(__name__)

LOAD_FAILED = "This planner could not be loaded; the terminal shows why."

MAX_PLANNERS = 2
"""Planners held in memory at once; the one used longest ago goes first."""


def short_name(path: str) -> str:
    """What a planner is called on the page: the last part of its path.

    >>> short_name("runs/first/final/")
    'final'
    """
    return path.rstrip("/").rpartition("/")[2] or path


class Readiness(StrEnum):
    """How far a planner is."""

    MISSING = "missing"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerStatus:
    """What a person may know about a planner: how far it is, and one sentence."""

    readiness: Readiness
    sentence: str

    @property
    def is_final(self) -> bool:
        """False while waiting may change something."""
        return self.readiness is not Readiness.LOADING


@dataclass(slots=True)
class _Entry:
    future: Future
    started: float
    seconds: float = 0.0


class PlannerShelf:
    """Loads planners by path and keeps the last few.

    Args:
        load: makes a planner of a path; raises WorkbenchError when it cannot.
        default: the path that is loaded at start.
        only: the paths that are allowed, None for all (a public server must not open paths that visitors name).
    """

    def __init__(self, load: Callable[[str], Any], default: str, *, only: Collection[str] | None = None) -> None:
        self.default = default
        self._only = only
        self._load = load
        self._entries: dict[str, _Entry] = {}
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="planner")

    def warm(self, path: str | None = None) -> None:
        """Starts loading in the background, again if it failed; nothing happens when there is nothing to load."""
        try:
            path = self._clean(path)
        except InputError:
            return  # `status` says so
        if self._is_there(path):
            self._entry(path)

    def status(self, path: str | None = None) -> PlannerStatus:
        """How far a planner is; starts nothing."""
        try:
            path = self._clean(path)
        except InputError as error:
            return PlannerStatus(readiness=Readiness.FAILED, sentence=str(error))
        entry = self._entries.get(path)
        name = short_name(path)
        if entry is None:
            if self._is_there(path):
                return PlannerStatus(readiness=Readiness.LOADING, sentence=f"{name} is next to be loaded.")
            if self._only is not None:  # whoever looks here can neither choose another nor train one
                sentence = f"{name} is missing on this server: run the workbench on your machine to use another."
                return PlannerStatus(readiness=Readiness.FAILED, sentence=sentence)
            return PlannerStatus(readiness=Readiness.MISSING, sentence=f"There is no planner at {path}.")
        if not entry.future.done():
            waited = time.monotonic() - entry.started
            return PlannerStatus(readiness=Readiness.LOADING, sentence=f"Loading {name} … {waited:.0f}\u00a0s")
        error = entry.future.exception()
        if error is not None:
            sentence = str(error) if isinstance(error, WorkbenchError) else LOAD_FAILED
            return PlannerStatus(readiness=Readiness.FAILED, sentence=sentence)
        sentence = f"{name} is ready, loaded in {entry.seconds:.1f}\u00a0s."
        return PlannerStatus(readiness=Readiness.READY, sentence=sentence)

    def get(self, path: str | None = None) -> Any:
        """The planner of this path; waits until it is loaded.

        Raises:
            WorkbenchError: it cannot be loaded, or the path is not allowed here.
        """
        future = self._entry(self._clean(path)).future
        try:
            return future.result()
        except WorkbenchError:
            raise
        except Exception as error:  # boundary: logged by the loading thread
            raise CheckpointError(LOAD_FAILED) from error

    def _clean(self, path: str | None) -> str:
        path = (path or "").strip() or self.default
        if self._only is not None and path not in self._only:
            raise InputError("this server runs its own planner only: start the app on your machine to choose another")
        return path

    def _is_there(self, path: str) -> bool:
        """Only the default may be missing without being an error: it is there once it was trained."""
        return path != self.default or path.startswith(("openai:", "replay:")) or Path(path).exists()

    def _entry(self, path: str) -> _Entry:
        with self._lock:
            entry = self._entries.pop(path, None)
            has_failed = entry is not None and entry.future.done() and entry.future.exception() is not None
            if entry is None or has_failed:
                entry = _Entry(Future(), time.monotonic())
                self._pool.submit(self._fill, path, entry)
            self._entries[path] = entry  # newest last
            for old in list(self._entries)[:-MAX_PLANNERS]:
                del self._entries[old]
            return entry

    def _fill(self, path: str, entry: _Entry) -> None:
        entry.started = time.monotonic()
        try:
            planner = self._load(path)
        except BaseException as error:  # boundary: whatever loading raises is handed to those who wait for it
            if not isinstance(error, WorkbenchError):
                log.exception("planner %s could not be loaded", path)
            entry.future.set_exception(error)
        else:
            entry.seconds = time.monotonic() - entry.started
            entry.future.set_result(planner)
