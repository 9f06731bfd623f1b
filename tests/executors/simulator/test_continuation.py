"""The oracle's way from the middle of an episode."""

from __future__ import annotations

import pytest

from executors.actions import Action
from executors.simulator import SimulatorExecutor, list_tasks, make_task, record_episode
from executors.simulator.continuation import oracle_continuation


@pytest.mark.parametrize("template", [t.name for t in list_tasks("train")])
def test_it_is_what_the_oracle_does_without_interruptions(template: str) -> None:
    task = make_task(template, "train", 3)
    recorded = record_episode(task, interruption_rate=0.0, with_images=False)
    device = SimulatorExecutor(task, interruption_rate=0.0)
    for number, step in enumerate(recorded.steps):
        ahead = oracle_continuation(device, 6)
        wanted = recorded.steps[number : number + 6]
        assert [(s.action, s.instruction) for s in ahead] == [(s.action, s.instruction) for s in wanted]
        device.advance(step.action)
    assert oracle_continuation(device, 6) == ()


def test_the_device_stays_as_it_is() -> None:
    device = SimulatorExecutor(make_task("alarm_on", "train", 0), interruption_rate=1.0)
    before, chance = device.observe(), device.world.rng.getstate()
    oracle_continuation(device, 6)
    assert (device.observe(), device.world.rng.getstate()) == (before, chance)


def test_pop_ups_to_come_are_not_foretold() -> None:
    device = SimulatorExecutor(make_task("alarm_on", "train", 0), interruption_rate=1.0)
    assert not any("interruption" in step.flags for step in oracle_continuation(device, 6))
    assert oracle_continuation(device, 6)[-1].action == Action(type="finished")


def test_nothing_is_called_right_once_what_the_goal_needs_is_lost() -> None:
    device = SimulatorExecutor(make_task("alarm_on", "train", 0), interruption_rate=0.0)
    device.world.data["Clock"].records.clear()
    assert oracle_continuation(device, 6) == ()


@pytest.mark.parametrize("template", ["settings_toggle", "setting_missing"])
def test_no_ending_is_called_right_after_a_loss_in_another_app(template: str) -> None:
    device = SimulatorExecutor(make_task(template, "train", 0), interruption_rate=0.0)
    ahead = oracle_continuation(device, 20)
    device.world.data["Notes"].records.pop()
    assert ahead[-1].action.is_terminal and oracle_continuation(device, 20) == ahead[:-1]


def test_no_steps_asked_for_gives_none() -> None:
    assert oracle_continuation(SimulatorExecutor(make_task("alarm_on", "train", 0)), 0) == ()
