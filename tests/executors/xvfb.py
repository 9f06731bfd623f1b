"""An X server of a test's own, and a window on it that tells what it receives."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support import require_program

WIDTH, HEIGHT = 640, 480


def start_xvfb(*options: str) -> tuple[subprocess.Popen, str]:
    """An X server and its display's name."""
    reader, writer = os.pipe()
    server = subprocess.Popen(
        [require_program("Xvfb"), "-displayfd", str(writer), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp",
         *options], pass_fds=[writer], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader) as names:
        return server, f":{names.readline().strip()}"


def end(process: subprocess.Popen) -> None:
    process.terminate()
    process.wait(timeout=10)


class Window:
    """The test window's process and what it has told so far."""

    def __init__(self, display: str) -> None:
        pytest.importorskip("tkinter")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "desktop_window.py")], env={**os.environ, "DISPLAY": display},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._lines: queue.SimpleQueue[dict] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_for(lambda e: e["event"] == "ready")

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(json.loads(line))

    def wait_for(self, is_wanted, seconds: float = 20.0) -> list[dict]:
        """All that was told up to the first wanted event."""
        told, deadline = [], time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                told.append(self._lines.get(timeout=0.1))
            except queue.Empty:
                continue
            if is_wanted(told[-1]):
                return told
        raise AssertionError(f"the window told only {told}")

    def clear(self) -> None:
        self.process.stdin.write("clear\n")
        self.process.stdin.flush()
        self.wait_for(lambda e: e["event"] == "cleared")
