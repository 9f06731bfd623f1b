"""Replaying a recorded trajectory: its own screens, its verdict on the action, its end."""

from __future__ import annotations

import pytest

from executors.actions import Action, Space
from executors.errors import ExecutorError, InputError
from executors.replay import ReplayExecutor
from executors.trajectory import Observation, Step, Trajectory


def _trajectory(num_steps: int = 2, platform: str = "phone") -> Trajectory:
    kinds = ("press_home", "finished")
    steps = tuple(
        Step(observation=Observation(summary=f"screen {k}"), action=Action(type=kinds[k]), instruction="")
        for k in range(num_steps)
    )
    return Trajectory(id="t", goal="Go home.", steps=steps, source="test", platform=platform)


def test_any_action_leads_to_the_next_recorded_screen():
    device = ReplayExecutor(_trajectory())
    assert device.reset().summary == "screen 0"
    result = device.execute(Action(type="press_back"))
    assert result.observation.summary == "screen 1" and not result.had_effect
    assert "recorded action is press_home" in result.message and "screens are recorded" in result.message


def test_the_recorded_action_is_recognised():
    assert "press_home too" in ReplayExecutor(_trajectory()).execute(Action(type="press_home")).message


def test_the_recording_ends_after_its_last_step():
    device = ReplayExecutor(_trajectory())
    device.execute(Action(type="press_home"))
    device.execute(Action(type="wait"))
    assert device.is_done and device.observe().summary == "screen 1"
    with pytest.raises(ExecutorError, match="ended"):
        device.execute(Action(type="wait"))


def test_a_terminal_action_ends_the_replay():
    device = ReplayExecutor(_trajectory())
    device.execute(Action(type="finished"))
    assert device.is_done and device.is_success() is None


def test_spaces_follow_the_platform():
    assert ReplayExecutor(_trajectory(platform="desktop")).spaces == {Space.COMPUTER}
    assert ReplayExecutor(_trajectory(platform="")).spaces == set(Space)


def test_a_trajectory_without_steps_is_refused():
    with pytest.raises(InputError, match="no steps"):
        ReplayExecutor(_trajectory(0))
