"""One run as the page lists it: its state, progress, and what may be asked of it now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from training.benchmarks.watched import STAGE as EVALUATE
from training.run_folder import RunFolder
from workbench.runs.observe import (
    RESUMABLE,
    STALLED_SECONDS,
    Observed,
    elapsed_seconds,
    open_requests,
    output_lines,
    pace_seconds,
)
from workbench.runs.queue import CANCELLED, HELD, WAITING, Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """One run as it is now; what is not known is None or empty."""

    id: str
    """Path of the run folder below the desk's root, with "/": "smoke-sft", "first/2_stage1"."""
    stage: str
    state: str
    """"waiting", "held" (in the queue), "starting", "running", "finished", "stopped" (saved on request), "killed" (by a
    person), "failed" (with an error it told), "crashed" (ended without a word), "cancelled" (never ran)."""
    reason: str
    """Why it waits, stopped, failed ...; one sentence, may be empty."""
    place: int | None
    """Place in the queue from 1; None when it does not wait."""
    devices: tuple[str, ...]
    """Empty for a run that was started at a command line."""
    num_processes: int
    preset: str
    created: float
    step: int
    total: int
    elapsed_seconds: float | None
    """Since the last start, to now or to the end."""
    eta_seconds: float | None
    """Seconds to the last step at the pace of the last steps; None when it does not run or the pace is unknown."""
    heartbeat_age_seconds: float | None
    is_stalled: bool
    """Runs, and its heartbeat is older than `STALLED_SECONDS`."""
    requests: dict[str, str]
    """Open requests: name -> "asked" or "seen" (the trainer knows and will act after the present step)."""
    error_lines: tuple[str, ...]
    """Last lines of output of a failed or crashed run."""
    actions: frozenset[str]
    """What may be asked now: "hold", "release", "cancel", "reorder", "stop", "kill", "save", "evaluate", "resume",
    "clone", "chain". Buttons follow this."""
    has_checkpoint: bool


def run_row(
    run_id: str,
    folder: Path,
    run: RunFolder | None,
    entry: Entry | None,
    observed: Observed,
    *,
    place: int | None = None,
    reason: str = "",
    may_change: bool = True,
) -> RunRow:
    """The row of one run.

    Args:
        run_id: the run.
        folder: where it writes; output comes before the run folder is made.
        run: its run folder, when the trainer has made one.
        entry: its entry in the queue; None for a run that was started at a command line.
        observed: what it does now.
        place: its place in the queue, from 1.
        reason: why it waits; empty takes the observed reason.
        may_change: whether runs may be held, stopped and so on here.
    """
    info = run.info if run is not None else {}
    heartbeat = run.heartbeat() if run is not None else {}
    runs = observed.state == "running"
    step, total = int(heartbeat.get("step", 0)), int(heartbeat.get("total", 0))
    age = time.time() - heartbeat["time"] if runs and "time" in heartbeat else None
    pace = pace_seconds(run) if runs and run is not None else None
    return RunRow(
        id=run_id,
        stage=entry.draft.stage if entry is not None else str(info.get("stage", "")),
        state=observed.state,
        reason=reason or observed.reason,
        place=place,
        devices=() if entry is None else entry.draft.devices,
        num_processes=int(info.get("num_processes", 1)) if entry is None else entry.draft.num_processes,
        preset="" if entry is None else entry.draft.preset,
        created=entry.created if entry is not None else float(info.get("created", 0.0)),
        step=step,
        total=total,
        elapsed_seconds=elapsed_seconds(info, heartbeat, runs),
        eta_seconds=None if pace is None else max(0, total - step) * pace,
        heartbeat_age_seconds=age,
        is_stalled=age is not None and age > STALLED_SECONDS,
        requests=open_requests(run) if runs and run is not None else {},
        error_lines=output_lines(folder) if observed.state in ("failed", "crashed") else (),
        actions=_actions(observed, entry, run, may_change),
        has_checkpoint=run is not None and any(run.checkpoints_path.glob("checkpoint-*/complete.json")),
    )


def _actions(observed: Observed, entry: Entry | None, run: RunFolder | None, may_change: bool) -> frozenset[str]:
    stage = entry.draft.stage if entry is not None else "" if run is None else run.stage
    is_evaluation = stage == EVALUATE
    actions = set() if is_evaluation else {"clone"}
    if stage in ("sft", "stage1") and observed.state != CANCELLED:
        actions.add("chain")
    if may_change:
        if observed.state in RESUMABLE and not observed.is_occupying:
            actions.add("resume")
        actions |= {
            WAITING: {"hold", "cancel", "reorder"},
            HELD: {"release", "cancel", "reorder"},
            "starting": {"kill"},
            "running": {"stop", "kill"} if is_evaluation else {"stop", "kill", "save", "evaluate"},
        }.get(observed.state, set())
    return frozenset(actions)
