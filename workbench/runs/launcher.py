"""Processes of runs: started on their own, found again, ended whole."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from executors.errors import OutputError
from workbench.runs.draft import PROJECT
from workbench.runs.evaluation_draft import AnyDraft

OUTPUT_FILE = Path("launch") / "output.txt"
"""What the processes of a run print outside of log.txt: before and after the trainer's session, and other processes."""
LAUNCH_VARIABLE = "TRACER1_LAUNCH"
"""Environment variable whose value the trainer repeats in run.json."""


def start(draft: AnyDraft, launch: str) -> subprocess.Popen[bytes]:
    """Starts the draft's command in a session of its own, so that it outlives this process and the terminal.

    Raises:
        OutputError: the run folder cannot be written, or the program cannot be started.
    """
    output = draft.out / OUTPUT_FILE
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        for path, text in draft.files().items():
            path.write_text(text, encoding="utf-8")
        (output.parent / "command.txt").write_text(draft.command_text() + "\n", encoding="utf-8")
        with output.open("ab") as out:
            return subprocess.Popen(
                draft.command(),
                cwd=PROJECT,
                env={**os.environ, LAUNCH_VARIABLE: launch},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot start the run in {draft.out} ({reason}): check the folder's rights") from None


def is_same_process(pid: int | None, started: float | None) -> bool:
    """Whether the process that was started then still runs: same id, same start time, and no zombie."""
    if pid is None or started is None:
        return False
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - started) < 2.0  # seconds; the boot time it derives from may shift
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def processes_of(folder: Path, known: Mapping[int, float | None] | None = None) -> list[psutil.Process]:
    """All living processes of the run in this folder, launcher and workers and their children.

    They are those whose command line is of `training.cli` and names the folder: several processes of one run are no
    family, as each has its own session, and some may have lost their parent.

    Args:
        folder: the run folder, absolute.
        known: process id -> start time of processes that are the run's whatever their command line says.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "training.cli" in words and str(folder) in words[words.index("training.cli") :]:
                found[process.pid] = process
    for pid, started in (known or {}).items():
        if is_same_process(pid, started):
            with contextlib.suppress(psutil.Error):
                found[pid] = psutil.Process(pid)
    for process in list(found.values()):
        with contextlib.suppress(psutil.Error):
            found.update((child.pid, child) for child in process.children(recursive=True))
    return [process for process in found.values() if _is_living(process)]


def _is_living(process: psutil.Process) -> bool:
    try:
        return process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill(folder: Path, known: Mapping[int, float | None]) -> int:
    """Ends all processes of a run at once, until none is left; returns how many there were."""
    num_killed = 0
    for _ in range(5):  # a process may have made another meanwhile
        processes = processes_of(folder, known)
        if not processes:
            break
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=5)
        num_killed += len(processes)
    return num_killed
