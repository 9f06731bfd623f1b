"""Recorded episodes: the oracle at work, with chance interruptions and, where wanted, mistakes it recovers from."""

from __future__ import annotations

import random
from collections.abc import Iterator

from executors.actions import Action
from executors.errors import InputError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.simulator import vocab
from executors.simulator.apps import APPS
from executors.simulator.describe import describe
from executors.simulator.executor import SimulatorExecutor, apply_action, draw_world
from executors.simulator.oracle import MEMORY_STEPS, Move, oracle_move
from executors.simulator.render import Drawing
from executors.simulator.tasks.base import Task
from executors.simulator.widgets import DESKTOP, FORM_SIZES_PX
from executors.simulator.world import World
from executors.trajectory import Step, Trajectory

_HARMLESS_OPS = ("goto", "tab", "focus", "options", "cancel", "accept", "select", "ask_delete")
"""Operations that change what is shown or drafted, and no data."""


def harmless_mistake(world: World, rng: random.Random, right: Action | None) -> Move | None:
    """A wrong action that changes no data: another element, a scroll, a wrong word in the focused field.

    Apps that are held out are never opened.

    Args:
        world: the present world, which is not changed.
        rng: the source of chance.
        right: the right action, which is never returned; None when there is none.

    Returns:
        The mistake, or None when the screen offers none.
    """
    moves = [m for m in _candidates(world, rng) if right is None or m.action != right]
    return rng.choice(moves) if moves else None


def _candidates(world: World, rng: random.Random) -> list[Move]:
    size = ImageSize(*FORM_SIZES_PX[world.look.form])
    moves = []
    for placed in world.placed:
        widget, box = placed.widget, BoxNorm.from_px(*placed.box, size)
        if widget.op is None:
            continue
        verb, kind, op = "tap", "click", widget.op[0]
        if op == "open":
            if APPS[widget.op[1]].is_held_out:
                continue
            if world.look.form == DESKTOP:
                verb, kind = "double click", "left_double"
        elif op not in _HARMLESS_OPS:
            continue
        moves.append(Move(Action(type=kind, point=box.center), f'{verb} the "{widget.label}" {widget.role}', box))
    for direction in ("down", "up"):
        if world.copy().scroll(direction):
            action = Action(type="scroll", point=PointNorm(0.5, 0.5), direction=direction)
            moves.append(Move(action, f"scroll {direction}"))
    if world.overlay is None and world.stack and world.tip is None and world.frame.focus is not None:
        word = rng.choice(vocab.THINGS)
        moves.append(Move(Action(type="type", content=word), f'type "{word}"'))
    return moves


def is_carrying(world: World) -> bool:
    """True while a reading noted on leaving its page may still have to be typed; a mistake could lose it."""
    return any(world.num_steps - left_at <= MEMORY_STEPS for left_at in world.noted.values())


def record_episode(
    task: Task,
    seed: int = 0,
    *,
    interruption_rate: float = 0.05,
    mistake_rate: float = 0.0,
    start_perturbation: int = 0,
    max_steps: int = 40,
    with_images: bool = True,
) -> Trajectory:
    """The oracle's trajectory of a task.

    Steps that answer an interruption are flagged "interruption", inserted mistakes "incorrect"; the steps that
    recover from a mistake are ordinary. The thought of every step is the screen in words.

    Args:
        task: the task.
        seed: seeds interruptions, mistakes and the perturbation; 0 meets the interruptions that a
            `SimulatorExecutor` meets by default.
        interruption_rate: as of `SimulatorExecutor`.
        mistake_rate: chance 0..1 that a step is a harmless mistake instead of the oracle's (never two in a row, and
            never while a reading is carried from one app to another).
        start_perturbation: how many random harmless actions come before the recording.
        max_steps: the episode is cut off here, which counts as a failure.
        with_images: False records no screenshots.

    Returns:
        A trajectory whose outcome is "success", "impossible" (rightly declared so) or "failure".

    Raises:
        InputError: a rate outside 0..1.
    """
    if not 0.0 <= mistake_rate <= 1.0:
        raise InputError(f"mistake_rate {mistake_rate} is not allowed: give a probability 0..1")
    device = SimulatorExecutor(task, interruption_rate=interruption_rate, noise_seed=seed)
    rng = random.Random(f"{task.chance_seed}|record|{seed}")
    for _ in range(start_perturbation):
        mistake = harmless_mistake(device.world, rng, None)
        if mistake is not None:
            apply_action(device.world, mistake.action)
    device.world.forget()
    steps: list[Step] = []
    was_mistake = False
    while len(steps) < max_steps and not device.is_done:
        move, flags = oracle_move(device.world, task), frozenset()
        if move.is_interruption:
            flags = frozenset({"interruption"})
        may_err = not (was_mistake or move.action.is_terminal or is_carrying(device.world))
        was_mistake = may_err and rng.random() < mistake_rate
        if was_mistake:
            mistake = harmless_mistake(device.world, rng, move.action)
            if mistake is not None:
                move, flags = mistake, frozenset({"incorrect"})
        observation = device.observe(with_image=with_images)
        steps.append(
            Step(
                observation=observation,
                action=move.action,
                instruction=move.instruction,
                thought=describe(observation),
                target=move.target,
                flags=flags,
            )
        )
        device.advance(move.action)
    outcome = "failure"
    if device.is_success():
        outcome = "impossible" if task.is_impossible else "success"
    return Trajectory(
        id=f"{task.id}-{seed}",
        goal=task.goal,
        steps=tuple(steps),
        source="simulator",
        platform=task.form,
        split=task.split,
        licence="same as this project",
        outcome=outcome,
        meta={
            "template": task.template.name,
            "level": task.level,
            "seed": task.seed,
            "noise_seed": seed,
            "form": task.form,
            "apps": list(task.template.apps),
            "split": task.split,
            "layout": task.look.layout.name,
            "theme": task.look.theme.name,
        },
    )


def record_drawings(task: Task, seed: int = 0, *, interruption_rate: float = 0.05, mistake_rate: float = 0.0
                    ) -> Iterator[Drawing]:
    """The screenshots of `record_episode` with the same arguments, each with the texts that are written on it."""
    rates = {"interruption_rate": interruption_rate, "mistake_rate": mistake_rate}
    device = SimulatorExecutor(task, interruption_rate=interruption_rate, noise_seed=seed)
    device.world.forget()
    for step in record_episode(task, seed, **rates, with_images=False).steps:
        yield draw_world(device.world)
        device.advance(step.action)
