"""The embedded world as a benchmark: task success on fresh tasks, and how far ahead the forecasts are right.

Two measurements on the same tasks:

1. Success, on-policy: the planner acts until it ends the episode, `max_steps` is reached or too much has failed.
2. Forecast accuracy at lookahead t, offline: at every state of the oracle's trajectory of a task the planner
   forecasts, and its t-th step is compared with the oracle's t-th step from there, so all planners are asked about
   the same states. A step is right when, grounded by the element tree on the screen on which the oracle takes it, it
   earns Stage 2's reward (training.rewards.grounded_reward). States past the oracle's end are not counted; a forecast
   that is too short is wrong there. Interruptions cannot be foreseen and are left out of the future.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from executors.errors import ExecutorError, InputError
from executors.simulator import SimulatorExecutor, Task, record_episode, sample_tasks
from executors.tool_agents import ElementTreeAgent, ToolAgent
from executors.trajectory import Step
from training.benchmarks.episodes import TaskResult, episode_scores, keep_tasks, rate, success_by
from training.config import Stage2Config
from training.episode_record import EpisodeRecord, StopReason
from training.forecast import Forecast
from training.plan_act import Episode, run_batch
from training.planner import Planner, PlanRequest, forecast_each
from training.prompts import HistoryItem
from training.rewards import grounded_reward
from training.samples import spaces_of

MAX_STEPS = 30
"""Steps after which an episode counts as failed; the longest trajectories of the oracle take 22 (ours)."""
POINT_TOLERANCE = Stage2Config.__dataclass_fields__["point_tolerance"].default
_NUM_LOOKAHEAD_STATES = 512


def evaluate(
    planner: Planner,
    split: str,
    num_episodes: int,
    seed: int,
    reactive: bool = False,
    *,
    batch_size: int = 16,
    max_steps: int = MAX_STEPS,
    interruption_rate: float = 0.05,
    tool_agent: ToolAgent | None = None,
    with_forecast_accuracy: bool = True,
    out: Path | None = None,
    retries_failed: bool = False,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any] | None:
    """The scores of a planner on a split, as one JSON object; None when it was stopped before all tasks were done.

    A failed planner server, tool agent or device makes the episode wrong where it was not reached anyway, and is
    counted in `num_errors`.

    Args:
        planner: who is judged.
        split: a split of the simulator.
        num_episodes: tasks, at least 1, balanced over the split's templates.
        seed: seed of the tasks; the same seed gives the same tasks and the same interruptions.
        reactive: ask for one step at a time.
        batch_size: episodes in step, so forecasts in one batch, at least 1.
        max_steps: steps after which an episode is stopped.
        interruption_rate: of the simulator, 0..1.
        tool_agent: who grounds; None takes the element tree's.
        with_forecast_accuracy: also measure the second part.
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
    tasks = sample_tasks(split, num_episodes, seed)
    by_id = {task.id: task for task in tasks}
    kept = keep_tasks(
        out, planner, by_id, data=f"simulator/{split}, {num_episodes} tasks, seed {seed}",
        tool_agent=(tool_agent or _AGENT).name, reactive=reactive, split=split, seed=seed, max_steps=max_steps,
        interruption_rate=interruption_rate,
    )  # fmt: skip
    missing = kept.missing(by_id, retries_failed=retries_failed)
    run_tasks(
        planner, missing, reactive, batch_size, max_steps, interruption_rate, tool_agent, on_progress,
        on_done=lambda task, record: kept.add(_task_result(task, record)), should_stop=should_stop,
    )  # fmt: skip
    if kept.missing(by_id):
        return None
    results = kept.finish(task.id for task in tasks)
    is_success = [result.is_success for result in results]
    result: dict[str, Any] = {
        "benchmark": "simulator",
        "planner": planner.name,
        "split": split,
        "seed": seed,
        "mode": "reactive" if reactive else "anticipatory",
        **episode_scores(results),
        "by_level": success_by([str(task.level) for task in tasks], is_success),
        "by_template": success_by([task.template.name for task in tasks], is_success),
    }
    if with_forecast_accuracy:
        _progress(on_progress, "measuring forecast accuracy on the oracle's trajectories")
        accuracy, num_errors = forecast_accuracy(
            planner,
            tasks,
            horizon=1 if reactive else planner.config.horizon,
            seed=seed,
            batch_size=batch_size,
            interruption_rate=interruption_rate,
        )
        result["forecast_accuracy"] = accuracy
        result["num_errors"] += num_errors
    result["seconds"] = round(time.perf_counter() - started, 2)
    return result


def run_tasks(
    planner: Planner,
    tasks: Sequence[Task],
    reactive: bool = False,
    batch_size: int = 16,
    max_steps: int = MAX_STEPS,
    interruption_rate: float = 0.05,
    tool_agent: ToolAgent | None = None,
    on_progress: Callable[[str], None] | None = None,
    on_done: Callable[[Task, EpisodeRecord], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[EpisodeRecord]:
    """The planner's episodes of these tasks, in their order; see `evaluate`.

    `on_done` is called as each ends, but not with those that `should_stop` ended.
    """
    episodes = (
        Episode(
            SimulatorExecutor(task, interruption_rate=interruption_rate),
            planner,
            tool_agent=tool_agent,
            max_steps=max_steps,
            reactive=reactive,
            meta={"template": task.template.name, "level": task.level, "task_seed": task.seed, "split": task.split},
        )
        for task in tasks
    )
    num_done = 0

    def report(episode: Episode) -> None:
        nonlocal num_done
        if episode.stop_reason is StopReason.STOPPED:
            return
        num_done += 1
        outcome = "success" if episode.success else str(episode.stop_reason)
        name = episode.meta["template"]
        _progress(on_progress, f"{num_done}/{len(tasks)} {name}: {outcome} after {len(episode.steps)} steps")
        if on_done is not None:
            on_done(episode.executor.task, episode.record())

    return run_batch(episodes, planner, batch_size=batch_size, on_done=report, should_stop=should_stop)


def _task_result(task: Task, record: EpisodeRecord) -> TaskResult:
    slices = {"difficulty": str(task.level), "split": task.split, "platform": record.platform}
    return TaskResult.of(task.id, task.template.name, record, float(record.success is True), slices=slices)


def _progress(on_progress: Callable[[str], None] | None, line: str) -> None:
    if on_progress is not None:
        on_progress(line)


def forecast_accuracy(
    planner: Planner,
    tasks: Sequence[Task],
    *,
    horizon: int,
    seed: int,
    batch_size: int = 16,
    interruption_rate: float = 0.05,
    max_states: int = _NUM_LOOKAHEAD_STATES,
) -> tuple[dict[str, dict[str, Any]], int]:
    """({lookahead: {"accuracy", "num"}}, failures of the planner's server); see the module's second measurement.

    Args:
        planner: who is judged.
        tasks: whose oracle trajectories are the reference.
        horizon: T, the farthest lookahead.
        seed: seed of the draw of states, where there are more than `max_states`.
        batch_size: forecasts asked for at once.
        interruption_rate: of the recorded trajectories.
        max_states: most states that are asked about.
    """
    trajectories = [record_episode(task, interruption_rate=interruption_rate) for task in tasks]
    states = [(trajectory, n) for trajectory in trajectories for n in range(len(trajectory.steps))]
    if len(states) > max_states:
        chosen = sorted(random.Random(seed).sample(range(len(states)), max_states))
        states = [states[i] for i in chosen]
    hits: dict[int, list[bool]] = {t: [] for t in range(1, horizon + 1)}
    num_errors = 0
    for start in range(0, len(states), batch_size):
        batch = states[start : start + batch_size]
        requests = [
            PlanRequest(
                goal=trajectory.goal,
                history=tuple(HistoryItem.of_step(step) for step in trajectory.steps[:n]),
                observation=trajectory.steps[n].observation,
                spaces=spaces_of(trajectory.platform),
                horizon=horizon,
            )
            for trajectory, n in batch
        ]
        for (trajectory, n), result in zip(batch, forecast_each(planner, requests), strict=True):
            if isinstance(result, ExecutorError):
                num_errors += 1
                result = Forecast(steps=())
            for t, is_right in enumerate(step_hits(result, trajectory.steps[n:], horizon), start=1):
                hits[t].append(is_right)
    return {str(t): {"accuracy": rate(flags), "num": len(flags)} for t, flags in hits.items()}, num_errors


def step_hits(forecast: Forecast, reference: Sequence[Step], horizon: int) -> list[bool]:
    """Whether each forecast step is the reference's, one entry per reference step within the horizon.

    Args:
        forecast: the forecast at the first reference step's state.
        reference: the recorded steps from that state on, with their screens; later interruptions are skipped.
        horizon: most entries.

    >>> from executors.trajectory import Action, Observation
    >>> done = Step(observation=Observation(), action=Action(type="finished"), instruction="done")
    >>> step_hits(Forecast(steps=()), [done], 6)
    [False]
    """
    future = [step for n, step in enumerate(reference) if n == 0 or "interruption" not in step.flags][:horizon]
    hits = []
    for t, wanted in enumerate(future):
        step = forecast.steps[t] if t < len(forecast.steps) else None
        if step is None:
            hits.append(False)
            continue
        try:
            grounding = _AGENT.ground(wanted.observation, step.action, step.instruction)
        except ExecutorError:  # a recorded screen without elements cannot tell: the step does not count as right
            hits.append(False)
            continue
        hits.append(grounded_reward(grounding, wanted, POINT_TOLERANCE) == 1.0)
    return hits


_AGENT = ElementTreeAgent()
