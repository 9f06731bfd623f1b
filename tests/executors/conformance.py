"""What every executor promises, as tests; a module that imports them all gives a fixture `subject`.

    from tests.executors.conformance import *  # noqa: F403

    @pytest.fixture
    def subject(): yield Subject(...)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from executors.actions import ACTIONS, Action, Space, validate
from executors.errors import ExecutorError
from executors.executor import ExecutionResult, Executor
from executors.geometry import PointNorm
from executors.trajectory import Observation

__all__ = [
    "Subject",
    "test_action_of_another_device_is_refused_and_changes_nothing",
    "test_actions_give_an_observation_of_the_same_kind",
    "test_closing_twice_does_nothing",
    "test_looking_twice_shows_the_same",
    "test_malformed_action_is_refused_and_changes_nothing",
    "test_nothing_is_executed_after_a_terminal_action_until_reset",
    "test_reset_shows_a_screen",
    "test_spaces_and_goal_are_told",
]

FAULTY = [
    Action(type="click"), Action(type="click", point=PointNorm(1.5, 0.5)), Action(type="type"),
    Action(type="click", point=PointNorm(0.5, -1.0)), Action(type="scroll", direction="sideways"),
    Action(type="click", key="a"), Action(type="wait", seconds=-1.0), Action(type="wait", seconds=float("nan")),
]  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """An executor that has not been reset, and actions that it can carry out one after another from there."""

    executor: Executor
    actions: Sequence[Action]
    has_screenshots: bool = True
    needs_points: bool = True


def assert_seen(subject: Subject, observation: object) -> None:
    assert isinstance(observation, Observation)
    if subject.has_screenshots:
        image = observation.load_image()
        assert image.mode == "RGB"
        assert image.size == (observation.image_size.width_px, observation.image_size.height_px)
    for element in observation.elements:
        box = element.box
        assert box.left < box.right and box.top < box.bottom, element


def assert_same(one: Observation, other: Observation) -> None:
    assert one.elements == other.elements
    if one.image is not None or one.image_path is not None:
        assert one.load_image().tobytes() == other.load_image().tobytes()


def test_spaces_and_goal_are_told(subject: Subject) -> None:
    assert isinstance(subject.executor.goal, str)
    assert subject.executor.spaces
    assert subject.executor.spaces <= frozenset(Space)


def test_reset_shows_a_screen(subject: Subject) -> None:
    first = subject.executor.reset()
    assert_seen(subject, first)
    assert_same(first, subject.executor.reset())


def test_looking_twice_shows_the_same(subject: Subject) -> None:
    assert_same(subject.executor.reset(), subject.executor.observe())
    assert_same(subject.executor.observe(), subject.executor.observe())


def test_actions_give_an_observation_of_the_same_kind(subject: Subject) -> None:
    size = subject.executor.reset().image_size
    for action in subject.actions:
        result = subject.executor.execute(action)
        assert isinstance(result, ExecutionResult)
        assert_seen(subject, result.observation)
        assert result.observation.image_size == size
        assert isinstance(result.had_effect, bool)
        assert isinstance(result.message, str)
    assert subject.executor.is_success() in (None, True, False)


def test_malformed_action_is_refused_and_changes_nothing(subject: Subject) -> None:
    first = subject.executor.reset()
    for action in FAULTY:
        if validate(action, need_targets=subject.needs_points) is None:
            continue  # a recording leads on whatever a click points at
        with pytest.raises(ExecutorError) as caught:
            subject.executor.execute(action)
        assert caught.value.boundary == "execute"
    assert_same(first, subject.executor.observe())


def test_action_of_another_device_is_refused_and_changes_nothing(subject: Subject) -> None:
    first = subject.executor.reset()
    foreign = [spec for spec in ACTIONS.values() if not spec.spaces & subject.executor.spaces]
    assert foreign
    for spec in foreign:
        action = Action(
            type=spec.name,
            **{arg.name: _SOME[arg.kind.value] for arg in spec.args if arg.required},
        )
        assert validate(action) is None
        with pytest.raises(ExecutorError, match=f"does not take {spec.name}") as caught:
            subject.executor.execute(action)
        assert caught.value.boundary == "execute"
    assert_same(first, subject.executor.observe())


def test_nothing_is_executed_after_a_terminal_action_until_reset(subject: Subject) -> None:
    first = subject.executor.reset()
    assert_seen(subject, subject.executor.execute(Action(type="finished")).observation)
    with pytest.raises(ExecutorError, match="ended") as caught:
        subject.executor.execute(subject.actions[0])
    assert caught.value.boundary == "execute"
    assert_same(first, subject.executor.reset())
    assert_seen(subject, subject.executor.execute(subject.actions[0]).observation)


def test_closing_twice_does_nothing(subject: Subject) -> None:
    subject.executor.reset()
    subject.executor.close()
    subject.executor.close()


_SOME = {
    "point": PointNorm(0.5, 0.5), "text": "a", "keys": "a", "direction": "down", "seconds": 0.0, "name": "app",
    "mapping": {},
}  # fmt: skip
