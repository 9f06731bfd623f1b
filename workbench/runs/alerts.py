"""Alerts: what in a run's metrics or heartbeat a person should be told."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.runs.observe import STALLED_SECONDS
from workbench.runs.reader import Cursor, read_metrics

KINDS = {
    "nan": "a loss or gradient norm was no finite number",
    "stalled": "the heartbeat or the steps stand still",
    "kl": "the distance to the start checkpoint blew up",
    "reward_collapse": "the reward fell far below its best",
    "sampler_mismatch": "sampler and trainer disagree on log-probabilities",
    "zero_variance": "all groups have equal rewards: nothing is learnt",
}
"""What can be alerted, worst first."""
_ERRORS = ("nan", "stalled", "kl")
WINDOW_STEPS = 20
"""Steps over which a metric is averaged before it is judged; fewer steps are not judged."""
GREATEST_KL = 1.0
"""Mean KL per token, in nats, above which a policy has left its start checkpoint; healthy runs stay below 0.1."""
COLLAPSE_SHARE = 0.5
"""Share of its best below which a reward (mean of a window) has collapsed."""
LEAST_REWARD_DROP = 0.05
"""Smaller drops are noise."""
GREATEST_MISMATCH = 0.1
"""Mean difference of log-probabilities per token; sampler and trainer that agree stay below 0.02."""
STANDSTILL_STEPS = 20.0
"""A step that takes this many times the median step stands still."""
LEAST_STANDSTILL_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One alert; `kind` is a key of `KINDS`, `level` "warning" or "error", `step` where it was seen."""

    kind: str
    level: str
    step: int
    reason: str


@dataclass(slots=True)
class Series:
    """The metrics that alerts look at, one column each, and the time of each step; absent values are None."""

    steps: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    columns: dict[str, list[float | None]] = field(default_factory=lambda: {name: [] for name in _NAMES})


_NAMES = ("loss", "grad_norm", "reward", "kl", "zero_variance_share", "sampling_logp_difference")
_OF_EVERY_STEP = "learning_rate"
"""Lines without it are of evaluations on demand."""


class AlertWatch:
    """Follows one run's metrics; reads only what is new."""

    def __init__(self, run: Path) -> None:
        """Reads nothing yet."""
        self._run = run
        self._cursor = Cursor()
        self.series = Series()

    def update(self) -> Series:
        """The series with what was written since the last call."""
        points = read_metrics(self._run, self._cursor, (*_NAMES, _OF_EVERY_STEP))
        self._cursor = points.cursor
        if points.is_reset:
            self.series = Series()
        rows = [i for i, rate in enumerate(points.columns.get(_OF_EVERY_STEP, ())) if rate is not None]
        self.series.steps += [points.columns["step"][i] for i in rows]
        self.series.times += [points.columns["time"][i] for i in rows]
        for name, column in self.series.columns.items():
            new = points.columns.get(name)
            column += [None if new is None else _as_number(new[i]) for i in rows]
        return self.series


def _as_number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def find_alerts(series: Series, heartbeat_age_seconds: float | None, now: float | None = None) -> list[Alert]:
    """The alerts that hold, worst first; none before the first step apart from a stalled heartbeat.

    Args:
        series: the run's metrics so far.
        heartbeat_age_seconds: of the running trainer; None when it does not run.
        now: seconds since the epoch; None for the clock's.
    """
    found = {
        "nan": _not_finite(series),
        "stalled": _stalled(series, heartbeat_age_seconds, time.time() if now is None else now),
        "kl": _above(series, "kl", GREATEST_KL, "the mean KL to the start checkpoint is {:.3g} per token"),
        "reward_collapse": _collapse(series),
        "sampler_mismatch": _above(
            series, "sampling_logp_difference", GREATEST_MISMATCH,
            "log-probabilities of sampler and trainer differ by {:.3g} per token on average",
        ),
        "zero_variance": _zero_variance(series),
    }  # fmt: skip
    step = series.steps[-1] if series.steps else 0
    return [
        Alert(kind=kind, level="error" if kind in _ERRORS else "warning", step=step, reason=reason)
        for kind, reason in found.items()
        if reason
    ]


def _window(series: Series, name: str) -> list[float]:
    """The values of the last steps; empty when there are too few."""
    values = [value for value in series.columns[name][-WINDOW_STEPS:] if value is not None]
    return values if len(values) >= WINDOW_STEPS // 2 else []


def _not_finite(series: Series) -> str:
    """A number that was none is written as null, which reads as None."""
    for name in ("loss", "grad_norm"):
        column = series.columns[name]
        bad = [step for step, value in zip(series.steps, column, strict=True) if value is None][-1:]
        is_logged = name == "loss" or any(value is not None for value in column)
        if bad and is_logged and bad[0] in series.steps[-WINDOW_STEPS:]:
            return f"{name} was no finite number at step {bad[0]}"
    return ""


def _stalled(series: Series, age: float | None, now: float) -> str:
    if age is None:
        return ""
    if age > STALLED_SECONDS:
        return f"no heartbeat for {age:.0f} seconds: the process hangs or the machine is overloaded"
    times = series.times[-WINDOW_STEPS:]
    if len(times) < 3:
        return ""
    pace = statistics.median(later - earlier for earlier, later in zip(times, times[1:], strict=False))
    silent = now - times[-1]
    if silent > max(LEAST_STANDSTILL_SECONDS, STANDSTILL_STEPS * pace):
        return f"no step for {silent:.0f} seconds, a step took {pace:.0f} seconds before"
    return ""


def _above(series: Series, name: str, greatest: float, words: str) -> str:
    values = _window(series, name)
    mean = sum(values) / len(values) if values else 0.0
    return f"{words.format(mean)}, above {greatest:g}" if mean > greatest else ""


def _collapse(series: Series) -> str:
    values = [value for value in series.columns["reward"] if value is not None]
    if len(values) < 2 * WINDOW_STEPS:
        return ""
    means = _moving_means(values)
    best, last = max(means), means[-1]
    if last < COLLAPSE_SHARE * best and best - last > LEAST_REWARD_DROP:
        return f"the mean reward of {WINDOW_STEPS} steps fell from {best:.3g} to {last:.3g}"
    return ""


def _moving_means(values: Sequence[float]) -> list[float]:
    total = sum(values[:WINDOW_STEPS])
    means = [total / WINDOW_STEPS]
    for gone, new in zip(values, values[WINDOW_STEPS:], strict=False):
        total += new - gone
        means.append(total / WINDOW_STEPS)
    return means


def _zero_variance(series: Series) -> str:
    values = _window(series, "zero_variance_share")
    if values and min(values) >= 1.0:
        return f"in the last {len(values)} steps every group had equal rewards, so nothing was learnt"
    return ""
