"""Ending a forecast that nobody waits for any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from training.planner import Planner


class ForecastStopped(Exception):
    """The forecast was given up in the middle; raised inside the planner, by the model's next layer."""


@contextmanager
def stoppable(planner: Planner, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Inside, a planner that computes in this process gives up soon after `should_stop` turns true.

    Every layer of its model looks before it computes, so the wait is one layer's time, not one reply's. A planner
    without a model of its own (a server, a recording) is not changed: its reply comes late and is thrown away.

    Args:
        planner: who forecasts; `model`, where it has one, is a torch module.
        should_stop: asked very often, so it must be quick.

    Raises:
        ForecastStopped: from the planner's forecast, once `should_stop` is true.
    """
    model = getattr(planner, "model", None)
    if model is None:
        yield
        return

    def look(*_: Any) -> None:
        if should_stop():
            raise ForecastStopped

    handles = [layer.register_forward_pre_hook(look) for layer in [model, *_layers(model)]]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layers(model: Any) -> list[Any]:
    from torch.nn import ModuleList

    return [layer for stack in model.modules() if isinstance(stack, ModuleList) for layer in stack]
