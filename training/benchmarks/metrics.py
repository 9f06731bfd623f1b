"""Scores of single steps -> the figures of a benchmark: rates with intervals, by action type, group and lookahead.

Averages: over steps (micro) everywhere; the mean over episodes (macro) and over categories beside it, where protocols
use them. Intervals are 95 % and draw whole episodes, since steps of one episode are not independent.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.benchmarks.protocols.base import Outcome, Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.statistics import clustered_rate_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredStep:
    """One step of a protocol's set with the verdict on its prediction."""

    reference: ReferenceStep
    prediction: Prediction
    score: StepScore

    @property
    def is_right(self) -> bool:
        """True for full marks."""
        return self.score.is_right


def score_all(
    protocol: Protocol, references: Iterable[ReferenceStep], predictions: Mapping[str, Prediction]
) -> list[ScoredStep]:
    """The verdicts on all steps of the protocol's set, in the order of the references.

    A step without a prediction, and one whose planner or tool agent failed, is wrong in every part.

    Args:
        protocol: whose rules and set.
        references: recorded steps; those outside the protocol's set are left out.
        predictions: by step id; ids that no reference has are not looked at.
    """
    missing = Prediction(action=None, outcome=Outcome.MISSING)
    scored = []
    for reference in references:
        if protocol.includes(reference):
            prediction = predictions.get(reference.id, missing)
            scored.append(
                ScoredStep(
                    reference=reference, prediction=prediction, score=protocol.score(reference, prediction)
                )
            )
    return scored


def summarise(protocol: Protocol, scored: Sequence[ScoredStep]) -> dict[str, Any]:
    """The figures of a benchmark as one JSON object.

    "num_steps" counts the protocol's set as far as it was given, "set_sizes" what is published, "made_for" the data
    sets that the rules were written for (none named: any). Every rate stands with its denominator. A figure that no
    step belongs to is None. "..._by_episode_mean" are macro averages. "by_category_mean" and "by_split_mean" are step
    success averaged over categories and over splits, for data that have them (of splits more than one): the latter is
    the one number of Mind2Web's three splits.

    Args:
        protocol: whose rules made the verdicts.
        scored: the verdicts, in any order.
    """
    successes = [(s, s.score.success) for s in scored if s.score.success is not None]
    values, episodes = [value for _, value in successes], [s.reference.episode for s, _ in successes]
    grounded = [(s, s.score.grounding) for s in scored if s.score.grounding is not None]
    summary: dict[str, Any] = {
        "protocol": protocol.name,
        "version": protocol.version,
        "source": protocol.source,
        "datasets": sorted({s.reference.dataset for s in scored}),
        "num_steps": len(scored),
        "num_episodes": len({s.reference.episode for s in scored}),
        "made_for": list(protocol.datasets),
        "set_sizes": dict(protocol.set_sizes),
        "step_success": rate(values),
        "ci95": [round(edge, 4) for edge in clustered_rate_interval(values, episodes)],
        "type": rate([float(s.score.is_type_right) for s in scored]),
        "grounding": rate([value for _, value in grounded]),
        "step_success_by_episode_mean": _mean_over(successes, _episode),
        "grounding_by_episode_mean": _mean_over(grounded, _episode),
        "by_category_mean": _mean_over(successes, lambda s: s.reference.slices.get("category")),
        "by_split_mean": _mean_over(successes, _split) if len({_split(s) for s, _ in successes}) > 1 else None,
        "episode_success": rate(_episode_successes(protocol, scored)),
        "parse_failure_rate": _share(scored, Outcome.UNREADABLE),
        "not_grounded_rate": _share(scored, Outcome.NOT_GROUNDED),
        "num_errors": sum(s.prediction.outcome is Outcome.FAILED for s in scored),
        "first_error": next((s.prediction.reason for s in scored if s.prediction.outcome is Outcome.FAILED), None),
        "num_missing": sum(s.prediction.outcome is Outcome.MISSING for s in scored),
        "by_action_type": _by_action_type(scored),
    }
    parts: dict[str, list[tuple[ScoredStep, float]]] = defaultdict(list)
    for step in scored:
        for name, value in step.score.parts.items():
            parts[name].append((step, value))
    if parts:
        summary["parts"] = {name: rate([value for _, value in found]) for name, found in sorted(parts.items())}
        means = {name: _mean_over(found, _episode) for name, found in sorted(parts.items())}
        summary["parts_by_episode_mean"] = means
        classes = [_mean([v for _, v in found]) for name, found in parts.items() if name.startswith("operation_f1_")]
        if classes:
            summary["by_operation_f1"] = _mean(classes)
    return summary


def rate(values: Sequence[float]) -> dict[str, Any] | None:
    """{"rate", "num"} of values in 0..1; None when there are none.

    >>> rate([1.0, 0.0, 1.0, 1.0])
    {'rate': 0.75, 'num': 4}
    """
    return {"rate": round(math.fsum(values) / len(values), 4), "num": len(values)} if values else None


def _mean(values: Sequence[float]) -> float | None:
    return round(math.fsum(values) / len(values), 4) if values else None


def _episode(step: ScoredStep) -> str:
    return step.reference.episode


def _split(step: ScoredStep) -> str | None:
    return step.reference.slices.get("split")


def _mean_over(
    values: Sequence[tuple[ScoredStep, float]], key: Callable[[ScoredStep], Hashable | None]
) -> float | None:
    """The mean of the groups' means; steps without a group are left out, None without any."""
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for step, value in values:
        if (name := key(step)) is not None:
            groups[name].append(value)
    return _mean([math.fsum(found) / len(found) for found in groups.values()])


def _episode_successes(protocol: Protocol, scored: Sequence[ScoredStep]) -> list[float]:
    """1 or 0 for each episode: all its steps right, those that the protocol leaves out not counted."""
    episodes: dict[str, list[ScoredStep]] = defaultdict(list)
    for step in scored:
        episodes[step.reference.episode].append(step)
    flags = []
    for steps in episodes.values():
        if protocol.skips_incomplete_episodes and any(s.prediction.outcome is Outcome.MISSING for s in steps):
            continue
        flags.append(float(all(s.is_right for s in steps if s.score.success is not None)))
    return flags


def _share(scored: Sequence[ScoredStep], outcome: Outcome) -> float:
    return round(Counter(s.prediction.outcome for s in scored)[outcome] / len(scored), 4) if scored else 0.0


def _by_action_type(scored: Sequence[ScoredStep]) -> dict[str, Any]:
    groups: dict[str, list[ScoredStep]] = defaultdict(list)
    for step in scored:
        groups[step.reference.action.type].append(step)
    return {
        name: {
            "type": rate([float(s.score.is_type_right) for s in steps]),
            "step_success": rate([s.score.success for s in steps if s.score.success is not None]),
        }
        for name, steps in sorted(groups.items())
    }

