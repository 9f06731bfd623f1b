"""The checks: each rule finds its case, a good trajectory has no finding, and no random document breaks them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action
from executors.geometry import BoxNorm, PointNorm
from executors.simulator import make_task, record_episode
from executors.trajectory import Step
from tests.workbench.annotate.makers import document, random_walk, screen
from workbench.annotate.checks import Severity, check, errors
from workbench.annotate.document import Document


def with_step(place: int, **values: object) -> Document:
    doc = document()
    steps = list(doc.steps)
    steps[place] = replace(steps[place], step=replace(steps[place].step, **values))
    return replace(doc, steps=tuple(steps))


def found(doc: Document) -> list[tuple[str, str, int | None]]:
    """(severity, rule, step from 1 or None) of all findings."""
    return [(f.severity.value, f.rule, doc.place(f.key) + 1 if f.key else None) for f in check(doc)]


NONE, END = frozenset(), Action(type="finished")
CLICK = Action(type="click", point=PointNorm(0.5, 0.5))

CASES = {
    "a phone's action": (with_step(0, action=Action(type="press_back"), instruction="go back"),
                         ("error", "illegal action", 1)),
    "no point": (with_step(0, action=Action(type="click")), ("error", "malformed action", 1)),
    "off the image": (with_step(0, action=replace(CLICK, point=PointNorm(1.5, 0))), ("error", "malformed action", 1)),
    "nothing typed": (with_step(1, action=Action(type="type", content="\n")), ("error", "empty text", 2)),
    "a step after the end": (with_step(1, action=END, instruction="notes"), ("error", "steps after the end", 2)),
    "no words": (with_step(1, instruction="  "), ("error", "no words", 2)),
    "no goal": (replace(document(), goal=" "), ("error", "no goal", None)),
    "goal": (replace(document(), goal="Turn the wifi network off"), ("warning", "goal not mentioned", None)),
    "no end": (replace(document(), steps=document().steps[:2]), ("warning", "no end", None)),
    "impossible": (replace(document(), outcome="impossible"), ("warning", "end contradicts outcome", None)),
    "given up": (with_step(3, action=Action(type="call_user")), ("warning", "end contradicts outcome", None)),
    "beside the target": (with_step(0, target=BoxNorm(0, 0, 0.1, 0.1)), ("warning", "outside target", 1)),
    "on nothing": (with_step(0, action=Action(type="click", point=PointNorm(0.1, 0.1)), target=None),
                   ("warning", "on no element", 1)),
    "says click, types": (with_step(1, instruction="click the field"), ("warning", "words contradict action", 2)),
    "says up, goes down": (with_step(1, instruction="Scroll up", action=Action(type="scroll", direction="down")),
                           ("warning", "words contradict action", 2)),
    "private": (with_step(0, flags=frozenset({"private"})), ("warning", "private without boxes", 1)),
    "twice": (with_step(2, action=Action(type="type", content="notes"), flags=NONE), ("warning", "repetition", 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_finds_its_case_and_nothing_else(name: str) -> None:
    doc, finding = CASES[name]
    assert found(doc) == [finding]


def test_a_good_trajectory_has_no_finding() -> None:
    assert found(document()) == []


@pytest.mark.parametrize("template", ["alarm_on", "task_done", "settings_toggle_near"])
def test_the_oracles_way_through_a_task_has_no_error(template: str) -> None:
    doc = Document.of(record_episode(make_task(template, "train", 0), interruption_rate=0.0))
    assert errors(check(doc)) == []


def test_a_loop_over_several_screens_is_found_where_it_closes() -> None:
    there, back = (Step(observation=screen(n), action=CLICK, instruction=f"go {n}") for n in (1, 2))
    last = Step(observation=screen(3), action=Action(type="finished"), instruction="notes saved")
    doc = Document.of(replace(document().trajectory, steps=(there, back, there, back, last)))
    assert found(doc) == [("warning", "repetition", 3), ("warning", "repetition", 4)]


def test_errors_of_a_step_stand_before_its_warnings() -> None:
    doc = with_step(0, action=Action(type="press_home"), instruction="click it")
    assert [f.severity for f in check(doc)] == [Severity.ERROR, Severity.WARNING]


@given(seed=st.integers(0, 2**32), num_edits=st.integers(1, 20))
def test_any_document_can_be_checked(seed: int, num_edits: int) -> None:
    doc, _ = random_walk(document(), random.Random(seed), num_edits)
    for finding in check(doc):
        assert finding.message and (not finding.key or finding.key in doc.keys)
