"""What all on-policy benchmarks say about their episodes, as one JSON object."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from training.benchmarks.statistics import wilson_interval
from training.episode_record import EpisodeRecord


def episode_scores(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Success with its 95 % interval (Wilson), errors, steps, unreadable replies and endings; of at least one."""
    is_success = [record.success is True for record in records]
    forecasts = [step.forecast for record in records for step in record.steps if step.forecast is not None]
    return {
        "success_rate": rate(is_success),
        "ci95": [round(edge, 4) for edge in wilson_interval(sum(is_success), len(is_success))],
        "num_episodes": len(records),
        "num_errors": sum(record.num_errors for record in records),
        "mean_steps": round(sum(len(record.steps) for record in records) / len(records), 3),
        "parse_failure_rate": rate([forecast.first is None for forecast in forecasts]),
        "stop_reasons": dict(sorted(Counter(str(record.stop_reason) for record in records).items())),
    }


def rate(flags: Iterable[bool]) -> float:
    """The share that is true, 0..1; 0 of none.

    >>> rate([True, False])
    0.5
    """
    flags = list(flags)
    return round(sum(flags) / len(flags), 4) if flags else 0.0


def success_by(keys: Sequence[str], is_success: Sequence[bool]) -> dict[str, dict[str, Any]]:
    """{key: {"success_rate", "num_episodes"}}, by key; one key and one flag for each episode."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for key, flag in zip(keys, is_success, strict=True):
        groups[key].append(flag)
    return {key: {"success_rate": rate(groups[key]), "num_episodes": len(groups[key])} for key in sorted(groups)}
