"""AndroidWorld as a benchmark over the HTTP server of its container, one phone to a server.

A task's score counts only where the planner said that it is done. Upstream leaves tasks that raise out of its tally;
here they count as wrong, with their number beside. Every episode is kept whole in `episodes/TASK_INSTANCE.json`.

The server knows no step budgets. Upstream gives int(10 * complexity) steps, which since November 2024 is about twice
what a person needs: with its file task_metadata.json a task gets twice its `optimal_steps`, else all get the same.

Source: google-research/android_world, suite_utils.py, server/android_server.py, task_metadata.json (commits 024e4e7,
90cf495, 39894c6).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executors.android_world import AndroidWorldExecutor
from executors.android_world_server import AndroidWorldServer, PhoneAtServer
from executors.device import StopSignal
from executors.errors import ExecutorError, InputError, MissingFileError
from executors.tool_agents import ToolAgent
from training.benchmarks.episodes import Benchmark, TaskResult
from training.benchmarks.live_tasks import SharedPlanner, choose_named, evaluate_live
from training.episode_record import save_episode
from training.plan_act import Episode
from training.planner import Planner

SEED = 30
"""Of the tasks' values, as in AndroidWorld's own runner; its server starts with 42."""
MAX_STEPS = 30
"""Steps of a task without a known budget (ours)."""
VERSION = 1
SOURCE = "google-research/android_world, server"


@dataclass(frozen=True, slots=True, kw_only=True)
class AndroidTask:
    """One instance of a task and its step budget."""

    name: str
    index: int
    max_steps: int

    @property
    def id(self) -> str:
        """NAME/INSTANCE."""
        return f"{self.name}/{self.index}"


def read_budgets(path: Path) -> dict[str, int]:
    """{task: steps} of AndroidWorld's task_metadata.json: twice the steps that a person needs.

    Raises:
        MissingFileError: the file is not there.
        InputError: it is not in AndroidWorld's form.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        budgets = {str(row["task_name"]): 2 * int(row["optimal_steps"]) for row in rows}
    except OSError as error:
        raise MissingFileError(f"cannot read {path} ({error.strerror}): check the path") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path} is not AndroidWorld's task_metadata.json ({error!r})") from None
    if not budgets or min(budgets.values()) < 1:
        raise InputError(f"{path}: field 'optimal_steps' is below 1, or there is no task")
    return budgets


def make_tasks(
    servers: Sequence[AndroidWorldServer], names: str | None, num_instances: int, seed: int, family: str,
    max_steps: int | None, budgets: Mapping[str, int],
) -> dict[str, AndroidTask]:  # fmt: skip
    """Has every server make the same tasks, and returns them by id.

    Args:
        servers: all that will be used, at least one.
        names: tasks separated by commas; None takes all.
        num_instances: instances of each task, at least 1.
        seed: of the instances' values.
        family: a family of the server's tasks.
        max_steps: steps of every task; None takes `budgets`, and `MAX_STEPS` where a task has none.
        budgets: see `read_budgets`.

    Raises:
        InputError: a server does not answer or has other tasks than the first, or a task is unknown.
    """
    suites = []
    for server in servers:
        server.check()
        try:
            suites.append(server.make_suite(num_instances, seed, family))
        except ExecutorError as error:
            raise InputError(f"{server.url} cannot make the tasks of {family!r} ({error}): look at its log") from None
        if suites[-1] != suites[0]:
            raise InputError(f"{server.url} has other tasks than {servers[0].url}: run the same version at both")
    tasks = [
        AndroidTask(name=name, index=index, max_steps=max_steps or budgets.get(name, MAX_STEPS))
        for name in choose_named(names, suites[0], "AndroidWorld task")
        for index in range(suites[0][name])
    ]
    if not tasks:
        raise InputError(f"the servers have no tasks of {family!r}: choose another family")
    return {task.id: task for task in tasks}


def evaluate(
    planner: Planner,
    tasks: Mapping[str, AndroidTask],
    servers: Sequence[AndroidWorldServer],
    out: Path,
    *,
    data: str,
    seed: int,
    tool_agent: ToolAgent,
    tool_agent_name: str,
    planner_name: str,
    reactive: bool = False,
    retries_failed: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The scores of a planner on tasks as one JSON object; what the folder holds already is not done again.

    Args:
        planner: who is judged.
        tasks: see `make_tasks`.
        servers: one phone each, used at once.
        out: the folder of the evaluation.
        data: how the evaluation calls its tasks.
        seed: of the tasks' values.
        tool_agent: who grounds; the server gives no elements, so it must see, or the planner write points.
        tool_agent_name: how it was named.
        planner_name: how the planner was named.
        reactive: ask for one step at a time.
        retries_failed: do tasks that errors ended anew.
        on_progress: called with a line of text after each task.

    Raises:
        InputError, OutputError: as `live_tasks.evaluate_live` does.
    """
    shared = SharedPlanner(planner)
    budgets = sorted({task.max_steps for task in tasks.values()})
    steps = f"{budgets[0]} steps" if len(budgets) == 1 else f"{budgets[0]} to {budgets[-1]} steps"

    def maker(server: AndroidWorldServer) -> Callable[[StopSignal], _Phone]:
        return lambda stop: _Phone(server, shared, tool_agent, reactive, out / "episodes", stop)

    digest = hashlib.sha256(json.dumps([[task.id, task.max_steps] for task in tasks.values()]).encode())
    benchmark = Benchmark(
        protocol="android_world", version=VERSION, data=f"{data}, {len(tasks)} tasks, seed {seed}, {steps}",
        data_hash=digest.hexdigest()[:24], source=SOURCE, details={"seed": seed},
    )  # fmt: skip
    return evaluate_live(
        benchmark, tasks, shared, [maker(server) for server in servers], out, tool_agent=tool_agent_name,
        planner_name=planner_name, reactive=reactive, retries_failed=retries_failed, on_progress=on_progress,
    )  # fmt: skip


class _Phone:
    """One server's phone for one task after another."""

    def __init__(
        self, server: AndroidWorldServer, planner: Planner, tool_agent: ToolAgent, reactive: bool, episodes: Path,
        stop: StopSignal,
    ) -> None:  # fmt: skip
        self._server, self._planner, self._tool_agent, self._reactive = server, planner, tool_agent, reactive
        self._episodes, self._stop = episodes, stop

    def run(self, task: AndroidTask) -> TaskResult:
        started = time.perf_counter()
        phone = PhoneAtServer(server=self._server, name=task.name, index=task.index)
        device = AndroidWorldExecutor(phone, stop=self._stop)
        try:
            episode = Episode(
                device, self._planner, tool_agent=self._tool_agent, max_steps=task.max_steps, reactive=self._reactive,
                meta={"env": "android_world", "task": task.name, "instance": task.index},
            )  # fmt: skip
            record = episode.run()
        finally:
            device.close()
        later_errors = []
        try:
            self._server.end_task(task.name, task.index)
        except ExecutorError as error:  # the score stands
            later_errors.append(str(error))
        if not self._stop.is_tripped:
            save_episode(self._episodes / f"{task.name}_{task.index}.json", record)
        return TaskResult.of(task.id, task.name, record, device.score, time.perf_counter() - started, later_errors)

    def close(self) -> None:
        self._server.close()
