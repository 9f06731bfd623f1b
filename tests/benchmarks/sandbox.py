"""What the sandbox costs: a process with and without bubblewrap, a request to one that runs, a tool call.

    python -m tests.benchmarks.sandbox [--repeats 20]

Prints medians in milliseconds as JSON. Compare figures of one run only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

from executors.sandbox import Sandbox, bubblewrap_problem
from executors.toolbox.box import Toolbox


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """The median time of a call in milliseconds."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - begun))
    return round(statistics.median(times), 2)


def first_run(mode: str) -> None:
    """A sandbox made, one statement run in it, and all of it removed."""
    with Sandbox(mode=mode) as sandbox:
        assert sandbox.run("print(1)").output == "1\n"


def measure(repeats: int) -> dict[str, float]:
    """Medians by what was measured."""
    if problem := bubblewrap_problem():
        raise SystemExit(f"nothing to measure: {problem}")
    figures = {"first_run_unsafe_local_ms": median_ms(lambda: first_run("unsafe-local"), repeats),
               "first_run_bubblewrap_ms": median_ms(lambda: first_run("bubblewrap"), repeats)}
    with Sandbox() as sandbox:
        box = Toolbox(sandbox)
        sandbox.run("x = 0")
        box.call("Calculator", {"expression": "1"})
        figures["next_run_ms"] = median_ms(lambda: sandbox.run("x += 1"), repeats)
        figures["calculator_ms"] = median_ms(lambda: box.call("Calculator", {"expression": "1 + 1"}), repeats)
        code = {"code": "print(Calculator('1 + 1'))"}
        figures["code_that_calls_a_tool_ms"] = median_ms(lambda: box.call("python", code), repeats)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    print(json.dumps(measure(parser.parse_args().repeats)))
