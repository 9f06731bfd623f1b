"""What the oracle would do from here on: a reference for forecasts made in the middle of an episode."""

from __future__ import annotations

from executors.simulator.executor import SimulatorExecutor, apply_action
from executors.simulator.oracle import oracle_move
from executors.trajectory import Observation, Step


def oracle_continuation(device: SimulatorExecutor, num_steps: int) -> tuple[Step, ...]:
    """The oracle's next steps on a copy of the device's world, which stays as it is.

    Pop-ups yet to come are left out: nobody can foresee them. The steps' observations are empty: they are about
    screens that do not exist yet. Ends with the right terminal action, or earlier when something is lost for good, so
    that no way leads to the goal; empty when the episode has ended.

    Args:
        device: the running device.
        num_steps: most steps, at least 0.

    >>> from executors.simulator import make_task
    >>> device = SimulatorExecutor(make_task("alarm_on", "train", 0))
    >>> [step.action.type for step in oracle_continuation(device, 8)]
    ['left_double', 'click', 'finished']
    """
    steps: list[Step] = []
    if device.is_done:
        return ()
    world = device.world.copy()
    world.interruption_rate = 0.0
    while len(steps) < num_steps:
        try:
            move = oracle_move(world, device.task)
        except (AssertionError, AttributeError, KeyError):  # what a goal is about may have been deleted for good
            break
        if move.action.is_terminal and not device.is_right_ending(world, move.action.type):
            break  # the oracle has done what can still be done, which is not what the goal asks for
        steps.append(
            Step(observation=Observation(), action=move.action, instruction=move.instruction, target=move.target)
        )
        if move.action.is_terminal:
            break
        apply_action(world, move.action)
    return tuple(steps)
