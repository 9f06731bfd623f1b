"""A person at the terminal decides each step before it is done on a real device."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TextIO

from executors.actions import format_call
from executors.device import StopSignal
from executors.safety import Decision, Proposal, Verdict

_ANSWERS = {
    "y": Decision.APPROVE, "yes": Decision.APPROVE, "n": Decision.REJECT, "no": Decision.REJECT,
    "q": Decision.TERMINATE, "quit": Decision.TERMINATE,
}  # fmt: skip
_LOOK_SECONDS = 0.05


class TerminalApprover:
    """Asks on one stream and reads a line of another: y does it, n does not, q ends the episode.

    Anything else, an empty line and the end of the input among them, is a rejection. It waits for as long as the person
    takes, and returns at once when the stop signal is tripped.
    """

    def __init__(self, answers: TextIO, questions: TextIO) -> None:
        """Nothing is read before a step is proposed."""
        self._answers, self._questions = answers, questions

    def decide(self, proposal: Proposal, stop: StopSignal) -> Verdict:
        """See the class."""
        words = format_call(proposal.action)
        # what a model wrote must not move the cursor or hide what it asks for
        call = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in words)
        print(f"  do this on the real device?  {call}", file=self._questions)
        for text in proposal.texts:
            print(f"      it writes, presses or points at: {text!r}", file=self._questions)
        print("  y = yes, n = no, q = end: ", end="", file=self._questions, flush=True)
        lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=lambda: lines.put(self._answers.readline()), daemon=True).start()
        while not stop.is_tripped:
            try:
                said = lines.get(timeout=_LOOK_SECONDS).strip().casefold()
            except Empty:
                continue
            print(said[:20], file=self._questions, flush=True)
            decision = _ANSWERS.get(said, Decision.REJECT)
            return Verdict(decision=decision, by="the person at the terminal", reason="" if said else "no answer")
        return Verdict(decision=Decision.REJECT, by="nobody", reason="stopped")
