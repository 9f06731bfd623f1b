"""Alerts: what in a run's metrics or heartbeat a person should be told. Pure functions over metric columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One alert; `kind` is a key of `KINDS`, `level` "warning" or "error"."""

    kind: str
    level: str
    step: int
    reason: str


KINDS = {
    "nan": "a loss or gradient norm is not a finite number",
    "reward_collapse": "the reward fell far below its best",
    "kl": "the distance to the start checkpoint blew up",
    "stalled": "the heartbeat or the steps stand still",
    "zero_variance": "all groups have equal rewards: nothing is learnt",
    "sampler_mismatch": "sampler and trainer disagree on log-probabilities",
}


def alerts(run: Path) -> list[Alert]:
    """The alerts that hold now, worst first; empty when all is well or nothing was written yet."""
    raise NotImplementedError
