"""Helpers for tests that need programs of the system."""

from __future__ import annotations

import os
import shutil

import pytest


def require_program(*names: str) -> str:
    """The path of the first of these programs that is installed.

    Without any of them the test skips and says why; where the environment says CI=true it fails, so that a CI machine
    cannot lose a test unnoticed.
    """
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is not None:
        return path
    reason = f"{' or '.join(names)} is not installed: .ci/run names its Debian package"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_sandbox() -> None:
    """As `require_program("bwrap")`; skips with the kernel's words where a container forbids namespaces, which no
    package mends."""
    from executors.sandbox import bubblewrap_problem

    require_program("bwrap")
    if problem := bubblewrap_problem():
        pytest.skip(problem)
