"""Which of several evaluations is better, said no louder than the numbers allow.

1. Only evaluations of one benchmark are compared: the same protocol and version, tool agent, sample ids, recorded steps
   and prompts. What differs is refused by name.
2. Samples are paired by id. The gap is the mean difference; its 95 % interval draws whole episodes, since steps of one
   episode are not independent. McNemar's exact test looks at the samples that only one got fully right.
3. All p-values of one report are corrected together by Holm's method, over pairs and benchmarks.
4. A winner is named only when the interval leaves zero out, the corrected p-value is below 0.05 and there are at least
   six episodes; else the report says "no difference shown", with the smallest gap that a comparison of this size would
   show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from executors.errors import InputError
from training.benchmarks.evaluation import Evaluation, Sample, lookahead_rates, plan_stability_of
from training.benchmarks.metrics import rate
from training.benchmarks.references import SLICES, group_order, is_blind
from training.benchmarks.statistics import (
    cluster_bootstrap_interval,
    clustered_rate_interval,
    holm,
    mcnemar_exact,
    smallest_detectable_gap,
)

LEVEL = 0.05
"""Two-sided level of the tests."""
NO_DIFFERENCE = "no difference shown"
LEAST_EPISODES = 6
"""Fewer whole episodes than this show no winner: their bootstrap is too narrow to be trusted (ours)."""


class NotComparableError(InputError):
    """Two evaluations that must not be compared; the message says what differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One evaluation's figure: mean step success with its 95 % interval over whole episodes.

    `stability` is `plan_stability_of` its samples.
    """

    name: str
    rate: float
    low: float
    high: float
    num_samples: int
    num_episodes: int
    num_errors: int
    parse_failure_rate: float
    stability: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """`b` against `a` on one benchmark: gap = rate of b - rate of a.

    `p_value` is McNemar's exact one, `p_holm` corrected over the report. `better` is the better one's name, or
    `NO_DIFFERENCE`.
    """

    benchmark: str
    a: str
    b: str
    gap: float
    low: float
    high: float
    num_only_a: int
    num_only_b: int
    num_episodes: int
    p_value: float
    smallest_gap: float
    p_holm: float = 1.0
    better: str = NO_DIFFERENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkComparison:
    """One benchmark: scores in the given order, pairs, slices and accuracy by lookahead.

    `slices` is {slice: {group: {name: {"rate", "num"}}}}, `lookahead` {name: {t: {"rate", "num"}}}, and
    `intervals` {name: {t: (low, high)}} are its 95 % intervals. `is_live` where each sample is a whole task that was
    acted out, not a recorded step.
    """

    benchmark: str
    protocol: str
    version: int
    datasets: tuple[str, ...]
    scores: tuple[Score, ...]
    pairs: tuple[PairResult, ...]
    slices: Mapping[str, Mapping[str, Mapping[str, Any]]]
    lookahead: Mapping[str, Mapping[str, Any]]
    intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    is_live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A whole report; `notes` say what a reader must know (that prompts were allowed to differ)."""

    benchmarks: tuple[BenchmarkComparison, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A sample that only one of two evaluations got fully right; `right` is that one's name."""

    id: str
    right: str
    a: Sample
    b: Sample


def check_comparable(a: Evaluation, b: Evaluation, *, allow_different_prompts: bool = False) -> None:
    """Raises when two evaluations must not be compared.

    Args:
        a: one evaluation.
        b: another one.
        allow_different_prompts: let prompts differ, to compare horizons, history lengths or prompt styles.

    Raises:
        NotComparableError: protocol, version, tool agent, ids, recorded steps or prompts differ; all that do are named.
    """
    problems = [
        f"{what} {getattr(a, field)!r} and {getattr(b, field)!r}"
        for what, field in (("protocols", "protocol"), ("protocol versions", "version"), ("tool agents", "tool_agent"))
        if getattr(a, field) != getattr(b, field)
    ]
    mine, theirs = _by_id(a), _by_id(b)
    for one, other, name in ((mine, theirs, a.name), (theirs, mine, b.name)):
        only = [sample_id for sample_id in one if sample_id not in other]
        if only:
            problems.append(f"{len(only)} samples only in {name} (such as {only[0]!r})")
    shared = [sample_id for sample_id in mine if sample_id in theirs]
    other_steps = [i for i in shared if mine[i].steps[0].reference != theirs[i].steps[0].reference]
    if other_steps:
        problems.append(f"the recorded steps of {len(other_steps)} samples (such as {other_steps[0]!r})")
    other_prompts = [i for i in shared if mine[i].prompt != theirs[i].prompt]
    if other_prompts and not allow_different_prompts:
        settings = _different_settings(a, b)
        problems.append(
            f"the prompts of {len(other_prompts)} samples (such as {other_prompts[0]!r}){settings}; "
            "allow different prompts if that is what you compare"
        )
    if problems:
        raise NotComparableError(f"{a.name} and {b.name} cannot be compared, they differ in: {'; '.join(problems)}")


def _different_settings(a: Evaluation, b: Evaluation) -> str:
    mine, theirs = (e.settings.get("config") or {} for e in (a, b))
    names = [f"{n} {mine.get(n)!r} and {theirs.get(n)!r}" for n in mine if mine.get(n) != theirs.get(n)]
    return f": {', '.join(names)}" if names else ""


def _by_id(evaluation: Evaluation) -> dict[str, Sample]:
    return {sample.id: sample for sample in evaluation.samples}


def compare(evaluations: Sequence[Evaluation], *, allow_different_prompts: bool = False) -> Comparison:
    """The report on several evaluations: grouped by benchmark, every pair of each tested; pure.

    Args:
        evaluations: at least two of one benchmark; names tell the checkpoints apart.
        allow_different_prompts: see `check_comparable`; the report then says so.

    Raises:
        InputError: a benchmark has only one evaluation, or two of one name.
        NotComparableError: two evaluations of one benchmark must not be compared.
    """
    groups: dict[str, list[Evaluation]] = defaultdict(list)
    for evaluation in evaluations:
        groups[evaluation.benchmark].append(evaluation)
    if not groups:
        raise InputError("there is nothing to compare: give two or more evaluations")
    for benchmark, group in groups.items():
        names = [evaluation.name for evaluation in group]
        if len(group) < 2:
            others = ", ".join(name for name in groups if name != benchmark) or "none"
            raise NotComparableError(
                f"{benchmark} was evaluated for {names[0]} alone (other benchmarks here: {others}): "
                "evaluate the others on it, or leave it out"
            )
        if len(set(names)) < len(names):
            raise InputError(f"two evaluations on {benchmark} are called {names[0]!r}: give them different names")
    results = [
        _compare_benchmark(name, group, allow_different_prompts=allow_different_prompts)
        for name, group in groups.items()
    ]
    judged = iter(judge([pair for result in results for pair in result.pairs]))
    benchmarks = tuple(replace(result, pairs=tuple(next(judged) for _ in result.pairs)) for result in results)
    notes = ["Prompts were allowed to differ."] if allow_different_prompts else []
    for name, group in groups.items():
        samples = group[0].samples
        if blind := sum(is_blind(sample.slices) for sample in samples):
            notes.append(f"{name}: {blind} of {len(samples)} states have no screenshot, so the planners saw none.")
    return Comparison(benchmarks=benchmarks, notes=tuple(notes))


def _compare_benchmark(
    name: str, group: Sequence[Evaluation], *, allow_different_prompts: bool
) -> BenchmarkComparison:
    for a, b in combinations(group, 2):
        check_comparable(a, b, allow_different_prompts=allow_different_prompts)
    return BenchmarkComparison(
        benchmark=name,
        protocol=group[0].protocol,
        version=group[0].version,
        datasets=tuple(group[0].settings.get("datasets") or ()),
        is_live=bool(group[0].settings.get("is_live")),
        scores=tuple(score_of(evaluation) for evaluation in group),
        pairs=tuple(compare_pair(a, b) for a, b in combinations(group, 2)),
        slices={found: rates for found in SLICES if (rates := _slice(group, found))},
        lookahead={evaluation.name: lookahead_rates(evaluation.samples) for evaluation in group},
        intervals={evaluation.name: lookahead_intervals(evaluation.samples) for evaluation in group},
    )


def score_of(evaluation: Evaluation) -> Score:
    """The figure of one evaluation; 0 with an interval of (0, 1) when no sample counts."""
    counted = [sample for sample in evaluation.samples if sample.success is not None]
    values = [sample.success for sample in counted]
    low, high = clustered_rate_interval(values, [sample.episode for sample in counted])
    outcomes = [str(sample.steps[0].prediction.outcome) for sample in evaluation.samples]
    return Score(
        name=evaluation.name,
        rate=sum(values) / len(values) if values else 0.0,
        low=low,
        high=high,
        num_samples=len(counted),
        num_episodes=len({sample.episode for sample in counted}),
        num_errors=outcomes.count("failed"),
        parse_failure_rate=outcomes.count("unreadable") / len(outcomes) if outcomes else 0.0,
        stability=plan_stability_of(evaluation.samples),
    )


def lookahead_intervals(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """{lookahead: (low, high)}: the 95 % intervals of `lookahead_rates`, over whole episodes."""
    scored: dict[int, tuple[list[float], list[str]]] = defaultdict(lambda: ([], []))
    for sample in samples:
        for t, step in enumerate(sample.steps, start=1):
            if step.score.success is not None:
                scored[t][0].append(step.score.success)
                scored[t][1].append(sample.episode)
    return {str(t): clustered_rate_interval(*scored[t]) for t in sorted(scored)}


def compare_pair(a: Evaluation, b: Evaluation) -> PairResult:
    """The tests of one pair, not yet corrected; the evaluations must be comparable (`check_comparable`).

    Of one single episode the interval is (-1, 1): nothing is known.
    """
    pairs = _paired(a, b)
    differences = [theirs.success - mine.success for mine, theirs in pairs]
    episodes = [mine.episode for mine, _ in pairs]
    only_a = sum(mine.is_right and not theirs.is_right for mine, theirs in pairs)
    only_b = sum(theirs.is_right and not mine.is_right for mine, theirs in pairs)
    num_episodes = len(set(episodes))
    # Draws of one single episode all agree, which says nothing about others.
    low, high = cluster_bootstrap_interval(differences, episodes) if num_episodes > 1 else (-1.0, 1.0)
    return PairResult(
        benchmark=a.benchmark,
        a=a.name,
        b=b.name,
        gap=sum(differences) / len(differences),
        low=low,
        high=high,
        num_only_a=only_a,
        num_only_b=only_b,
        num_episodes=num_episodes,
        p_value=mcnemar_exact(only_a, only_b),
        smallest_gap=smallest_detectable_gap(differences, episodes),
    )


def _paired(a: Evaluation, b: Evaluation) -> list[tuple[Sample, Sample]]:
    theirs = _by_id(b)
    pairs = [(s, theirs[s.id]) for s in a.samples if s.success is not None and theirs[s.id].success is not None]
    if not pairs:
        raise InputError(f"{a.name} and {b.name} share no sample that counts: evaluate on more steps")
    return pairs


def judge(pairs: Sequence[PairResult]) -> list[PairResult]:
    """The pairs of one report with their p-values corrected together and the better one named, where that is shown."""
    return [_judge(pair, p) for pair, p in zip(pairs, holm([pair.p_value for pair in pairs]), strict=True)]


def _judge(pair: PairResult, p_holm: float) -> PairResult:
    is_shown = p_holm < LEVEL and not pair.low <= 0 <= pair.high and pair.num_episodes >= LEAST_EPISODES
    better = (pair.b if pair.gap > 0 else pair.a) if is_shown else NO_DIFFERENCE
    return replace(pair, p_holm=p_holm, better=better)


def _slice(group: Sequence[Evaluation], name: str) -> dict[str, dict[str, Any]]:
    rates: dict[str, dict[str, Any]] = defaultdict(dict)
    for evaluation in group:
        values: dict[str, list[float]] = defaultdict(list)
        for sample in evaluation.samples:
            if sample.success is not None and name in sample.slices:
                values[sample.slices[name]].append(sample.success)
        for found, some in values.items():
            rates[found][evaluation.name] = rate(some)
    return {found: rates[found] for found in sorted(rates, key=group_order)}


def flips(a: Evaluation, b: Evaluation) -> list[Flip]:
    """The samples that only one of two comparable evaluations got fully right, in order.

    First come those that only `a` got right. Each holds both samples with forecasts, predictions and score parts.
    """
    pairs = _paired(a, b)
    lost = [Flip(id=m.id, right=a.name, a=m, b=t) for m, t in pairs if m.is_right and not t.is_right]
    won = [Flip(id=m.id, right=b.name, a=m, b=t) for m, t in pairs if t.is_right and not m.is_right]
    return lost + won
