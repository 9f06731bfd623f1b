"""Curves of runs: which charts there are, and a run's metrics as columns that a browser can draw.

A long run has more points than a chart has pixels. `series` then gives one point per bucket of steps: the mean, and the
least and greatest value as a band, so that a spike never disappears. A zoomed chart asks again for its own range.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_POINTS = 500
"""Points of one series that are sent at most; a chart is about as many pixels wide."""
_NO_CURVE = frozenset({"step", "epoch", "time"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart: a key, a title, the section it stands in, and a pattern of the metrics it shows.

    `unit` names the vertical axis. `has_log` tells that the chart starts with a logarithmic axis.
    """

    key: str
    title: str
    section: str
    pattern: str
    unit: str = ""
    has_log: bool = False

    def takes(self, metric: str) -> bool:
        """Whether a metric belongs to this chart."""
        return re.fullmatch(self.pattern, metric) is not None


CHARTS: tuple[Chart, ...] = (
    Chart(key="reward", title="Reward", section="Reward", pattern="reward"),
    Chart(key="sim", title="Alignment by lookahead", section="Reward", pattern=r"sim_\d+"),
    Chart(key="grounded", title="Grounded first step", section="Reward", pattern="grounded_share|type_match"),
    Chart(key="rep", title="Repetition and overlong steps", section="Reward", pattern="rep|overlong"),
    Chart(key="parse", title="Unreadable replies", section="Reward", pattern="parse_.*", unit="share"),
    Chart(key="reward_std", title="Reward spread in a group", section="Reward", pattern="reward_std"),
    Chart(key="flat", title="Groups without a signal", section="Reward", pattern="zero_variance_share", unit="share"),
    Chart(key="dropped", title="Groups dropped", section="Reward", pattern="groups_dropped", unit="groups"),
    Chart(key="errors", title="Tool agent errors", section="Reward", pattern="num_errors"),
    Chart(key="eval", title="Evaluation", section="Reward", pattern="(eval_|val/).*"),
    Chart(key="kl", title="KL to the start checkpoint", section="Policy", pattern="kl"),
    Chart(key="entropy", title="Entropy", section="Policy", pattern="entropy"),
    Chart(key="clip", title="Clipped ratios", section="Policy", pattern="clip_.*", unit="share"),
    Chart(key="sampler", title="Sampler and trainer log-probability difference", section="Policy",
          pattern="sampling_.*"),
    Chart(key="length", title="Reply length", section="Policy", pattern="completion_tokens.*", unit="tokens"),
    Chart(key="truncated", title="Truncated replies", section="Policy", pattern="truncated_share", unit="share"),
    Chart(key="forecast", title="Forecast steps", section="Policy", pattern="forecast_steps"),
    Chart(key="loss", title="Loss", section="Optimiser", pattern="loss"),
    Chart(key="accuracy", title="Token accuracy", section="Optimiser", pattern="mean_token_accuracy"),
    Chart(key="reading", title="Reading lessons", section="Optimiser", pattern="reading/.*", unit="share right"),
    Chart(key="grad_norm", title="Gradient norm", section="Optimiser", pattern="grad_norm"),
    Chart(key="rate", title="Learning rate", section="Optimiser", pattern="learning_rate"),
    Chart(key="time", title="Step time", section="Speed", unit="seconds",
          pattern="(step|generate|encode|reward|log_prob|update)_seconds"),
    Chart(key="shared", title="Tokens computed, and saved by sharing prompts", section="Speed",
          pattern="tokens_(computed|saved)", unit="tokens"),
    Chart(key="speed", title="Tokens per second", section="Speed", pattern="tokens_per_second", unit="tokens/s"),
)
"""All known charts, in the order they are shown; a metric that none of them takes gets a chart of its own."""
OTHER = "Other"


def chart_plan(metrics: Iterable[str]) -> list[dict[str, Any]]:
    """The charts that these metrics fill, in order, as plain values: key, title, section, unit, log, metrics.

    >>> [chart["key"] for chart in chart_plan(["kl", "sim_2", "sim_10", "sim_1", "odd"])]
    ['sim', 'kl', 'odd']
    """
    left = sorted(set(metrics), key=_natural)
    plan = []
    for chart in CHARTS:
        taken = [metric for metric in left if chart.takes(metric)]
        left = [metric for metric in left if metric not in taken]
        if taken:
            plan.append(_chart_json(chart, taken))
    others = (Chart(key=metric, title=metric, section=OTHER, pattern="") for metric in left)
    return plan + [_chart_json(chart, [chart.key]) for chart in others]


def _chart_json(chart: Chart, metrics: list[str]) -> dict[str, Any]:
    return {
        "key": chart.key, "title": chart.title, "section": chart.section, "unit": chart.unit, "log": chart.has_log,
        "metrics": metrics,
    }


def _natural(text: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


class RunColumns:
    """A run's metrics as columns, which grow as its file does."""

    def __init__(self) -> None:
        self._columns: dict[str, list[np.ndarray]] = {}
        self._num_rows = 0

    def __len__(self) -> int:
        return self._num_rows

    def extend(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Appends columns of equal length, as `workbench.runs.reader.read_metrics` gives them; None is missing."""
        num_new = len(columns.get("step", ()))
        if num_new == 0:
            return
        for key in columns.keys() | self._columns.keys():
            if key not in self._columns:
                self._columns[key] = [np.full(self._num_rows, np.nan)] if self._num_rows else []
            new = _as_numbers(columns[key]) if key in columns else np.full(num_new, np.nan)
            self._columns[key].append(new)
        self._num_rows += num_new

    def column(self, key: str) -> np.ndarray:
        """All values of a key, one per row, NaN where there is none."""
        parts = self._columns.get(key, [])
        if len(parts) > 1:
            parts[:] = [np.concatenate(parts)]
        return parts[0] if parts else np.full(self._num_rows, np.nan)

    def metrics(self) -> list[str]:
        """The keys that have at least one number and are drawn."""
        return [key for key in self._columns if key not in _NO_CURVE and np.isfinite(self.column(key)).any()]

    def series(
        self,
        metric: str,
        *,
        axis: str = "step",
        after: int = 0,
        between: tuple[float, float] | None = None,
        max_points: int = MAX_POINTS,
    ) -> dict[str, list[float]]:
        """One metric to draw: "x" and "y", and "low" and "high" where a point stands for several steps.

        Args:
            metric: the key.
            axis: "step", or "minutes" since the run's first row.
            after: rows to leave out at the start, for those who have them already.
            between: only points with x in this range (inclusive), and one neighbour on each side.
            max_points: more points than this are put together in buckets of equal size.
        """
        x, y = self._axis(axis)[after:], self.column(metric)[after:]
        has_value = np.isfinite(y) & np.isfinite(x)
        x, y = x[has_value], y[has_value]
        if between is not None:
            inside = np.flatnonzero((x >= between[0]) & (x <= between[1]))
            first, last = (inside[0], inside[-1]) if len(inside) else (0, -1)
            x, y = x[max(0, first - 1) : last + 2], y[max(0, first - 1) : last + 2]
        return bucketed(x, y, max_points)

    def _axis(self, axis: str) -> np.ndarray:
        if axis == "minutes":
            time = self.column("time")
            known = time[np.isfinite(time)]
            return (time - known[0]) / 60 if len(known) else time
        return self.column("step")


def _as_numbers(values: Sequence[Any]) -> np.ndarray:
    """float64, NaN for what is no finite number."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        known = (v if isinstance(v, (int, float)) and abs(v) < 1e300 else np.nan for v in values)
        numbers = np.fromiter(known, np.float64, len(values))
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def bucketed(x: np.ndarray, y: np.ndarray, max_points: int) -> dict[str, list[float]]:
    """At most `max_points` points of a series without NaN; "low" and "high" only where there were more.

    A bucket's x is that of its last point, its y the mean.

    >>> bucketed(np.arange(4.0), np.array([1.0, 3.0, 2.0, 8.0]), 2)
    {'x': [1.0, 3.0], 'y': [2.0, 5.0], 'low': [1.0, 2.0], 'high': [3.0, 8.0]}
    """
    if len(x) <= max_points:
        return {"x": _short(x), "y": _short(y)}
    starts = np.linspace(0, len(x), max_points, endpoint=False).astype(np.intp)
    ends = np.append(starts[1:], len(x))
    mean = np.add.reduceat(y, starts) / (ends - starts)
    return {
        "x": _short(x[ends - 1]),
        "y": _short(mean),
        "low": _short(np.minimum.reduceat(y, starts)),
        "high": _short(np.maximum.reduceat(y, starts)),
    }


def _short(values: np.ndarray) -> list[float]:
    """Seven significant digits, which is what a chart can show and half of what JSON would carry."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        scale = 10.0 ** (6 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * scale) / scale
    return np.where(np.isfinite(rounded), rounded, values).tolist()
