"""Evaluations for the tests of the Compare tab, made by the evaluation itself on the embedded world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from training.benchmarks.baselines import OracleBaseline
from training.benchmarks.offline import State
from training.benchmarks.offline_run import OfflineSettings, evaluate_offline
from training.forecast import Forecast

BENCHMARK = "grounded on simulator/test, 8 episodes, seed 0 with elements"
ATTACK = '<img src=x onerror="alert(1)">'


class PartlyRight(OracleBaseline):
    """The oracle, but unreadable at the states that a test names."""

    def __init__(self, is_wrong: Callable[[State], bool]) -> None:
        super().__init__()
        self.is_wrong = is_wrong

    def forecast_states(self, states):
        return [
            Forecast(steps=(), reason=f"no plan {ATTACK}", kind="structural", raw=f"hm {ATTACK}")
            if self.is_wrong(state) else replace(forecast, raw="the whole reply")
            for state, forecast in zip(states, super().forecast_states(states), strict=True)
        ]  # fmt: skip


def make_evaluation(root: Path, name: str, is_wrong: Callable[[State], bool], **changes) -> Path:
    """An evaluation of eight episodes of the embedded world below a root folder; returns its folder."""
    given = {
        "protocol": "grounded", "data": "simulator", "planner": name, "out": root / name, "num_episodes": 8,
        "horizon": 3,
    }  # fmt: skip
    evaluate_offline(OfflineSettings(**{**given, **changes}), load=lambda _: PartlyRight(is_wrong))
    return root / name


def make_two(root: Path) -> tuple[str, str]:
    """Two evaluations, "weak" and "strong", each right at some states where the other is not; their ids.

    Weak is wrong at every state but the first and the fourth, strong at the fourth alone.
    """
    make_evaluation(root, "weak", lambda state: state.references[0].index not in (0, 3))
    make_evaluation(root, "strong", lambda state: state.references[0].index == 3)
    return "weak/grounded.elements", "strong/grounded.elements"
