"""Intervals: worked values, edges, and properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.errors import InputError
from training.benchmarks.statistics import (
    cluster_bootstrap_interval,
    clustered_rate_interval,
    holm,
    mcnemar_exact,
    mean_interval,
    smallest_detectable_gap,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Source: the formula of Wilson (1927) by hand; statsmodels' proportion_confint(method="wilson") agrees.
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (1, 1, 0.2065, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson_interval_of_known_counts(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(("successes", "trials"), [(2, 1), (-1, 3), (0, -1)])
def test_wilson_interval_refuses_impossible_counts(successes, trials):
    with pytest.raises(InputError, match="successes"):
        wilson_interval(successes, trials)


@given(st.integers(1, 500), st.data())
def test_wilson_interval_holds_the_share_and_stays_in_range(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1


def test_mean_interval_narrows_with_more_seeds():
    few, many = mean_interval([0.4, 0.6] * 2), mean_interval([0.4, 0.6] * 20)
    assert few[0] == many[0] == pytest.approx(0.5)
    assert many[2] - many[1] < few[2] - few[1]


def test_mean_interval_of_one_value_is_infinite():
    assert mean_interval([0.5]) == (0.5, -math.inf, math.inf)


@pytest.mark.parametrize("values", [[], [math.nan], [0.1, math.inf]])
def test_mean_interval_refuses_undefined_means(values):
    with pytest.raises(InputError, match="not defined"):
        mean_interval(values)


def test_cluster_bootstrap_is_repeatable_and_wider_than_for_independent_values():
    values = [1.0] * 10 + [0.0] * 10
    together = cluster_bootstrap_interval(values, ["a"] * 10 + ["b"] * 10)
    apart = cluster_bootstrap_interval(values, list(range(20)))
    assert together == cluster_bootstrap_interval(values, ["a"] * 10 + ["b"] * 10)
    assert together[1] - together[0] > apart[1] - apart[0]


def test_cluster_bootstrap_of_one_cluster_is_its_mean():
    assert cluster_bootstrap_interval([0.0, 1.0], ["a", "a"], num_samples=50) == (0.5, 0.5)


@pytest.mark.parametrize(("values", "clusters"), [([], []), ([1.0], ["a", "b"])])
def test_cluster_bootstrap_refuses_unpaired_values(values, clusters):
    with pytest.raises(InputError, match="clusters"):
        cluster_bootstrap_interval(values, clusters)


COUNTS = [(0, 0), (0, 5), (0, 6), (1, 9), (3, 3), (20, 35), (200, 140)]


@pytest.mark.parametrize(("only_a", "only_b"), COUNTS)
def test_mcnemar_agrees_with_the_reference_implementation(only_a, only_b):
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[50, only_a], [only_b, 50]]
    expected = mcnemar(table, exact=True).pvalue if only_a + only_b else 1.0
    assert mcnemar_exact(only_a, only_b) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(InputError, match="discordant"):
        mcnemar_exact(-1, 3)


@pytest.mark.parametrize(
    "p_values", [[0.3], [0.01, 0.04, 0.03], [0.02, 0.02, 0.02], [0.9, 0.001, 1.0, 0.0], [0.05, 0.013, 0.6, 0.012, 0.2]]
)
def test_holm_agrees_with_the_reference_implementation(p_values):
    from statsmodels.stats.multitest import multipletests

    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    assert adjusted == sorted(adjusted) or p_values != sorted(p_values)


def test_wilson_interval_agrees_with_the_reference_implementation():
    from statsmodels.stats.proportion import proportion_confint

    for successes, trials in [(0, 10), (3, 17), (60, 61), (500, 1000)]:
        low, high = proportion_confint(successes, trials, method="wilson")
        assert wilson_interval(successes, trials) == pytest.approx((max(0.0, low), min(1.0, high)), abs=1e-9)


def test_bootstrap_of_single_values_agrees_with_the_reference_implementation():
    import numpy as np
    from scipy.stats import bootstrap

    values = np.random.default_rng(3).normal(0.1, 1.0, 80)
    expected = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=0).confidence_interval
    found = cluster_bootstrap_interval(list(values), range(80), num_samples=20_000)
    assert found == pytest.approx((expected.low, expected.high), abs=0.02)


def test_bootstrap_of_equal_clusters_agrees_with_the_bootstrap_of_their_means():
    import numpy as np
    from scipy.stats import bootstrap

    means = np.random.default_rng(4).uniform(0, 1, 30)
    values = np.repeat(means, 5)
    expected = bootstrap((means,), np.mean, method="percentile", n_resamples=20_000, rng=0).confidence_interval
    found = cluster_bootstrap_interval(list(values), [n // 5 for n in range(150)], num_samples=20_000)
    assert found == pytest.approx((expected.low, expected.high), abs=0.01)


def test_bootstrap_interval_holds_the_truth_about_as_often_as_it_says():
    import numpy as np

    rng = np.random.default_rng(5)
    hits = 0
    for run in range(200):
        values = np.repeat(rng.normal(0.2, 1.0, 40), 3) + rng.normal(0, 0.1, 120)
        low, high = cluster_bootstrap_interval(list(values), [n // 3 for n in range(120)], num_samples=400, seed=run)
        hits += low <= 0.2 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_rate_interval_of_equal_values_is_wilsons_over_clusters():
    assert clustered_rate_interval([0.0] * 12, [n // 4 for n in range(12)]) == wilson_interval(0, 3)
    assert clustered_rate_interval([], []) == (0.0, 1.0)


def test_smallest_detectable_gap_agrees_with_the_power_of_a_normal_test():
    import numpy as np
    from statsmodels.stats.power import NormalIndPower

    differences = list(np.random.default_rng(6).choice([-1.0, 0.0, 1.0], size=900, p=[0.1, 0.8, 0.1]))
    gap = smallest_detectable_gap(differences, range(900))
    effect = gap / np.std(differences)
    power = NormalIndPower(ddof=0).power(effect, 900, 0.05, ratio=0)  # ratio 0: one sample
    assert power == pytest.approx(0.8, abs=0.02)


def test_smallest_detectable_gap_grows_with_alike_steps_and_never_falls_below_six_pairs():
    differences = [1.0, 0.0, 0.0, -1.0] * 30
    alike = [value for value in (1.0, 0.0, 0.0, -1.0) for _ in range(30)]
    clusters = [n // 30 for n in range(120)]
    assert smallest_detectable_gap(alike, clusters) > smallest_detectable_gap(differences, range(120))
    assert smallest_detectable_gap([0.0] * 1000, range(1000)) == 0.006
    assert smallest_detectable_gap([0.0], [1]) == 1.0
