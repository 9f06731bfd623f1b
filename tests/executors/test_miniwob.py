"""MiniWoB++ in a real Chromium: the executor, and the oracles against the pages' own judgement."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from executors.actions import Action
from executors.errors import ExecutorError, InputError
from executors.geometry import ImageSize, PointNorm
from executors.miniwob import ORACLES, MiniWobExecutor, oracle_move, put_in_words, task_names
from executors.miniwob.moves import enter
from executors.miniwob.tree import Node, PageTree
from executors.tool_agents import ElementTreeAgent
from tests.executors.conformance import *  # noqa: F403
from tests.executors.conformance import Subject
from tests.support import require_program

pytest.importorskip("playwright")
pytest.importorskip("miniwob")


@pytest.fixture(scope="module")
def shared() -> Iterator[MiniWobExecutor]:
    require_program("chromium", "chromium-browser")
    executor = MiniWobExecutor("login-user", time_limit_seconds=60.0)
    yield executor
    executor.close()


@pytest.fixture
def miniwob(shared) -> MiniWobExecutor:
    shared.choose("login-user", 3)
    shared.reset()
    return shared


@pytest.fixture
def subject(request, shared) -> Subject:
    is_closed = request.function.__name__ == "test_closing_twice_does_nothing"
    executor = MiniWobExecutor("login-user") if is_closed else shared
    executor.choose("login-user", 0)
    middle = PointNorm(0.5, 0.5)
    return Subject(executor, [
        Action(type="click", point=PointNorm(0.4, 0.42)), Action(type="type", content="é <b> 你好 😀"),
        Action(type="hover", point=middle), Action(type="hotkey", key="tab"), Action(type="scroll", direction="down"),
        Action(type="wait", seconds=0.0),
    ])  # fmt: skip


def solve(executor: MiniWobExecutor, task: str, seed: int) -> bool:
    executor.choose(task, seed)
    executor.reset()
    for _ in range(30):
        executor.execute(oracle_move(task, executor.tree()).action)
        if executor.is_done:
            break
    return executor.is_success()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "task", ["click-checkboxes", "drag-circle", "drag-sort-numbers", "login-user-popup", "search-engine"]
)
def test_oracle_solves_the_task_as_its_page_judges(shared, task, seed):
    assert solve(shared, task, seed)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["drag-box", "drag-items", "drag-single-shape"])
def test_oracle_drags_as_the_page_asks_for_20_of_20_seeds(shared, task):
    assert [seed for seed in range(20) if not solve(shared, task, seed)] == []


def test_every_oracle_is_of_a_task():
    assert len(task_names()) == 125
    assert set(ORACLES) <= set(task_names())
    assert len(ORACLES) >= 25


def test_screen_shows_the_task_alone_without_reward_or_time(miniwob):
    seen = miniwob.observe()
    assert seen.image_size == ImageSize(320, 420)
    shown = " ".join(element.text for element in seen.elements)
    assert "reward" not in shown and "Time left" not in shown and "START" not in shown
    assert miniwob.goal.startswith("Enter the username")


def test_seed_decides_the_task_and_a_used_page_gives_the_same_one(miniwob):
    first = miniwob.reset()
    assert solve(miniwob, "login-user", 4)
    miniwob.choose("login-user", 3)
    again = miniwob.reset()
    assert again.image.tobytes() == first.image.tobytes()
    goal = miniwob.goal
    miniwob.choose("login-user", 5)
    miniwob.reset()
    assert miniwob.goal != goal


def test_time_limit_is_lifted_and_the_page_may_take_its_time(miniwob):
    limit_ms, timer = miniwob._call("test", lambda: miniwob._page.evaluate("[core.EPISODE_MAX_TIME, !!core.EP_TIMER]"))
    assert timer and limit_ms > 24 * 3600 * 1000
    assert miniwob.is_success() is False and not miniwob.is_done


def test_wrong_answer_ends_the_episode_as_a_failure_and_nothing_counts_after(miniwob):
    button = next(element for element in miniwob.observe().elements if element.role == "button")
    miniwob.execute(Action(type="click", point=button.box.center))
    assert miniwob.world_has_ended and miniwob.is_done
    assert miniwob.is_success() is False
    with pytest.raises(ExecutorError, match="the page has ended the episode"):
        miniwob.execute(Action(type="click", point=button.box.center))
    miniwob.reset()
    assert not miniwob.is_done


def test_words_of_a_move_are_understood_by_the_element_tree(shared):
    shared.choose("click-checkboxes", 2)
    seen = shared.reset()
    move = oracle_move("click-checkboxes", shared.tree())
    said = put_in_words(move, seen)
    assert said.endswith("checkbox")
    grounded = ElementTreeAgent().ground(seen, Action(type="click"), said).action
    left, top, right, bottom = move.target.box
    assert left <= grounded.point.x * 160 <= right and top <= grounded.point.y * 210 <= bottom


@pytest.mark.parametrize(("task", "seed", "words"), [
    ("click-nothing", 0, "'click-nothing' is unknown"), ("../core/core", 0, "is unknown"),
    ("click-test", -1, "seed -1"),
    ("click-test", 2**31, "seed 2147483648"), ("button-delay", 0, "is unknown"),
])  # fmt: skip
def test_task_or_seed_that_is_none_is_told(task, seed, words):
    with pytest.raises(InputError, match=words):
        MiniWobExecutor(task, seed)


def test_missing_package_is_told(monkeypatch):
    from executors.miniwob import executor

    monkeypatch.setattr(executor, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="miniwob is not installed"):
        executor.pages_folder.__wrapped__()


def field(value: str, *, is_focused: bool = True) -> tuple[PageTree, Node]:
    node = Node(index=0, parent=-1, tag="input", value=value, is_focused=is_focused, box=(0, 0, 9, 9), point=(4, 4))
    return PageTree(goal="", nodes=(node,)), node


@pytest.mark.parametrize(("value", "is_focused", "action"), [
    ("ab", True, None), ("", False, "click"), ("a", True, "type"), ("x", True, "hotkey"), ("abc", True, "hotkey"),
])  # fmt: skip
def test_field_is_mended_step_by_step(value, is_focused, action):
    move = enter(*field(value, is_focused=is_focused), "ab")
    assert (move and move.action.type) == action


@pytest.mark.parametrize("task", ORACLES)
def test_oracle_of_a_page_that_is_not_its_own_gives_up(task):
    body = Node(index=0, parent=-1, tag="body")
    assert oracle_move(task, PageTree(goal="", nodes=(body,))).action.type == "call_user"


def test_task_without_an_oracle_is_told():
    with pytest.raises(InputError, match="'chase-circle' has no oracle"):
        oracle_move("chase-circle", PageTree(goal="", nodes=()))
