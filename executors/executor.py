"""The protocol of everything an agent can act on: simulator, replay, browser, desktop and phone.

tests/executors/conformance.py holds what all of them promise. Real ones share executors/device.py, and stand behind the
guard of executors/safety.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from executors.actions import Action, Space
from executors.trajectory import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionResult:
    """What came of one action: the next observation, and whether the world took the action as having an effect."""

    observation: Observation
    had_effect: bool = True
    message: str = ""


class Executor(Protocol):
    """A device: reset, observe, execute, close.

    All methods raise `ExecutorError` with the boundary that failed. `execute` takes a grounded action (its points
    set, canonical 0..1); terminal actions change nothing but may be recorded by a world that judges them.
    """

    @property
    def spaces(self) -> frozenset[Space]:
        """The action spaces this device takes."""
        ...

    @property
    def goal(self) -> str:
        """The goal set at the last reset, empty when there is none."""
        ...

    def reset(self) -> Observation:
        """Starts an episode and returns the first observation."""
        ...

    def observe(self) -> Observation:
        """The present observation, without acting."""
        ...

    def execute(self, action: Action) -> ExecutionResult:
        """Carries out one grounded action and observes."""
        ...

    def is_success(self) -> bool | None:
        """Whether the goal holds in the present state; None when the device cannot judge."""
        ...

    def close(self) -> None:
        """Releases the device; calling it again does nothing."""
        ...
