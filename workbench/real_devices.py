"""A real desktop or phone as an episode's device: armed by a person, every step decided by one, stopped at once.

The guard (executors.safety) does the work; here it is put together for pages: who is asked, where the log and the STOP
file are, and what a page shows of a step that waits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from executors.actions import Action, format_call
from executors.android import AndroidExecutor
from executors.audit import AuditLog
from executors.desktop import DesktopExecutor
from executors.device import DeviceExecutor, StopSignal
from executors.errors import InputError
from executors.kill_switch import KillSwitch
from executors.safety import Decision, GuardedExecutor, Limits, PersonApprover, Proposal, Verdict

ANSWER_SECONDS = 120.0
"""How long a step waits for a person; then it is rejected."""


@dataclass(frozen=True, slots=True)
class PendingStep:
    """A step that waits for a decision; `by` who escalated it, empty for nobody."""

    number: int
    action: Action
    texts: tuple[str, ...]
    escalated_by: str = ""

    @property
    def words(self) -> str:
        """The action as a call."""
        return format_call(self.action)


class PageApprover(PersonApprover):
    """Asks whoever looks at the episode; tells when a step waits and when it no longer does."""

    def __init__(self, wait_seconds: float = ANSWER_SECONDS, first: PageApprover | None = None) -> None:
        """`first` is the approver whose escalations come here: another person has to answer then."""
        super().__init__(wait_seconds)
        self._first = first
        self.on_change: Callable[[PendingStep | None], None] = lambda _: None
        self.last_by = ""

    def decide(self, proposal: Proposal, stop: StopSignal) -> Verdict:
        """See `PersonApprover`."""
        escalated_by = self._first.last_by if self._first is not None else ""
        self.pending = proposal  # before it is told, so that an answer finds it
        self.on_change(PendingStep(proposal.number, proposal.action, proposal.texts, escalated_by))
        try:
            verdict = super().decide(proposal, stop)
            self.last_by = verdict.by
            return verdict
        finally:
            self.on_change(None)

    def answer(self, number: int, verdict: Verdict) -> None:
        """See `PersonApprover`; raises InputError also for who passed this step on themselves."""
        if self._first is not None and verdict.by == self._first.last_by:
            raise InputError(f"{verdict.by} passed this step on: another person has to decide it")
        super().answer(number, verdict)


@dataclass(frozen=True, slots=True)
class Guarding:
    """A guarded device and the approvers that its episode's pages answer for."""

    guard: GuardedExecutor
    approvers: tuple[PageApprover, ...]

    def answer(self, decision: Decision, by: str, action: Action | None = None, reason: str = "") -> None:
        """Decides the step that waits.

        Raises:
            InputError: none waits, or another person has to decide it.
        """
        for approver in self.approvers:
            if (pending := approver.pending) is not None:
                verdict = Verdict(decision=decision, by=by, reason=reason, action=action)
                approver.answer(pending.number, verdict)
                return
        raise InputError("no step waits for a decision: look at the step that is shown now")

    def watch(self, on_change: Callable[[PendingStep | None], None]) -> None:
        """Has `on_change` called with a step that begins to wait, and with None when it no longer does."""
        for approver in self.approvers:
            approver.on_change = on_change


def guard_desktop(goal: str, folder: Path, max_steps: int) -> Guarding:
    """This machine's desktop behind its guard; also ended by the pointer in the corner. See `_guard`."""
    device = DesktopExecutor(goal=_checked(goal, "desktop"))
    return _guard(device, folder, "audit", max_steps, is_in_corner=device.is_pointer_in_corner)


def guard_android(serial: str, goal: str, folder: Path, max_steps: int) -> Guarding:
    """The phone of this serial behind its guard; see `_guard`."""
    device = AndroidExecutor(serial, goal=_checked(goal, "phone"))
    return _guard(device, folder, f"audit-{re.sub(r'[^A-Za-z0-9.-]', '_', serial)}", max_steps)


def _checked(goal: str, what: str) -> str:
    if not goal:
        raise InputError(f"the goal is empty: say what is to be done on this {what}")
    return goal


def _guard(
    device: DeviceExecutor, folder: Path, log: str, max_steps: int, is_in_corner: Callable[[], bool] | None = None
) -> Guarding:
    """A device behind its guard, not armed yet.

    Args:
        device: what is guarded.
        folder: where a file STOP ends acting on every device, and where the audit log is.
        log: the audit log's name; one episode at a time writes it, so that a device serves one.
        max_steps: actions after which it ends.
        is_in_corner: ends acting, too; see `KillSwitch`.

    Raises:
        InputError: a STOP file is there already, or the log is broken.
        OutputError: the audit log cannot be written, or another episode acts on this device.
    """
    audit = AuditLog(folder / f"{log}.jsonl")
    try:
        switch = KillSwitch(device.stop, stop_file=folder / "STOP", is_in_corner=is_in_corner)
    except InputError:
        audit.close()
        raise
    first = PageApprover()
    approvers = (first, PageApprover(first=first))
    guard = GuardedExecutor(
        device, approvers=approvers, audit=audit, kill_switch=switch, limits=Limits(max_steps=max_steps)
    )
    return Guarding(guard, approvers)
