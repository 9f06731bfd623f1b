"""A trainer that does what the test says: a real process that sleeps, whose run folder the test writes in its name."""

from __future__ import annotations

import os
import signal
import subprocess
from unittest import mock

import psutil

from training import run_folder
from training.run_folder import RunFolder
from workbench.runs.draft import Draft


class FakeTrainers:
    """Starts them (as RunDesk's `start`) and plays their part."""

    def __init__(self) -> None:
        self.started: dict[str, tuple[subprocess.Popen[bytes], Draft, str]] = {}
        self.refuses = False

    def start(self, draft: Draft, launch: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        self.started[draft.name] = (child, draft, launch)
        return child

    def process(self, run_id: str) -> subprocess.Popen[bytes]:
        """The last process of a run."""
        return self.started[run_id][0]

    def begin(self, run_id: str) -> RunFolder:
        """The trainer has loaded its libraries and makes, or takes over, its run folder."""
        child, draft, launch = self.started[run_id]
        own = {
            "pid": child.pid, "process_started": psutil.Process(child.pid).create_time(), "num_processes": 1,
            "launch": launch,
        }  # fmt: skip
        with mock.patch.object(run_folder, "process_record", lambda: own):
            if draft.resume:
                run = RunFolder.resume(draft.out, command=[])
            else:
                run = RunFolder.create(draft.out, stage=draft.stage, config=draft.config, command=[], seed=0)
        run._write_heartbeat()
        return run

    def end(self, run_id: str, state: str, reason: str = "") -> None:
        """The trainer writes its last word and leaves."""
        _, draft, _ = self.started[run_id]
        RunFolder(draft.out)._set_status(state, reason)
        self.die(run_id)

    def die(self, run_id: str) -> None:
        """The process is gone, without a word."""
        child = self.process(run_id)
        if psutil.pid_exists(child.pid):
            os.kill(child.pid, signal.SIGKILL)
        if child.returncode is None:
            try:
                psutil.Process(child.pid).wait(timeout=10)
            except psutil.NoSuchProcess:
                pass

    def close(self) -> None:
        """Ends all that still run."""
        for child, _, _ in self.started.values():
            child.kill()
            child.wait()
