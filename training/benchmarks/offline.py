"""Offline evaluation: a planner forecasts at recorded states, a tool agent grounds, a protocol judges.

Two passes, so that planner and tool agent are never needed at once and one planner serves several tool agents:

1. The planner forecasts at every state of the protocol's set -> `forecasts.jsonl`.
2. Each tool agent grounds every forecast step t on the screen on which the recorded step t was taken ->
   `actions.<agent>.jsonl`. Lookahead 1 is the ordinary offline figure; the others tell how far ahead a forecast holds.

Both files grow state by state and are gone on with after a stop or a kill; states whose planner or tool agent failed
are asked again. Scoring is pure and comes last (training.benchmarks.evaluation).

The states past the present are the recorded ones. Interruptions cannot be foreseen and are left out of the future; a
window ends before a step that is flagged redundant or incorrect, and such a step is no state.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from executors.actions import ArgKind
from executors.errors import ExecutorError, InputError
from executors.tool_agents import ToolAgent
from executors.trajectory import Observation, Step, Trajectory
from training.benchmarks.journal import Journal
from training.benchmarks.protocols.base import Outcome, Prediction, ReferenceStep
from training.benchmarks.protocols.base import Protocol as ScoringProtocol
from training.benchmarks.references import has_screenshot, trajectory_references, with_details
from training.config import ForecastConfig
from training.forecast import Forecast, ForecastStep
from training.planner import Planner, PlanRequest, forecast_each
from training.prompts import HistoryItem
from training.samples import NOT_IMITATED, spaces_of, tools_of

LEVELS = ("high", "low")
"""high: the goal alone; low: also the recorded instruction of the present step."""
_NUM_AGENT_WORKERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One question: what the planner is asked, and the recorded steps from there on, the present one first."""

    request: PlanRequest
    references: tuple[ReferenceStep, ...]
    steps: tuple[Step, ...]

    @property
    def id(self) -> str:
        """The id of the present step."""
        return self.references[0].id


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a pass is: `rate_per_second` and `seconds_left` are of this run, what was there before left out."""

    phase: str
    num_done: int
    num_total: int
    rate_per_second: float
    seconds_left: float


OnProgress = Callable[[Progress], None]


def build_states(
    trajectories: Iterable[Trajectory],
    protocol: ScoringProtocol,
    *,
    horizon: int,
    level: str = "high",
    recorded: Mapping[str, ReferenceStep] | None = None,
) -> Iterator[State]:
    """The states of the protocol's set, in order.

    Args:
        trajectories: recorded episodes.
        protocol: whose set.
        horizon: T, the most steps that are asked for and looked at, at least 1.
        level: one of `LEVELS`.
        recorded: references of the data set's own file, for what trajectories leave out (`with_details`).

    Raises:
        InputError: an unknown level or platform, or references that do not fit a trajectory.
    """
    if level not in LEVELS:
        raise InputError(f"level {level!r} is not one of {', '.join(LEVELS)}")
    for trajectory in trajectories:
        references = trajectory_references(trajectory)
        if recorded is not None:
            references = with_details(references, recorded)
        spaces, tools = spaces_of(trajectory.platform), tools_of(trajectory.meta)
        history = tuple(HistoryItem.of_step(step) for step in trajectory.steps)
        for place, reference in enumerate(references):
            window = _window(trajectory.steps, place, horizon)
            if not window or not protocol.includes(reference):
                continue
            step = trajectory.steps[place]
            goal = trajectory.goal
            if level == "low":
                goal = f"{goal}\nThis step: {step.instruction}"
            yield State(
                request=PlanRequest(
                    goal=goal, history=history[:place], observation=_seen(step), spaces=spaces, horizon=horizon,
                    tools=tools,
                ),
                references=tuple(references[n] for n in window),
                steps=tuple(trajectory.steps[n] for n in window),
            )


def _seen(step: Step) -> Observation:
    """What the planner sees: a recorded screen without pixels (a set without its screenshots) is told in words only."""
    seen = step.observation
    return seen if has_screenshot(seen) else replace(seen, image_size=None)


def _window(steps: Sequence[Step], start: int, horizon: int) -> list[int]:
    window: list[int] = []
    for place in range(start, len(steps)):
        if steps[place].flags & NOT_IMITATED:
            break
        if place == start or "interruption" not in steps[place].flags:
            window.append(place)
        if len(window) == horizon:
            break
    return window


def prompt_hash(request: PlanRequest, config: ForecastConfig) -> str:
    """A short hash of all that the planner is told in words; the screenshot is told by the step's id."""
    text = json.dumps(request.messages(config), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def make_forecasts(
    states: Sequence[State],
    load_planner: Callable[[], Planner],
    journal: Journal,
    config: ForecastConfig,
    *,
    batch_size: int = 16,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> bool:
    """Forecasts at all states that the journal does not hold yet; True when all are done.

    The planner is loaded only when something is missing.

    Args:
        states: what is asked.
        load_planner: gives the planner.
        journal: of forecasts; grows batch by batch.
        config: how the planner is asked, for the hash of the prompts.
        batch_size: states asked for at once, at least 1.
        on_progress: called after each batch.
        should_stop: asked before each batch.
    """
    todo = [state for state in states if "forecast" not in journal.records.get(state.id, {})]
    planner = load_planner() if todo else None
    watch = _Watch("forecasts", len(states) - len(todo), len(states), on_progress)
    for start in range(0, len(todo), batch_size):
        if should_stop is not None and should_stop():
            return False
        batch = todo[start : start + batch_size]
        started = time.perf_counter()
        results = _ask(planner, batch)
        seconds = (time.perf_counter() - started) / len(batch)
        journal.append(
            {
                "id": state.id,
                "prompt": prompt_hash(state.request, config),
                "seconds": round(seconds, 4),
                **({"error": str(r)} if isinstance(r, ExecutorError) else {"forecast": r.to_json()}),
            }
            for state, r in zip(batch, results, strict=True)
        )
        watch.step(len(batch))
    return True


def _ask(planner: Planner, batch: Sequence[State]) -> list[Forecast | ExecutorError]:
    own = getattr(planner, "forecast_states", None)  # baselines look at more than the request
    return own(batch) if own is not None else forecast_each(planner, [state.request for state in batch])


class Grounder(Protocol):
    """Makes one forecast step an action on the screen of the recorded step."""

    def __call__(self, step: ForecastStep, recorded: Step) -> Prediction:
        """The prediction; never raises for what the planner wrote."""
        ...


def grounder_of(agent: ToolAgent) -> Grounder:
    """A tool agent as a grounder: it sees the recorded screen and never the recorded action."""

    def ground(step: ForecastStep, recorded: Step) -> Prediction:
        try:
            grounding = agent.ground(recorded.observation, step.action, step.instruction)
        except ExecutorError as error:
            return Prediction(action=None, outcome=Outcome.FAILED, reason=str(error))
        if grounding.action is None:
            return Prediction(action=step.action, outcome=Outcome.NOT_GROUNDED, reason=grounding.reason or "")
        return Prediction(action=grounding.action)

    return ground


def oracle_grounder(step: ForecastStep, recorded: Step) -> Prediction:
    """Takes missing points from the recorded action: what a perfect tool agent would reach, whatever the instruction.

    A forecast of another type than the recorded one keeps what it has.
    """
    if step.action.type != recorded.action.type:
        return Prediction(action=step.action)
    missing = {
        arg.name: getattr(recorded.action, arg.name)
        for arg in step.action.spec.args
        if arg.kind is ArgKind.POINT and getattr(step.action, arg.name) is None
    }
    return Prediction(action=replace(step.action, **missing))


def ground_forecasts(
    states: Sequence[State],
    forecasts: Mapping[str, Mapping[str, Any]],
    load_grounder: Callable[[], Grounder],
    journal: Journal,
    *,
    phase: str = "actions",
    batch_size: int = 64,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> bool:
    """Grounds every forecast that the journal does not hold yet, several at once; True when all are done.

    Args:
        states: in order.
        forecasts: the records of `make_forecasts`; states without a forecast are left for later.
        load_grounder: gives the grounder; called only when something is missing.
        journal: of actions; grows batch by batch.
        phase: what progress calls this pass.
        batch_size: states between two writes.
        on_progress: called after each batch.
        should_stop: asked before each batch.
    """
    ready = [state for state in states if "forecast" in forecasts.get(state.id, {})]
    todo = [state for state in ready if _needs_grounding(journal.records.get(state.id))]
    ground = load_grounder() if todo else None
    watch = _Watch(phase, len(ready) - len(todo), len(ready), on_progress)

    def ground_one(state: State) -> dict[str, Any]:
        steps = Forecast.from_json(forecasts[state.id]["forecast"]).steps
        predictions = [ground(step, recorded) for step, recorded in zip(steps, state.steps, strict=False)]
        return {"id": state.id, "actions": [prediction_to_json(prediction) for prediction in predictions]}

    with ThreadPoolExecutor(_NUM_AGENT_WORKERS) as pool:
        for start in range(0, len(todo), batch_size):
            if should_stop is not None and should_stop():
                return False
            batch = todo[start : start + batch_size]
            journal.append(pool.map(ground_one, batch))
            watch.step(len(batch))
    return True


def _needs_grounding(record: Mapping[str, Any] | None) -> bool:
    return record is None or any(action["outcome"] == Outcome.FAILED for action in record["actions"])


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """{"action", "outcome"} and, where there is one, "reason"."""
    action = None if prediction.action is None else prediction.action.to_json()
    record: dict[str, Any] = {"action": action, "outcome": str(prediction.outcome)}
    return {**record, "reason": prediction.reason} if prediction.reason else record


class _Watch:
    """Tells rate and time left."""

    def __init__(self, phase: str, num_done: int, num_total: int, on_progress: OnProgress | None) -> None:
        self._phase, self._before, self._total = phase, num_done, num_total
        self._done, self._started, self._on_progress = num_done, time.perf_counter(), on_progress
        self.step(0)

    def step(self, count: int) -> None:
        self._done += count
        if self._on_progress is None:
            return
        seconds = time.perf_counter() - self._started
        rate = (self._done - self._before) / seconds if seconds > 0 else 0.0
        left = (self._total - self._done) / rate if rate > 0 else float("inf")
        if self._done == self._total:
            left = 0.0
        self._on_progress(
            Progress(
                phase=self._phase, num_done=self._done, num_total=self._total, rate_per_second=rate, seconds_left=left
            )
        )


def config_to_json(config: ForecastConfig) -> dict[str, Any]:
    """The planner's settings as they are kept with an evaluation."""
    return asdict(config)
