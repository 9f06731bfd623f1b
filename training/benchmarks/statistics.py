"""How sure a score is: intervals of shares, of means over seeds and of episodes in clusters; tests of paired scores."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

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
    """The 95 % percentile interval of the mean when values of one cluster are alike (steps of one episode).

    Whole clusters are drawn with replacement. The same seed gives the same interval; one cluster gives its mean twice.
    The interval of a paired comparison is that of the pairs' differences.

    Args:
        values: one score per episode or step, at least one.
        clusters: the cluster of each value.
        num_samples: draws, at least 1.
        seed: seed of the draws.

    Raises:
        InputError: no values, or not one cluster per value.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile interval; clusters as units.

    >>> cluster_bootstrap_interval([1.0, 1.0, 0.0, 0.0], ["a", "a", "b", "b"])
    (0.0, 1.0)
    """
    means = cluster_bootstrap_means(values, clusters, num_samples=num_samples, seed=seed)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def clustered_rate_interval(values: Sequence[float], clusters: Sequence[Hashable]) -> tuple[float, float]:
    """The 95 % interval of a rate over whole clusters; (0, 1) without a value.

    The bootstrap's, except where all draws agree (every value right, or every one wrong): they cannot tell how sure
    that is, so Wilson's interval for as many trials as there are clusters stands in.

    Args:
        values: each 0..1.
        clusters: the cluster of each value.

    >>> [round(edge, 4) for edge in clustered_rate_interval([1.0] * 40, [n // 4 for n in range(40)])]
    [0.7225, 1.0]
    """
    if not values:
        return 0.0, 1.0
    low, high = cluster_bootstrap_interval(values, clusters)
    if low < high:
        return low, high
    num_clusters = len(set(clusters))
    return wilson_interval(round(low * num_clusters), num_clusters)


def cluster_bootstrap_means(
    values: Sequence[float], clusters: Sequence[Hashable], *, num_samples: int = 2000, seed: int = 0
) -> np.ndarray:
    """The means of `num_samples` draws of whole clusters, [num_samples]; see `cluster_bootstrap_interval`.

    Raises:
        InputError: no values, or not one cluster per value.
    """
    if not len(values) or len(values) != len(clusters):
        raise InputError(f"{len(values)} values and {len(clusters)} clusters: give at least one value, each with one")
    places: dict[Hashable, int] = {}
    of_value = [places.setdefault(cluster, len(places)) for cluster in clusters]
    totals_C = np.bincount(of_value, weights=np.asarray(values, dtype=float))
    counts_C = np.bincount(of_value)
    rng = np.random.default_rng(seed)
    means = np.empty(num_samples)
    rows = max(1, _MOST_DRAWN // len(places))
    for start in range(0, num_samples, rows):
        drawn_BC = rng.integers(len(places), size=(min(rows, num_samples - start), len(places)))
        means[start : start + rows] = totals_C[drawn_BC].sum(1) / counts_C[drawn_BC].sum(1)
    return means


_MOST_DRAWN = 1_000_000
"""Clusters drawn at once, which bounds the memory."""


def mcnemar_exact(num_only_a: int, num_only_b: int) -> float:
    """The two-sided p-value of McNemar's exact test: are the discordant pairs split evenly?

    1.0 without a discordant pair. Pairs on which both are right, or both wrong, say nothing and do not count.

    Args:
        num_only_a: pairs that only the first got right.
        num_only_b: pairs that only the second got right.

    Raises:
        InputError: a negative number.

    Source: Q. McNemar (Psychometrika 1947), exact form: a binomial test of the discordant pairs.

    >>> round(mcnemar_exact(1, 9), 5), mcnemar_exact(0, 0)
    (0.02148, 1.0)
    """
    if num_only_a < 0 or num_only_b < 0:
        raise InputError(f"{num_only_a} and {num_only_b} discordant pairs are not possible: check the counts")
    if num_only_a + num_only_b == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(num_only_a, num_only_a + num_only_b, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: compare each with 0.05 to hold the family's error at 5 %.

    Args:
        p_values: of all tests of one report, each 0..1; may be empty.

    Source: S. Holm, A simple sequentially rejective multiple test procedure (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def smallest_detectable_gap(differences: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """The true gap that a comparison of this size would show with 80 % power at the 5 % level, 0..1.

    (z_0.975 + z_0.8) times the bootstrap's standard error over whole clusters; never below six pairs, since McNemar's
    exact test cannot reject with fewer discordant ones (2 x 0.5^6 = 0.031).

    Args:
        differences: one per pair, at least one, each -1..1.
        clusters: the episode of each pair.

    Raises:
        InputError: no pairs.

    >>> smallest_detectable_gap([0.0] * 60, range(60))
    0.1
    """
    means = cluster_bootstrap_means(differences, clusters)
    from_noise = (Z95 + _Z80) * float(np.std(means, ddof=1))
    return min(1.0, max(from_noise, _LEAST_DISCORDANT / len(differences)))


_Z80 = 0.8416212335729143
"""One-sided 80 % quantile of the normal distribution."""
_LEAST_DISCORDANT = 6
