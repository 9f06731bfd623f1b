"""The loop: forecast T steps, ground and run the first, observe, forecast again.

An `Episode` runs to its end or one half-step at a time (`plan`, then `act`), so a person can look between forecast and
action. `run_batch` keeps many episodes in step so that their forecasts are made together.

What goes wrong is kept apart:

1. The planner's words: a reply without a readable step, a first step that fits nothing (or several things) on the
   screen, an action the device does not have. The step is recorded with its error and nothing is executed. A first
   step that was read is told to the planner in the history, marked as not done. The planner is asked again.
2. A failed part: ExecutorError of planner ("plan"), tool agent ("ground") or device ("execute", "observe"). Recorded
   with its boundary and counted in `num_errors`; after a failed action the screen is observed anew.

Either way the step counts toward `max_steps`, and after `max_failures` failed steps in a row the episode stops, named
for the last of them. A greedy planner repeats an unreadable reply to the same question, so these stop after
`parse_tries` (1).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from executors.actions import Action, Space, validate
from executors.errors import ExecutorError, InputError
from executors.executor import Executor
from executors.tool_agents import ElementTreeAgent, Grounding, ToolAgent
from executors.trajectory import Observation
from training.episode_record import EpisodeRecord, StepRecord, StopReason
from training.forecast import Forecast
from training.planner import Planner, PlanRequest, forecast_each
from training.prompts import HistoryItem

NOT_DONE = " (not done)"
"""Follows the instruction of a step in the history that could not be carried out."""


class Episode:
    """One goal on one device, from `start` to `stop_reason`.

    Read-only for callers: `observation` (what is seen now), `history`, `steps`, `forecast` (made and not yet acted
    on), `stop_reason`, `num_errors`, `ground_seconds` and `execute_seconds` (of the last action; the device's part
    includes the new observation).
    """

    def __init__(
        self,
        executor: Executor,
        planner: Planner | None,
        *,
        tool_agent: ToolAgent | None = None,
        goal: str | None = None,
        max_steps: int = 20,
        reactive: bool = False,
        max_failures: int = 3,
        parse_tries: int = 1,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing is done yet.

        Args:
            executor: the device; not closed by the episode.
            planner: who forecasts; None when all forecasts are made elsewhere, see `take`.
            tool_agent: who grounds the first step; None takes the element tree's.
            goal: what is to be done; None takes the device's own goal. With another goal, success is unknown.
            max_steps: steps after which the episode stops, at least 1; failed steps count.
            reactive: ask for one step at a time (T = 1).
            max_failures: failed steps in a row after which the episode stops, at least 1.
            parse_tries: unreadable replies in a row after which it stops, at least 1.
            meta: JSON values kept with the record (task, split, seed).

        Raises:
            InputError: a number below 1, or no goal.
        """
        for name, value in (("max_steps", max_steps), ("max_failures", max_failures), ("parse_tries", parse_tries)):
            if value < 1:
                raise InputError(f"{name} {value} is not allowed: give at least 1")
        self.executor, self.planner = executor, planner
        self.tool_agent = tool_agent or ElementTreeAgent()
        self.max_steps, self.reactive = max_steps, reactive
        self.max_failures, self.parse_tries = max_failures, parse_tries
        self.meta = dict(meta or {})
        self._given_goal = goal
        self.goal = goal or ""
        self.observation: Observation | None = None
        self.history: list[HistoryItem] = []
        self.steps: list[StepRecord] = []
        self.forecast: Forecast | None = None
        self.stop_reason: StopReason | None = None
        self.success: bool | None = None
        self.num_errors = 0
        self.errors: list[str] = []
        self.ground_seconds = self.execute_seconds = 0.0
        self._failures: list[StopReason] = []
        self._plan_seconds = 0.0
        self._is_pinned = False

    @property
    def is_done(self) -> bool:
        """True when the episode has stopped, for whatever reason."""
        return self.stop_reason is not None

    def start(self) -> Observation | None:
        """Resets the device and returns the first observation; None when it failed, which ends the episode.

        Raises:
            InputError: neither the caller nor the device gives a goal.
        """
        try:
            self.observation = self.executor.reset()
        except ExecutorError as error:
            self._count(error)
            self._stop(StopReason.EXECUTOR_ERROR)
            return None
        self.goal = (self._given_goal or self.executor.goal).strip()
        if not self.goal:
            raise InputError("the goal is empty: say what is to be done")
        return self.observation

    def request(self) -> PlanRequest:
        """What the planner is asked now."""
        if self.observation is None:
            raise InputError("the episode has not started: call start() first")
        return PlanRequest(
            goal=self.goal,
            history=tuple(self.history),
            observation=self.observation,
            spaces=self.executor.spaces,
            horizon=1 if self.reactive else None,
            tools=tuple(getattr(self.executor, "tools", ())),  # only a world of tools has some
        )

    def see(self, observation: Observation) -> None:
        """Takes what is on the screen now, for a device that others act on: their own loop runs between two steps.

        Whether the last step had an effect is known only now, and kept.
        """
        self._check_running()
        if self.steps and self.steps[-1].action is not None:
            had_effect = not shows_same(observation, self.observation)
            self.steps[-1] = replace(self.steps[-1], had_effect=had_effect)
        self.observation = observation

    def plan(self) -> Forecast | None:
        """Asks the planner and keeps its forecast for `act`; None when the planner failed, which is a recorded step."""
        self._check_running()
        if self.planner is None:
            raise InputError("this episode has no planner: give it a forecast with take()")
        started = time.perf_counter()
        return self.take(forecast_each(self.planner, [self.request()])[0], time.perf_counter() - started)

    def take(
        self, result: Forecast | ExecutorError, seconds: float = 0.0, *, is_pinned: bool = False
    ) -> Forecast | None:
        """Takes a forecast made elsewhere (in a batch, or edited by a person) as the one to act on.

        Args:
            result: the forecast, or why there is none.
            seconds: how long it took to make.
            is_pinned: a person set the first step's points: they are executed as they are, whatever its words say.
        """
        self._check_running()
        self._plan_seconds, self._is_pinned = seconds, is_pinned
        if isinstance(result, ExecutorError):
            self._count(result)
            self._fail(StopReason.EXECUTOR_ERROR, error=str(result), boundary=result.boundary)
            return None
        self.forecast = result
        return result

    def act(self) -> StepRecord:
        """Grounds and executes the first step of the forecast and observes.

        Raises:
            InputError: there is no forecast to act on, or the episode is over.
        """
        self._check_running()
        forecast = self.forecast
        if forecast is None:
            raise InputError("there is no forecast to act on: call plan() first")
        self.forecast = None
        started = time.perf_counter()
        self.ground_seconds = self.execute_seconds = 0.0
        first = forecast.first
        if first is None:
            return self._fail(StopReason.PARSE_FAILURE, forecast=forecast, error=forecast.reason or "no step")
        if not first.action.spec.spaces & self.executor.spaces and not first.action.is_terminal:
            grounding = Grounding(action=None, reason=f"this device does not take {first.action.type}")
        else:
            try:
                grounding = self._agent_for(first.action).ground(self.observation, first.action, first.instruction)
            except ExecutorError as error:
                return self._fail_part(error, forecast, None, None, started)
        self.ground_seconds = time.perf_counter() - started
        if grounding.action is None:
            return self._fail(
                StopReason.NOT_GROUNDED, forecast=forecast, grounding=grounding, error=grounding.reason, started=started
            )
        try:
            result = self.executor.execute(grounding.action)
        except ExecutorError as error:
            return self._fail_part(error, forecast, grounding, grounding.action, started)
        finally:
            self.execute_seconds = time.perf_counter() - started - self.ground_seconds
        self._failures.clear()
        record = StepRecord(
            number=len(self.steps) + 1,
            observation=self.observation,
            forecast=forecast,
            grounding=grounding,
            action=grounding.action,
            had_effect=result.had_effect,
            message=result.message,
            plan_seconds=self._plan_seconds,
            act_seconds=time.perf_counter() - started,
        )
        self._remember(record, "")
        self.observation = result.observation
        self._stop_if_over()
        return record

    def _agent_for(self, action: Action) -> ToolAgent:
        """The element tree's agent keeps points that are given, which others may not."""
        is_kept = self._is_pinned and validate(action, need_targets=True) is None
        return ElementTreeAgent() if is_kept else self.tool_agent

    def restore(self, steps: Sequence[StepRecord]) -> None:
        """Brings a fresh episode to where recorded steps led, by carrying out their actions anew.

        Neither planner nor tool agent is asked. The screen is compared before every step; the caller compares the one
        after the last.

        Raises:
            ExecutorError: at "restore", when the device shows another screen than was recorded; or what the device
                raised.
        """
        if self.start() is None:
            raise ExecutorError("restore", self.errors[-1])
        for step in steps:
            if not shows_same(self.observation, step.observation):
                raise ExecutorError("restore", f"the device shows another screen than before step {step.number}")
            self._repeat(step)
        if steps:
            self._stop_if_over()

    def _repeat(self, step: StepRecord) -> None:
        self._remember(step, NOT_DONE if step.error else "")
        if step.boundary is not None:
            self.num_errors += 1
            self.errors.append(step.error or "")
        if step.error is None:
            self._failures.clear()
        elif step.boundary is not None:
            self._failures.append(StopReason.EXECUTOR_ERROR)
        else:
            is_read = step.forecast is not None and step.forecast.first is not None
            self._failures.append(StopReason.NOT_GROUNDED if is_read else StopReason.PARSE_FAILURE)
        if step.action is None:
            return
        try:
            self.observation = self.executor.execute(step.action).observation
        except ExecutorError:
            if step.error is None:
                raise
            self.observation = self.executor.observe()

    def stop(self) -> None:
        """Stops the episode on a person's word; nothing happens when it is already over."""
        if not self.is_done:
            self._stop(StopReason.STOPPED)

    def run(
        self,
        *,
        should_stop: Callable[[], bool] | None = None,
        on_forecast: Callable[[Episode], None] | None = None,
        on_step: Callable[[Episode, StepRecord], None] | None = None,
    ) -> EpisodeRecord:
        """Runs to the end and returns the record.

        Args:
            should_stop: asked before every forecast and every action; True stops the episode.
            on_forecast: called with the episode after each forecast, before it is acted on.
            on_step: called with the episode and each recorded step.
        """
        if self.observation is None and not self.is_done:
            self.start()
        while not self.is_done:
            if should_stop is not None and should_stop():
                self.stop()
                break
            if self.forecast is None and self.plan() is None:
                _call(on_step, self, self.steps[-1])
                continue
            _call(on_forecast, self)
            if should_stop is not None and should_stop():
                self.stop()
                break
            _call(on_step, self, self.act())
        return self.record()

    def record(self) -> EpisodeRecord:
        """The episode so far; an episode that is not over counts as stopped by a person."""
        return EpisodeRecord(
            goal=self.goal,
            planner=self.planner.name if self.planner is not None else "",
            mode="reactive" if self.reactive else "anticipatory",
            stop_reason=self.stop_reason or StopReason.STOPPED,
            steps=tuple(self.steps),
            success=self.success,
            num_errors=self.num_errors,
            errors=tuple(self.errors),
            final_observation=self.observation,
            platform=_platform_of(self.executor.spaces),
            meta=self.meta,
        )

    def _check_running(self) -> None:
        if self.is_done:
            raise InputError(f"the episode is over ({self.stop_reason}): start another")
        if self.observation is None:
            raise InputError("the episode has not started: call start() first")

    def _count(self, error: ExecutorError) -> None:
        self.num_errors += 1
        self.errors.append(str(error))

    def _fail_part(
        self,
        error: ExecutorError,
        forecast: Forecast,
        grounding: Grounding | None,
        action: Action | None,
        started: float,
    ) -> StepRecord:
        """Records a failed tool agent or device; what a failed action did is not known, so the screen is seen anew."""
        self._count(error)
        record = self._fail(
            StopReason.EXECUTOR_ERROR,
            forecast=forecast,
            grounding=grounding,
            action=action,
            error=str(error),
            boundary=error.boundary,
            started=started,
        )
        if action is not None and not self.is_done:
            try:
                self.observation = self.executor.observe()
            except ExecutorError as second:
                self._count(second)
                self._stop(StopReason.EXECUTOR_ERROR)
        return record

    def _fail(self, reason: StopReason, *, started: float | None = None, **parts: Any) -> StepRecord:
        record = StepRecord(
            number=len(self.steps) + 1,
            observation=self.observation,
            plan_seconds=self._plan_seconds,
            act_seconds=0.0 if started is None else time.perf_counter() - started,
            **parts,
        )
        self._remember(record, NOT_DONE)
        self._failures.append(reason)
        self._stop_if_over()
        return record

    def _stop_if_over(self) -> None:
        """Stops after a terminal action, the world's own end, too many failures in a row, or the most steps."""
        last = self.steps[-1]
        if last.error is None and last.action is not None and last.action.is_terminal:
            is_finished = last.action.type == "finished"
            self._stop(StopReason.FINISHED if is_finished else StopReason.IMPOSSIBLE)
        elif getattr(self.executor, "world_has_ended", False):  # few worlds judge while they are acted on
            self._stop(StopReason.WORLD_ENDED)
        elif self._has_failed_enough():
            self._stop(self._failures[-1])
        elif len(self.steps) >= self.max_steps:
            self._stop(StopReason.MAX_STEPS)

    def _has_failed_enough(self) -> bool:
        if not self._failures:
            return False
        reason = self._failures[-1]
        tries = self.parse_tries if reason is StopReason.PARSE_FAILURE else self.max_failures
        same = 0
        for past in reversed(self._failures):
            if past is not reason:
                break
            same += 1
        return same >= tries or len(self._failures) >= self.max_failures

    def _remember(self, record: StepRecord, mark: str) -> None:
        self.steps.append(record)
        first = record.forecast.first if record.forecast else None
        if first is not None:
            action = record.action or first.action
            instruction = first.instruction + mark
            self.history.append(
                HistoryItem(summary=record.observation.summary, action=action, instruction=instruction)
            )

    def _stop(self, reason: StopReason) -> None:
        self.stop_reason = reason
        self.forecast = None
        is_own_goal = self._given_goal is None or self._given_goal.strip() == self.executor.goal
        if self.observation is None or not is_own_goal:
            return
        try:
            self.success = self.executor.is_success()
        except ExecutorError as error:
            self._count(error)


def shows_same(seen: Observation, recorded: Observation) -> bool:
    """Whether two observations show the same pixels, or, without screenshots, the same elements and text.

    Raises:
        MissingFileError, InputError: a screenshot's file is gone or no image.
    """
    if seen.image_size is None or recorded.image_size is None:
        return _without_image(seen) == _without_image(recorded)
    one, other = seen.load_image(), recorded.load_image()
    return one.size == other.size and one.convert("RGB").tobytes() == other.convert("RGB").tobytes()


def _without_image(seen: Observation) -> tuple[Any, ...]:
    return seen.image_size, seen.text, [(e.role, e.text, e.value) for e in seen.elements]  # boxes are stored rounded


def _call(callback: Callable[..., None] | None, *values: Any) -> None:
    if callback is not None:
        callback(*values)


def _platform_of(spaces: frozenset[Space]) -> str:
    names = {Space.MOBILE: "phone", Space.COMPUTER: "desktop", Space.BROWSER: "browser", Space.TOOLS: "tools"}
    return next((names[space] for space in names if space in spaces), "")


def run_batch(
    episodes: Iterable[Episode],
    planner: Planner,
    *,
    batch_size: int = 16,
    should_stop: Callable[[], bool] | None = None,
    on_done: Callable[[Episode], None] | None = None,
) -> list[EpisodeRecord]:
    """Runs episodes in step, at most `batch_size` at once, and returns their records in order.

    At every round one batch of forecasts is made for all running episodes, then each acts. An episode that ends makes
    room for the next, which is taken from the iterable only then.

    Args:
        episodes: not yet started; may be a generator.
        planner: makes all forecasts (the episodes' own planners are only named in their records).
        batch_size: episodes at once, at least 1.
        should_stop: asked before every round; True stops the running episodes and starts no more.
        on_done: called with each episode that ends.
    """
    if batch_size < 1:
        raise InputError(f"batch size {batch_size} is not allowed: give at least 1")
    waiting: Iterator[tuple[int, Episode]] = enumerate(episodes)
    running: list[tuple[int, Episode]] = []
    records: dict[int, EpisodeRecord] = {}

    def settle() -> None:
        for place, episode in [pair for pair in running if pair[1].is_done]:
            records[place] = episode.record()
            running.remove((place, episode))
            _call(on_done, episode)

    while True:
        is_stopped = should_stop is not None and should_stop()
        if is_stopped:
            for _, episode in running:
                episode.stop()
            settle()
            break
        for place, episode in islice(waiting, batch_size - len(running)):
            if episode.observation is None and not episode.is_done:
                episode.start()
            running.append((place, episode))
        if not running:
            break
        settle()
        _step_all([episode for _, episode in running], planner)
        settle()
    return [records[place] for place in sorted(records)]


def _step_all(episodes: list[Episode], planner: Planner) -> None:
    if not episodes:
        return
    started = time.perf_counter()
    results = forecast_each(planner, [episode.request() for episode in episodes])
    seconds = (time.perf_counter() - started) / len(episodes)
    for episode, result in zip(episodes, results, strict=True):
        if episode.take(result, seconds) is not None:
            episode.act()
