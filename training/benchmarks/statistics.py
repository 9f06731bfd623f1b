"""How sure a score is: intervals for shares, for means over seeds, and for episodes that come in clusters."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Sequence

from executors.errors import InputError

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""

# Two-sided 95 % quantiles of Student's t for 1..30 degrees of freedom; any table of the distribution.
_T95 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
    2.0452, 2.0423,
)  # fmt: skip


def wilson_interval(num_successes: int, num_trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share; (0, 1) when nothing was tried.

    Unlike the normal interval it stays within 0..1 and has a width at 0 % and 100 %.

    Args:
        num_successes: 0..num_trials.
        num_trials: independent trials.

    Raises:
        InputError: more successes than trials, or a negative number.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference (JASA 1927).

    >>> [round(edge, 4) for edge in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    >>> wilson_interval(0, 0)
    (0.0, 1.0)
    """
    if not 0 <= num_successes <= num_trials:
        raise InputError(f"{num_successes} successes in {num_trials} trials are not possible: check the counts")
    if num_trials == 0:
        return 0.0, 1.0
    share, z2 = num_successes / num_trials, Z95 * Z95
    middle = (share + z2 / (2 * num_trials)) / (1 + z2 / num_trials)
    half = Z95 / (1 + z2 / num_trials) * math.sqrt(share * (1 - share) / num_trials + z2 / (4 * num_trials**2))
    low = 0.0 if num_successes == 0 else middle - half  # exact at the ends, where rounding would leave 1e-17
    high = 1.0 if num_successes == num_trials else middle + half
    return low, high


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high) of scores over seeds: Student's t, 95 %; an infinite interval for a single value.

    Args:
        values: one score per seed, at least one, all finite.

    Raises:
        InputError: no values, or one that is not finite.

    >>> [round(v, 4) for v in mean_interval([0.5, 0.6, 0.7])]
    [0.6, 0.3516, 0.8484]
    """
    if not values or not all(math.isfinite(v) for v in values):
        raise InputError(f"the mean of {list(values)!r} is not defined: give at least one finite score")
    mean, count = math.fsum(values) / len(values), len(values)
    if count == 1:
        return mean, -math.inf, math.inf
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1))
    quantile = _T95[count - 2] if count - 1 <= len(_T95) else Z95
    half = quantile * deviation / math.sqrt(count)
    return mean, mean - half, mean + half


def cluster_bootstrap_interval(
    values: Sequence[float], clusters: Sequence[Hashable], *, num_samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of the mean when values of one cluster are alike (episodes of one template).

    Whole clusters are drawn with replacement. The same seed gives the same interval; one cluster gives its mean twice.

    Args:
        values: one score per episode, at least one.
        clusters: the cluster of each value.
        num_samples: draws, at least 1.
        seed: seed of the draws.

    Raises:
        InputError: no values, or not one cluster per value.

    >>> cluster_bootstrap_interval([1.0, 1.0, 0.0, 0.0], ["a", "a", "b", "b"])
    (0.0, 1.0)
    """
    if not values or len(values) != len(clusters):
        raise InputError(f"{len(values)} values and {len(clusters)} clusters: give at least one value, each with one")
    groups: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        groups.setdefault(cluster, []).append(value)
    parts = [(math.fsum(group), len(group)) for group in groups.values()]
    rng = random.Random(seed)
    means = []
    for _ in range(num_samples):
        drawn = rng.choices(parts, k=len(parts))
        means.append(math.fsum(total for total, _ in drawn) / sum(count for _, count in drawn))
    means.sort()
    return means[int(0.025 * (num_samples - 1))], means[math.ceil(0.975 * (num_samples - 1))]
