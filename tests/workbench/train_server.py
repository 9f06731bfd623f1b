"""The app on a folder of runs, in a process of its own: `python -m tests.workbench.train_server ROOT PORT`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.workbench.conftest import ROOT, START_SECONDS


def start_server(runs_root: Path, port: int, *, is_space: bool = False) -> subprocess.Popen:
    """A server that answers; it must be ended by who started it."""
    command = [sys.executable, "-m", "tests.workbench.train_server", str(runs_root), str(port), str(int(is_space))]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"the app ended: {process.stdout.read()}")
        try:
            if httpx.get(f"http://localhost:{port}", timeout=5).status_code == 200:
                return process
        except httpx.HTTPError:
            time.sleep(0.1)
    process.kill()
    pytest.fail(f"the app did not answer within {START_SECONDS} s")


def main(runs_root: str, port: str, is_space: str) -> None:
    """Serves until it is ended."""
    import os

    os.environ.update({"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"})
    from workbench.settings import parse_settings
    from workbench.ui import build_app, launch_options, open_runs

    env = {"SPACE_ID": "someone/demo"} if is_space == "1" else {}
    settings = parse_settings(["--port", port, "--host", "127.0.0.1", "--runs", runs_root], env=env)
    build_app(settings, runs=open_runs(settings)).launch(**launch_options(settings))


if __name__ == "__main__":
    main(*sys.argv[1:])
