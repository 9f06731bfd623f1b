"""Finished tasks of on-policy benchmarks: what is kept of each, the figures of all, and the form that comparisons read.

A folder of them, where one is wanted:

| file | what |
|---|---|
| evaluation.json | the settings; a run with other settings is refused |
| tasks.jsonl | one line per finished task, on the disk before the next begins |
| results.PROTOCOL.AGENT.jsonl, summary.PROTOCOL.AGENT.json | what comparisons read (training.benchmarks.evaluation) |
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from executors.actions import Action
from training.benchmarks.evaluation import Evaluation, Sample, StepResult, open_folder, save_results
from training.benchmarks.journal import Journal
from training.benchmarks.metrics import rate as share_of
from training.benchmarks.offline import config_to_json
from training.benchmarks.protocols.base import Outcome, Prediction, StepScore
from training.benchmarks.statistics import clustered_rate_interval, wilson_interval
from training.config import ForecastConfig
from training.episode_record import EpisodeRecord, StopReason
from training.planner import Planner

ORACLE = "oracle"
"""Name of the planner that is no model but the tasks' own oracles."""
_OUTCOMES = {
    StopReason.EXECUTOR_ERROR: Outcome.FAILED, StopReason.PARSE_FAILURE: Outcome.UNREADABLE,
    StopReason.NOT_GROUNDED: Outcome.NOT_GROUNDED,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What came of one task.

    `score` is the world's judgement 0..1, 0 where it could not be asked. `num_without_effect` counts actions that
    changed nothing, of `num_actions` that were carried out, endings left out of both. `slices` are further groups that
    reports tell apart (training.benchmarks.references.SLICES). `last_forecast` is the planner's last reply,
    `last_action` the last that was carried out.
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
    num_actions: int = 0
    slices: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, id: str, group: str, record: EpisodeRecord, score: float | None, seconds: float | None = None,
        later_errors: Sequence[str] = (), slices: Mapping[str, str] | None = None,
    ) -> TaskResult:  # fmt: skip
        """The result of an episode; `later_errors` came after it, when its world was tidied up.

        Without `seconds` those of planning and acting are taken.
        """
        forecasts = [step.forecast for step in record.steps if step.forecast is not None]
        acted = [step for step in record.steps if step.action is not None and step.error is None]
        lasting = [step for step in acted if not step.action.is_terminal]
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
            num_without_effect=sum(not step.had_effect for step in lasting),
            seconds=round(sum(s.plan_seconds + s.act_seconds for s in record.steps) if seconds is None else seconds, 2),
            errors=(*record.errors, *later_errors),
            last_forecast=forecasts[-1].to_json() if forecasts else None,
            last_action=acted[-1].action.to_json() if acted else None,
            num_actions=len(lasting),
            slices=dict(slices or {}),
        )

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TaskResult:
        """The result of a journal's line."""
        return cls(**{**record, "errors": tuple(record["errors"])})

    @property
    def is_success(self) -> bool:
        """True with full marks."""
        return self.score >= 1.0

    @property
    def is_failed(self) -> bool:
        """True when errors ended it."""
        return self.stop_reason == StopReason.EXECUTOR_ERROR

    @property
    def line(self) -> str:
        """One line for a person."""
        errors = f", {self.num_errors} errors" if self.num_errors else ""
        return f"{self.id}: {self.score:g} ({self.stop_reason}) after {self.num_steps} steps{errors}"


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


class KeptTasks:
    """The finished tasks of one evaluation, in a folder where there is one, else in memory alone."""

    def __init__(
        self, benchmark: Benchmark, out: Path | None, *, config: ForecastConfig, planner_name: str, tool_agent: str,
        reactive: bool = False,
    ) -> None:  # fmt: skip
        """Reads what the folder holds of this evaluation.

        Args:
            benchmark: what the tasks are of.
            out: the folder, new or of an earlier start; None keeps nothing on the disk.
            config: of the planner.
            planner_name: how the planner was named.
            tool_agent: name of who grounds.
            reactive: one step is asked for at a time.

        Raises:
            InputError: the folder is another evaluation's, or damaged.
            OutputError: it cannot be read or written.
        """
        self._benchmark, self._out = benchmark, out
        self.settings = {
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
        self._results: dict[str, TaskResult] = {}
        self._journal = None
        if out is not None:
            open_folder(out, self.settings)
            self._journal = Journal(out / "tasks.jsonl")
            self._results = {id: TaskResult.from_json(line) for id, line in self._journal.records.items()}

    def __len__(self) -> int:
        return len(self._results)

    def missing(self, tasks: Mapping[str, Any], *, retries_failed: bool = False) -> list[Any]:
        """The tasks of these ids that are not done; also those that errors ended where they are to be done anew."""
        return [
            task for id, task in tasks.items()
            if id not in self._results or (retries_failed and self._results[id].is_failed)
        ]  # fmt: skip

    def add(self, result: TaskResult) -> None:
        """Keeps a finished task; raises OutputError when the disk does not take it."""
        if self._journal is not None:
            self._journal.append([asdict(result)])
        self._results[result.id] = result

    def results(self, ids: Iterable[str]) -> list[TaskResult]:
        """The results of these ids, all done."""
        return [self._results[id] for id in ids]

    def finish(self, ids: Iterable[str]) -> list[TaskResult]:
        """`results`, which are saved where there is a folder; raises OutputError when it cannot be written."""
        results = self.results(ids)
        if self._out is not None:
            self.save(results)
        return results

    def save(self, results: Sequence[TaskResult]) -> dict[str, Any]:
        """Writes what comparisons read into the folder and returns the figures.

        Raises:
            OutputError: the folder cannot be written.
        """
        evaluation = Evaluation(
            name=self._out.name,
            settings=self.settings,
            protocol=self._benchmark.protocol,
            version=self._benchmark.version,
            tool_agent=self.settings["tool_agent"],
            samples=tuple(_sample(result) for result in results),
            folder=self._out,
        )
        told = ("data", "datasets", "planner", "tool_agent", "mode", "horizon", "level")
        summary = {
            "benchmark": evaluation.benchmark,
            "protocol": self._benchmark.protocol,
            "version": self._benchmark.version,
            "source": self._benchmark.source,
            **{name: self.settings[name] for name in told},
            **self._benchmark.details,
            **summarise_results(results),
        }
        save_results(self._out, evaluation, summary)
        return summary


def keep_tasks(
    out: Path | None, planner: Planner | None, ids: Iterable[str], *, data: str, tool_agent: str, reactive: bool,
    source: str = "ours", **details: Any,
) -> KeptTasks:  # fmt: skip
    """Where an embedded benchmark keeps its tasks; raises as `KeptTasks` does.

    Args:
        out: the folder; None keeps nothing on the disk.
        planner: who is judged; None for the tasks' oracles, which plan one step at a time.
        ids: of all tasks.
        data: the tasks in words.
        tool_agent: name of who grounds.
        reactive: one step is asked for at a time.
        source: who wrote the tasks.
        details: further settings that a run must share to be gone on with.
    """
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    is_oracle = planner is None
    return KeptTasks(
        Benchmark(protocol="success", version=1, data=data, data_hash=digest, source=source, details=details),
        out,
        config=ForecastConfig() if is_oracle else planner.config,
        planner_name=ORACLE if is_oracle else planner.name,
        tool_agent=tool_agent,
        reactive=reactive or is_oracle,
    )


def episode_scores(results: Sequence[TaskResult]) -> dict[str, Any]:
    """Success with its 95 % interval (Wilson), errors, steps, unreadable replies and endings; of at least one.

    A task counts as a success when its score is 1.
    """
    is_success = [result.is_success for result in results]
    return {
        "success_rate": rate(is_success),
        "ci95": [round(edge, 4) for edge in wilson_interval(sum(is_success), len(is_success))],
        "num_episodes": len(results),
        "num_errors": sum(result.num_errors for result in results),
        "mean_steps": round(sum(result.num_steps for result in results) / len(results), 3),
        "parse_failure_rate": _parse_failure_rate(results),
        "stop_reasons": dict(sorted(Counter(result.stop_reason for result in results).items())),
    }


def _parse_failure_rate(results: Sequence[TaskResult]) -> float:
    num_forecasts = sum(result.num_forecasts for result in results)
    return round(sum(result.num_unreadable for result in results) / num_forecasts, 4) if num_forecasts else 0.0


def summarise_results(results: Sequence[TaskResult]) -> dict[str, Any]:
    """The figures of finished tasks, at least one.

    "success_rate" is the mean score, whose 95 % interval draws whole tasks; "step_success" is the same under the name
    that leaderboards read, and "episode_success" counts scores of 1 alone.
    """
    scores = [result.score for result in results]
    groups: dict[str, list[float]] = defaultdict(list)
    for result in results:
        groups[result.group].append(result.score)
    return {
        **episode_scores(results),
        "success_rate": share_of(scores)["rate"],
        "ci95": [round(edge, 4) for edge in clustered_rate_interval(scores, [result.id for result in results])],
        "num_failed_tasks": sum(result.is_failed for result in results),
        "num_steps": sum(result.num_steps for result in results),
        "without_effect": sum(result.num_without_effect for result in results),
        "by_group": {
            name: {"success_rate": share_of(found)["rate"], "num_episodes": len(found)}
            for name, found in sorted(groups.items())
        },
        "seconds": round(sum(result.seconds for result in results), 2),
        "step_success": share_of(scores),
        "episode_success": share_of([float(result.is_success) for result in results]),
        "type": None,
        "grounding": None,
    }


def _sample(result: TaskResult) -> Sample:
    """A task as one sample: the world's judgement of how it was left."""
    outcome = _OUTCOMES.get(StopReason(result.stop_reason), Outcome.OK)
    ending = f"{result.stop_reason} after {result.num_steps} steps"
    action = None if result.last_action is None else Action.from_json(result.last_action)
    prediction = Prediction(action=action, outcome=outcome, reason="; ".join([ending, *result.errors[-1:]]))
    score = StepScore(is_type_right=result.is_success, success=result.score)
    return Sample(
        id=result.id,
        episode=result.id,
        index=0,
        prompt="",  # the id names the task, also where it could not be set up
        steps=(StepResult(reference=Action(type="finished"), target=None, prediction=prediction, score=score),),
        slices={"category": result.group, **result.slices},
        forecast=result.last_forecast,
    )


def rate(flags: Iterable[bool]) -> float:
    """The share that is true, 0..1; 0 of none.

    >>> rate([True, False])
    0.5
    """
    flags = list(flags)
    return round(sum(flags) / len(flags), 4) if flags else 0.0


def success_by(keys: Sequence[str], is_success: Sequence[bool]) -> dict[str, dict[str, Any]]:
    """{key: {"success_rate", "num_episodes"}}, by key; one key and one flag for each episode."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for key, flag in zip(keys, is_success, strict=True):
        groups[key].append(flag)
    return {key: {"success_rate": rate(groups[key]), "num_episodes": len(groups[key])} for key in sorted(groups)}
