"""Annotators at a real server over HTTP, killed in between; the long form is tests/benchmarks/annotators.py."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.annotators import run


def test_no_edit_is_lost_and_no_lease_stuck_when_the_server_is_killed(tmp_path: Path) -> None:
    found = run(6, 8.0, tmp_path, num_trajectories=24)
    assert found["problems"] == []
    assert found["edits"] > 20 and found["submissions"] > 2 and found["stale edits"] > 0, found
