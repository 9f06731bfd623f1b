"""A real desktop or phone as an episode's device: armed by a person, every step decided by one, stopped at once.

The guard (executors.safety, put together by executors.guarding) does the work; here is who is asked, and what a page
shows of a step that waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from executors.actions import Action, format_call
from executors.device import StopSignal
from executors.errors import InputError
from executors.safety import Decision, GuardedExecutor, PersonApprover, Proposal, Verdict

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


def watched_by_pages(guard: Callable[[Sequence[PageApprover]], GuardedExecutor]) -> Guarding:
    """A guarded device whose steps are decided at pages; `guard` makes it of its approvers."""
    first = PageApprover()
    approvers = (first, PageApprover(first=first))
    return Guarding(guard(approvers), approvers)
