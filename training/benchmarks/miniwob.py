"""MiniWoB++ as a benchmark: a planner acts in the browser until the page ends the episode, and the page judges it.

Success is a raw reward of 1, without regard to time; the page's time limit is lifted. Both are told in the result. A
planner that stops before the page does is judged by what it has done so far. The oracles of executors.miniwob solve the
same episodes, which gives reference trajectories.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from executors.errors import ExecutorError, InputError
from executors.miniwob import MAX_SEED, ORACLES, MiniWobExecutor, check_task, oracle_move, put_in_words, task_names
from executors.simulator import describe
from executors.tool_agents import ElementTreeAgent, ToolAgent
from executors.trajectory import Step, Trajectory
from training.benchmarks.episodes import ORACLE, TaskResult, episode_scores, keep_tasks, success_by
from training.episode_record import EpisodeRecord
from training.forecast import Forecast, ForecastStep
from training.plan_act import Episode, run_batch
from training.planner import Planner

MAX_STEPS = 30
"""Steps after which an episode counts as failed; the longest of the oracles takes 22 (ours)."""
LICENCE = "MIT (MiniWoB++, Farama Foundation)"

RULES = {"success_rule": "raw reward of 1", "time_limit": "lifted", "data_mode": "train"}
"""What a result tells about how it was judged."""

OpenExecutor = Callable[[str, int], MiniWobExecutor]


def choose_tasks(names: str, *, with_oracle: bool = False) -> tuple[str, ...]:
    """The tasks of a comma-separated list, in its order; "all" is every task, or every one that has an oracle.

    Raises:
        InputError: a task is unknown or lacks the oracle, is named twice, or none is named.
    """
    if names.strip() == "all":
        return tuple(ORACLES) if with_oracle else task_names()
    chosen = tuple(check_task(name.strip()) for name in names.split(",") if name.strip())
    if not chosen:
        raise InputError("no MiniWoB++ task is named: give names separated by commas, or all")
    if len(set(chosen)) < len(chosen):
        raise InputError(f"MiniWoB++ tasks {names!r} name one twice: name each once")
    missing = [name for name in chosen if name not in ORACLES]
    if with_oracle and missing:
        raise InputError(f"MiniWoB++ task {missing[0]!r} has no oracle: choose some of {', '.join(ORACLES)}")
    return chosen


def evaluate(
    planner: Planner | None,
    tasks: Sequence[str],
    num_episodes: int,
    seed: int,
    reactive: bool = False,
    *,
    num_browsers: int = 1,
    max_steps: int = MAX_STEPS,
    tool_agent: ToolAgent | None = None,
    open_executor: OpenExecutor = MiniWobExecutor,
    out: Path | None = None,
    retries_failed: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The scores of a planner on tasks, as one JSON object.

    A failed server, tool agent or browser makes the episode wrong where it was not reached anyway, and is counted in
    `num_errors`; the next episode gets a fresh browser.

    Args:
        planner: who is judged; None for the tasks' oracles.
        tasks: see `choose_tasks`.
        num_episodes: episodes of each task, at least 1; the i-th has seed + i.
        seed: the first seed.
        reactive: ask for one step at a time.
        num_browsers: episodes in step, each in a browser of its own, so forecasts in one batch; at least 1.
        max_steps: steps after which an episode is stopped.
        tool_agent: who grounds; None takes the element tree's.
        open_executor: makes the browsers, from a task and a seed.
        out: folder that keeps each finished episode, for comparisons and to go on after a kill (training.benchmarks.
            episodes); None keeps nothing.
        retries_failed: do tasks of the folder anew that errors ended.
        on_progress: called with a line of text after each episode.

    Raises:
        InputError: a number that is not allowed, a task without an oracle where that is asked, or the folder is another
            evaluation's.
        OutputError: the folder cannot be written.
    """
    _check_numbers(num_episodes, seed)
    started = time.perf_counter()
    jobs = {f"{task}/{seed + i}": (task, seed + i) for task in tasks for i in range(num_episodes)}
    kept = keep_tasks(
        out, planner, jobs, data=f"miniwob, {len(tasks)} tasks, {num_episodes} episodes each, seed {seed}",
        tool_agent=(tool_agent or ElementTreeAgent()).name, reactive=reactive,
        source="MiniWoB++ " + version("miniwob"), seed=seed, max_steps=max_steps, **RULES,
    )  # fmt: skip
    missing = kept.missing(jobs, retries_failed=retries_failed)
    run_jobs(
        planner, missing, reactive, num_browsers=num_browsers, max_steps=max_steps, tool_agent=tool_agent,
        open_executor=open_executor, on_progress=on_progress, on_done=lambda record: kept.add(_task_result(record)),
    )  # fmt: skip
    results = kept.finish(jobs)
    seconds = time.perf_counter() - started
    return {
        "benchmark": "miniwob",
        "planner": kept.settings["planner"],
        "seed": seed,
        "mode": kept.settings["mode"],
        **episode_scores(results),
        "by_task": success_by([result.group for result in results], [result.is_success for result in results]),
        "episodes_per_task": num_episodes,
        **RULES,
        "miniwob_version": version("miniwob"),
        "seconds": round(seconds, 2),
    }


def run_jobs(
    planner: Planner | None,
    jobs: Sequence[tuple[str, int]],
    reactive: bool = False,
    *,
    num_browsers: int = 1,
    max_steps: int = MAX_STEPS,
    tool_agent: ToolAgent | None = None,
    open_executor: OpenExecutor = MiniWobExecutor,
    on_progress: Callable[[str], None] | None = None,
    on_done: Callable[[EpisodeRecord], None] | None = None,
) -> list[EpisodeRecord]:
    """The episodes of these (task, seed), in their order; see `evaluate`. `on_done` is called as each ends."""

    def report(record: EpisodeRecord) -> EpisodeRecord:
        if on_done is not None:
            on_done(record)
        return _report(record, on_progress)

    with _Browsers(num_browsers if planner else 1, open_executor) as browsers:
        if planner is None:
            return [report(browsers.run_oracle(*job, max_steps)) for job in jobs]
        return _run_planner(planner, jobs, browsers, reactive, max_steps, tool_agent, report)


def record_trajectories(
    tasks: Sequence[str],
    num_episodes: int,
    seed: int,
    split: str = "train",
    *,
    open_executor: OpenExecutor = MiniWobExecutor,
    on_progress: Callable[[str], None] | None = None,
) -> Iterator[Trajectory]:
    """The oracles' successful episodes, one by one, as training takes them; a step's thought is its screen in words.

    Args:
        tasks: tasks with an oracle.
        num_episodes: episodes of each task, at least 1.
        seed: the first seed of each.
        split: what the trajectories are for.
        open_executor: makes the browser, from a task and a seed.
        on_progress: called with a line of text after each episode, failed ones included.

    Raises:
        InputError: a number is not allowed, or a task has no oracle.
    """
    _check_numbers(num_episodes, seed)
    with _Browsers(1, open_executor) as browsers:
        for task in tasks:
            for number in range(seed, seed + num_episodes):
                record = _report(browsers.run_oracle(task, number, MAX_STEPS), on_progress)
                if record.success:
                    yield _to_trajectory(record, split)


def run_oracle(executor: MiniWobExecutor, max_steps: int = MAX_STEPS) -> EpisodeRecord:
    """One episode of the task that the executor has chosen, by its oracle; raises InputError when it has none."""
    episode = Episode(executor, None, max_steps=max_steps, reactive=True, meta=_meta(executor))
    episode.start()
    while not episode.is_done:
        try:
            move = oracle_move(executor.task, executor.tree())
        except ExecutorError as error:
            episode.take(error)
            continue
        step = ForecastStep(action=move.action, instruction=put_in_words(move, episode.observation))
        episode.take(Forecast(steps=(step,)))
        episode.act()
    return replace(episode.record(), planner=ORACLE)


def _run_planner(
    planner: Planner, jobs: Sequence[tuple[str, int]], browsers: _Browsers, reactive: bool, max_steps: int,
    tool_agent: ToolAgent | None, report: Callable[[EpisodeRecord], EpisodeRecord],
) -> list[EpisodeRecord]:  # fmt: skip
    def episodes() -> Iterator[Episode]:
        for job in jobs:
            executor = browsers.take(*job)
            yield Episode(executor, planner, tool_agent=tool_agent, max_steps=max_steps, reactive=reactive,
                          meta=_meta(executor))  # fmt: skip

    def end(episode: Episode) -> None:
        browsers.give_back(episode.executor, is_sound=not episode.num_errors)
        report(episode.record())

    return run_batch(episodes(), planner, batch_size=browsers.num, on_done=end)


class _Browsers:
    """Browsers that are used again and again, opened when they are first needed."""

    def __init__(self, num: int, open_executor: OpenExecutor) -> None:
        if num < 1:
            raise InputError(f"number of browsers {num} is not allowed: give at least 1")
        self.num, self._open = num, open_executor
        self._all: list[MiniWobExecutor] = []
        self._free: list[MiniWobExecutor] = []

    def __enter__(self) -> _Browsers:
        return self

    def __exit__(self, *_: object) -> None:
        for executor in self._all:
            executor.close()

    def take(self, task: str, seed: int) -> MiniWobExecutor:
        """One that is free, with the task chosen."""
        if self._free:
            executor = self._free.pop()
            executor.choose(task, seed)
        else:
            executor = self._open(task, seed)
            self._all.append(executor)
        return executor

    def give_back(self, executor: MiniWobExecutor, *, is_sound: bool) -> None:
        """Its episode has ended; one in which something failed is not used again."""
        if is_sound:
            self._free.append(executor)
        else:
            self._all.remove(executor)
            executor.close()

    def run_oracle(self, task: str, seed: int, max_steps: int) -> EpisodeRecord:
        """An oracle's episode in one of them."""
        executor = self.take(task, seed)
        record = run_oracle(executor, max_steps)
        self.give_back(executor, is_sound=not record.num_errors)
        return record


def _check_numbers(num_episodes: int, seed: int) -> None:
    if num_episodes < 1:
        raise InputError(f"number of episodes {num_episodes} is not allowed: give at least 1")
    if not 0 <= seed <= MAX_SEED - num_episodes:
        raise InputError(f"seed {seed} is not allowed: give 0..{MAX_SEED - num_episodes}")


def _meta(executor: MiniWobExecutor) -> dict[str, Any]:
    return {"task": executor.task, "seed": executor.seed, **RULES}


def _task_result(record: EpisodeRecord) -> TaskResult:
    task = record.meta["task"]
    return TaskResult.of(f"{task}/{record.meta['seed']}", task, record, float(record.success is True),
                         slices={"platform": record.platform})  # fmt: skip


def _report(record: EpisodeRecord, on_progress: Callable[[str], None] | None) -> EpisodeRecord:
    if on_progress is not None:
        outcome = "success" if record.success else str(record.stop_reason)
        on_progress(f"{record.meta['task']} seed {record.meta['seed']}: {outcome} after {len(record.steps)} steps")
    return record


def _to_trajectory(record: EpisodeRecord, split: str) -> Trajectory:
    made = record.to_trajectory(f"miniwob/{record.meta['task']}/{record.meta['seed']}")
    steps = tuple(_with_thought(step) for step in made.steps)
    return replace(made, steps=steps, source="miniwob", split=split, licence=LICENCE)


def _with_thought(step: Step) -> Step:
    return replace(step, thought=describe(step.observation))
