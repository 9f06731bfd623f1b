"""OSWorld as a benchmark: its tasks done in its own virtual machines and judged by its own metrics.

Beside what `live_tasks` writes, the results lie in the folder form of OSWorld's runner, which its own tools read:

    results/pyautogui/screenshot/PLANNER/DOMAIN/ID/
        traj.jsonl      one line per forecast: command, screen after it; the whole step with its forecast ("tracer1")
        step_0.png      the first screen; step_N_TIME.png the screen after step N
        result.txt      the score

The score of a benchmark is the mean of the tasks' scores, which may lie between 0 and 1. Figures of OSWorld-Verified
(since 2025-07-28) and older ones must not be compared; that is decided by the tasks and the desktop-env that are used.

Source: xlang-ai/OSWorld, lib_run_single.py and desktop-env 1.0.2.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from executors.device import StopSignal
from executors.errors import InputError, MissingFileError, OutputError, WorkbenchError
from executors.osworld import OSWorldExecutor
from executors.tool_agents import ToolAgent
from executors.trajectory import Observation
from training.benchmarks.episodes import Benchmark, TaskResult
from training.benchmarks.live_tasks import SharedPlanner, evaluate_live, file_name
from training.episode_record import StepRecord
from training.plan_act import Episode
from training.planner import Planner

MAX_STEPS = 50
"""Forecasts of one task; OSWorld's leaderboard lists 15, 50 and 100."""
VERSION = 1
SOURCE = "xlang-ai/OSWorld, desktop-env"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,119}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OSWorldTask:
    """One task: its domain and its JSON object as it is."""

    domain: str
    config: Mapping[str, Any]

    @property
    def id(self) -> str:
        """DOMAIN/ID."""
        return f"{self.domain}/{self.config['id']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Pauses in seconds: after an action, after a reset, before the judgement; upstream's values."""

    action: float = 2.0
    reset: float = 60.0
    judge: float = 20.0


def read_tasks(path: Path) -> dict[str, OSWorldTask]:
    """The tasks of OSWorld's files by id, in their order.

    Args:
        path: an index such as test_all.json ({domain: [ids]}, the tasks in `examples/DOMAIN/ID.json` beside it), a
            folder with test_all.json, a folder of DOMAIN/ID.json, or the file of one task.

    Raises:
        MissingFileError: a file is not there.
        InputError: a file is not in OSWorld's form; the message names file and field.
    """
    if path.is_dir():
        index = path / "test_all.json"
        files = [] if index.is_file() else sorted(path.glob("*/*.json"))
        if not index.is_file() and not files:
            raise MissingFileError(f"{path} holds neither test_all.json nor DOMAIN/ID.json: give OSWorld's "
                                   "evaluation_examples")  # fmt: skip
    else:
        index, files = path, []
    if not files:
        found = _read_json(index)
        if "evaluator" in found:
            files = [index]
        else:
            files = [index.parent / "examples" / domain / f"{id}.json" for domain, id in _entries(found, index)]
    tasks: dict[str, OSWorldTask] = {}
    for file in files:
        task = _task(_read_json(file), file)
        if task.id in tasks:
            raise InputError(f"{file}: field 'id': task {task.id} is there twice: remove one")
        tasks[task.id] = task
    if not tasks:
        raise InputError(f"{index} names no task: give OSWorld's test_all.json")
    return tasks


def _read_json(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(f"cannot read {file} ({error.strerror}): give OSWorld's evaluation_examples") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON ({error}): download it again") from None
    if not isinstance(found, Mapping):
        raise InputError(f"{file} is no JSON object: give OSWorld's test_all.json or a task of it")
    return found


def _entries(index: Mapping[str, Any], file: Path) -> list[tuple[str, str]]:
    entries = []
    for domain, ids in index.items():
        if not isinstance(ids, list) or not all(isinstance(id, str) and _NAME.fullmatch(id) for id in ids):
            raise InputError(f"{file}: field {domain!r}: {str(ids)[:80]} is not a list of task ids")
        if not _NAME.fullmatch(domain):
            raise InputError(f"{file}: field {domain!r} is no name of a domain")
        entries += [(domain, id) for id in ids]
    return entries


def _task(config: Mapping[str, Any], file: Path) -> OSWorldTask:
    def check(name: str, is_right: bool, allowed: str) -> None:
        if not is_right:
            raise InputError(f"{file}: field {name!r}: {str(config.get(name))[:80]!r} is not {allowed}")

    id, evaluator, goal = config.get("id"), config.get("evaluator"), config.get("instruction")
    check("id", isinstance(id, str) and _NAME.fullmatch(id) is not None, "a task's id")
    check("instruction", isinstance(goal, str) and bool(goal.strip()), "a text")
    check("config", isinstance(config.get("config", []), list), "a list of steps that set the task up")
    check("evaluator", isinstance(evaluator, Mapping) and bool(evaluator.get("func")), "an object with a field 'func'")
    domain = file.parent.name
    return OSWorldTask(domain=domain if _NAME.fullmatch(domain) else "tasks", config=config)


def evaluate(
    planner: Planner,
    tasks: Mapping[str, OSWorldTask],
    open_env: Callable[[], Any],
    out: Path,
    *,
    data: str,
    tool_agent: ToolAgent,
    tool_agent_name: str,
    planner_name: str,
    reactive: bool = False,
    max_steps: int = MAX_STEPS,
    num_envs: int = 1,
    waits: Waits | None = None,
    retries_failed: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The scores of a planner on tasks as one JSON object; what the folder holds already is not done again.

    Args:
        planner: who is judged.
        tasks: see `read_tasks`.
        open_env: makes a DesktopEnv; called once for each of `num_envs`, and after a failure.
        out: the folder of the evaluation.
        data: how the evaluation calls its tasks.
        tool_agent: who grounds; it must see, or the planner write points.
        tool_agent_name: how it was named.
        planner_name: how the planner was named.
        reactive: ask for one step at a time.
        max_steps: forecasts after which a task is judged as it is, at least 1.
        num_envs: virtual machines at once, at least 1.
        waits: pauses; None takes upstream's.
        retries_failed: do tasks that errors ended anew.
        on_progress: called with a line of text after each task.

    Raises:
        InputError, OutputError: as `live_tasks.evaluate_live` does.
    """
    waits, shared = waits or Waits(), SharedPlanner(planner)
    results = out / "results" / "pyautogui" / "screenshot" / file_name(planner_name)
    digest = hashlib.sha256(json.dumps([[t.id, t.config] for t in tasks.values()], sort_keys=True).encode())

    def make_world(stop: StopSignal) -> _Machine:
        return _Machine(open_env, shared, tool_agent, reactive, max_steps, waits, results, stop)

    benchmark = Benchmark(
        protocol="osworld", version=VERSION, data=f"{data}, {len(tasks)} tasks, {max_steps} steps",
        data_hash=digest.hexdigest()[:24], source=SOURCE, details={"max_steps": max_steps},
    )  # fmt: skip
    return evaluate_live(
        benchmark, tasks, shared, [make_world] * num_envs, out, tool_agent=tool_agent_name, planner_name=planner_name,
        reactive=reactive, retries_failed=retries_failed, on_progress=on_progress,
    )  # fmt: skip


class _Machine:
    """One virtual machine for one task after another; one that has failed is opened anew for the next."""

    def __init__(
        self, open_env: Callable[[], Any], planner: Planner, tool_agent: ToolAgent, reactive: bool, max_steps: int,
        waits: Waits, results: Path, stop: StopSignal,
    ) -> None:  # fmt: skip
        self._open_env, self._planner, self._tool_agent = open_env, planner, tool_agent
        self._reactive, self._max_steps, self._waits = reactive, max_steps, waits
        self._results, self._stop = results, stop
        self._device: OSWorldExecutor | None = None

    def run(self, task: OSWorldTask) -> TaskResult:
        started = time.perf_counter()
        if self._device is None:
            self._device = OSWorldExecutor(
                self._open_env, task.config, pause_seconds=self._waits.action, reset_wait_seconds=self._waits.reset,
                judge_wait_seconds=self._waits.judge, stop=self._stop,
            )  # fmt: skip
        device = self._device
        device.choose(task.config)
        episode = Episode(
            device, self._planner, tool_agent=self._tool_agent, max_steps=self._max_steps, reactive=self._reactive
        )
        writer = _Writer(self._results / task.id, device)
        first = episode.start()
        if first is None and not device.is_open:
            raise InputError(f"no OSWorld machine could be started ({episode.errors[-1]}): mend it, then run again")
        writer.start(first)
        record = episode.run(on_step=writer.write)
        seconds = time.perf_counter() - started
        result = TaskResult.of(task.id, task.domain, replace(record, goal=device.goal), device.score, seconds)
        if not self._stop.is_tripped:
            writer.finish(result.score)
        if result.num_errors:
            self.close()
        return result

    def close(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None


class _Writer:
    """A task's folder in OSWorld's form; what an earlier try left is removed."""

    def __init__(self, folder: Path, device: OSWorldExecutor) -> None:
        self._folder, self._device = folder, device
        self._seen: Path | None = None

    def start(self, observation: Observation | None) -> None:
        try:
            if self._folder.exists():
                shutil.rmtree(self._folder)
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise self._broken(error) from None
        if observation is not None:
            self._seen = self._store(observation, "step_0.png")

    def write(self, episode: Episode, step: StepRecord) -> None:
        """One line and the screen after the step; the record's picture is let go for its file."""
        stamp = datetime.now().strftime("%Y%m%d@%H%M%S%f")
        before, self._seen = self._seen, self._store(episode.observation, f"step_{step.number}_{stamp}.png")
        seen = replace(step.observation, image=None, image_path=before)
        episode.steps[-1] = step = replace(step, observation=seen)
        is_done = step.error is None and step.action is not None and step.action.is_terminal
        line = {
            "step_num": step.number,
            "action_timestamp": stamp,
            "action": self._device.command if step.action is not None else "",
            "response": step.forecast.raw if step.forecast is not None else "",
            "reward": 0,
            "done": is_done,
            "info": {self._device.command.lower(): True} if is_done else {},
            "screenshot_file": self._seen.name,
            "tracer1": step.to_json(before.name),
        }
        try:
            with (self._folder / "traj.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise self._broken(error) from None

    def finish(self, score: float) -> None:
        try:
            (self._folder / "result.txt").write_text(f"{score}\n", encoding="utf-8")
        except OSError as error:
            raise self._broken(error) from None

    def _store(self, observation: Observation, name: str) -> Path:
        path = self._folder / name
        try:
            observation.load_image().save(path)
        except OSError as error:
            raise self._broken(error) from None
        return path

    def _broken(self, error: OSError) -> WorkbenchError:
        if isinstance(error, WorkbenchError):
            return error
        return OutputError(f"cannot write {self._folder} ({error.strerror or error}): free some space, then run again")
