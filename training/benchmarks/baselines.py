"""Planners that every evaluation can stand beside: the recorded steps themselves, and chance.

The reactive baseline is no planner of its own: it is any planner asked for one step (`--reactive`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from executors.actions import DIRECTIONS, Action, ArgKind, ArgSpec, actions_in
from executors.geometry import PointNorm
from training.benchmarks.offline import State
from training.config import ForecastConfig
from training.forecast import Forecast, ForecastStep


class OracleBaseline:
    """Forecasts the recorded steps, points included: full marks, or the protocol's ceiling."""

    def __init__(self) -> None:
        """Nothing is needed."""
        self.name, self.config = "oracle", ForecastConfig()

    def forecast_states(self, states: Sequence[State]) -> list[Forecast]:
        """One forecast per state: its recorded continuation."""
        return [
            Forecast(
                steps=tuple(
                    ForecastStep(action=step.action, instruction=step.instruction or step.action.type)
                    for step in state.steps
                )
            )
            for state in states
        ]


class RandomBaseline:
    """Forecasts actions of the device at random, with random points, directions and keys, and no text.

    The same seed and state give the same forecast, in whatever order states come.
    """

    def __init__(self, seed: int = 0) -> None:
        """`seed` of the draws."""
        self.name, self.config = "random", ForecastConfig()
        self._seed = seed

    def forecast_states(self, states: Sequence[State]) -> list[Forecast]:
        """One forecast per state, as long as its request asks."""
        return [self._forecast(state) for state in states]

    def _forecast(self, state: State) -> Forecast:
        rng = random.Random(f"{self._seed}/{state.id}")
        specs = actions_in(*state.request.spaces)
        steps = []
        for _ in range(state.request.horizon or self.config.horizon):
            spec = rng.choice(specs)
            action = Action(type=spec.name, **{arg.name: _draw(arg, rng) for arg in spec.args if arg.required})
            steps.append(ForecastStep(action=action, instruction=f"{spec.name} at random"))
        return Forecast(steps=tuple(steps))


def _draw(arg: ArgSpec, rng: random.Random) -> object:
    match arg.kind:
        case ArgKind.POINT:
            return PointNorm(rng.random(), rng.random())
        case ArgKind.DIRECTION:
            return rng.choice(DIRECTIONS)
        case ArgKind.KEYS:
            return rng.choice(("enter", "esc", "tab"))
        case ArgKind.NAME:
            return "Settings"
        case ArgKind.MAPPING:
            return {}
    return ""


BASELINES: dict[str, Callable[[], OracleBaseline | RandomBaseline]] = {
    "oracle": OracleBaseline,
    "random": RandomBaseline,
}
