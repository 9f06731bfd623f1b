"""Tasks of an outside benchmark done one by one in live worlds: several worlds at once, resumed after a kill, and the
results in the form of every other evaluation.

| file | what |
|---|---|
| evaluation.json | the settings; a run with other settings is refused |
| tasks.jsonl | one line per finished task, on the disk before the next begins |
| results.PROTOCOL.AGENT.jsonl, summary.PROTOCOL.AGENT.json | what comparisons read (training.benchmarks.evaluation) |

A task that was under way when the process ended is done anew. A task that errors ended counts as wrong, with its errors
beside; it is done anew only where that is asked for.
"""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from executors.actions import Action
from executors.device import StopSignal
from executors.errors import InputError
from training.benchmarks.episodes import rate as share
from training.benchmarks.evaluation import Evaluation, Sample, StepResult, open_folder, save_results
from training.benchmarks.journal import Journal
from training.benchmarks.metrics import rate
from training.benchmarks.offline import config_to_json
from training.benchmarks.protocols.base import Outcome, Prediction, StepScore
from training.benchmarks.statistics import clustered_rate_interval
from training.config import ForecastConfig
from training.episode_record import EpisodeRecord, StopReason
from training.forecast import Forecast
from training.planner import Planner, PlanRequest

_OUTCOMES = {
    StopReason.EXECUTOR_ERROR: Outcome.FAILED, StopReason.PARSE_FAILURE: Outcome.UNREADABLE,
    StopReason.NOT_GROUNDED: Outcome.NOT_GROUNDED,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What came of one task.

    `score` is the world's judgement 0..1, 0 where it could not be asked. `num_without_effect` counts actions that
    changed no pixel. `last_forecast` is the planner's last reply, `last_action` the last that was carried out.
    """

    id: str
    group: str
    goal: str
    score: float
    stop_reason: str
    num_steps: int
    num_errors: int
    num_forecasts: int
    num_unreadable: int
    num_without_effect: int
    seconds: float
    errors: tuple[str, ...] = ()
    last_forecast: Mapping[str, Any] | None = None
    last_action: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls, id: str, group: str, record: EpisodeRecord, score: float | None, seconds: float,
        later_errors: Sequence[str] = (),
    ) -> TaskResult:  # fmt: skip
        """The result of an episode; `later_errors` came after it, when its world was tidied up."""
        forecasts = [step.forecast for step in record.steps if step.forecast is not None]
        acted = [step for step in record.steps if step.action is not None and step.error is None]
        return cls(
            id=id,
            group=group,
            goal=record.goal,
            score=score or 0.0,
            stop_reason=str(record.stop_reason),
            num_steps=len(record.steps),
            num_errors=record.num_errors + len(later_errors),
            num_forecasts=len(forecasts),
            num_unreadable=sum(forecast.first is None for forecast in forecasts),
            num_without_effect=sum(not step.had_effect and not step.action.is_terminal for step in acted),
            seconds=round(seconds, 2),
            errors=(*record.errors, *later_errors),
            last_forecast=forecasts[-1].to_json() if forecasts else None,
            last_action=acted[-1].action.to_json() if acted else None,
        )

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TaskResult:
        """The result of a journal's line."""
        return cls(**{**record, "errors": tuple(record["errors"])})

    @property
    def is_failed(self) -> bool:
        """True when errors ended it."""
        return self.stop_reason == StopReason.EXECUTOR_ERROR

    @property
    def line(self) -> str:
        """One line for a person."""
        errors = f", {self.num_errors} errors" if self.num_errors else ""
        return f"{self.id}: {self.score:g} ({self.stop_reason}) after {self.num_steps} steps{errors}"


class World(Protocol):
    """One world that does one task after another, on one thread."""

    def run(self, task: Any) -> TaskResult:
        """Does a task; a failed device, planner or tool agent is in the result."""
        ...

    def close(self) -> None:
        """Lets go of the world."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What is evaluated: the name of the rules and their version, the data in words, and what identifies them.

    `details` are further settings that a run must share to be gone on with.
    """

    protocol: str
    version: int
    data: str
    data_hash: str
    source: str
    details: Mapping[str, Any]


def evaluate_live(
    benchmark: Benchmark,
    tasks: Mapping[str, Any],
    planner: Planner,
    make_worlds: Sequence[Callable[[StopSignal], World]],
    out: Path,
    *,
    tool_agent: str,
    planner_name: str,
    reactive: bool = False,
    retries_failed: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Does the tasks that are missing in the folder and returns the figures of all as one JSON object.

    Args:
        benchmark: what the tasks are of.
        tasks: by id, in order.
        planner: who is judged.
        make_worlds: makes the worlds, each called on the thread that uses it, with the signal that ends acting.
        out: the folder of the evaluation.
        tool_agent: name of who grounds.
        planner_name: how the planner was named.
        reactive: one step is asked for at a time.
        retries_failed: do tasks that errors ended anew.
        on_progress: called with a line of text after each task.

    Raises:
        InputError: the folder is another evaluation's, or a world cannot be opened at all.
        OutputError: the folder cannot be written.
    """
    config: ForecastConfig = planner.config
    settings = {
        "data": benchmark.data,
        "data_hash": benchmark.data_hash,
        "datasets": [benchmark.protocol],
        "level": "high",
        "planner": planner_name,
        "mode": "reactive" if reactive else "anticipatory",
        "horizon": 1 if reactive else config.horizon,
        "config": config_to_json(config),
        "tool_agent": tool_agent,
        "is_live": True,
        **benchmark.details,
    }
    open_folder(out, settings)
    journal = Journal(out / "tasks.jsonl")
    done = {id for id, record in journal.records.items() if not (retries_failed and _is_failed(record))}
    missing = [task for id, task in tasks.items() if id not in done]
    if on_progress is not None and len(missing) < len(tasks):
        on_progress(f"{len(tasks) - len(missing)} of {len(tasks)} tasks are done already")
    _run_all(missing, make_worlds, journal, on_progress)
    results = [TaskResult.from_json(journal.records[id]) for id in tasks]
    return _finish(out, benchmark, settings, results, config)


def _is_failed(record: Mapping[str, Any]) -> bool:
    return TaskResult.from_json(record).is_failed


def _run_all(
    tasks: Sequence[Any], make_worlds: Sequence[Callable[[StopSignal], World]], journal: Journal,
    on_progress: Callable[[str], None] | None,
) -> None:  # fmt: skip
    """Does all tasks, a thread for each world; the first exception ends the others and is raised."""
    waiting, lock, stop = deque(tasks), threading.Lock(), StopSignal()

    def work(make_world: Callable[[StopSignal], World]) -> None:
        world: World | None = None
        try:
            while not stop.is_tripped:
                with lock:
                    if not waiting:
                        return
                    task = waiting.popleft()
                world = world or make_world(stop)
                result = world.run(task)
                if stop.is_tripped:  # a task that was broken off is done anew
                    return
                with lock:
                    journal.append([asdict(result)])
                    if on_progress is not None:
                        on_progress(f"{len(journal.records)}  {result.line}")
        finally:
            if world is not None:
                world.close()

    num_threads = max(1, min(len(make_worlds), len(tasks)))
    with ThreadPoolExecutor(num_threads, thread_name_prefix="world") as pool:
        futures = [pool.submit(work, make_world) for make_world in make_worlds[:num_threads]]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # also where a person presses Ctrl-C; all are over already where nothing went wrong
            stop.trip("the end of the evaluation")
    for future in futures:
        future.result()


def _finish(
    out: Path, benchmark: Benchmark, settings: Mapping[str, Any], results: Sequence[TaskResult], config: ForecastConfig
) -> dict[str, Any]:
    evaluation = Evaluation(
        name=out.name,
        settings=settings,
        protocol=benchmark.protocol,
        version=benchmark.version,
        tool_agent=settings["tool_agent"],
        samples=tuple(_sample(result) for result in results),
        folder=out,
    )
    summary = {
        "benchmark": evaluation.benchmark,
        "protocol": benchmark.protocol,
        "version": benchmark.version,
        "source": benchmark.source,
        **{name: settings[name] for name in ("data", "datasets", "planner", "tool_agent", "mode", "horizon", "level")},
        **benchmark.details,
        **summarise_results(results),
    }
    save_results(out, evaluation, summary)
    return summary


def summarise_results(results: Sequence[TaskResult]) -> dict[str, Any]:
    """The figures of finished tasks, at least one.

    "success_rate" is the mean score, whose 95 % interval draws whole tasks; "step_success" is the same under the name
    that leaderboards read, and "episode_success" counts scores of 1 alone.
    """
    scores = [result.score for result in results]
    groups: dict[str, list[float]] = {}
    for result in results:
        groups.setdefault(result.group, []).append(result.score)
    return {
        "success_rate": rate(scores)["rate"],
        "ci95": [round(edge, 4) for edge in clustered_rate_interval(scores, [result.id for result in results])],
        "num_episodes": len(results),
        "num_errors": sum(result.num_errors for result in results),
        "num_failed_tasks": sum(result.is_failed for result in results),
        "num_steps": sum(result.num_steps for result in results),
        "mean_steps": round(sum(result.num_steps for result in results) / len(results), 3),
        "without_effect": sum(result.num_without_effect for result in results),
        "parse_failure_rate": share(
            flag for r in results for flag in [True] * r.num_unreadable + [False] * (r.num_forecasts - r.num_unreadable)
        ),
        "stop_reasons": dict(sorted(Counter(result.stop_reason for result in results).items())),
        "by_group": {
            name: {"success_rate": rate(found)["rate"], "num_episodes": len(found)}
            for name, found in sorted(groups.items())
        },
        "seconds": round(sum(result.seconds for result in results), 2),
        "step_success": rate(scores),
        "episode_success": rate([float(score >= 1.0) for score in scores]),
        "type": None,
        "grounding": None,
    }


def _sample(result: TaskResult) -> Sample:
    """A task as one sample: the world's judgement of how it was left."""
    outcome = _OUTCOMES.get(StopReason(result.stop_reason), Outcome.OK)
    ending = f"{result.stop_reason} after {result.num_steps} steps"
    action = None if result.last_action is None else Action.from_json(result.last_action)
    prediction = Prediction(action=action, outcome=outcome, reason="; ".join([ending, *result.errors[-1:]]))
    score = StepScore(is_type_right=result.score >= 1.0, success=result.score)
    return Sample(
        id=result.id,
        episode=result.id,
        index=0,
        prompt="",  # the id names the task, also where it could not be set up
        steps=(StepResult(reference=Action(type="finished"), target=None, prediction=prediction, score=score),),
        slices={"category": result.group},
        forecast=result.last_forecast,
    )


class SharedPlanner:
    """A planner that several threads ask: one at a time, unless it can answer many at once itself."""

    def __init__(self, planner: Planner) -> None:
        """Nothing is asked yet."""
        self.name, self.config = planner.name, planner.config
        self._planner = planner
        self._lock = threading.Lock()
        if hasattr(planner, "forecast_each"):
            self.forecast_each = planner.forecast_each

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        """The planner's forecasts."""
        with self._lock:
            return self._planner.forecast(requests)


def file_name(text: str) -> str:
    """The text as one name of a folder.

    >>> file_name("openai:Qwen/Qwen3-VL@http://a:1")
    'openai_Qwen_Qwen3-VL@http_a_1'
    """
    return re.sub(r"[^\w.@-]+", "_", text).strip("._")[:120] or "planner"


def choose_named(names: str | None, known: Iterable[str], what: str) -> list[str]:
    """The names of a comma-separated list, in its order; all known ones where none is given.

    Raises:
        InputError: one is unknown, named twice, or the list is empty.
    """
    known = list(known)
    if names is None or names.strip() == "all":
        return known
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        more = " ..." if len(known) > 12 else ""
        raise InputError(f"{what} {unknown[0]!r} is not there: choose some of {', '.join(known[:12])}{more}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"{what}s {names!r}: name each once, separated by commas, or all")
    return chosen
