"""Planners loaded in the background and shared."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from executors.errors import CheckpointError, InputError
from workbench.planner_shelf import LOAD_FAILED, MAX_PLANNERS, PlannerShelf, Readiness


def test_a_default_that_was_never_trained_is_missing_and_not_an_error(tmp_path: Path) -> None:
    loaded: list[str] = []
    shelf = PlannerShelf(loaded.append, str(tmp_path / "tiny"))
    shelf.warm()
    assert shelf.status().readiness is Readiness.MISSING
    assert loaded == []


def test_a_planner_is_loaded_once_in_the_background(tmp_path: Path) -> None:
    gate, loaded = threading.Event(), []

    def load(path: str) -> str:
        assert gate.wait(10)
        loaded.append(path)
        return "planner"

    shelf = PlannerShelf(load, str(tmp_path))
    shelf.warm()
    assert shelf.status().readiness is Readiness.LOADING
    gate.set()
    assert (shelf.get(), shelf.get(str(tmp_path)), shelf.get(" ")) == ("planner",) * 3
    assert shelf.status().readiness is Readiness.READY
    assert loaded == [str(tmp_path)]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(CheckpointError("checkpoint x is damaged"), "checkpoint x is damaged"), (RuntimeError("secret"), LOAD_FAILED)],
)
def test_a_planner_that_cannot_be_loaded_says_why_and_may_be_tried_again(error: Exception, sentence: str) -> None:
    answers = [error, None]

    def load(path: str) -> str:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return "planner"

    shelf = PlannerShelf(load, "default")
    with pytest.raises(CheckpointError, match=sentence):
        shelf.get("other")
    status = shelf.status("other")
    assert (status.readiness, status.sentence) == (Readiness.FAILED, sentence)
    assert shelf.get("other") == "planner"


def test_only_the_last_few_planners_are_kept() -> None:
    loaded: list[str] = []

    def load(path: str) -> str:
        loaded.append(path)
        return path

    shelf = PlannerShelf(load, "default")
    for name in "abca":
        shelf.get(name)
    assert MAX_PLANNERS == 2
    assert loaded == ["a", "b", "c", "a"]


def test_a_public_server_opens_no_path_that_a_visitor_names() -> None:
    shelf = PlannerShelf(str, "default", only=("default",))
    with pytest.raises(InputError, match="its own planner only"):
        shelf.get("/etc")
    assert shelf.status("/etc").readiness is Readiness.FAILED


def test_a_public_server_without_its_planner_advises_nothing_that_a_visitor_cannot_do(tmp_path: Path) -> None:
    default = str(tmp_path / "tiny_planner")
    status = PlannerShelf(str, default, only=(default,)).status()
    assert status.readiness is Readiness.FAILED and "tiny_planner is missing on this server" in status.sentence
    assert str(tmp_path) not in status.sentence
