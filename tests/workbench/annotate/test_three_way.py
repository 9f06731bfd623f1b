"""Base, theirs and mine: what one side changed is taken, what both changed differently is decided by a person."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action
from executors.errors import InputError
from tests.workbench.annotate.makers import document, random_walk
from workbench.annotate import edits
from workbench.annotate.document import Change, Document, apply
from workbench.annotate.three_way import ORDER, ThreeWay, merge


def view_of(base: Document, theirs: Document, mine: Document) -> ThreeWay:
    return ThreeWay(base=base, theirs=theirs, mine=mine, base_revision=1, their_revision=2, their_author="bob")


def after(doc: Document, *makers) -> Document:
    for make in makers:
        change: Change = make(doc)
        doc = apply(doc, change)
    return doc


@given(seed=st.integers(0, 2**32), num_edits=st.integers(0, 10))
def test_with_one_side_as_it_was_the_other_is_the_result(seed: int, num_edits: int) -> None:
    base, _ = random_walk(document(), random.Random(seed + 1), 2)
    changed, _ = random_walk(base, random.Random(seed), num_edits)
    for view in (view_of(base, changed, base), view_of(base, base, changed), view_of(base, changed, changed)):
        assert view.conflicts == []
        assert merge(view) == changed


@given(seed=st.integers(0, 2**32), side=st.sampled_from(["mine", "theirs"]))
def test_every_conflict_can_be_decided_and_nothing_of_one_side_alone_is_lost(seed: int, side: str) -> None:
    base = document()
    mine, _ = random_walk(base, random.Random(seed), 4)
    theirs, _ = random_walk(base, random.Random(seed + 1), 4)
    view = view_of(base, theirs, mine)
    try:
        joined = merge(view, dict.fromkeys(view.conflicts, side))
    except InputError as error:
        assert "0 steps" in str(error)  # each side deleted what the other kept
        return
    steps = {step.key: step for step in joined.steps}
    for row in view.steps:
        wanted = {"same": row.base, "both": row.mine, "mine": row.mine, "theirs": row.theirs,
                  "conflict": getattr(row, side)}[row.verdict]
        assert steps.get(row.name) == wanted


def test_edits_of_different_steps_are_joined_without_asking() -> None:
    base = document()
    first, second, third, last = base.keys
    mine = after(base, lambda d: edits.set_instruction(d, first, "press Save"), lambda d: edits.delete_step(d, third))
    theirs = after(base, lambda d: edits.set_goal(d, "Save all"),
                   lambda d: edits.insert_step(d, 2, Action(type="wait"), "wait"))
    joined = merge(view_of(base, theirs, mine))
    assert joined.goal == "Save all"
    assert [s.step.instruction for s in joined.steps] == [
        "press Save", base.steps[1].step.instruction, "wait", base.steps[3].step.instruction]


def test_a_step_that_one_deleted_and_the_other_changed_is_asked_about() -> None:
    base = document()
    key = base.keys[1]
    mine = after(base, lambda d: edits.delete_step(d, key))
    theirs = after(base, lambda d: edits.set_thought(d, key, "x"))
    view = view_of(base, theirs, mine)
    assert view.conflicts == [key]
    with pytest.raises(InputError, match="changed by both: choose mine or theirs"):
        merge(view)
    assert merge(view, {key: "mine"}) == mine and merge(view, {key: "theirs"}) == theirs


def test_two_orders_are_asked_about_and_one_order_is_taken() -> None:
    base = document()
    key = base.keys[0]
    mine, theirs = after(base, lambda d: edits.move_step(d, key, 3)), after(base, lambda d: edits.move_step(d, key, 2))
    view = view_of(base, theirs, mine)
    assert view.conflicts == [ORDER]
    assert merge(view, {ORDER: "mine"}).keys == mine.keys and merge(view, {ORDER: "theirs"}).keys == theirs.keys
    worded = after(base, lambda d: edits.set_goal(d, "x"))
    assert merge(view_of(base, worded, mine)).keys == mine.keys
