"""The sandbox's benchmark runs and measures what it says."""

from __future__ import annotations

from tests.benchmarks.sandbox import measure
from tests.support import require_sandbox


def test_a_request_to_a_running_process_costs_less_than_a_new_one() -> None:
    require_sandbox()
    figures = measure(repeats=3)
    assert 0 < figures["next_run_ms"] < figures["first_run_bubblewrap_ms"]
