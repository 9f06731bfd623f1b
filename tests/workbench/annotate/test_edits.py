"""Edits of a document: what each does, that each can be taken back, and that no row of edits spoils the trajectory."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.actions import Action
from executors.errors import InputError
from executors.geometry import BoxNorm, PointNorm
from executors.trajectory import Observation, trajectory_from_json, trajectory_to_json
from tests.workbench.annotate.makers import EDITS, document, random_change, random_walk, way
from workbench.annotate import edits
from workbench.annotate.document import (
    Change,
    Document,
    DocumentStep,
    StaleError,
    apply,
    change_between,
    check_document,
    describe,
)


@given(name=st.sampled_from(list(EDITS)), seed=st.integers(0, 2**32))
def test_every_edit_taken_back_gives_the_document_as_it_was(name: str, seed: int) -> None:
    rng = random.Random(seed)
    before, _ = random_walk(document(), rng, rng.randrange(4))
    change = random_change(before, rng, name)
    if change is not None:
        after = apply(before, change)
        assert apply(after, change.inverted()) == before
        assert apply(before, change.inverted().inverted()) == after


@given(seed=st.integers(0, 2**32), num_edits=st.integers(1, 25))
@settings(max_examples=50)
def test_any_row_of_edits_keeps_the_trajectory_valid_and_can_be_undone_to_its_beginning(seed: int, num_edits) -> None:
    first = document()
    last, made = random_walk(first, random.Random(seed), num_edits)
    check_document(last)
    record = trajectory_to_json(last.trajectory, [None] * len(last.steps))
    trajectory_from_json(json.loads(json.dumps(record)), Path("."))
    for change in reversed(made):
        last = apply(last, change.inverted())
    assert last == first


@given(seed=st.integers(0, 2**32), num_edits=st.integers(0, 12))
@settings(max_examples=50)
def test_the_difference_of_two_documents_leads_from_one_to_the_other_and_survives_a_file(seed: int, num_edits) -> None:
    first, _ = random_walk(document(), random.Random(seed + 1), 3)
    last, _ = random_walk(first, random.Random(seed), num_edits)
    change = change_between(first, last)
    assert apply(first, change) == last
    assert change.is_empty == (first == last)
    pool: dict[str, DocumentStep] = {}

    def put(step: DocumentStep) -> str:
        pool[str(len(pool))] = step
        return str(len(pool) - 1)

    stored = json.loads(json.dumps(change.to_json(put)))
    assert Change.from_json(stored, lambda key, name: pool[name]) == change
    assert len(describe(change, first)) >= (first != last)


def test_every_edit_of_the_list_can_be_made() -> None:
    rng = random.Random(0)
    for name in EDITS:
        assert any(random_change(document(), rng, name) for _ in range(60)), name


# ---- one by one


def test_a_moved_point_takes_the_element_it_lies_on_as_its_target() -> None:
    doc = document()
    key = doc.keys[0]
    off = apply(doc, edits.set_point(doc, key, "point", PointNorm(0.9, 0.9)))
    assert (off.steps[0].step.action.point, off.steps[0].step.target) == (PointNorm(0.9, 0.9), None)
    back = apply(off, edits.set_point(off, key, "point", PointNorm(0.41, 0.41)))
    assert back.steps[0].step.target == BoxNorm(0.4, 0.4, 0.6, 0.6)


def test_another_type_keeps_what_it_can() -> None:
    doc = document()
    drag = apply(doc, edits.set_action(doc, doc.keys[0], "drag"))
    assert drag.steps[0].step.action == Action(type="drag", start_point=PointNorm(0.5, 0.5))
    click = apply(drag, edits.set_action(drag, doc.keys[0], "click"))
    assert click.steps[0].step.action == doc.steps[0].step.action
    press = apply(doc, edits.set_action(doc, doc.keys[1], "hotkey", "key='ctrl s'"))
    assert press.steps[1].step.action.key == "ctrl s"


def test_split_and_merge_are_inverse() -> None:
    doc = document()
    key = doc.keys[2]
    split = apply(doc, edits.split_step(doc, key))
    assert [s.step.action.type for s in split.steps] == ["click", "type", "click", "type", "finished"]
    again = apply(split, edits.split_step(split, split.keys[3]))
    assert [s.step.action.type for s in again.steps] == ["click", "type", "click", "type", "hotkey", "finished"]
    one = apply(again, edits.merge_steps(again, again.keys[3]))
    two = apply(one, edits.merge_steps(one, one.keys[2]))
    assert [s.step.action for s in two.steps] == [s.step.action for s in doc.steps]
    assert two.keys == doc.keys


def test_marks_that_contradict_take_each_other_away() -> None:
    doc = document()
    key = doc.keys[2]
    right = apply(doc, edits.mark(doc, key, "correct", True))
    assert right.step(key).is_correct and right.step(key).step.flags == frozenset()
    wrong = apply(right, edits.mark(right, key, "incorrect", True))
    assert not wrong.step(key).is_correct and wrong.step(key).step.flags == {"incorrect"}
    boxed = apply(wrong, edits.set_private_boxes(wrong, key, [BoxNorm(0, 0, 0.5, 0.123456789)]))
    assert boxed.step(key).blur == (BoxNorm(0, 0, 0.5, 0.12346),) and "private" in boxed.step(key).step.flags
    assert apply(boxed, edits.mark(boxed, key, "private", False)).step(key).blur == ()


def test_a_screen_paired_anew_drops_the_box_that_was_found_on_the_old_one() -> None:
    doc = document()
    paired = apply(doc, edits.pair_screen(doc, doc.keys[0], doc.steps[3].step.observation))
    assert paired.steps[0].step.observation == doc.steps[3].step.observation
    assert paired.steps[0].step.target is None and paired.steps[0].step.action == doc.steps[0].step.action
    assert edits.pair_screen(doc, doc.keys[0], doc.steps[0].step.observation).is_empty


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda d, k: edits.set_point(d, k, "end", PointNorm(0.1, 0.1)), "click has no 'end' to move"),
        (lambda d, k: edits.set_point(d, k, "point", PointNorm(1.1, 0.1)), "step 1: field 'point': .* off the image"),
        (lambda d, k: edits.set_point(d, k, "point", PointNorm(float("nan"), 0.1)), "off the image"),
        (lambda d, k: edits.set_target(d, k, BoxNorm(0.5, 0.5, 0.4, 0.6)), "field 'target'"),
        (lambda d, k: edits.set_action(d, k, "fly"), "field 'type': 'fly' is not an action"),
        (lambda d, k: edits.set_action(d, k, "open_app"), "field 'app_name': open_app needs it: write app_name="),
        (lambda d, k: edits.set_action(d, k, "scroll", "direction='sideways'"), "field 'direction'"),
        (lambda d, k: edits.set_instruction(d, k, "x" * 20_001), "field 'instruction': 20001 characters"),
        (lambda d, k: edits.set_outcome(d, "fine"), "field 'outcome': 'fine'"),
        (lambda d, k: edits.set_difficulty(d, 11), "field 'difficulty': 11"),
        (lambda d, k: edits.set_difficulty(d, True), "field 'difficulty': True"),
        (lambda d, k: edits.mark(d, k, "pretty", True), "field 'mark': 'pretty'"),
        (lambda d, k: edits.set_private_boxes(d, k, [BoxNorm(0, 0, 2, 1)]), "field 'blur'"),
        (lambda d, k: edits.insert_step(d, 9, Action(type="wait"), "wait"), "field 'place': 9 is not 0..4"),
        (lambda d, k: edits.insert_step(d, 0, Action(type="hotkey"), "press"), "field 'key'"),
        (lambda d, k: edits.move_step(d, k, 4), "field 'place': 4 is not 0..3"),
        (lambda d, k: edits.split_step(d, k), "step 1: click does one thing only"),
        (lambda d, k: edits.merge_steps(d, d.keys[3]), "step 4 is the last one"),
        (lambda d, k: edits.merge_steps(d, d.keys[2]), "steps 3 and 4: type and finished are not one"),
        (lambda d, k: edits.delete_step(d, "nobody"), "step 'nobody' is not in this trajectory"),
    ],
)
def test_an_edit_that_cannot_be_is_refused_with_the_field(edit, match: str) -> None:
    doc = document()
    with pytest.raises(InputError, match=match):
        edit(doc, doc.keys[0])


def test_the_only_step_stays() -> None:
    doc = document()
    for key in doc.keys[:3]:
        doc = apply(doc, edits.delete_step(doc, key))
    with pytest.raises(InputError, match="field 'steps': 0 steps"):
        edits.delete_step(doc, doc.keys[0])


def test_a_change_of_another_state_is_refused() -> None:
    doc = document()
    change = edits.set_instruction(doc, doc.keys[0], "press Save")
    with pytest.raises(StaleError, match="has been changed meanwhile"):
        apply(apply(doc, edits.set_thought(doc, doc.keys[0], "Hm.")), change)
    with pytest.raises(StaleError, match="has been changed meanwhile"):
        apply(apply(doc, edits.delete_step(doc, doc.keys[0])), change)
    with pytest.raises(StaleError, match="field 'goal'"):
        apply(apply(doc, edits.set_goal(doc, "x")), edits.set_goal(doc, "y"))
    move = edits.move_step(doc, doc.keys[0], 2)
    with pytest.raises(StaleError, match="order of steps"):
        apply(apply(doc, move), move)


# ---- to a trajectory and back


def test_marks_that_a_trajectory_has_no_field_for_travel_in_its_meta() -> None:
    doc = document()
    for change in (
        lambda d: edits.set_difficulty(d, 4),
        lambda d: edits.mark(d, d.keys[1], "correct", True),
        lambda d: edits.set_private_boxes(d, d.keys[2], [BoxNorm(0.1, 0.2, 0.3, 0.4)]),
    ):
        doc = apply(doc, change(doc))
    trajectory = doc.trajectory
    assert trajectory.meta == {
        "level": 2, "annotation": {"difficulty": 4, "correct": [1], "blur": {"2": [[0.1, 0.2, 0.3, 0.4]]}}}
    again = Document.of(trajectory)
    assert replace(again, steps=()) == replace(doc, steps=())
    assert [replace(s, key="") for s in again.steps] == [replace(s, key="") for s in doc.steps]
    assert document().trajectory == way()


@pytest.mark.parametrize(
    "meta", [{"annotation": 3}, {"annotation": {"correct": [9]}}, {"annotation": {"blur": {"0": [[1, 2]]}}},
             {"annotation": {"blur": [1]}}, {"annotation": {"difficulty": "hard"}}],
)
def test_marks_in_meta_that_make_no_sense_are_refused(meta) -> None:
    with pytest.raises(InputError, match="field '(meta.annotation|difficulty)'"):
        Document.of(replace(way(), meta=meta))


def test_a_trajectory_of_no_steps_or_an_unknown_platform_is_no_document() -> None:
    with pytest.raises(InputError, match="field 'steps'"):
        Document.of(replace(way(), steps=()))
    with pytest.raises(InputError, match="field 'platform'"):
        Document.of(replace(way(), platform="fridge"))
    Document.of(replace(way(), steps=tuple(replace(s, observation=Observation()) for s in way().steps)))


def with_right_places() -> Document:
    """The steps' right places are called after them, so that one can see where they go."""
    places = [[[0.1 * n, 0.1, 0.1 * n + 0.05, 0.2]] for n in range(4)]
    return Document.of(replace(way(), meta={"level": 2, "target_boxes": places}))


def right_places(document: Document) -> list:
    return [None if boxes is None else round(10 * boxes[0][0]) for boxes in document.trajectory.meta["target_boxes"]]


def test_a_benchmarks_right_places_stay_with_their_steps() -> None:
    before = with_right_places()
    assert before.trajectory.meta == {**replace(way()).meta, "target_boxes": before.trajectory.meta["target_boxes"]}
    assert "target_boxes" not in before.meta
    first, second, third, _ = before.keys
    assert right_places(apply(before, edits.delete_step(before, second))) == [0, 2, 3]
    assert right_places(apply(before, edits.move_step(before, first, 3))) == [1, 2, 3, 0]
    assert right_places(apply(before, edits.duplicate_step(before, second))) == [0, 1, None, 2, 3]
    assert right_places(apply(before, edits.split_step(before, third))) == [0, 1, 2, None, 3]
    assert right_places(apply(before, edits.set_instruction(before, first, "other words"))) == [0, 1, 2, 3]


def test_right_places_go_with_a_point_that_a_person_corrects_and_come_back_with_undo() -> None:
    before = with_right_places()
    change = edits.set_point(before, before.keys[0], "point", PointNorm(0.45, 0.45))
    after = apply(before, change)
    assert right_places(after) == [None, 1, 2, 3]
    assert right_places(apply(after, change.inverted())) == [0, 1, 2, 3]
    assert any("right places of the benchmark" in line for line in describe(change, before))


def test_right_places_survive_the_store(tmp_path: Path) -> None:
    before = with_right_places()
    for step in before.steps:
        again = DocumentStep.from_json(step.key, json.loads(json.dumps(step.to_json())), tmp_path)
        assert again.per_step == step.per_step


def test_right_places_that_do_not_fit_the_steps_are_left_as_they_are() -> None:
    document = Document.of(replace(way(), meta={"target_boxes": [None]}))
    assert document.meta == {"target_boxes": [None]} and document.trajectory.meta == {"target_boxes": [None]}
