"""Fixtures that every floor's tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.executors.xvfb import end, start_xvfb

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several wait for each other, ten times as long beside other work
settings.register_profile("shared-machine", deadline=None)  # the first example may import a library
settings.load_profile("shared-machine")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def samples() -> Path:
    """Small real pieces of public data sets, which are not part of the project; the test skips without them."""
    folder = Path(os.environ.get("TRACER1_SAMPLES") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no samples of the data sets in {folder}: set TRACER1_SAMPLES to their folder")
    return folder


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs this Python with arguments in the project's folder and returns exit code, stdout and stderr."""

    def run(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
        options = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 120, **options}
        return subprocess.run([sys.executable, *args], check=False, **options)

    return run


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual display."""
    server, name = start_xvfb()
    yield name
    end(server)
