"""What stands between an agent and a real device: permission, approval, limits, a kill switch, an audit log.

Nothing on a real device happens unless the program was started with permission (executors.permission), the guard was
armed, every step was approved, no limit is reached and the stop signal is silent. Whatever is missing, unclear or
broken means no. What stands on the screen is data: it can be matched by rules and shown to a person, but decides
nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from queue import Empty, SimpleQueue
from threading import Lock
from time import monotonic
from typing import Any, Protocol

from executors.actions import ACTIONS, Action, ArgKind, Space, validate
from executors.audit import AuditLog
from executors.device import DeviceExecutor, StopSignal
from executors.errors import ExecutorError, InputError
from executors.executor import ExecutionResult
from executors.kill_switch import KillSwitch
from executors.permission import check_permission
from executors.trajectory import Element, Observation


class Decision(StrEnum):
    """What may be decided about a proposed action."""

    APPROVE = "approve"
    MODIFY = "modify"
    REJECT = "reject"
    TERMINATE = "terminate"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An action that waits for a decision, and what it was made for.

    `number` counts the guard's proposals from 1. `texts` is what the action would type, press or open, and the text of
    the element under its point.
    """

    number: int
    action: Action
    observation: Observation
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decision, by whom and why; `action` is the one to do instead, for `MODIFY` only."""

    decision: Decision
    by: str
    reason: str = ""
    action: Action | None = None


class Approver(Protocol):
    """Decides, or passes on by ESCALATE; whatever it raises counts as a rejection."""

    def decide(self, proposal: Proposal, stop: StopSignal) -> Verdict:
        """The verdict; returns early when `stop` is tripped."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A decision for the actions that fit all that is said here; what is left empty fits every action.

    `actions` are registry names. `window` is a pattern with * and ? for the observation's summary (window title, app or
    page), without regard to case. `text` is a regular expression that is searched in each of the proposal's texts.
    """

    decision: Decision
    actions: frozenset[str] = frozenset()
    window: str = ""
    text: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        unknown = sorted(self.actions - ACTIONS.keys())
        if unknown:
            raise InputError(f"rule: {unknown[0]!r} is not an action: choose some of {', '.join(ACTIONS)}")
        if self.decision is Decision.MODIFY:
            raise InputError("rule: a rule cannot modify an action: choose approve, reject, terminate or escalate")
        try:
            re.compile(self.text)
        except re.error as error:
            raise InputError(f"rule: text {self.text!r} is not a regular expression ({error}): mend it") from None

    def fits(self, proposal: Proposal) -> bool:
        """Whether the rule speaks about this proposal."""
        if self.actions and proposal.action.type not in self.actions:
            return False
        if self.window and not fnmatchcase(proposal.observation.summary.casefold(), self.window.casefold()):
            return False
        return not self.text or any(re.search(self.text, text) for text in proposal.texts)


class RuleApprover:
    """The first rule that fits decides; when none fits, it escalates."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Keeps the rules in their order."""
        self._rules = tuple(rules)

    def decide(self, proposal: Proposal, stop: StopSignal) -> Verdict:
        """See the class."""
        for number, rule in enumerate(self._rules, 1):
            if rule.fits(proposal):
                return Verdict(decision=rule.decision, by=f"rule {number}", reason=rule.reason)
        return Verdict(decision=Decision.ESCALATE, by="rules", reason="no rule fits")


class PersonApprover:
    """Asks a person and waits; no answer in time is a rejection.

    A page shows `pending` and calls `answer`; an answer to any other proposal is refused.
    """

    def __init__(self, wait_seconds: float = 60.0) -> None:
        """`wait_seconds` is how long a person has for one answer."""
        self.wait_seconds = wait_seconds
        self.pending: Proposal | None = None
        self._answers: SimpleQueue[tuple[int, Verdict]] = SimpleQueue()

    def answer(self, number: int, verdict: Verdict) -> None:
        """Answers the pending proposal.

        Raises:
            InputError: it is not the one that is pending (any more).
        """
        if self.pending is None or self.pending.number != number:
            raise InputError(f"step {number} is not waiting for an answer: look at the step that is shown now")
        self._answers.put((number, verdict))

    def decide(self, proposal: Proposal, stop: StopSignal) -> Verdict:
        """See the class."""
        self.pending, end = proposal, monotonic() + self.wait_seconds
        try:
            while monotonic() < end and not stop.is_tripped:
                try:
                    number, verdict = self._answers.get(timeout=0.02)
                except Empty:
                    continue
                if number == proposal.number:
                    return verdict
        finally:
            self.pending = None
        return Verdict(decision=Decision.REJECT, by="nobody", reason=f"no answer within {self.wait_seconds:g} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where an agent must end, whatever was approved; time runs from the guard's arming."""

    max_steps: int = 100
    """Executed actions."""
    max_seconds: float = 1800.0
    """Seconds since arming."""
    max_actions_per_second: float = 2.0
    """A faster agent is slowed down."""

    def __post_init__(self) -> None:
        for name in ("max_steps", "max_seconds", "max_actions_per_second"):
            if not getattr(self, name) > 0:
                raise InputError(f"limit {name} {getattr(self, name)} is not allowed: give more than 0")


@dataclass(kw_only=True)
class _Count:
    """What the guard has let through."""

    proposals: int = 0
    steps: int = 0
    armed_at: float = 0.0
    last_at: float = field(default=float("-inf"))


class GuardedExecutor:
    """A real device behind all of the module's checks; itself an executor.

    Rejected actions raise ExecutorError("approve"), ended ones ExecutorError("stop"): a loop records both and nothing
    was done. Terminal actions touch nothing and are only logged.
    """

    def __init__(
        self,
        device: DeviceExecutor,
        *,
        approvers: Sequence[Approver],
        audit: AuditLog,
        kill_switch: KillSwitch,
        limits: Limits | None = None,
    ) -> None:
        """A guard that is not armed.

        Args:
            device: what is guarded; closed with the guard.
            approvers: asked in order until one does not escalate; none that decides is a rejection.
            audit: where everything is written; closed with the guard.
            kill_switch: trips the device's own stop signal; closed with the guard.
            limits: None takes the defaults.

        Raises:
            InputError: real devices are not permitted here, or the kill switch is another device's.
        """
        check_permission()
        if kill_switch.stop is not device.stop:
            raise InputError("the kill switch does not stop this device: make it with the device's own stop signal")
        self.device, self.audit, self.kill_switch = device, audit, kill_switch
        self._approvers, self._limits = tuple(approvers), limits or Limits()
        self._count = _Count()
        self._seen: Observation | None = None
        self._one_at_a_time = Lock()
        self._is_armed = self._is_closed = False
        audit.write("opened", device=device.name, goal=device.goal)

    @property
    def spaces(self) -> frozenset[Space]:
        """The device's."""
        return self.device.spaces

    @property
    def goal(self) -> str:
        """The device's."""
        return self.device.goal

    @property
    def is_done(self) -> bool:
        """The device's."""
        return self.device.is_done

    @property
    def is_armed(self) -> bool:
        """Whether a person has armed the guard, and nothing has stopped it since."""
        return self._is_armed and not self.device.stop.is_tripped

    def arm(self, by: str) -> None:
        """Lets actions through to approval from now on; `by` names the person."""
        self.device.stop.check()
        self.audit.write("armed", by=by)
        self._is_armed, self._count.armed_at = True, monotonic()

    def kill(self, by: str) -> None:
        """Ends acting for good, also an action under way: what a button calls."""
        self.device.stop.trip(by)

    def reset(self) -> Observation:
        """The device's, once armed: a reset may change what is on it."""
        self._check_running()
        self._seen = self.device.reset()
        return self._seen

    def observe(self) -> Observation:
        """The device's."""
        self._seen = self.device.observe()
        return self._seen

    def execute(self, action: Action) -> ExecutionResult:
        """Has the action decided, and carries out what was approved.

        Raises:
            ExecutorError: "approve": not armed or rejected; "stop": ended by a person or a limit; "audit": the log
                cannot be written; "execute": another action is under way; or what the device raised.
        """
        if not self._one_at_a_time.acquire(blocking=False):
            raise ExecutorError("execute", "another action is under way: wait for it")
        try:
            return self._execute(action)
        finally:
            self._one_at_a_time.release()

    def _execute(self, action: Action) -> ExecutionResult:
        self._check_running()
        problem = validate(action, need_targets=True)
        if problem is not None:
            raise ExecutorError("execute", f"{action.type} cannot be carried out: {problem}")
        note = ""
        if not action.is_terminal:
            action, note = self._decide(action)
            self._slow_down()
        self.audit.write("executing", action=action.to_json())
        self._count.steps += not action.is_terminal
        self._count.last_at = monotonic()
        try:
            result = self.device.execute(action)
        except ExecutorError as error:
            self.audit.write("failed", error=str(error), boundary=error.boundary)
            raise
        self._seen = result.observation
        self.audit.write("executed", had_effect=result.had_effect, seconds=round(monotonic() - self._count.last_at, 4))
        return replace(result, message=f"{note} {result.message}".strip())

    def is_success(self) -> bool | None:
        """The device's."""
        return self.device.is_success()

    def close(self) -> None:
        """Closes kill switch, device and log; calling it again does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self.kill_switch.close()
        self.device.close()
        try:
            reason = self.device.stop.reason
            self.audit.write("closed", steps=self._count.steps, **({"stopped_by": reason} if reason else {}))
        finally:
            self.audit.close()

    def _check_running(self) -> None:
        if not self._is_armed:
            raise ExecutorError("approve", "the device is not armed: a person has to arm it first")
        if self._count.steps >= self._limits.max_steps:
            self.kill(f"the limit of {self._limits.max_steps} steps")
        if monotonic() - self._count.armed_at > self._limits.max_seconds:
            self.kill(f"the limit of {self._limits.max_seconds:g} seconds")
        self.device.stop.check()

    def _decide(self, action: Action) -> tuple[Action, str]:
        """The action to do and a note about it; raises when there is none."""
        seen = self._seen or self.observe()
        self._count.proposals += 1
        proposal = Proposal(
            number=self._count.proposals, action=action, observation=seen, texts=_texts_of(action, seen.elements)
        )
        self.audit.write("proposed", proposal=proposal.number, action=action.to_json(), window=seen.summary,
                          texts=list(proposal.texts), screen=_digest(seen))  # fmt: skip
        verdict = self._ask(proposal)
        self.audit.write("decided", proposal=proposal.number, decision=verdict.decision.value, by=verdict.by,
                          reason=verdict.reason, action=verdict.action and verdict.action.to_json())  # fmt: skip
        self.device.stop.check()
        match verdict.decision:
            case Decision.APPROVE:
                return action, ""
            case Decision.MODIFY:
                return verdict.action, f"{verdict.by} made it {verdict.action.type}."
            case Decision.TERMINATE:
                self.kill(f"{verdict.by}: {verdict.reason}" if verdict.reason else verdict.by)
                self.device.stop.check()
        reason = f": {verdict.reason}" if verdict.reason else ""
        raise ExecutorError("approve", f"{action.type} was rejected by {verdict.by}{reason}")

    def _ask(self, proposal: Proposal) -> Verdict:
        """The first verdict that does not escalate; anything unclear is a rejection."""
        for approver in self._approvers:
            try:
                verdict = approver.decide(proposal, self.device.stop)
                problem = _problem_of(verdict)
            except Exception as error:  # a boundary: an approver that fails has not approved
                problem = f"it failed ({type(error).__name__}: {error})"
            if problem is not None:
                return Verdict(decision=Decision.REJECT, by=type(approver).__name__, reason=problem)
            if verdict.decision is not Decision.ESCALATE:
                return verdict
        return Verdict(decision=Decision.REJECT, by="nobody", reason="nobody decided")

    def _slow_down(self) -> None:
        pause = self._count.last_at + 1.0 / self._limits.max_actions_per_second - monotonic()
        if pause > 0:
            self.device.stop.sleep(pause)
        self.device.stop.check()


def _problem_of(verdict: Verdict) -> str | None:
    if (verdict.action is not None) != (verdict.decision is Decision.MODIFY):
        return "only a modified action comes with a decision, and always with that one"
    if verdict.action is not None:
        problem = validate(verdict.action, need_targets=True)
        return None if problem is None else f"the modified action is none: {problem}"
    return None


def _texts_of(action: Action, elements: Sequence[Element]) -> tuple[str, ...]:
    """What the action would write, press, open or call, and the labels under its points."""
    texts: list[str] = []
    for arg in action.spec.args:
        value: Any = getattr(action, arg.name)
        if value is None:
            continue
        if arg.kind is ArgKind.POINT:
            texts += [element.text for element in elements if element.box.contains(value)]
        elif arg.kind is not ArgKind.SECONDS:
            texts.append(str(value))
    return tuple(texts)


def _digest(seen: Observation) -> str | None:
    return None if seen.image is None else hashlib.sha256(seen.image.tobytes()).hexdigest()
