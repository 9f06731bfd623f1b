"""Tool calls in the Annotate tab: read with what the tool gave, and edited with their arguments as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from executors.tool_tasks import make_task
from executors.trajectory import Trajectory
from tests.workbench.test_annotate_desk import Page, Planner
from training.benchmarks.tools import run_oracle, to_trajectory
from workbench.annotate.store import AnnotationStore
from workbench.annotate_desk import AnnotateDesk
from workbench.annotate_work import WorkViews


@pytest.fixture(scope="module")
def trajectory() -> Trajectory:
    """The oracle's way: read a table, calculate, answer."""
    task = make_task("basket", "train", 1)
    return to_trajectory(task, run_oracle(task))


@pytest.fixture
def page(trajectory: Trajectory, tmp_path: Path) -> Page:
    store = AnnotationStore(tmp_path / "store")
    project = store.add_project("tools", person="local")
    id = store.add(project, trajectory, why="imported", person="local")
    return Page(WorkViews(AnnotateDesk(store), lambda: Planner()), "local", id)


def test_arguments_are_edited_as_json(page: Page) -> None:
    assert "FileInspector" in page.parts["fields"] and "tool_call" in page.parts["fields"]
    answer = page.edit(name="action", type="tool_call",
                       arguments="name='OCR', arguments={\"image\": \"a.png\", \"n\": [1, null]}")  # fmt: skip
    assert "error" not in answer and "&quot;n&quot;: [1, null]" in page.parts["fields"]
    page.ask("edit", edit="undo")
    assert "FileInspector" in page.parts["fields"]


@pytest.mark.parametrize("arguments", [
    "name='OCR', arguments={\"image\": }", "name='OCR', arguments=[1]", "arguments={}", "name='', arguments={}",
    "name='OCR', arguments={\"image\": NaN}", "name='OCR', arguments={}, image='x'",
])  # fmt: skip
def test_arguments_that_are_no_json_object_are_refused_in_words(page: Page, arguments: str) -> None:
    version = page.state["version"]
    answer = page.edit(name="action", type="tool_call", arguments=arguments)
    assert "write name='name', arguments={" in answer["error"]
    assert page.state["version"] == version


def test_what_the_tool_gave_is_shown_without_a_screenshot(page: Page) -> None:
    assert "at the start" in page.parts["screen"] and "files: prices.csv" in page.parts["screen"]
    assert "tw-empty" not in page.parts["screen"]


def test_an_inserted_step_is_one_that_tools_have(page: Page) -> None:
    assert "error" not in page.edit(name="insert")
    assert "no instruction" in page.parts["checks"] and "does not exist" not in page.parts["checks"]
