"""Tool tasks: every oracle solves its task by really calling the tools; goals, splits and what is missing."""

from __future__ import annotations

import random
import re

import pytest

from executors import tool_tasks
from executors.actions import Action
from executors.errors import ExecutorError, InputError
from executors.tool_tasks import SPLITS, TEMPLATES, ToolTask, base, make_task, next_move, sample_tasks, usable_templates
from executors.tool_tasks.base import ToolTemplate, is_right
from executors.tool_tasks.splits import task_of_meta
from executors.toolbox.box import ToolResult
from executors.toolbox.registry import prompt_text

SEEDS = range(3)


def split_of(template: ToolTemplate) -> str:
    return "task_unseen" if template.kind == "task_unseen" else "test"


def solve(task: ToolTask) -> tuple[bool, int, list[str]]:
    """(whether the oracle's answer is right, how many calls it made, all that it saw)."""
    world = task.open()
    seen = [world.reset().text]
    try:
        while not world.is_done:
            result = world.execute(next_move(task, world.calls).action)
            assert result.message == "" or world.is_done, result.message
            seen.append(result.observation.text)
        return world.is_success(), len(world.calls), seen
    finally:
        world.close()


@pytest.mark.parametrize("name", TEMPLATES)
def test_oracle_solves_every_template_with_the_tools(name: str) -> None:
    template = TEMPLATES[name]
    if template.missing:
        pytest.skip(template.missing)
    for seed in SEEDS:
        task = make_task(name, split_of(template), seed)
        is_success, num_calls, seen = solve(task)
        assert is_success, (task.goal, task.plan.answer, seen)
        assert num_calls == template.num_calls and max(map(len, seen)) <= 300


def test_there_are_enough_templates_of_two_to_six_steps() -> None:
    kinds = [template.kind for template in TEMPLATES.values()]
    assert kinds.count("train") >= 10 and kinds.count("task_unseen") >= 3
    assert {1 + template.num_calls for template in TEMPLATES.values()} == {2, 3, 4, 5, 6}


@pytest.mark.parametrize("name", TEMPLATES)
def test_goals_are_short_and_name_their_files(name: str) -> None:
    task = make_task(name, split_of(TEMPLATES[name]), 0)
    assert len(task.goal.split()) < 30
    assert any(file in task.goal for file in task.plan.files)
    assert task.goal.isascii() and task.plan.answer


def test_equal_seeds_give_equal_tasks_and_splits_share_none() -> None:
    one, again = make_task("basket", "test", 5), make_task("basket", "test", 5)
    assert (one.goal, one.plan.files, one.plan.answer) == (again.goal, again.plan.files, again.plan.answer)
    files = {make_task("basket", split, seed).plan.files["prices.csv"]
             for split in ("train", "val", "test") for seed in range(20)}
    assert len(files) == 60


def test_sample_is_balanced_and_begins_with_the_shorter_one() -> None:
    templates, _ = usable_templates("train")
    tasks = sample_tasks("train", 2 * len(templates), 3)
    names = [task.template.name for task in tasks]
    assert sorted(names) == sorted(2 * [template.name for template in templates])
    assert [t.id for t in sample_tasks("train", 5, 3)] == [t.id for t in tasks[:5]]
    assert sample_tasks("train", 0, 3) == ()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: make_task("basket", "tset", 0), "split 'tset'"),
        (lambda: make_task("baskte", "test", 0), "near matches: basket"),
        (lambda: make_task("price_gap", "test", 0), "belongs to split task_unseen"),
        (lambda: make_task("basket", "test", "x"), "seed 'x'"),
        (lambda: make_task("basket", "test", True), "seed True"),
        (lambda: make_task(["x"], "test", 0), "unknown"), (lambda: sample_tasks("test", -1, 0), "num_episodes -1"),
        (lambda: sample_tasks("x", 1, 0), "split 'x'"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_told(call: object, match: str) -> None:
    with pytest.raises(InputError, match=match):
        call()


def test_a_records_meta_leads_back_to_its_task() -> None:
    task = make_task("basket", "test", 5)
    assert task_of_meta(task.meta) is task
    assert task_of_meta({}) is None and task_of_meta({"env": "tools", "tools": ["OCR"]}) is None
    with pytest.raises(InputError, match="unknown"):
        task_of_meta({"env": "tools", "task": "gone", "split": "test", "seed": 1})


@pytest.mark.parametrize(
    ("answer", "truth", "is_same"),
    [
        ("48", "48", True), ("48.0", "48", True), (" 48 ", "48", True), ("48.", "48", True), ("49", "48", False),
        ("48 euros", "48", False), ("Anna", "anna", True), ("Ann", "Anna", False), ("", "48", False),
        ("nan", "48", False), ("one.png", "one.png", True), ("two.png", "one.png", False),
    ],
)  # fmt: skip
def test_answers_are_numbers_or_words(answer: str, truth: str, is_same: bool) -> None:
    assert is_right(answer, truth) is is_same


def test_a_task_that_asks_for_an_image_is_judged_by_its_pixels() -> None:
    task = make_task("mark_patch", "test", 1)
    world = task.open()
    world.reset()
    world.execute(Action(type="finished", content=task.plan.answer))
    assert world.is_success() is False  # the right name of a file that was never made
    world.reset()
    while not world.is_done:
        move = next_move(task, world.calls).action
        if move.name == "DrawBox":
            move = Action(type="tool_call", name="DrawBox", arguments={**move.arguments, "bbox": "(1, 2, 30, 40)"})
            world.execute(move)
            move = Action(type="tool_call", name="AddText", arguments={
                "image": "image-1.png", "text": "x" * 9, "position": "mb"})  # fmt: skip
            world.execute(move)
            move = Action(type="finished", content="image-2.png")
        world.execute(move)
    assert world.is_success() is False  # another box


def test_oracle_goes_on_from_any_state() -> None:
    task = make_task("basket", "test", 5)
    world = task.open()
    world.reset()
    first = next_move(task, world.calls)
    world.execute(Action(type="tool_call", name="Calculator", arguments={"expression": "1 / 0"}))
    world.execute(Action(type="tool_call", name="Calculator", arguments={"expression": "1 + 1"}))
    assert next_move(task, world.calls) == first
    world.execute(first.action)
    second = next_move(task, world.calls)
    assert second.action.name == "Calculator" and second != first
    world.execute(first.action)  # a second time says nothing new
    assert next_move(task, world.calls) == second
    world.close()


def test_oracle_that_reads_nothing_useful_says_so() -> None:
    task = make_task("basket", "test", 5)
    first = next_move(task, []).action
    with pytest.raises(ExecutorError, match="oracle of basket cannot go on"):
        next_move(task, [(first, ToolResult(text="an empty file"))])


def test_what_is_missing_is_told_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.shutil, "which", lambda name: None)
    monkeypatch.setattr(base, "bubblewrap_problem", lambda: "bwrap is not installed")
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    usable, missing = usable_templates("train")
    assert {"sign_code", "count_rows", "column_total"} <= set(missing)
    assert "tesseract-ocr" in missing["sign_code"] and missing["count_rows"] == "bwrap is not installed"
    assert "pip install" in missing["column_total"]
    assert len(usable) >= 5 and all(not template.needs for template in usable)
    assert {task.template.name for task in sample_tasks("train", 40, 0)} == {template.name for template in usable}


def test_random_wrong_answers_are_not_right() -> None:
    rng = random.Random(0)
    for task in sample_tasks("train", 30, 0):
        assert not task.is_right("") and not task.is_right(str(rng.randint(10**6, 10**7)))
        assert re.fullmatch(r"[\w.-]+", task.plan.answer)


def test_all_that_tasks_call_is_told_to_planners() -> None:
    assert "Calculator(" in prompt_text(tool_tasks.TOOLS)
    assert set(SPLITS) == {"train", "val", "test", "task_unseen"}
