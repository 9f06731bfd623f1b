"""Intervals: worked values, edges, and properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.errors import InputError
from training.benchmarks.statistics import cluster_bootstrap_interval, mean_interval, wilson_interval


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
