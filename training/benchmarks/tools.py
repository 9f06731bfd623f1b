"""Tool tasks as a benchmark: a planner calls tools that really run, and its answer is compared with the known one.

Templates that cannot be run here, for want of a program or a library, are left out and named in the result. The
templates' oracles solve the same tasks, which gives reference trajectories.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from executors.errors import ExecutorError, InputError
from executors.tool_tasks import ToolTask, next_move, sample_tasks, task_of_meta, usable_templates
from executors.trajectory import Trajectory
from training.benchmarks.episodes import ORACLE, TaskResult, episode_scores, keep_tasks, success_by
from training.benchmarks.statistics import wilson_interval
from training.episode_record import EpisodeRecord, StopReason
from training.forecast import Forecast, ForecastStep
from training.plan_act import Episode, run_batch
from training.planner import Planner, ReplayPlanner

MAX_STEPS = 12
"""Steps after which an episode counts as failed; the longest of the oracles takes 6 (ours)."""


def evaluate(
    planner: Planner | None,
    split: str,
    num_episodes: int,
    seed: int,
    reactive: bool = False,
    *,
    batch_size: int = 16,
    max_steps: int = MAX_STEPS,
    out: Path | None = None,
    retries_failed: bool = False,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any] | None:
    """The scores of a planner on a split, as one JSON object; None when it was stopped before all tasks were done.

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
        out: folder that keeps each finished task, for comparisons and to go on after a kill (training.benchmarks.
            episodes); None keeps nothing.
        retries_failed: do tasks of the folder anew that errors ended.
        should_stop: asked before every round; episodes that it ends are not kept.
        on_progress: called with a line of text after each episode.

    Raises:
        InputError: an unknown split or a number that is not allowed, or the folder is another evaluation's.
        OutputError: the folder cannot be written.
    """
    if num_episodes < 1:
        raise InputError(f"number of episodes {num_episodes} is not allowed: give at least 1")
    started = time.perf_counter()
    _, left_out = usable_templates(split)
    tasks = {task.id: task for task in sample_tasks(split, num_episodes, seed)}
    kept = keep_tasks(
        out, planner, tasks, data=f"tools/{split}, {num_episodes} tasks, seed {seed}", tool_agent="none",
        reactive=reactive, split=split, seed=seed, max_steps=max_steps,
    )  # fmt: skip

    def keep(record: EpisodeRecord) -> None:
        if record.stop_reason is StopReason.STOPPED:
            return
        kept.add(_task_result(record))
        _report(record, on_progress)

    missing = kept.missing(tasks, retries_failed=retries_failed)
    if planner is None:
        for task in missing:
            if should_stop is not None and should_stop():
                break
            keep(run_oracle(task, max_steps=max_steps))
    else:
        with ExitStack() as stack:
            episodes = _episodes(planner, missing, reactive, max_steps, stack)
            run_batch(episodes, planner, batch_size=batch_size, on_done=lambda episode: _end(episode, keep),
                      should_stop=should_stop)  # fmt: skip
    if kept.missing(tasks):
        return None
    results = kept.finish(tasks)
    num_calls, num_failed = (sum(getattr(r, name) for r in results) for name in ("num_actions", "num_without_effect"))
    return {
        "benchmark": "tools",
        "planner": kept.settings["planner"],
        "split": split,
        "seed": seed,
        "mode": kept.settings["mode"],
        **episode_scores(results),
        "tool_calls": num_calls,
        "tool_errors": num_failed,
        "tool_errors_ci95": [round(edge, 4) for edge in wilson_interval(num_failed, num_calls)] if num_calls else None,
        "by_template": success_by([result.group for result in results], [result.is_success for result in results]),
        "left_out": left_out,
        "seconds": round(time.perf_counter() - started, 2),
    }


def _episodes(
    planner: Planner, tasks: Sequence[ToolTask], reactive: bool, max_steps: int, stack: ExitStack
) -> Iterator[Episode]:
    for task in tasks:
        executor = task.open()
        stack.callback(executor.close)  # also when something breaks off
        yield Episode(executor, planner, max_steps=max_steps, reactive=reactive, meta=task.meta)


def _end(episode: Episode, keep: Callable[[EpisodeRecord], None]) -> None:
    episode.executor.close()
    keep(episode.record())


def _task_result(record: EpisodeRecord) -> TaskResult:
    task, score = task_of_meta(record.meta), float(record.success is True)
    slices = {"split": task.split, "platform": record.platform}
    return TaskResult.of(task.id, task.template.name, record, score, slices=slices)


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
