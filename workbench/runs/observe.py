"""How a run fares, from its folder, its process and its row of the queue; nothing is remembered between two looks."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executors.errors import WorkbenchError
from training.run_folder import REQUESTS, RunFolder
from workbench.runs.launcher import OUTPUT_FILE, is_same_process
from workbench.runs.queue import CANCELLED, HELD, STARTED, WAITING, Entry

STALLED_SECONDS = 30.0
"""Age of a heartbeat, which comes every two seconds, above which a run is told to stand still."""
ENDED = ("finished", "stopped", "killed", "failed", "crashed")
RESUMABLE = ("stopped", "killed", "failed", "crashed")
_PACE_BYTES = 32_000
_PACE_STEPS = 50
_OUTPUT_BYTES = 16_000
_OUTPUT_LINES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """A run at one moment."""

    state: str
    reason: str = ""
    is_occupying: bool = False
    """Whether a process of it lives, so that its devices are not free."""


def open_folder(path: Path) -> RunFolder | None:
    """The run folder; None while there is no run.json, or one of another schema."""
    try:
        return RunFolder.open(path)
    except WorkbenchError:
        return None


def observe(run: RunFolder | None, entry: Entry | None) -> Observed:
    """The run's state; see `workbench.runs.row.RunRow.state` for the words.

    Args:
        run: its folder, when the trainer has made one.
        entry: its row of the queue; None for a run that was started at a command line.
    """
    if entry is not None and entry.state in (WAITING, HELD, CANCELLED):
        if run is not None and run.is_alive():  # it was started elsewhere meanwhile
            return Observed(state="running", is_occupying=True)
        return Observed(state=entry.state)
    is_launched = entry is not None and entry.state == STARTED
    lives = is_launched and is_same_process(entry.pid, entry.process_started)
    if entry is not None and (run is None or (is_launched and _is_of_an_earlier_start(run, entry))):
        return _before_the_trainer(entry, lives)
    assert run is not None, "a run is in the queue or has a folder"
    status = run.status()
    reason = status.reason
    if status.state == "crashed" and is_launched and (entry.exit_code or 0) < 0:
        reason = f"{_signal_words(-entry.exit_code)} after step {run.heartbeat().get('step', 0)}"
    return Observed(state=status.state, reason=reason, is_occupying=lives or run.is_alive())


def _is_of_an_earlier_start(run: RunFolder, entry: Entry) -> bool:
    """Whether the trainer of the last start has not written its folder; one resumed at a command line has since."""
    info = run.info
    if not entry.launch or info.get("launch") == entry.launch:
        return False
    started = info.get("process_started")
    return not isinstance(started, float) or started < (entry.process_started or float("inf"))


def _before_the_trainer(entry: Entry, lives: bool) -> Observed:
    """A start of which the run folder knows nothing yet, or never will."""
    if lives:
        return Observed(state="starting", reason="the trainer loads its libraries", is_occupying=True)
    if entry.error:
        return Observed(state="failed", reason=entry.error)
    if entry.killed:
        return Observed(state="killed", reason="killed by a person before the trainer began")
    lines = output_lines(entry.draft.out)
    told = next((line for line in reversed(lines) if line.startswith("tracer1: ")), "")
    if told:
        return Observed(state="failed", reason=told.removeprefix("tracer1: "))
    reason = "the process ended before the trainer began"
    if (entry.exit_code or 0) < 0:
        reason = f"{_signal_words(-entry.exit_code)} before the trainer began"
    return Observed(state="crashed", reason=reason + (f": {lines[-1]}" if lines else ""))


def _signal_words(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    hint = ", perhaps by the system for lack of memory" if number == signal.SIGKILL else ""
    return f"the process was ended by {name}{hint}"


def output_lines(folder: Path) -> tuple[str, ...]:
    """The last lines that a run printed: of its log, or of what its processes printed beside it if that is newer."""
    files = [path for path in (folder / "log.txt", folder / OUTPUT_FILE) if path.is_file() and path.stat().st_size]
    if not files:
        return ()
    newest = max(files, key=lambda path: path.stat().st_mtime_ns)
    lines = _last_bytes(newest, _OUTPUT_BYTES).decode("utf-8", "replace").splitlines()
    return tuple([line for line in lines if line.strip()][-_OUTPUT_LINES:])


def open_requests(run: RunFolder) -> dict[str, str]:
    """What was asked and not yet done: request -> "asked", or "seen" when the trainer has told so."""
    seen = run.heartbeat().get("seen") or []
    return {name: "seen" if name in seen else "asked" for name in REQUESTS if (run.path / name).exists()}


def pace_seconds(run: RunFolder) -> float | None:
    """Seconds per step, the median of the last steps; None before the third."""
    points = _last_points(run.path / "metrics.jsonl")
    paces = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in zip(points, points[1:], strict=False)
        if later[0] > earlier[0] and later[1] >= earlier[1]
    ]
    return statistics.median(paces) if len(paces) >= 2 else None


def elapsed_seconds(info: dict[str, Any], heartbeat: dict[str, Any], lives: bool) -> float | None:
    """Seconds since the run was made or resumed, to now or to the last heartbeat.

    Not since its process began: the process of a pipeline runs one stage after the other.
    """
    resumes = info.get("resumes")
    last = resumes[-1] if isinstance(resumes, list) and resumes else info
    started = last.get("time", last.get("created")) if isinstance(last, dict) else None
    until = time.time() if lives else heartbeat.get("time")
    return max(0.0, until - started) if isinstance(started, float) and isinstance(until, float) else None


def _last_points(path: Path) -> list[tuple[int, float]]:
    """(step, time) of the last steps in a metrics file."""
    points: list[tuple[int, float]] = []
    for line in _last_bytes(path, _PACE_BYTES).split(b"\n")[-_PACE_STEPS:]:
        try:
            row = json.loads(line)
            points.append((int(row["step"]), float(row["time"])))
        except (ValueError, KeyError, TypeError):
            continue  # the first line is cut, the last may be
    return points


def _last_bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            return file.read()
    except OSError:
        return b""
