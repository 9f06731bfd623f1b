"""Agreement: alignment against exhaustive search, kappa against statsmodels, alpha against Krippendorff's examples."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa as reference_kappa

from executors.actions import Action
from executors.geometry import BoxNorm, PointNorm
from executors.trajectory import Observation, Step
from tests.workbench.annotate.makers import document, random_walk
from workbench.annotate import edits
from workbench.annotate.agreement import (
    Agreement,
    agreement,
    agreement_by_person,
    align,
    cohens_kappa,
    krippendorffs_alpha,
    point_hit,
    step_similarity,
)
from workbench.annotate.document import apply


def cheapest(a: list[int], b: list[int], cost) -> float:
    """The least cost of all alignments, each one looked at."""
    best = math.inf
    for n in range(min(len(a), len(b)) + 1):
        for left in itertools.combinations(range(len(a)), n):
            for right in itertools.combinations(range(len(b)), n):
                price = sum(cost(a[i], b[j]) for i, j in zip(left, right))
                best = min(best, price + len(a) + len(b) - 2 * n)
    return best


@given(a=st.lists(st.integers(0, 9), max_size=5), b=st.lists(st.integers(0, 9), max_size=5))
def test_the_alignment_is_whole_ordered_and_the_cheapest_of_all(a: list[int], b: list[int]) -> None:
    def cost(x: int, y: int) -> float:
        return abs(x - y) / 9

    found = align(a, b, cost)
    assert [i for i, _ in found if i is not None] == list(range(len(a)))
    assert [j for _, j in found if j is not None] == list(range(len(b)))
    price = sum(1 if i is None or j is None else cost(a[i], b[j]) for i, j in found)
    assert price == pytest.approx(cheapest(a, b, cost))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_kappa_is_that_of_statsmodels(pairs: list[tuple[int, int]]) -> None:
    table = np.zeros((4, 4))
    for a, b in pairs:
        table[a, b] += 1
    mine = cohens_kappa(pairs)
    if mine is None:
        assert len({label for pair in pairs for label in pair}) == 1
    else:
        assert mine == pytest.approx(float(reference_kappa(table).kappa))


# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): B, two observers, nominal; C, four observers with
# missing values. None stands for a missing value.
EXAMPLE_B = ["aabbdcccedda", "babbbccceddd"]
EXAMPLE_C = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


@pytest.mark.parametrize(("observers", "alpha"), [(EXAMPLE_B, 0.692), (EXAMPLE_C, 0.743)])
def test_alpha_is_that_of_krippendorffs_examples(observers: list, alpha: float) -> None:
    units = [[label for label in unit if label is not None] for unit in zip(*observers)]
    assert krippendorffs_alpha(units) == pytest.approx(alpha, abs=0.0006)


def test_alpha_and_kappa_say_nothing_where_nothing_can_be_said() -> None:
    for pairs in ([], [("a", "a")] * 5):
        assert cohens_kappa(pairs) is None and krippendorffs_alpha(pairs) is None
    assert krippendorffs_alpha([("a",), ()]) is None


# ---- steps


def step(x: float, target: BoxNorm | None = None, words: str = "click it", kind: str = "click") -> Step:
    return Step(observation=Observation(), action=Action(type=kind, point=PointNorm(x, 0.5)), instruction=words,
                target=target)


BOX = BoxNorm(0.4, 0.4, 0.6, 0.6)


@pytest.mark.parametrize(
    ("a", "b", "hit"),
    [
        (step(0.5), step(0.53), 1.0), (step(0.5), step(0.55), 0.0),
        (step(0.5, BOX), step(0.6, BOX), 1.0), (step(0.5, BOX), step(0.61), 0.0),
        (step(0.5, BOX), step(0.59), 0.5),  # inside the box of one, too far from the point of the other
        (replace(step(0.5), action=Action(type="click")), step(0.5), None),
        (replace(step(0.5), action=Action(type="wait")), replace(step(0.5), action=Action(type="wait")), None),
    ],
)
def test_a_point_hits_inside_the_others_box_or_near_its_point(a: Step, b: Step, hit: float | None) -> None:
    assert point_hit(a, b) == point_hit(b, a) == hit


def test_a_drag_hits_with_both_ends() -> None:
    start = Action(type="drag", start_point=PointNorm(0.5, 0.5), end_point=PointNorm(0.9, 0.5))
    a = replace(step(0), action=start, target=BOX)
    assert point_hit(a, replace(a, action=replace(start, start_point=PointNorm(0.58, 0.5)))) == 1.0
    assert point_hit(a, replace(a, action=replace(start, end_point=PointNorm(0.58, 0.5)))) == 0.0


@given(seed=st.integers(0, 2**32))
def test_similarity_is_symmetric_and_one_only_for_equals_in_all_that_counts(seed: int) -> None:
    doc, _ = random_walk(document(), random.Random(seed), 6)
    for a in doc.steps:
        for b in doc.steps:
            assert step_similarity(a.step, b.step) == pytest.approx(step_similarity(b.step, a.step))
            assert 0 <= step_similarity(a.step, b.step) <= 1
        assert step_similarity(a.step, a.step) > 0.49  # a point outside its own target misses it


# ---- trajectories


def test_equal_annotations_agree_in_all() -> None:
    assert agreement([(document(), document())] * 2) == Agreement(
        num_trajectories=2, num_aligned=8, num_unmatched=0, type_kappa=1.0, type_alpha=1.0, hit_rate=1.0,
        argument_agreement=1.0, instruction_similarity=1.0, length_agreement=1.0, stop_agreement=1.0)


def test_what_differs_lowers_its_own_figure_and_no_other() -> None:
    one = document()
    moved = apply(one, edits.set_point(one, one.keys[0], "point", PointNorm(0.9, 0.9)))
    assert agreement([(one, moved)]).hit_rate == 0.0  # the only step whose type needs a point
    cut = apply(one, edits.delete_step(one, one.keys[3]))
    told = agreement([(one, cut)])
    assert (told.num_aligned, told.num_unmatched, told.length_agreement, told.stop_agreement) == (3, 1, 0.75, 0.0)
    assert told.type_kappa == told.instruction_similarity == 1.0
    other = apply(one, edits.set_action(one, one.keys[3], "call_user"))
    told = agreement([(one, other)])
    assert told.stop_agreement == 0.0 and told.type_kappa < 1 and told.num_unmatched == 0


def test_each_person_is_measured_against_all_others() -> None:
    one = document()
    cut = apply(one, edits.delete_step(one, one.keys[3]))
    told = agreement_by_person([("t1", "ada", one, "bob", one), ("t2", "ada", one, "cleo", cut)])
    assert {name: a.length_agreement for name, a in told.items()} == {"ada": 0.875, "bob": 1.0, "cleo": 0.75}


def test_no_pairs_measure_nothing() -> None:
    told = agreement([])
    assert (told.num_trajectories, told.type_kappa, told.length_agreement) == (0, None, None)
