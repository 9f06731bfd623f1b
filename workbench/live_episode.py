"""One episode on the server: it goes on in a thread of its own, whoever is looking.

What a page sees is an `EpisodeView`, an immutable picture with a version that grows with every change; reading it
never waits. Methods that start work return at once. They never raise for what a person, a planner or a device did
wrong: the sentence lands in the view's message.

Only one thing is under way at a time. Every order to stop makes the work's token void: a forecast that comes late is
thrown away. An action cannot be taken back: its result is recorded, and nothing follows it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace

from executors.actions import Action
from executors.errors import ExecutorError, InputError, WorkbenchError
from executors.geometry import PointNorm
from executors.safety import Decision
from executors.trajectory import Step
from training.episode_record import StepRecord, StopReason
from training.forecast import Forecast, ForecastStep
from training.plan_act import Episode, shows_same
from training.planner import Planner
from training.prompts import HistoryItem
from workbench.asking import ask, shown_messages, with_own_numbers
from workbench.devices import REFERENCE_NAMES, Device
from workbench.episode_edit import Plan, carry_on, change_step, delete_step, insert_step, move_point, read_action
from workbench.episode_store import EpisodeSetup, EpisodeStore, ForecastMade, StoredFrame
from workbench.episode_view import (
    RECORDING_ENDED,
    UNEXPECTED,
    Activity,
    EpisodeView,
    Message,
    Tone,
    ending,
    forecast_message,
    sentence,
    step_message,
)
from workbench.forecast_marks import forecast_marks
from workbench.kept_groundings import acting_agent, drawing_agent
from workbench.real_devices import PendingStep

log = logging.getLogger(__name__)

_DEFAULT_REFERENCE_STEPS = 6


class LiveEpisode:
    """An episode with its device; see the module."""

    def __init__(
        self, id: str, setup: EpisodeSetup, device: Device, get_planner: Callable[[], Planner], store: EpisodeStore
    ) -> None:
        """Nothing is begun yet: call `start` or `restore`."""
        self._device, self._get_planner, self._store = device, get_planner, store
        self._acting_agent = acting_agent(setup.tool_agent)
        self._tool_agent = drawing_agent(setup.tool_agent)
        self._episode = Episode(
            device.executor, None, tool_agent=self._acting_agent, goal=setup.goal.strip() or None,
            max_steps=setup.max_steps,
        )
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._token = self._actor = 0
        self._unsaved: set[int] = set()
        self._horizon = setup.horizon or _DEFAULT_REFERENCE_STEPS
        self.last_used = time.monotonic()
        self.view = EpisodeView(
            id=id, setup=setup, goal=setup.goal, message=Message(""), frames=(), state="waiting",
            platform=device.platform, is_real=device.guarding is not None,
        )
        if device.guarding is not None:
            device.guarding.watch(self._tell_pending)

    # ---- beginning and end

    def start(self) -> None:
        """Resets the device and shows its first screen; raises ExecutorError at "reset" when it gives none."""
        observation = self._episode.start()
        if observation is None:
            raise ExecutorError("reset", "; ".join(self._episode.errors))
        with self._lock:
            self._append_frame()
            self._publish(
                goal=self._episode.goal,
                message=Message("Ready. Forecast looks ahead; nothing is done before you approve it."),
            )
        if self._device.guarding is not None:
            self._device.guarding.guard.device.stop.watch(self._end_between_actions)

    def restore(self, frames: tuple[StoredFrame, ...], planner_name: str) -> None:
        """Brings the device to where the stored frames ended, by carrying out their actions anew.

        Raises:
            ExecutorError: at "restore", when a screen differs from the stored one.
            MissingFileError, InputError: a stored screenshot is gone or damaged.
        """
        self._episode.restore([frame.step for frame in frames if frame.step is not None])
        if not frames:
            raise ExecutorError("restore", "it was never begun: no screen is stored")
        is_cut = frames[-1].step is not None  # the process ended between an action and its next screen
        if not is_cut and not shows_same(self._episode.observation, frames[-1].observation):
            raise ExecutorError("restore", "the device shows another screen than the one that was stored last")
        with self._lock:
            text = "Opened again where it was left: the device was brought back by repeating the recorded actions."
            self._publish(
                goal=self._episode.goal, frames=frames, planner_name=planner_name, message=Message(text)
            )
            if is_cut:
                self._follow_up(frames[-1].step, None)
            self._store_state()

    def wait_idle(self, seconds: float) -> None:
        """Returns when nothing is under way any more, or after so many seconds."""
        with self._lock:
            self._changed.wait_for(lambda: not self.view.is_busy, seconds)

    def close(self) -> None:
        """Ends what is under way and releases the device."""
        self.stop()
        self._device.executor.close()

    @property
    def is_heavy(self) -> bool:
        """Whether it holds a program of its own, which an episode that is over does not."""
        return self._device.is_heavy and self.view.state != "done"

    # ---- orders; each returns at once

    def forecast(self) -> None:
        """Asks the planner for a forecast on the live screen."""
        self._begin(lambda token: self._make_forecast(token, kept=0), self.view.can_forecast)

    def reforecast(self, number: int) -> None:
        """Keeps the plan's steps 1..number and asks the planner to go on from there.

        The kept steps are told to the planner as done, so what a person changed in them is part of its history.
        """
        plan = self.view.plan
        is_possible = plan is not None and 0 <= number <= len(plan.forecast.steps)
        self._begin(lambda token: self._make_forecast(token, kept=number), self.view.can_forecast and is_possible)

    def act(self) -> None:
        """Approves the plan's first step: grounds it, carries it out and looks again."""
        self._begin(self._take_step, self.view.can_act)

    def run(self) -> None:
        """Forecasts and acts until the episode is over, or is paused or stopped."""
        self._begin(self._run, self.view.can_forecast, is_auto=True)

    def pause(self) -> None:
        """Has a run wait once the forecast or action under way is there."""
        with self._lock:
            if self.view.can_pause:
                self._publish(is_pausing=True, message=Message("Pausing: what is under way is finished first."))

    def answer(self, decision: Decision, by: str, action: Action | None = None) -> None:
        """Decides the step that waits before a real device; `action` is what to do instead, to modify it.

        Raises:
            InputError: no step waits, or another person has to decide it.
        """
        if self._device.guarding is None:
            raise InputError("no step waits for a decision here: this device can do no harm")
        self._device.guarding.answer(decision, by, action)

    def stop(self, by: str = "the STOP button") -> None:
        """Ends what is under way, now: a forecast is thrown away, an action is recorded and nothing follows it.

        A real device is stopped for good by its kill switch, also in the middle of an action.
        """
        guarding = self._device.guarding
        if guarding is not None:
            guarding.guard.kill(by)  # without the lock: nothing may hold this up
        with self._lock:
            if not self.view.is_busy:
                return
            self._token += 1
            if self.view.activity is Activity.ACTING:
                text = "Stopped. The action under way cannot be taken back; its result is recorded when it comes."
                self._publish(is_auto=False, is_pausing=False, message=Message(text))
                return
            text = "Stopped. A forecast under way was thrown away, and nothing more was carried out."
            self._publish(
                is_auto=False, is_pausing=False, activity=Activity.IDLE, message=Message(text),
                state=self._state_now(),
            )
            self._store_state()

    def _end_between_actions(self) -> None:
        """Ends an episode whose real device was stopped, by whatever way; an action under way ends by itself."""
        with self._lock:
            if self.view.is_open and self.view.activity is not Activity.ACTING:
                self._token += 1  # a forecast under way is thrown away
                self._publish(is_auto=False, is_pausing=False, activity=Activity.IDLE)
                self._episode.stop()
                self._end()

    # ---- edits

    def change(self, number: int, type: str, arguments: str, instruction: str) -> None:
        """Step `number` of the plan as a person wrote it."""

        def edit(plan: Plan) -> Plan:
            return change_step(plan, number, read_action(type, arguments), instruction, shown=self.shown_action(number))

        self._edit(edit)

    def move(self, number: int, part: str, to: PointNorm) -> None:
        """A point of step `number` at another place."""
        seen = self.view.frames[-1].observation if self.view.frames else None
        self._edit(lambda plan: move_point(plan, number, part, to, shown=self.shown_action(number), seen=seen))

    def insert(self, number: int, type: str, arguments: str, instruction: str) -> None:
        """A new step before step `number`, or at the end."""
        self._edit(lambda plan: insert_step(plan, number, read_action(type, arguments), instruction))

    def delete(self, number: int) -> None:
        """The plan without step `number`."""
        self._edit(lambda plan: delete_step(plan, number))

    def take_reference(self) -> None:
        """The plan replaced by the reference's next step, for a person who knows better than the planner."""

        def edit(plan: Plan) -> Plan:
            name, steps = REFERENCE_NAMES[self.view.setup.executor], self.view.frames[-1].reference
            if not steps:
                raise InputError(f"{name} knows no step from here: insert one yourself")
            # its points are exact, so they are executed as they are
            one = insert_step(Plan(), 1, steps[0].action, steps[0].instruction)
            return replace(one, changes=(f"the next step of {name} was taken",))

        self._edit(edit)

    def shown_action(self, number: int) -> Action:
        """Step `number` of the plan as it is drawn, with the points that were found for it."""
        made = self.view.plan
        if made is None or not 1 <= number <= len(made.forecast.steps):
            raise InputError(f"step {number} is not in the plan: make a forecast or insert a step")
        marks = forecast_marks(
            made.forecast, self.view.frames[-1].observation, self._tool_agent, pinned=frozenset(made.pinned)
        )
        return marks[number - 1].action

    def _edit(self, edit: Callable[[Plan], Plan]) -> None:
        with self._lock, self._reporting():
            if not self.view.can_edit:
                raise InputError("the plan cannot be changed now: stop what is under way first")
            before = self.view.plan
            plan = Plan.of(before)
            changed = edit(plan)
            if changed == plan:
                return
            frame = self.view.frames[-1]
            is_same_entry = before is not None and before.author == "person"  # a person's edits in a row are one
            forecasts = frame.forecasts[:-1] if is_same_entry else frame.forecasts
            self._put(replace(frame, forecasts=(*forecasts, changed.made(before))))
            self._publish(message=Message(f"Changed by you: {changed.changes[-1]}."))

    # ---- work, in the episode's own thread

    def _begin(self, work: Callable[[int], None], is_possible: bool, *, is_auto: bool = False) -> None:
        with self._lock:
            if not is_possible or self.view.is_busy:
                return
            self._token += 1
            token = self._token
            self._publish(
                is_auto=is_auto, is_pausing=False, state="running", activity=Activity.FORECASTING,
                activity_started=time.monotonic(),
            )
            self._store_state()
        context = copy_context()  # with the request that ordered it: a lent GPU is charged to its visitor
        args = (self._work, work, token)
        threading.Thread(target=context.run, args=args, name=f"episode-{self.view.id}", daemon=True).start()

    def _work(self, work: Callable[[int], None], token: int) -> None:
        with self._reporting(token):
            work(token)
        with self._lock:
            if token in (self._token, self._actor):
                self._actor = 0
                is_cut = self.view.is_open and self._is_over()  # a real device was stopped between two steps
                self._publish(activity=Activity.IDLE, is_auto=False, is_pausing=False, state=self._state_now())
                self._store_state()
                if is_cut:
                    self._episode.stop()
                    self._end()

    def _run(self, token: int) -> None:
        while True:
            if self.view.plan is None and not self._make_forecast(token, kept=0):
                return
            if self._must_wait(token, "Paused: the next step waits for your approval. Run goes on."):
                return
            if not self._take_step(token) or self.view.state == "done":
                return
            if self._must_wait(token, "Paused. Run goes on from here; Forecast looks ahead."):
                return

    def _must_wait(self, token: int, text: str) -> bool:
        with self._lock:
            if self._token != token:
                return True
            if self.view.is_pausing:
                self._publish(message=Message(text))
            return self.view.is_pausing

    def _tell_pending(self, pending: PendingStep | None) -> None:
        with self._lock:
            text = "A step waits for your decision; nothing is done before it." if pending else "Decided."
            self._publish(pending=pending, message=Message(text))

    def _find_places(self, forecast: Forecast) -> None:
        """Has a tool agent at a server find the steps once, so that pages can draw them."""
        if self._acting_agent is not self._tool_agent:
            forecast_marks(forecast, self._episode.observation, self._acting_agent)

    def _make_forecast(self, token: int, *, kept: int) -> bool:
        """Whether there is a plan to act on now."""
        with self._lock:
            if self._token != token or self._is_over():
                return False
            frame, plan = self.view.frames[-1], Plan.of(self.view.plan)
            head = plan.steps[:kept]
            self._publish(
                activity=Activity.FORECASTING, activity_started=time.monotonic(),
                message=Message("The planner is looking ahead …"),
            )
        setup = self.view.setup
        planner = with_own_numbers(self._get_planner(), setup.horizon, setup.history_length)
        self._horizon = planner.config.horizon
        told = tuple(
            HistoryItem(summary=frame.observation.summary, action=step.action, instruction=step.instruction)
            for step in head
        )
        request = self._episode.request()
        request = replace(
            request, history=(*request.history, *told), horizon=max(1, planner.config.horizon - len(head))
        )
        started = time.perf_counter()
        result = ask(planner, request, lambda: self._token != token)
        seconds = time.perf_counter() - started
        if isinstance(result, Forecast):
            self._find_places(result)
        with self._lock:
            if self._token != token or result is None:
                return False
            self._publish(planner_name=planner.name)
            if isinstance(result, ExecutorError):
                self._record_failed_plan(result, seconds)
                return False
            made = self._made(result, head, plan, shown_messages(planner, request, frame.screen), seconds)
            reference = self._reference()
            self._put(replace(frame, forecasts=(*frame.forecasts, made), reference=reference))
            self._publish(message=forecast_message(result, len(head)))
            return True

    def _made(
        self, result: Forecast, head: tuple[ForecastStep, ...], plan: Plan, messages: tuple, seconds: float
    ) -> ForecastMade:
        if not head:
            return ForecastMade(forecast=result, messages=messages, plan_seconds=seconds)
        numbers = range(1, len(head) + 1)
        return ForecastMade(
            forecast=replace(result, steps=(*head, *result.steps)),
            author="person",
            changes=(*plan.changes, f"forecast again from step {len(head)} on"),
            edited=tuple(sorted(plan.edited & set(numbers)) or (len(head),)),
            pinned=tuple(sorted(plan.pinned & set(numbers))),
            messages=messages,
            plan_seconds=seconds,
        )

    def _record_failed_plan(self, error: ExecutorError, seconds: float) -> None:
        self._episode.take(error, seconds)
        self._finish_frame()
        text = f"Step {len(self._episode.steps)} has no forecast: {error}."
        if not self._episode.is_done:
            self._publish(message=Message(f"{text} Forecast asks again.", Tone.ERROR))

    def _take_step(self, token: int) -> bool:
        """Whether the step was carried out."""
        with self._lock:
            if self._token != token:
                return False
            made = self.view.plan
            self._actor = token  # also once the token is void: the device is busy until its answer comes
            self._episode.take(made.forecast, made.plan_seconds, is_pinned=1 in made.pinned)
            self._publish(
                activity=Activity.ACTING, activity_started=time.monotonic(),
                message=Message(f"Carrying out: {made.forecast.first.instruction}" if made.forecast.first else "…"),
            )
        record = self._episode.act()  # without the lock: a device may take long, and Stop must not wait
        with self._lock:
            plan = carry_on(Plan.of(made), len(self.view.frames)) if record.error is None else None
            self._finish_frame(plan)
            if self._token == token and not self._is_over():
                self._publish(message=step_message(record, has_plan=plan is not None))
            return record.error is None

    # ---- state

    def _finish_frame(self, plan: Plan | None = None) -> None:
        """Puts the last step into its frame, and adds the next screen."""
        before = self.view.frames[-1]
        record = self._episode.steps[-1]
        if before.screen:  # it is stored: only the live screen stays in memory
            before = replace(before, observation=replace(before.observation, image=None))
            record = self._episode.steps[-1] = replace(record, observation=before.observation)
        frame = replace(
            before, step=record, ground_seconds=self._episode.ground_seconds,
            execute_seconds=self._episode.execute_seconds,
        )
        self._put(frame)
        self._follow_up(record, plan)

    def _follow_up(self, record: StepRecord, plan: Plan | None) -> None:
        """The screen after a step, or the end."""
        is_terminal = record.action is not None and record.action.is_terminal and record.error is None
        if not is_terminal:
            self._append_frame(plan)
        if self._is_over():
            self._end()

    def _is_over(self) -> bool:
        return self._episode.is_done or self._device.is_over()

    def _end(self) -> None:
        episode = self._episode
        reason = str(episode.stop_reason or RECORDING_ENDED)
        stopped_by = self._device.stopped_by
        if stopped_by:
            reason = str(StopReason.STOPPED)
        if episode.success is None:
            outcome = "unknown"
        elif episode.success:
            outcome = "impossible" if episode.stop_reason is StopReason.IMPOSSIBLE else "success"
        else:
            outcome = "failure"
        self._publish(state="done", outcome=outcome, stop_reason=reason, message=ending(outcome, reason, stopped_by))
        self._store_state()
        if self._device.is_heavy:  # closing may take seconds, and nobody waits for it
            threading.Thread(target=self._device.executor.close, name=f"close-{self.view.id}", daemon=True).start()

    def _append_frame(self, plan: Plan | None = None) -> None:
        forecasts = (plan.made(None),) if plan is not None else ()
        reference = () if self._is_over() else self._reference()
        self._put(
            StoredFrame(
                number=len(self.view.frames) + 1, observation=self._episode.observation, forecasts=forecasts,
                reference=reference,
            )
        )

    def _reference(self) -> tuple[Step, ...]:
        return self._device.reference(self._horizon)

    def _put(self, frame: StoredFrame) -> None:
        """Puts a frame into its place and stores it; what cannot be stored is kept in memory, said, and tried again."""
        frames = [*self.view.frames[: frame.number - 1], frame]
        self._unsaved.add(frame.number)
        fault = ""
        try:
            for number in sorted(self._unsaved):
                frames[number - 1] = self._store.save_frame(self.view.id, frames[number - 1])
                self._unsaved.discard(number)
        except WorkbenchError as error:
            fault = sentence(error)
        self._publish(frames=tuple(frames), storage_fault=fault)

    def _store_state(self) -> None:
        view = self.view
        try:
            self._store.save_state(
                view.id, state=view.state, outcome=view.outcome, stop_reason=view.stop_reason,
                planner_name=view.planner_name,
            )
        except WorkbenchError as error:
            self._publish(storage_fault=sentence(error))

    def _state_now(self) -> str:
        return "done" if self.view.state == "done" or self._is_over() else "waiting"

    def _publish(self, **changes: object) -> None:
        self.last_used = time.monotonic()
        self.view = replace(self.view, version=self.view.version + 1, **changes)
        self._changed.notify_all()

    @contextmanager
    def _reporting(self, token: int | None = None) -> Iterator[None]:
        """The boundary at which errors become the message; what is unexpected also goes to the log."""
        try:
            yield
            return
        except WorkbenchError as error:
            message = Message(sentence(error), Tone.ERROR)
        except Exception:
            log.exception("episode %s failed", self.view.id)
            message = Message(UNEXPECTED, Tone.ERROR)
        with self._lock:
            if token is None or self._token == token:
                self._publish(message=message)
