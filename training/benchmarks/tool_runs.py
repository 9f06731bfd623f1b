"""What the runners of GTA and GAIA share: a planner works on queries with tools, one episode each, to their answers.

    answer     what `finished`, or `final_answer` in code, gave; None without one
    journal    one record for each query, written when its episode ends; a run that was killed goes on behind it
    failed     a query whose files are missing or broken, or whose episode was ended by errors of planner or world:
               wrong, counted, and run again by the next start. A tool that raises, hangs, or gives too much or the
               wrong type is an observation of the planner's: counted by kind, and the episode goes on
    CodeExec   ours: the percentage of actions that ran without an error. Actions are tool calls (in T3-Agent's form
               each is code) and replies without an action that can be run, which count as failed
    intervals  95 %, whole queries drawn with replacement; see `figures_with_intervals`

What a record holds is said at `run_record`: of a private data set neither arguments nor words.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from executors.actions import Action
from executors.chat_server import ChatServer, without_password
from executors.errors import InputError, MissingFileError, WorkbenchError
from executors.tool_world import ToolExecutor
from executors.toolbox.box import ToolResult
from executors.toolbox.registry import all_tools
from executors.toolbox.vision import VisionModel
from executors.trajectory import load_screenshot
from training.benchmarks.evaluation import (
    Evaluation,
    make_samples,
    open_folder,
    read_settings,
    save_results,
    scored_steps,
    summarise_samples,
)
from training.benchmarks.journal import Journal
from training.benchmarks.metrics import rate
from training.benchmarks.offline import config_to_json
from training.benchmarks.offline_run import PlannerShelf
from training.benchmarks.protocols.base import Outcome, Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.statistics import wilson_interval
from training.config import ForecastConfig
from training.episode_record import StopReason
from training.forecast import Forecast, ForecastStep
from training.plan_act import Episode, run_batch
from training.planner import Planner

_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")
_NUM_DRAWS = 1000
_MAX_CALL_CHARS = 20_000
"""Calls that are longer are kept without their arguments; code can make any."""
_CHUNK = 4
"""Batches of episodes whose screens are in memory at once."""

OnLine = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Who is judged on which copy of a data set, and where results go.

    `num_queries` takes the first ones only. `horizon` and `history_length` replace the planner's own T and K.
    `vision_server` is MODEL@URL, for the tools that ask a vision model; `toolbox` names the tools where a benchmark has
    several sets.
    """

    data: Path
    planner: str
    out: Path
    num_queries: int | None = None
    horizon: int | None = None
    history_length: int | None = None
    reactive: bool = False
    batch_size: int = 4
    max_steps: int | None = None
    vision_server: str | None = None
    toolbox: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolQuery:
    """One question: `files` are the attached ones by their names in the scratch folder, `tools` those that are told."""

    id: str
    goal: str
    files: Mapping[str, Path]
    tools: tuple[str, ...]


def planner_shelf(
    settings: RunSettings, load: Callable[[str], Planner], baselines: Mapping[str, Callable[[], Any]] | None = None
) -> PlannerShelf:
    """The planner of the settings, loaded when it is first needed."""
    return PlannerShelf(settings.planner, load, horizon=settings.horizon, history_length=settings.history_length,
                        baselines=baselines or {})


def open_run(settings: RunSettings, shelf: PlannerShelf, about: Mapping[str, Any]) -> dict[str, Any]:
    """Makes the folder of a run, or checks that it is this run's; gives its settings.

    Raises:
        InputError: the folder belongs to another evaluation.
        OutputError: it cannot be written.
    """
    config = shelf.config(read_settings(settings.out))
    about = {
        **about, "level": "high", "planner": settings.planner,
        "mode": "reactive" if settings.reactive else "anticipatory",
        "horizon": 1 if settings.reactive else config.horizon, "config": config_to_json(config),
    }  # fmt: skip
    open_folder(settings.out, about)
    return about


def narrowed(settings: RunSettings) -> str:
    """What the name of the data says about a part of them; empty for all."""
    return "" if settings.num_queries is None else f", first {settings.num_queries} queries"


def file_hash(file: Path) -> str:
    """A short hash of a file's content; raises MissingFileError."""
    try:
        with file.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()[:24]
    except OSError as error:
        raise MissingFileError(f"cannot read {file} ({error.strerror}): check the path") from None


def vision_model(spec: str | None) -> VisionModel | None:
    """The model of "MODEL@URL", with the key in OPENAI_API_KEY; None for None.

    Raises:
        InputError: the text is no MODEL@URL.
    """
    if spec is None:
        return None
    model, at, rest = spec.partition("@http")
    if not model or not at:
        raise InputError(f"vision server {without_password(spec)!r} is not MODEL@URL: write for example "
                         "Qwen/Qwen3-VL-8B-Instruct@http://localhost:8000/v1")
    return VisionModel(ChatServer("http" + rest, model, os.environ.get("OPENAI_API_KEY"), boundary="tool"))


def tools_name(settings: RunSettings) -> str:
    """How an evaluation names its tools: only runs with the same ones are compared.

    >>> tools_name(RunSettings(data=Path(), planner="", out=Path(), vision_server="some/model@http://localhost/v1"))
    'tools and some/model'
    """
    own = f"{settings.toolbox} tools".strip()
    return own if settings.vision_server is None else f"{own} and {settings.vision_server.partition('@http')[0]}"


def known_tools(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that this toolbox has, in order, each once.

    >>> known_tools(["OCR", "Teleport", "OCR"])
    ('OCR',)
    """
    return tuple(dict.fromkeys(name for name in names if name in all_tools()))


def file_problem(files: Iterable[Path]) -> str | None:
    """What is wrong with attached files, None when nothing is: each must be there, and an image must be one."""
    for path in files:
        try:
            if path.suffix.lower() in _IMAGES:
                load_screenshot(path)
            else:
                with path.open("rb") as file:
                    file.read(1)
        except WorkbenchError as error:
            return f"files: {error}"
        except (OSError, ValueError) as error:
            return f"files: {path} cannot be read ({getattr(error, 'strerror', None) or error})"
    return None


def query_hash(query: ToolQuery, config: ForecastConfig) -> str:
    """A short hash of what the planner is told about a query, and of how it is asked."""
    told = [query.goal, sorted(query.files), query.tools, config_to_json(config)]
    return hashlib.sha256(json.dumps(told).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def run_queries(
    queries: Sequence[ToolQuery],
    load_planner: Callable[[], Planner],
    journal: Journal,
    config: ForecastConfig,
    settings: RunSettings,
    *,
    max_steps: int,
    is_private: bool,
    tool_options: Mapping[str, Any],
    on_line: OnLine | None = None,
) -> None:
    """Runs the queries that the journal does not hold or holds as failed.

    Args:
        queries: what is asked.
        load_planner: gives the planner; called only when something is to be run.
        journal: takes `run_record` of each.
        config: how the planner is asked, for the hash.
        settings: batch size and mode.
        max_steps: steps after which an episode ends without an answer.
        is_private: the data set is not to be stored.
        tool_options: further arguments of `ToolExecutor`.
        on_line: called with a line of text after each query.
    """
    todo = [query for query in queries if journal.records.get(query.id, {"failed": ""})["failed"] is not None]
    ready = []
    for query in todo:
        if (problem := file_problem(query.files.values())) is None:
            ready.append(query)
        else:
            journal.append([_failed_record(query, config, problem, is_private)])
    planner = load_planner() if ready else None
    opened: dict[str, tuple[ToolQuery, ToolExecutor, float]] = {}

    def episodes(chunk: Sequence[ToolQuery]) -> Iterator[Episode]:
        for query in chunk:
            executor = ToolExecutor(query.goal, query.files, tools=query.tools, **tool_options)
            opened[query.id] = (query, executor, time.perf_counter())
            yield Episode(executor, planner, max_steps=max_steps, reactive=settings.reactive, meta={"id": query.id})

    def end(episode: Episode) -> None:
        query, executor, started = opened.pop(episode.meta["id"])
        executor.close()
        record = run_record(episode, executor, is_private=is_private)
        seconds = round(time.perf_counter() - started, 3)
        journal.append([{"id": query.id, "prompt": query_hash(query, config), **record, "seconds": seconds}])
        if on_line is not None:
            outcome = f"failed ({record['failed']})" if record["failed"] else "no answer" * (record["answer"] is None)
            num_done = sum(query.id in journal.records for query in queries)
            on_line(f"{num_done}/{len(queries)} {query.id}: {outcome or 'answered'} after {record['num_steps']} steps")

    try:
        for start in range(0, len(ready), _CHUNK * settings.batch_size):
            chunk = ready[start : start + _CHUNK * settings.batch_size]
            run_batch(episodes(chunk), planner, batch_size=settings.batch_size, on_done=end)
    finally:
        for _, executor, _ in opened.values():
            executor.close()


def run_record(episode: Episode, executor: ToolExecutor, *, is_private: bool) -> dict[str, Any]:
    """What is kept of an ended episode, as JSON values.

    "calls" has name, arguments and kind of failure (None for none) of every call; those that code made follow the
    code's own. "ran" has for each action whether it ran without an error. "failed" says why the query counts as not
    run. A private data set's record has no arguments, no names that are no tool's, and of "failed" only the part that
    failed: a planner's words may quote what it was asked.
    """
    results = iter([result for _, result in executor.calls])
    calls: list[dict[str, Any]] = []
    ran: list[bool] = []
    for step in episode.steps:
        if step.action is not None and step.action.type == "tool_call":
            result = next(results, None) if step.error is None else None
            calls += _calls_of(step.action, result)
            ran.append(result is not None and result.ok)
        elif step.boundary is None and step.error is not None:
            ran.append(False)
    is_failed = episode.stop_reason is StopReason.EXECUTOR_ERROR
    failed = (episode.errors[-1] if episode.errors else "unknown") if is_failed else None
    if is_private:
        known = all_tools()
        calls = [{"name": name if (name := call["name"]) in known else "(unknown)", "kind": call["kind"]}
                 for call in calls]
        failed = failed and failed.partition(":")[0]
    return {"answer": executor.answer, "calls": calls, "ran": ran, "stop_reason": str(episode.stop_reason),
            "num_steps": len(episode.steps), "num_errors": episode.num_errors, "failed": failed}


def _calls_of(action: Action, result: ToolResult | None) -> list[dict[str, Any]]:
    kind = "failed" if result is None else result.kind
    own = {"name": action.name, "arguments": dict(action.arguments or {}), "kind": kind}
    made = [own, *(() if result is None else result.calls)]
    return [{**call, "arguments": {}} if len(json.dumps(call)) > _MAX_CALL_CHARS else call for call in made]


def _failed_record(query: ToolQuery, config: ForecastConfig, reason: str, is_private: bool) -> dict[str, Any]:
    return {"id": query.id, "prompt": query_hash(query, config), "answer": None, "calls": [], "ran": [],
            "stop_reason": str(StopReason.EXECUTOR_ERROR), "num_steps": 0, "num_errors": 1,
            "failed": reason.partition(":")[0] if is_private else reason, "seconds": 0.0}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the scorer says of one query: `success` and `parts` are 0..1, None where it cannot be scored.

    `reference` is the recorded answer in words, None where it is hidden or not to be stored.
    """

    success: float | None
    parts: Mapping[str, float]
    reference: str | None
    slices: Mapping[str, str]


def finish(
    sheet: Mapping[str, Any],
    queries: Sequence[ToolQuery],
    verdicts: Mapping[str, Verdict],
    journal: Journal,
    settings: RunSettings,
    about: Mapping[str, Any],
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes samples and summary into the folder, as `training.benchmarks.evaluation` stores them; gives the summary.

    A query is an episode with one step, its answer; a query that failed, or that was never run, has none.

    Args:
        sheet: the protocol's fields but `score_step`, whose verdicts are given.
        queries: in order.
        verdicts: one for each query, by id.
        journal: of `run_queries`.
        settings: of the run.
        about: the settings that the folder was opened with.
        figures: the benchmark's own, which go into the summary.
    """

    def score(reference: ReferenceStep, prediction: Prediction) -> StepScore:
        verdict = verdicts[reference.id]
        return StepScore(is_type_right=prediction.action is not None, success=verdict.success, parts=verdict.parts)

    protocol = Protocol(**sheet, score_step=score)
    windows = [
        [ReferenceStep(id=query.id, episode=query.id, index=0, dataset=protocol.datasets[0],
                       action=Action(type="finished", content=verdicts[query.id].reference),
                       slices=verdicts[query.id].slices)]
        for query in queries
    ]  # fmt: skip
    records = [journal.records[query.id] for query in queries]
    forecasts = {record["id"]: _answer_forecast(record) for record in records}
    actions = {record["id"]: {"actions": [_answer_prediction(record)]} for record in records}
    kinds = Counter(call["kind"] for record in records for call in record["calls"] if call["kind"] is not None)
    return store(protocol, tools_name(settings), windows, forecasts, actions, settings, about, {
        "num_queries": len(queries), "num_failed": sum(record["failed"] is not None for record in records),
        "num_without_answer": sum(record["answer"] is None for record in records),
        "num_errors": sum(record["num_errors"] for record in records), "tool_failures": dict(sorted(kinds.items())),
        "mean_steps": round(sum(record["num_steps"] for record in records) / len(records), 3),
        "stop_reasons": dict(sorted(Counter(record["stop_reason"] for record in records).items())),
        "episode_success": rate([v.success for v in verdicts.values() if v.success is not None]), **figures,
    })  # fmt: skip


def store(
    protocol: Protocol,
    tool_agent: str,
    windows: Sequence[Sequence[ReferenceStep]],
    forecasts: Mapping[str, Mapping[str, Any]],
    actions: Mapping[str, Mapping[str, Any]],
    settings: RunSettings,
    about: Mapping[str, Any],
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes samples and summary into the folder and gives the summary; `training.benchmarks.evaluation.make_samples`
    says what windows, forecasts and actions are."""
    samples = make_samples(protocol, windows, forecasts, actions)
    evaluation = Evaluation(name=settings.out.name, settings=about, protocol=protocol.name, version=protocol.version,
                            tool_agent=tool_agent, samples=tuple(samples), folder=settings.out)
    scored = scored_steps(windows, samples)
    summary = {
        "benchmark": evaluation.benchmark, "planner": settings.planner, "tool_agent": tool_agent,
        **{key: about[key] for key in ("mode", "horizon", "level", "data")},
        **summarise_samples(protocol, scored, samples), **figures,
    }  # fmt: skip
    save_results(settings.out, evaluation, summary)
    return summary


def _answer_forecast(record: Mapping[str, Any]) -> dict[str, Any]:
    if record["failed"] is not None:
        return {"prompt": record["prompt"], "error": record["failed"]}
    if record["answer"] is None:
        forecast = Forecast(steps=(), reason=f"no answer, ended by {record['stop_reason']}", kind="content")
    else:
        answer = Action(type="finished", content=record["answer"])
        forecast = Forecast(steps=(ForecastStep(action=answer, instruction="give the answer"),))
    return {"prompt": record["prompt"], "forecast": forecast.to_json()}


def _answer_prediction(record: Mapping[str, Any]) -> dict[str, Any]:
    if record["failed"] is not None:
        return {"action": None, "outcome": str(Outcome.FAILED), "reason": record["failed"]}
    if record["answer"] is None:
        is_unread = record["stop_reason"] == StopReason.PARSE_FAILURE
        outcome = Outcome.UNREADABLE if is_unread else Outcome.MISSING
        return {"action": None, "outcome": str(outcome), "reason": f"ended by {record['stop_reason']}"}
    return {"action": Action(type="finished", content=record["answer"]).to_json(), "outcome": str(Outcome.OK)}


def percent(values: Iterable[float]) -> float | None:
    """The mean of values in 0..1, in percent; None without any.

    >>> percent([1.0, 0.0])
    50.0
    """
    values = list(values)
    return 100 * sum(values) / len(values) if values else None


def figures_with_intervals(
    score: Callable[[Sequence[T]], Mapping[str, float | None]], queries: Sequence[T], *, seed: int = 0
) -> dict[str, dict[str, Any] | None]:
    """{figure: {"percent", "ci95"}} of a scorer, None where it gives none; intervals draw whole queries.

    Where all draws agree at 0 or 100 they cannot tell how sure that is: Wilson's interval, for as many trials as there
    are queries that the figure is about, stands in.

    Args:
        score: the figures in percent of any selection of the queries, which may hold one twice.
        queries: at least one.
        seed: seed of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = defaultdict(list)
    for places in rng.integers(len(queries), size=(_NUM_DRAWS, len(queries))):
        for name, value in score([queries[place] for place in places]).items():
            if value is not None:
                drawn[name].append(value)
    found: dict[str, dict[str, Any] | None] = {}
    for name, value in score(queries).items():
        if value is None:
            found[name] = None
            continue
        low, high = (float(edge) for edge in np.quantile(drawn[name], [0.025, 0.975])) if drawn[name] else (0.0, 100.0)
        if round(low, 2) == round(high, 2) and round(value, 2) in (0, 100):
            num = sum(score([query])[name] is not None for query in queries)
            low, high = (100 * edge for edge in wilson_interval(num if round(value) else 0, num))
        found[name] = {"percent": round(value, 2), "ci95": [round(low, 2), round(high, 2)]}
    return found


def figures_text(figures: Mapping[str, Mapping[str, Any] | None]) -> str:
    """The figures with their intervals, one to a line."""
    lines = []
    for name, found in figures.items():
        shown = "not scored" if found is None else "{:.1f} % (95 % interval {:.1f} to {:.1f})".format(
            found["percent"], *found["ci95"])
        lines.append(f"{name:<18} {shown}")
    return "\n".join(lines)
