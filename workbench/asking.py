"""Asking a planner from a running episode: with the episode's own T and K, one at a time, and stopped at a word."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from executors.errors import ExecutorError
from training.forecast import Forecast
from training.interrupt import ForecastStopped, stoppable
from training.planner import Planner, PlanRequest, forecast_each

_LOOK_SECONDS = 0.1

_locks: WeakKeyDictionary[Any, Lock] = WeakKeyDictionary()
_locks_lock = Lock()


def with_own_numbers(planner: Planner, horizon: int | None, history_length: int | None) -> Planner:
    """The planner asked for T steps and told K past ones; None leaves its own number. Weights are shared."""
    own = planner.config
    config = replace(
        own,
        horizon=own.horizon if horizon is None else horizon,
        history_length=own.history_length if history_length is None else history_length,
    )
    if config == own:
        return planner
    planner = copy.copy(planner)
    planner.config = config
    return planner


def ask(planner: Planner, request: PlanRequest, should_stop: Callable[[], bool]) -> Forecast | ExecutorError | None:
    """The planner's forecast, its failure, or None when it was stopped.

    A model in this process answers one question at a time; whoever waits for it can be stopped too.
    """
    model = getattr(planner, "model", None)
    lock = _lock_of(model) if model is not None else Lock()
    while not lock.acquire(timeout=_LOOK_SECONDS):
        if should_stop():
            return None
    try:
        with stoppable(planner, should_stop):
            return forecast_each(planner, [request])[0]
    except ForecastStopped:
        return None
    finally:
        lock.release()


def _lock_of(model: Any) -> Lock:
    with _locks_lock:
        return _locks.setdefault(model, Lock())


def shown_messages(planner: Planner, request: PlanRequest, screen: str) -> tuple[Mapping[str, Any], ...]:
    """The chat messages that ask this question, with the screenshot named by its hash instead of sent."""
    return tuple(
        {**message, "content": [_shown_part(part, screen) for part in message["content"]]}
        for message in request.messages(planner.config)
    )


def _shown_part(part: Mapping[str, Any], screen: str) -> dict[str, Any]:
    return {"type": "image", "sha256": screen} if part["type"] == "image" else dict(part)
