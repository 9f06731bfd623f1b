"""Tool tasks as a benchmark: a planner calls tools that really run, and its answer is compared with the known one.

Templates that cannot be run here, for want of a program or a library, are left out and named in the result. The
templates' oracles solve the same tasks, which gives reference trajectories.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from executors.errors import ExecutorError, InputError
from executors.tool_tasks import ToolTask, next_move, sample_tasks, usable_templates
from executors.trajectory import Trajectory
from training.benchmarks.episodes import episode_scores, success_by
from training.benchmarks.statistics import wilson_interval
from training.episode_record import EpisodeRecord
from training.forecast import Forecast, ForecastStep
from training.plan_act import Episode, run_batch
from training.planner import Planner, ReplayPlanner

MAX_STEPS = 12
"""Steps after which an episode counts as failed; the longest of the oracles takes 6 (ours)."""
ORACLE = "oracle"
"""Name of the planner that is no model but the tasks' own oracles."""


def evaluate(
    planner: Planner | None,
    split: str,
    num_episodes: int,
    seed: int,
    reactive: bool = False,
    *,
    batch_size: int = 16,
    max_steps: int = MAX_STEPS,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The scores of a planner on a split, as one JSON object.

    A tool that fails is told to the planner and counted in `tool_errors`, of whose share of the calls
    `tool_errors_ci95` is the interval (None without calls). A planner's server or a sandbox that fails is counted in
    `num_errors`, and the episode is wrong where it was not reached anyway.

    Args:
        planner: who is judged; None for the tasks' oracles.
        split: a split of the tool tasks.
        num_episodes: tasks, at least 1, balanced over the templates that can be run here.
        seed: seed of the tasks; the same seed gives the same tasks.
        reactive: ask for one step at a time.
        batch_size: episodes in step, so forecasts in one batch, at least 1.
        max_steps: steps after which an episode is stopped.
        on_progress: called with a line of text after each episode.

    Raises:
        InputError: an unknown split or a number that is not allowed.
    """
    if num_episodes < 1:
        raise InputError(f"number of episodes {num_episodes} is not allowed: give at least 1")
    started = time.perf_counter()
    _, left_out = usable_templates(split)
    tasks = sample_tasks(split, num_episodes, seed)
    if planner is None:
        records = [_report(run_oracle(task, max_steps=max_steps), on_progress) for task in tasks]
    else:
        with ExitStack() as stack:
            episodes = _episodes(planner, tasks, reactive, max_steps, stack)
            records = run_batch(
                episodes, planner, batch_size=batch_size, on_done=lambda episode: _end(episode, on_progress)
            )
    failed = [
        not step.had_effect for record in records for step in record.steps
        if step.error is None and step.action is not None and step.action.type == "tool_call"
    ]  # fmt: skip
    return {
        "benchmark": "tools",
        "planner": ORACLE if planner is None else planner.name,
        "split": split,
        "seed": seed,
        "mode": "reactive" if reactive or planner is None else "anticipatory",
        **episode_scores(records),
        "tool_calls": len(failed),
        "tool_errors": sum(failed),
        "tool_errors_ci95": [round(edge, 4) for edge in wilson_interval(sum(failed), len(failed))] if failed else None,
        "by_template": success_by([task.template.name for task in tasks], [r.success is True for r in records]),
        "left_out": left_out,
        "seconds": round(time.perf_counter() - started, 2),
    }


def _episodes(
    planner: Planner, tasks: tuple[ToolTask, ...], reactive: bool, max_steps: int, stack: ExitStack
) -> Iterator[Episode]:
    for task in tasks:
        executor = task.open()
        stack.callback(executor.close)  # also when something breaks off
        yield Episode(executor, planner, max_steps=max_steps, reactive=reactive, meta=task.meta)


def _end(episode: Episode, on_progress: Callable[[str], None] | None) -> None:
    episode.executor.close()
    _report(episode.record(), on_progress)


def _report(record: EpisodeRecord, on_progress: Callable[[str], None] | None) -> EpisodeRecord:
    if on_progress is not None:
        outcome = "success" if record.success else str(record.stop_reason)
        on_progress(f"{record.meta['task']} seed {record.meta['seed']}: {outcome} after {len(record.steps)} steps")
    return record


def run_oracle(task: ToolTask, *, max_steps: int = MAX_STEPS) -> EpisodeRecord:
    """One episode of a task by its oracle, with every call really made."""
    executor = task.open()
    episode = Episode(executor, None, max_steps=max_steps, reactive=True, meta=task.meta)
    try:
        episode.start()
        while not episode.is_done:
            try:
                if executor.calls and not (last := executor.calls[-1][1]).ok:
                    raise ExecutorError("plan", f"the oracle cannot go on: {last.text}")
                move = next_move(task, executor.calls)
            except ExecutorError as error:
                episode.take(error)
                continue
            thought = move.thought or episode.observation.summary
            episode.take(
                Forecast(steps=(ForecastStep(action=move.action, instruction=move.instruction),), thought=thought)
            )
            episode.act()
        return replace(episode.record(), planner=ORACLE)
    finally:
        executor.close()


def record_trajectories(
    split: str, num_episodes: int, seed: int, *, on_progress: Callable[[str], None] | None = None
) -> Iterator[Trajectory]:
    """The oracles' successful episodes on tasks of a split, one by one, as training takes them.

    Raises:
        InputError: an unknown split or a number that is not allowed.
    """
    if num_episodes < 1:
        raise InputError(f"number of episodes {num_episodes} is not allowed: give at least 1")
    for task in sample_tasks(split, num_episodes, seed):
        record = _report(run_oracle(task), on_progress)
        if record.success:
            yield to_trajectory(task, record)


def to_trajectory(task: ToolTask, record: EpisodeRecord) -> Trajectory:
    """The oracle's episode as training takes it."""
    return replace(record.to_trajectory(task.id), source="tools", split=task.split, licence="same as this project")


def oracle_planner(task: ToolTask) -> ReplayPlanner:
    """A planner that forecasts what the task's oracle does, which has solved the task once to know it.

    Raises:
        ExecutorError: at "plan", when the oracle cannot solve it here.
    """
    record = run_oracle(task)
    if not record.success:
        reason = "; ".join(record.errors) or "its answer is wrong"
        raise ExecutorError("plan", f"the oracle does not solve {task.id}: {reason}")
    return ReplayPlanner.of_trajectories([to_trajectory(task, record)], name=ORACLE)
