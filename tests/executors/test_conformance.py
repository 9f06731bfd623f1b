"""Simulator and replay keep what every executor promises; devices' own test modules do the same."""

from __future__ import annotations

import pytest

from executors.actions import Action
from executors.geometry import PointNorm
from executors.replay import ReplayExecutor
from executors.simulator import SimulatorExecutor, record_episode, sample_tasks
from tests.executors.conformance import *  # noqa: F403
from tests.executors.conformance import Subject

MIDDLE = PointNorm(0.5, 0.5)
PHONE = [
    Action(type="click", point=MIDDLE), Action(type="long_press", point=MIDDLE), Action(type="press_home"),
    Action(type="scroll", direction="down"), Action(type="type", content="a <b> é 你好"), Action(type="press_back"),
    Action(type="drag", start_point=MIDDLE, end_point=PointNorm(0.5, 0.2)), Action(type="wait", seconds=0.0),
]  # fmt: skip
DESKTOP = [
    Action(type="click", point=MIDDLE), Action(type="left_double", point=MIDDLE), Action(type="hover", point=MIDDLE),
    Action(type="right_single", point=MIDDLE), Action(type="hotkey", key="escape"), Action(type="wait", seconds=0.0),
]  # fmt: skip


@pytest.fixture(params=["phone", "desktop"])
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["simulator", "replay", "replay without pictures"])
def subject(request: pytest.FixtureRequest, form: str) -> Subject:
    task = next(task for task in sample_tasks("test", 40, 5) if task.form == form)
    actions = PHONE if form == "phone" else DESKTOP
    if request.param == "simulator":
        return Subject(SimulatorExecutor(task), actions)
    has_screenshots = request.param == "replay"
    trajectory = record_episode(task, with_images=has_screenshots, mistake_rate=0.0)
    passed = actions[: len(trajectory.steps) - 1]
    return Subject(ReplayExecutor(trajectory), passed, has_screenshots, needs_points=False)
