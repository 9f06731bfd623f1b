"""The GPU that a ZeroGPU Space lends for one forecast at a time; on any other machine nothing here takes effect.

On such hardware Hugging Face sets SPACES_ZERO_GPU and installs the package `spaces`. A function given to `spaces.GPU`
runs in a process that is forked from this one and has the GPU; arguments and results are pickled. So weights are never
sent: this process holds them on the CPU, where CUDA must not be touched, and the forked one moves its own copy.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from training.config import ForecastConfig
from training.forecast import Forecast
from training.planner import Planner, PlanRequest, TransformersPlanner, load_planner

log = logging.getLogger(__name__)

MAX_SECONDS = 30
"""What one forecast asks for; a visitor whose quota has less left gets no GPU, and shorter calls wait less."""

_planners: WeakValueDictionary[str, TransformersPlanner] = WeakValueDictionary()
"""Loaded planners by name, for the forked process to find; the app's shelf decides how long they live."""


def on_gpu(function: Callable[..., Any], env: Mapping[str, str] = os.environ) -> Callable[..., Any]:
    """The function as `spaces.GPU` wraps it on ZeroGPU hardware, elsewhere the function itself."""
    if env.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):
        return function
    try:
        import spaces
    except ImportError:
        log.warning("SPACES_ZERO_GPU is set, but the package spaces is missing: planners stay on the CPU")
        return function
    return spaces.GPU(function, duration=MAX_SECONDS)


def _asked_as(planner: TransformersPlanner, config: ForecastConfig) -> TransformersPlanner:
    """The planner asked with another horizon or history; the weights are the same."""
    planner = copy.copy(planner)
    planner.config = config
    return planner


def _forecast_with_gpu(name: str, config: ForecastConfig, requests: Sequence[PlanRequest]) -> list[Forecast]:
    """In the forked process: what the planner of this name forecasts, with its weights on the GPU."""
    import torch

    torch.set_num_threads(1)  # the threads that OpenMP began in the parent are not there after the fork
    planner = _asked_as(_planners[name], config)
    planner.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return planner.forecast(requests)


_forecast_on_gpu = on_gpu(_forecast_with_gpu)  # at import: a Space without such a function at its start is refused


class LentGpuPlanner:
    """A checkpoint that forecasts on the lent GPU, and on the CPU whenever it gets none.

    Several forecasts may wait for a GPU at once; on the CPU they are made one after the other.
    """

    def __init__(self, path: str) -> None:
        """Loads the checkpoint; raises what `TransformersPlanner` does."""
        self._planner = TransformersPlanner(path, device="cpu")
        self._one_at_a_time = Lock()
        self.name, self.config = self._planner.name, self._planner.config
        _planners[self.name] = self._planner

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        """One forecast per request, in order."""
        try:
            return _forecast_on_gpu(self.name, self.config, tuple(requests))
        except Exception as error:  # boundary: no GPU is free, the quota is used up, its process or its server failed
            log.warning("no forecast on the lent GPU (%s: %s); the CPU makes it", type(error).__name__, error)
        with self._one_at_a_time:
            return _asked_as(self._planner, self.config).forecast(requests)


def load_on_lent_gpu(spec: str) -> Planner:
    """`training.planner.load_planner`, where a GPU is lent with checkpoints that use it; raises what that does."""
    spec = spec.strip()
    if _forecast_on_gpu is _forecast_with_gpu or not spec or spec.startswith(("openai:", "replay:")):
        return load_planner(spec)
    return LentGpuPlanner(spec)
