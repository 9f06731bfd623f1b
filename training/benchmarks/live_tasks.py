"""Tasks of an outside benchmark done one by one in live worlds: several worlds at once, resumed after a kill, and the
results in a folder as `training.benchmarks.episodes` keeps them.

A task that was under way when the process ended is done anew. A task that errors ended counts as wrong, with its errors
beside; it is done anew only where that is asked for.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

from executors.device import StopSignal
from executors.errors import InputError
from training.benchmarks.episodes import Benchmark, KeptTasks, TaskResult
from training.forecast import Forecast
from training.planner import Planner, PlanRequest


class World(Protocol):
    """One world that does one task after another, on one thread."""

    def run(self, task: Any) -> TaskResult:
        """Does a task; a failed device, planner or tool agent is in the result."""
        ...

    def close(self) -> None:
        """Lets go of the world."""
        ...


def evaluate_live(
    benchmark: Benchmark,
    tasks: Mapping[str, Any],
    planner: Planner,
    make_worlds: Sequence[Callable[[StopSignal], World]],
    out: Path,
    *,
    tool_agent: str,
    planner_name: str,
    reactive: bool = False,
    retries_failed: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Does the tasks that are missing in the folder and returns the figures of all as one JSON object.

    Args:
        benchmark: what the tasks are of.
        tasks: by id, in order.
        planner: who is judged.
        make_worlds: makes the worlds, each called on the thread that uses it, with the signal that ends acting.
        out: the folder of the evaluation.
        tool_agent: name of who grounds.
        planner_name: how the planner was named.
        reactive: one step is asked for at a time.
        retries_failed: do tasks that errors ended anew.
        on_progress: called with a line of text after each task.

    Raises:
        InputError: the folder is another evaluation's, or a world cannot be opened at all.
        OutputError: the folder cannot be written.
    """
    kept = KeptTasks(
        benchmark, out, config=planner.config, planner_name=planner_name, tool_agent=tool_agent, reactive=reactive
    )
    missing = kept.missing(tasks, retries_failed=retries_failed)
    if on_progress is not None and len(missing) < len(tasks):
        on_progress(f"{len(tasks) - len(missing)} of {len(tasks)} tasks are done already")
    _run_all(missing, make_worlds, kept, on_progress)
    return kept.save(kept.results(tasks))


def _run_all(
    tasks: Sequence[Any], make_worlds: Sequence[Callable[[StopSignal], World]], kept: KeptTasks,
    on_progress: Callable[[str], None] | None,
) -> None:  # fmt: skip
    """Does all tasks, a thread for each world; the first exception ends the others and is raised."""
    waiting, lock, stop = deque(tasks), threading.Lock(), StopSignal()

    def work(make_world: Callable[[StopSignal], World]) -> None:
        world: World | None = None
        try:
            while not stop.is_tripped:
                with lock:
                    if not waiting:
                        return
                    task = waiting.popleft()
                world = world or make_world(stop)
                result = world.run(task)
                if stop.is_tripped:  # a task that was broken off is done anew
                    return
                with lock:
                    kept.add(result)
                    if on_progress is not None:
                        on_progress(f"{len(kept)}  {result.line}")
        finally:
            if world is not None:
                world.close()

    num_threads = max(1, min(len(make_worlds), len(tasks)))
    with ThreadPoolExecutor(num_threads, thread_name_prefix="world") as pool:
        futures = [pool.submit(work, make_world) for make_world in make_worlds[:num_threads]]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # also where a person presses Ctrl-C; all are over already where nothing went wrong
            stop.trip("the end of the evaluation")
    for future in futures:
        future.result()


class SharedPlanner:
    """A planner that several threads ask: one at a time, unless it can answer many at once itself."""

    def __init__(self, planner: Planner) -> None:
        """Nothing is asked yet."""
        self.name, self.config = planner.name, planner.config
        self._planner = planner
        self._lock = threading.Lock()
        if hasattr(planner, "forecast_each"):
            self.forecast_each = planner.forecast_each

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        """The planner's forecasts."""
        with self._lock:
            return self._planner.forecast(requests)


def file_name(text: str) -> str:
    """The text as one name of a folder.

    >>> file_name("openai:Qwen/Qwen3-VL@http://a:1")
    'openai_Qwen_Qwen3-VL@http_a_1'
    """
    return re.sub(r"[^\w.@-]+", "_", text).strip("._")[:120] or "planner"


def choose_named(names: str | None, known: Iterable[str], what: str) -> list[str]:
    """The names of a comma-separated list, in its order; all known ones where none is given.

    Raises:
        InputError: one is unknown, named twice, or the list is empty.
    """
    known = list(known)
    if names is None or names.strip() == "all":
        return known
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        more = " ..." if len(known) > 12 else ""
        raise InputError(f"{what} {unknown[0]!r} is not there: choose some of {', '.join(known[:12])}{more}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"{what}s {names!r}: name each once, separated by commas, or all")
    return chosen
