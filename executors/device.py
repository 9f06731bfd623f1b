"""What all real devices share: one thread that acts, time limits, a stop signal that also ends an action under way.

A device's own code runs on a thread of its own, one call at a time. The caller waits for it no longer than the time
limit, and no longer than `GRACE_SECONDS` once the stop signal is tripped: a hung display, phone or browser cannot hang
the caller.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from executors.actions import Action, Space, validate
from executors.errors import ExecutorError, WorkbenchError
from executors.executor import ExecutionResult
from executors.geometry import PointNorm
from executors.permission import check_permission
from executors.trajectory import Observation

T = TypeVar("T")

GRACE_SECONDS = 0.15
"""How long an action under way may take to let go of buttons and keys after a stop."""

WAIT_SECONDS = 1.0
"""What a `wait` without a number of seconds waits."""
_DRAG_STEPS = 12


class StopSignal:
    """Says once and for all that acting must end; may be tripped and read from any thread."""

    def __init__(self) -> None:
        """A signal that is not tripped."""
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._watchers: list[Callable[[], None]] = []
        self.reason = ""

    @property
    def is_tripped(self) -> bool:
        """True once `trip` was called."""
        return self._event.is_set()

    def trip(self, reason: str) -> None:
        """Ends acting; the first reason given stays."""
        with self._lock:
            self.reason = self.reason or reason
            self._event.set()
            watchers, self._watchers = self._watchers, []
        for on_trip in watchers:  # without the lock, and after acting has been ended
            on_trip()

    def watch(self, on_trip: Callable[[], None]) -> None:
        """Has `on_trip` called once, by the thread that trips, at once where that has happened already."""
        with self._lock:
            is_late = self.is_tripped
            if not is_late:
                self._watchers.append(on_trip)
        if is_late:
            on_trip()

    def check(self) -> None:
        """Raises ExecutorError("stop") once tripped."""
        if self.is_tripped:
            raise ExecutorError("stop", f"stopped by {self.reason}")

    def sleep(self, seconds: float) -> None:
        """Waits, or raises ExecutorError("stop") as soon as the signal is tripped."""
        self._event.wait(seconds)
        self.check()


class _Worker:
    """One thread that runs calls in order; as a daemon it never keeps the process alive."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((call, future))
        return future

    def end(self) -> None:
        self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            call, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # a boundary: whatever a device's library raises goes to the caller
                future.set_exception(error)


class DeviceExecutor(ABC):
    """A device that acts on something real; children say how, by the methods with an underscore.

    `execute` checks the action, carries it out, waits `settle_seconds` and looks. `had_effect` says whether the picture
    differs from the last one seen, whatever made it so. After a terminal action it raises until `reset`, after `close`
    for good.
    """

    name = "device"
    """What messages call it."""

    close_seconds = 5.0
    """How long letting go of the device may take."""

    is_real = True
    """Whether actions can do harm, so that permission is needed (executors.permission)."""

    def __init__(
        self,
        *,
        goal: str = "",
        settle_seconds: float = 0.5,
        time_limit_seconds: float = 30.0,
        stop: StopSignal | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            goal: what is to be done, if the device is opened for one thing.
            settle_seconds: pause between an action and the look at what came of it.
            time_limit_seconds: longest wait for one action (besides the seconds it names itself) or one look.
            stop: ends the action under way and refuses all others once tripped; None makes one of its own.

        Raises:
            InputError: real devices are not permitted in this process.
        """
        if self.is_real:
            check_permission()
        self._goal, self._settle_seconds, self._limit_seconds = goal, settle_seconds, time_limit_seconds
        self.stop = stop or StopSignal()
        self._worker: _Worker | None = None
        self._busy: Future | None = None
        self._last: Observation | None = None
        self._is_ended = self._is_closed = False

    @property
    @abstractmethod
    def spaces(self) -> frozenset[Space]:
        """The action spaces this device takes."""

    @property
    def goal(self) -> str:
        """What the device was opened for, empty when nothing was said."""
        return self._goal

    @property
    def is_done(self) -> bool:
        """True after a terminal action."""
        return self._is_ended

    def reset(self) -> Observation:
        """Starts an episode from the device's first state, where it has one, and looks."""
        self._call("reset", self._restart)
        self._is_ended = False
        return self.observe()

    def observe(self) -> Observation:
        """What is on the screen now."""
        self._last = self._call("observe", self._see)
        return self._last

    def execute(self, action: Action) -> ExecutionResult:
        """Carries out a grounded action and looks.

        Raises:
            ExecutorError: "execute": the episode has ended, the action is malformed, lacks a point or is not of this
                device, or the device failed; "observe": it cannot be seen any more; "stop": the stop signal.
        """
        if self._is_ended:
            raise ExecutorError("execute", "the episode has ended: reset before acting again")
        problem = validate(action, need_targets=True)
        if problem is not None:
            raise ExecutorError("execute", f"{action.type} cannot be carried out: {problem}")
        if not action.spec.spaces & self.spaces:
            raise ExecutorError("execute", f"a {self.name} does not take {action.type}")
        if action.is_terminal:
            self._call("execute", lambda: self._conclude(action))
            self._is_ended = True
            return ExecutionResult(observation=self.observe(), message="the episode has ended")
        before = self._last or self.observe()  # points are of the last picture, so there has to be one
        self._call("execute", lambda: self._act(action), extra_seconds=action.seconds or 0.0)
        after = self.observe()
        had_effect = not _is_same_picture(before, after)
        message = "" if had_effect else f"{action.type} changed nothing on the screen"
        return ExecutionResult(observation=after, had_effect=had_effect, message=message)

    def is_success(self) -> bool | None:
        """None: a device does not know whether a goal holds."""
        return None

    def close(self) -> None:
        """Releases the device, as far as it answers within `close_seconds`; calling it again does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._worker is not None:
            future = self._worker.submit(self._release)
            self._worker.end()
            is_hung = self._busy is not None and not self._busy.done()
            wait([future], timeout=1.0 if is_hung else min(self._limit_seconds, self.close_seconds))
        self._abandon()

    def _act(self, action: Action) -> None:
        if action.type == "wait":
            self._pause(WAIT_SECONDS if action.seconds is None else action.seconds)
        else:
            self._perform(action)
        self._pause(self._settle_seconds)

    def _pause(self, seconds: float) -> None:
        """Waits on the device's thread; the stop signal ends it."""
        self.stop.sleep(seconds)

    def _drag_path(self, start: PointNorm, end: PointNorm, step_seconds: float) -> Iterator[PointNorm]:
        """The places of a drag after its start, a pause before each and at the end: many programs take a jump for no
        drag."""
        for step in range(1, _DRAG_STEPS + 1):
            self._pause(step_seconds)
            share = step / _DRAG_STEPS
            yield PointNorm(start.x + share * (end.x - start.x), start.y + share * (end.y - start.y))
        self._pause(step_seconds)

    def _call(self, boundary: str, call: Callable[[], T], extra_seconds: float = 0.0) -> T:
        """Runs a part of the device on its thread, within the time limit."""
        if self._is_closed:
            raise ExecutorError(boundary, f"the {self.name} is closed: open another")
        self.stop.check()
        if self._busy is not None and not self._busy.done():
            raise ExecutorError(boundary, f"the {self.name} still hangs in what it did last: close it")
        if self._worker is None:
            worker = _Worker(self.name)
            try:
                self._wait(worker.submit(self._open), boundary, self._limit_seconds)
            except BaseException:
                worker.end()
                raise
            self._worker = worker
        return self._wait(self._worker.submit(call), boundary, self._limit_seconds + extra_seconds)

    def _wait(self, future: Future[T], boundary: str, seconds: float) -> T:
        end = monotonic() + seconds
        while not wait([future], timeout=0.02).done:
            if self.stop.is_tripped:
                end = min(end, monotonic() + GRACE_SECONDS)
            if monotonic() > end:
                self._busy = future
                self.stop.check()
                raise ExecutorError(boundary, f"the {self.name} did not answer within {seconds:g} s")
        try:
            return future.result()
        except (ExecutorError, KeyboardInterrupt):
            raise
        except WorkbenchError as error:
            raise ExecutorError(boundary, str(error)) from None
        except BaseException as error:  # a boundary: devices fail in any way, pyautogui even by SystemExit
            text = " ".join(str(error).split())[:300]
            raise ExecutorError(boundary, f"the {self.name} failed ({type(error).__name__}: {text})") from error

    @abstractmethod
    def _open(self) -> None:
        """Takes hold of the device; called once, before anything else."""

    def _restart(self) -> None:
        """Brings the device to its first state; a device without one stays as it is."""
        return None

    @abstractmethod
    def _perform(self, action: Action) -> None:
        """Carries out a checked action that is neither terminal nor a wait."""

    @abstractmethod
    def _see(self) -> Observation:
        """Looks."""

    def _conclude(self, action: Action) -> None:
        """Is told of a terminal action: a world that judges may have to know it."""
        return None

    def _release(self) -> None:
        """Lets go of the device, on its own thread."""
        return None

    def _abandon(self) -> None:
        """Ends what `_release` could not, from the caller's thread: processes of a device that hangs."""
        return None


def _is_same_picture(one: Observation, other: Observation) -> bool:
    if one.image is None or other.image is None or one.image_size != other.image_size:
        return False
    return one.image.tobytes() == other.image.tobytes()
