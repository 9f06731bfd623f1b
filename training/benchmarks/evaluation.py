"""A stored offline evaluation: its settings, its samples, and what was made of them.

A folder holds one planner on one data set:

| file | what |
|---|---|
| evaluation.json | the settings; a run with other settings is refused |
| forecasts.jsonl | the planner's replies, one line per state (training.benchmarks.offline) |
| actions.AGENT.jsonl | what a tool agent made of them |
| results.PROTOCOL.AGENT.jsonl | samples with their verdicts, all that a comparison needs |
| summary.PROTOCOL.AGENT.json | the figures |

Nothing here needs torch, so the app reads it too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executors.actions import Action
from executors.errors import WRONG_FORM, InputError, MissingFileError, OutputError
from executors.files import partial_path
from executors.geometry import BoxNorm
from executors.trajectory import box_from_json, box_to_json
from training.benchmarks.metrics import ScoredStep, rate, summarise
from training.benchmarks.protocols.base import Outcome, Prediction, Protocol, ReferenceStep, StepScore
from training.drift import plan_stability
from training.forecast import Forecast

FORMAT = 1
_SETTINGS = "evaluation.json"
_MAY_DIFFER = ("data_path", "datasets")
"""The data may have moved (their hash tells), and another protocol's set may hold fewer data sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One lookahead of a sample: the recorded action, what was predicted, and the verdict."""

    reference: Action
    target: BoxNorm | None
    prediction: Prediction
    score: StepScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One state of an evaluation. `steps` has an entry for each recorded step within the horizon, the present first.

    `forecast` is the planner's reply as JSON (`training.forecast.Forecast.from_json`); None when the planner failed.
    """

    id: str
    episode: str
    index: int
    prompt: str
    steps: tuple[StepResult, ...]
    slices: Mapping[str, str] = field(default_factory=dict)
    forecast: Mapping[str, Any] | None = None

    @property
    def success(self) -> float | None:
        """The ordinary offline figure: of the present step; None where the protocol leaves it out."""
        return self.steps[0].score.success

    @property
    def is_right(self) -> bool:
        """True when the present step has full marks."""
        return self.steps[0].score.is_right


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A finished evaluation: one planner, one data set, one tool agent, one protocol."""

    name: str
    settings: Mapping[str, Any]
    protocol: str
    version: int
    tool_agent: str
    samples: tuple[Sample, ...]
    folder: Path | None = None

    @property
    def benchmark(self) -> str:
        """Protocol, data, level and tool agent: only evaluations of one benchmark may be compared.

        >>> Evaluation(name="a", settings={"data": "sim.jsonl"}, protocol="grounded", version=1, tool_agent="elements",
        ...            samples=()).benchmark
        'grounded on sim.jsonl with elements'
        """
        level = self.settings.get("level", "high")
        where = str(self.settings.get("data", "?")) + ("" if level == "high" else f" ({level})")
        return f"{self.protocol} on {where} with {self.tool_agent}"


def open_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Makes the folder with these settings, or checks that it has them already.

    Raises:
        InputError: the folder belongs to an evaluation with other settings; the message names the first that differs.
        OutputError: it cannot be written.
    """
    found = read_settings(folder)
    if found is None:
        _write(folder / _SETTINGS, json.dumps({"format": FORMAT, **settings}, indent=1) + "\n")
        return
    for name, value in settings.items():
        if name not in _MAY_DIFFER and found.get(name) != value:
            raise InputError(
                f"{folder} holds an evaluation with {name} {found.get(name)!r}, not {value!r}: give another --out, "
                "or the settings it was started with"
            )


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keeps other evaluations out of an existing folder, which would ask the same samples again.

    Raises:
        OutputError: another one is writing it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise OutputError(f"another evaluation is writing {folder}: wait for it or give another --out") from None
    try:
        yield
    finally:
        os.close(handle)


def read_settings(folder: Path) -> dict[str, Any] | None:
    """The settings of an evaluation folder; None when there is no evaluation yet.

    Raises:
        InputError: the settings cannot be read, or are of another format.
    """
    path = folder / _SETTINGS
    if not path.exists():
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path} ({error}): evaluate into another folder") from None
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        raise InputError(f"{path}: field 'format' is not {FORMAT}: evaluate again with this version")
    datasets = settings.get("datasets", [])
    if not isinstance(datasets, list) or not all(isinstance(name, str) for name in datasets):
        raise InputError(f"{path}: field 'datasets' is not a list of names: evaluate into another folder")
    if not isinstance(settings.get("config") or {}, dict):
        raise InputError(f"{path}: field 'config' is not an object: evaluate into another folder")
    return settings


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = partial_path(path)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {path} ({error.strerror}): choose a folder you may write") from None


def make_samples(
    protocol: Protocol,
    windows: Iterable[Sequence[ReferenceStep]],
    forecasts: Mapping[str, Mapping[str, Any]],
    actions: Mapping[str, Mapping[str, Any]],
) -> list[Sample]:
    """The samples of all states, with a verdict on every lookahead; pure.

    A step that the forecast lacks is unreadable at its lookahead. A state whose planner failed has failed at every
    lookahead, one that was not asked is missing.

    Args:
        protocol: who judges.
        windows: for each state its recorded steps, the present one first.
        forecasts: the records of pass 1 by id.
        actions: the records of pass 2 by id.
    """
    samples = []
    for window in windows:
        first = window[0]
        record = forecasts.get(first.id, {})
        found = actions.get(first.id, {}).get("actions", [])
        steps = []
        for place, reference in enumerate(window):
            if place < len(found):
                prediction = _prediction_from_json(found[place])
            elif "error" in record:
                prediction = Prediction(action=None, outcome=Outcome.FAILED, reason=record["error"])
            elif first.id in actions:
                reason = (record.get("forecast") or {}).get("reason") or "the forecast ends earlier"
                prediction = Prediction(action=None, outcome=Outcome.UNREADABLE, reason=reason)
            else:
                prediction = Prediction(action=None, outcome=Outcome.MISSING)
            steps.append(
                StepResult(
                    reference=reference.action,
                    target=reference.target or next(iter(reference.all_boxes), None),
                    prediction=prediction,
                    score=protocol.score(reference, prediction),
                )
            )
        samples.append(
            Sample(
                id=first.id,
                episode=first.episode,
                index=first.index,
                prompt=record.get("prompt", ""),
                steps=tuple(steps),
                slices=dict(first.slices),
                forecast=record.get("forecast"),
            )
        )
    return samples


def _prediction_from_json(record: Mapping[str, Any]) -> Prediction:
    action = None if record["action"] is None else Action.from_json(record["action"])
    return Prediction(action=action, outcome=Outcome(record["outcome"]), reason=record.get("reason", ""))


def sample_to_json(sample: Sample) -> dict[str, Any]:
    """The sample as a JSON object; the inverse of `sample_from_json`."""
    return {
        "id": sample.id,
        "episode": sample.episode,
        "index": sample.index,
        "prompt": sample.prompt,
        "slices": dict(sample.slices),
        "steps": [_step_to_json(step) for step in sample.steps],
        "forecast": sample.forecast,
    }


def _step_to_json(step: StepResult) -> dict[str, Any]:
    action = step.prediction.action
    score = step.score
    return {
        "reference": step.reference.to_json(),
        "target": None if step.target is None else box_to_json(step.target),
        "action": None if action is None else action.to_json(),
        "outcome": str(step.prediction.outcome),
        "reason": step.prediction.reason,
        "score": {
            "type": score.is_type_right,
            "success": score.success,
            "grounding": score.grounding,
            "parts": dict(score.parts),
        },
    }


def sample_from_json(record: Mapping[str, Any]) -> Sample:
    """The sample of a `sample_to_json` record; raises one of `WRONG_FORM` for anything else."""
    texts = [record["id"], record["episode"], record["prompt"], *record["slices"], *record["slices"].values()]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("id, episode, prompt and slices are texts")
    if type(record["index"]) is not int or not record["steps"]:
        raise ValueError("a sample has a place in its episode and at least one step")
    if record["forecast"] is not None:
        Forecast.from_json(record["forecast"])  # kept as it is; a damaged one is told now and not when it is shown
    return Sample(
        id=record["id"],
        episode=record["episode"],
        index=record["index"],
        prompt=record["prompt"],
        steps=tuple(
            StepResult(
                reference=Action.from_json(step["reference"]),
                target=None if step["target"] is None else box_from_json(step["target"], "target"),
                prediction=_prediction_from_json(step),
                score=_score_from_json(step["score"]),
            )
            for step in record["steps"]
        ),
        slices=record["slices"],
        forecast=record["forecast"],
    )


def _score_from_json(record: Mapping[str, Any]) -> StepScore:
    parts = dict(record["parts"])
    shares = [value for value in (record["success"], record["grounding"]) if value is not None]
    if not isinstance(record["type"], bool) or not all(map(_is_share, (*shares, *parts.values()))):
        raise ValueError("a score is a number 0..1")
    return StepScore(
        is_type_right=record["type"], success=record["success"], grounding=record["grounding"], parts=parts
    )


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1 + 1e-9  # a mean of ones may be off by rounding


def save_results(folder: Path, evaluation: Evaluation, summary: Mapping[str, Any]) -> Path:
    """Writes samples and figures into the folder; returns the path of the samples.

    Raises:
        OutputError: the folder cannot be written.
    """
    stem = file_stem(evaluation.protocol, evaluation.tool_agent)
    head = {"protocol": evaluation.protocol, "version": evaluation.version, "tool_agent": evaluation.tool_agent}
    lines = [json.dumps(head), *(json.dumps(sample_to_json(sample)) for sample in evaluation.samples)]
    path = folder / f"results.{stem}.jsonl"
    _write(path, "\n".join(lines) + "\n")
    _write(folder / f"summary.{stem}.json", json.dumps(summary, indent=1) + "\n")
    return path


def file_stem(protocol: str, tool_agent: str) -> str:
    """What the file names of an evaluation share; a tool agent at a server has an address in its name.

    >>> file_stem("osatlas", "gta1@http://localhost:8000/v1")
    'osatlas.gta1@http_localhost_8000_v1'
    """
    agent = re.sub(r"[^\w.@-]+", "_", tool_agent)
    return f"{protocol}.{agent}"


def find_results(folder: Path) -> list[Path]:
    """The result files of an evaluation folder, by name."""
    return sorted(folder.glob("results.*.jsonl"))


def load_evaluation(path: Path, name: str = "") -> Evaluation:
    """The evaluation of a result file.

    Args:
        path: results.PROTOCOL.AGENT.jsonl in an evaluation folder.
        name: how reports call it; the folder's name when empty.

    Raises:
        MissingFileError: the file does not exist.
        InputError: a line is damaged.
    """
    settings = read_settings(path.parent)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise MissingFileError(f"cannot read results {path} ({error.strerror}): check the path") from None
    if settings is None or not lines:
        raise InputError(f"{path} belongs to no evaluation: give a file that `tracer1 evaluate` wrote")
    number = 1
    try:
        head = json.loads(lines[0])
        samples = []
        for line in lines[1:]:
            number += 1
            samples.append(sample_from_json(json.loads(line)))
        number = 1
        if len({sample.id for sample in samples}) < len(samples):
            raise ValueError("a sample occurs twice")
        if not isinstance(head["version"], int) or not isinstance(head["protocol"] + head["tool_agent"], str):
            raise TypeError("protocol and tool agent are names, the version is a number")
        return Evaluation(
            name=name or path.parent.name,
            settings=settings,
            protocol=head["protocol"],
            version=head["version"],
            tool_agent=head["tool_agent"],
            samples=tuple(samples),
            folder=path.parent,
        )
    except WRONG_FORM as error:
        raise InputError(f"{path} line {number}: damaged ({error!r}): run `tracer1 evaluate` again") from None


def load_folder(folder: Path, name: str = "") -> list[Evaluation]:
    """All finished evaluations of a folder.

    Raises:
        InputError: the folder holds none.
    """
    paths = find_results(folder)
    if not paths:
        raise InputError(f"{folder} holds no results: give a folder that `tracer1 evaluate` has finished")
    return [load_evaluation(path, name) for path in paths]


def stored_summaries(root: Path) -> list[dict[str, Any]]:
    """The figures of all evaluations below a folder, best first within each benchmark: the rows of a leaderboard.

    Each is a summary with "name" and "folder" added. A summary that cannot be read is left out.
    """
    found = []
    for path in sorted(root.rglob("summary.*.json")):
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            _check_summary(summary)
            share = (summary["step_success"] or {"rate": 0.0})["rate"]
            row = {**summary, "name": path.parent.name, "folder": str(path.parent)}
            found.append((summary["benchmark"], -share, row))
        except (OSError, *WRONG_FORM):
            continue  # a leaderboard shows what can be read
    return [row for _, _, row in sorted(found, key=lambda item: item[:2])]


def _check_summary(summary: Any) -> None:
    """Raises one of `WRONG_FORM` unless what a leaderboard shows is there and of its type."""
    if not all(isinstance(summary[name], str) for name in ("benchmark", "protocol", "tool_agent")):
        raise TypeError("benchmark, protocol and tool agent are names")
    rates = [summary[name] for name in ("step_success", "type", "grounding", "episode_success")]
    low, high = summary["ci95"]
    numbers = [low, high, summary["parse_failure_rate"], *(found["rate"] for found in rates if found is not None)]
    if not all(map(_is_share, numbers)):
        raise ValueError("a rate is a number 0..1")


def summarise_samples(protocol: Protocol, scored: Sequence[ScoredStep], samples: Sequence[Sample]) -> dict[str, Any]:
    """`metrics.summarise` of the present steps, with the accuracy by lookahead added."""
    return {**summarise(protocol, scored), "by_lookahead": lookahead_rates(samples)}


def lookahead_rates(samples: Iterable[Sample]) -> dict[str, dict[str, Any]]:
    """{lookahead: {"rate", "num"}} of step success; states whose recording ends earlier do not count there."""
    values: dict[int, list[float]] = {}
    for sample in samples:
        for t, step in enumerate(sample.steps, start=1):
            if step.score.success is not None:
                values.setdefault(t, []).append(step.score.success)
    return {str(t): rate(values[t]) for t in sorted(values)}


def plan_stability_of(samples: Iterable[Sample]) -> float | None:
    """The share of forecast tails that the next state's forecast keeps, 0..1, pooled over all episodes.

    See `training.drift.plan_stability`. States that do not follow one another, and states whose planner failed, are not
    paired. None when nothing can be paired, as with forecasts of one step.
    """
    plans: list[Forecast | None] = []
    last: Sample | None = None
    for sample in sorted(samples, key=lambda sample: (sample.episode, sample.index)):
        if last is None or (last.episode, last.index + 1) != (sample.episode, sample.index):
            plans.append(None)
        plans.append(None if sample.forecast is None else Forecast.from_json(dict(sample.forecast)))
        last = sample
    return plan_stability(plans)


def scored_steps(windows: Iterable[Sequence[ReferenceStep]], samples: Iterable[Sample]) -> list[ScoredStep]:
    """The present steps of samples with their references, as `metrics` takes them."""
    return [
        ScoredStep(reference=window[0], prediction=sample.steps[0].prediction, score=sample.steps[0].score)
        for window, sample in zip(windows, samples, strict=True)
    ]
