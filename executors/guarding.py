"""Real devices put behind their guard, each with its own audit log: what the app and the command line both open."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from executors.android import AndroidExecutor
from executors.audit import AuditLog
from executors.desktop import DesktopExecutor
from executors.device import DeviceExecutor
from executors.errors import InputError
from executors.kill_switch import KillSwitch
from executors.safety import Approver, GuardedExecutor, Limits

STOP_FILE = "STOP"
"""Acting on every device ends as soon as this file is in the guard's folder."""


def guard_desktop(goal: str, approvers: Sequence[Approver], folder: Path, max_steps: int) -> GuardedExecutor:
    """This machine's desktop, also stopped by the pointer in the corner; see `_guard`."""
    device = DesktopExecutor(goal=_checked(goal, "desktop"))
    return _guard(device, approvers, folder / "audit.jsonl", max_steps, is_in_corner=device.is_pointer_in_corner)


def guard_android(
    serial: str, goal: str, approvers: Sequence[Approver], folder: Path, max_steps: int
) -> GuardedExecutor:
    """The phone of this serial; see `_guard`."""
    device = AndroidExecutor(serial, goal=_checked(goal, "phone"))
    name = re.sub(r"[^A-Za-z0-9.-]", "_", serial)
    return _guard(device, approvers, folder / f"audit-{name}.jsonl", max_steps)


def _checked(goal: str, what: str) -> str:
    if not goal.strip():
        raise InputError(f"the goal is empty: say what is to be done on this {what}")
    return goal.strip()


def _guard(
    device: DeviceExecutor, approvers: Sequence[Approver], log: Path, max_steps: int,
    is_in_corner: Callable[[], bool] | None = None,
) -> GuardedExecutor:  # fmt: skip
    """A device behind its guard, not armed yet.

    Args:
        device: what is guarded.
        approvers: who decides each step, see `GuardedExecutor`.
        log: its audit log; one guard at a time writes it, so that a device serves one. A file STOP beside it ends
            acting.
        max_steps: actions after which it ends.
        is_in_corner: ends acting, too; see `KillSwitch`.

    Raises:
        InputError: a STOP file is there already, or the log is broken.
        OutputError: the audit log cannot be written, or another guard writes it.
    """
    audit = AuditLog(log)
    try:
        switch = KillSwitch(device.stop, stop_file=log.parent / STOP_FILE, is_in_corner=is_in_corner)
    except InputError:
        audit.close()
        raise
    return GuardedExecutor(
        device, approvers=approvers, audit=audit, kill_switch=switch, limits=Limits(max_steps=max_steps)
    )
