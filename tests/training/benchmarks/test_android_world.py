"""AndroidWorld: the runner and the command against a server with its contract, the agent in its own loop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from executors.actions import Action
from executors.android_world_server import AndroidWorldServer
from executors.errors import ExecutorError, InputError, MissingFileError
from executors.tool_agents import ElementTreeAgent
from executors.trajectory import Observation, Step, Trajectory, write_trajectories
from tests.executors.android_world_fake import Server, serve
from tests.executors.test_android_world import JSONAction, box, json_action, ui_element  # noqa: F401
from tests.training.live_helpers import CENTER, FINISHED, GoalPlanner
from training.benchmarks.agents import android_world_agent
from training.benchmarks.android_world import evaluate, make_tasks, read_budgets
from training.benchmarks.comparison import compare
from training.benchmarks.evaluation import load_folder, stored_summaries
from training.cli import main
from training.episode_record import load_episode

ROOT = Path(__file__).resolve().parents[3]
GOALS = {"TypeIt": "type hello", "AskIt": "answer 42"}
HELLO = Action(type="type", content="hello")
SCRIPTS = {"type hello": [HELLO, FINISHED], "answer 42": [Action(type="finished", content="42")]}


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(GOALS) as running:
        yield running


def client_of(server: Server) -> AndroidWorldServer:
    return AndroidWorldServer(server.url, timeout_seconds=5.0)


def run(out: Path, *servers: Server, scripts: dict[str, Any] | None = None, names: str | None = None,
        num_instances: int = 1, max_steps: int | None = 4, budgets: dict[str, int] | None = None,
        **options: Any) -> dict[str, Any]:  # fmt: skip
    clients = [client_of(server) for server in servers]
    tasks = make_tasks(clients, names, num_instances, 30, "android_world", max_steps, budgets or {})
    given = {"data": "android_world", "seed": 30, "tool_agent": ElementTreeAgent(), "tool_agent_name": "elements",
             "planner_name": "script"}  # fmt: skip
    return evaluate(GoalPlanner(scripts or SCRIPTS), tasks, clients, out, **{**given, **options})


def test_tasks_are_done_judged_and_tidied_up(tmp_path, server):
    result = run(tmp_path, server, num_instances=2)
    assert (result["success_rate"], result["num_episodes"], result["num_errors"]) == (1.0, 4, 0)
    assert result["mean_steps"] == 1.5 and result["ci95"][1] == 1.0
    assert result["by_group"]["AskIt"] == {"success_rate": 1.0, "num_episodes": 2}
    asked = [(path, values) for _, path, values, _ in server.requests]
    assert ("/suite/reinitialize", {"n_task_combinations": "2", "seed": "30", "task_family": "android_world"}) in asked
    of_one = [path for path, values in asked if values.get("task_type") == "TypeIt" and values.get("task_idx") == "1"]
    assert of_one == ["/task/initialize", "/task/goal", "/task/score", "/task/tear_down"]
    episode = load_episode(tmp_path / "episodes" / "TypeIt_1.json")
    assert episode.success and len(episode.steps[0].forecast.steps) == 2
    assert episode.steps[0].observation.load_image().size == (36, 80)


def test_task_that_the_planner_never_says_is_done_is_wrong(tmp_path, server):
    result = run(tmp_path, server, names="TypeIt", scripts={"type hello": [HELLO]})
    assert result["success_rate"] == 0.0 and result["stop_reasons"] == {"max_steps": 1}
    assert "/task/score" not in [path for _, path, _, _ in server.requests]


@pytest.mark.parametrize(("path", "fault", "num_steps"), [
    ("/task/initialize", (500, "no such table: playing_queue"), 0), ("/task/score", (500, ""), 2),
    ("/execute_action", (200, "<html>"), 2),
])  # fmt: skip
def test_task_that_the_world_fails_is_wrong_counted_and_tidied_up_and_the_next_one_runs(
    tmp_path, server, path, fault, num_steps
):
    if path == "/execute_action":
        server.faults[path] = fault
    else:
        server.faults_of["TypeIt"] = {path: fault}
    result = run(tmp_path, server)
    assert result["by_group"]["TypeIt"]["success_rate"] == 0.0 and result["num_errors"] >= 1
    first = json.loads((tmp_path / "tasks.jsonl").read_text().splitlines()[0])
    assert first["num_steps"] == num_steps and first["id"] == "TypeIt/0"
    assert result["num_episodes"] == 2
    of_other = [path for _, path, values, _ in server.requests if values.get("task_type") == "AskIt"]
    assert of_other[-1] == "/task/tear_down"


def test_error_while_tidying_up_leaves_the_score(tmp_path, server):
    server.faults["/task/tear_down"] = (500, "")
    result = run(tmp_path, server)
    assert (result["success_rate"], result["num_errors"], result["num_failed_tasks"]) == (1.0, 2, 0)


def test_failed_planner_is_no_answer(tmp_path, server):
    result = run(tmp_path, server, names="TypeIt", scripts={"type hello": [ExecutorError("plan", "down")]})
    assert (result["success_rate"], result["num_errors"], result["num_failed_tasks"]) == (0.0, 3, 1)


def test_two_phones_work_at_once_and_each_task_is_done_once(tmp_path, server):
    with serve(GOALS) as other:
        result = run(tmp_path, server, other, num_instances=4)
        asked = [[path for _, path, _, _ in one.requests].count("/task/initialize") for one in (server, other)]
    assert (result["success_rate"], result["num_episodes"]) == (1.0, 8)
    assert all(asked) and sum(asked) == 8


def test_servers_with_other_tasks_are_refused(tmp_path, server):
    with serve({"TypeIt": "type hello"}) as other:
        with pytest.raises(InputError, match="has other tasks than"):
            run(tmp_path, server, other)


def test_budgets_are_twice_what_a_person_needs(tmp_path, server):
    path = tmp_path / "task_metadata.json"
    path.write_text(json.dumps([{"task_name": "TypeIt", "optimal_steps": "1", "difficulty": "easy"}]))
    assert read_budgets(path) == {"TypeIt": 2}
    result = run(tmp_path / "out", server, scripts={"type hello": [HELLO], "answer 42": [HELLO]}, max_steps=None,
                 budgets=read_budgets(path))  # fmt: skip
    assert result["num_steps"] == 2 + 30
    for text in ("{", "[]", '[{"task_name": "a"}]', '[{"task_name": "a", "optimal_steps": "0"}]'):
        path.write_text(text)
        with pytest.raises(InputError, match="task_metadata.json"):
            read_budgets(path)
    with pytest.raises(MissingFileError, match="nothing.json"):
        read_budgets(tmp_path / "nothing.json")


def test_finished_tasks_are_not_done_again_and_another_seed_is_another_evaluation(tmp_path, server):
    first = run(tmp_path, server)
    server.requests.clear()
    assert run(tmp_path, server) == first
    assert not [path for _, path, _, _ in server.requests if path.startswith("/task/")]
    with pytest.raises(InputError, match="seed 31"):
        run(tmp_path, server, seed=31)


def test_two_evaluations_are_compared_like_all_others(tmp_path, server):
    run(tmp_path / "strong", server, num_instances=4)
    run(tmp_path / "weak", server, num_instances=4, scripts={goal: [FINISHED] for goal in SCRIPTS})
    assert [row["name"] for row in stored_summaries(tmp_path)] == ["strong", "weak"]
    evaluations = [load_folder(tmp_path / name)[0] for name in ("weak", "strong")]
    pair = compare(evaluations).benchmarks[0].pairs[0]
    assert (pair.benchmark, pair.gap, pair.better) == (
        "android_world on android_world, 8 tasks, seed 30, 4 steps with elements", 1.0, "strong")  # fmt: skip


def command(tmp_path: Path, server: Server, *more: str) -> list[str]:
    steps = tuple(
        Step(observation=Observation(), action=action, instruction=action.type) for action in (HELLO, FINISHED)
    )
    recorded = [Trajectory(id="a", goal="type hello", steps=steps, source="test", platform="phone")]
    write_trajectories(tmp_path / "t.jsonl", recorded)
    return [sys.executable, "-m", "training.cli", "evaluate", "android_world", "--server", server.url, "--planner",
            f"replay:{tmp_path / 't.jsonl'}", "--tasks", "TypeIt", "--out", str(tmp_path / "out"), *more]  # fmt: skip


def test_command_killed_in_the_middle_goes_on_where_it_was(tmp_path, server):
    words = command(tmp_path, server, "--episodes", "4", "--json")
    server.faults["/task/initialize"] = 0.5
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    journal = tmp_path / "out" / "tasks.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") >= 1):
        assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    num_done = journal.read_text().count("\n")
    assert 1 <= num_done < 4
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert f"{num_done} of 4 tasks are done already" in done.stderr
    result = json.loads(done.stdout)
    assert (result["success_rate"], result["num_episodes"], result["num_errors"]) == (1.0, 4, 0)
    assert [json.loads(line)["id"] for line in journal.open()] == [f"TypeIt/{number}" for number in range(4)]


def test_command_tells_a_person(tmp_path, server):
    done = subprocess.run(command(tmp_path, server), cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "success   100.0% (95 % interval 20." in done.stdout and "of 1 tasks, 0 errors" in done.stdout


@pytest.mark.parametrize(("arguments", "words"), [
    ([], "--server is missing"), (["--server", "localhost"], "'localhost' is no address"),
    (["--server", "http://127.0.0.1:9"], "no ready AndroidWorld server"), (["--server", "URL", "x"], "PATH 'x'"),
    (["--server", "URL", "--family", "x"], "--family 'x'"),
    (["--server", "URL", "--provider", "x"], "--provider belongs"),
    (["--server", "URL", "--tasks", "FlyIt"], "'FlyIt' is not there"),
    (["--server", "URL", "--batch-size", "2"], "--server"),
    (["--server", "URL", "--budgets", "nothing.json"], "cannot read nothing.json"),
])  # fmt: skip
def test_request_that_is_not_possible_is_told(tmp_path, server, arguments, words, capsys):
    given = [server.url if word == "URL" else word for word in arguments]
    assert main(["evaluate", "android_world", *given, "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err


def test_folder_of_the_evaluation_has_to_be_named(server, capsys):
    assert main(["evaluate", "android_world", "--server", server.url]) == 2
    assert "--out is missing" in capsys.readouterr().err


@dataclass
class AgentInteractionResult:
    """As in AndroidWorld's base_agent.py."""

    done: bool
    data: dict[str, Any]


class EnvironmentInteractingAgent:
    """As in AndroidWorld's base_agent.py, with the loop of its episode_runner.py beside (`in_androidworlds_loop`)."""

    def __init__(self, env: Any, name: str = "", transition_pause: float | None = 1.0) -> None:
        self.env, self.name, self.transition_pause = env, name, transition_pause

    def reset(self, go_home: bool = False) -> None:
        self.env.reset(go_home=go_home)

    def get_post_transition_state(self) -> Any:
        return self.env.get_state(wait_to_stabilize=True)


@pytest.fixture
def android_world(monkeypatch, json_action) -> None:  # noqa: F811
    """AndroidWorld's modules that an agent needs, in small."""
    module = types.ModuleType("android_world.agents.base_agent")
    module.EnvironmentInteractingAgent = EnvironmentInteractingAgent
    module.AgentInteractionResult = AgentInteractionResult
    agents = types.ModuleType("android_world.agents")
    agents.base_agent = module
    monkeypatch.setitem(sys.modules, "android_world.agents", agents)
    monkeypatch.setitem(sys.modules, "android_world.agents.base_agent", module)


class Env:
    """AndroidWorld's AsyncEnv in small: one button, whose press changes the picture."""

    def __init__(self) -> None:
        self.done: list[JSONAction] = []
        self.is_broken = False

    def reset(self, go_home: bool = False) -> None:
        self.done.clear()

    def get_state(self, wait_to_stabilize: bool = False) -> Any:
        if self.is_broken:
            raise OSError("the emulator is gone")
        pixels = np.full((200, 100, 3), len(self.done), np.uint8)
        button = ui_element(text="Save", class_name="android.widget.Button", is_clickable=True,
                            bbox_pixels=box(20, 60, 100, 140))  # fmt: skip
        return SimpleNamespace(pixels=pixels, ui_elements=[button])

    def execute_action(self, action: JSONAction) -> None:
        self.done.append(action)


def in_androidworlds_loop(agent: Any, goal: str, max_steps: int = 4) -> list[AgentInteractionResult]:
    """episode_runner.run_episode of AndroidWorld."""
    agent.reset(True)
    results = []
    for _ in range(max_steps):
        results.append(agent.step(goal))
        assert "step_number" not in results[-1].data
        if results[-1].done:
            break
    return results


def test_agent_works_in_androidworlds_own_loop(android_world):
    env = Env()
    save = Action(type="click", point=CENTER)
    agent = android_world_agent(env, GoalPlanner({
        "save it": [save, Action(type="finished", content="saved")], "no plan": ["hm"], "break": [save],
        "give up": [Action(type="call_user")],
    }), name="mine")  # fmt: skip
    results = in_androidworlds_loop(agent, "save it")
    assert [result.done for result in results] == [False, True]
    assert env.done == [JSONAction("click", x=50, y=100), JSONAction("answer", text="saved")]
    assert results[0].data["actions"] == [{"action_type": "click", "x": 50, "y": 100}]
    assert [len(result.data["forecast"]["steps"]) for result in results] == [2, 1]
    json.dumps([result.data for result in results])
    assert agent.name == "mine" and agent.transition_pause is None
    assert [result.done for result in in_androidworlds_loop(agent, "no plan")] == [False] * 4
    assert [result.done for result in in_androidworlds_loop(agent, "give up")] == [True]
    env.is_broken = True
    results = in_androidworlds_loop(agent, "break")
    assert [result.done for result in results] == [False] * 4 and "emulator is gone" in results[0].data["errors"][0]


def test_missing_androidworld_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "android_world", None)
    with pytest.raises(InputError, match="AndroidWorld cannot be imported.*google-research"):
        android_world_agent(None, GoalPlanner({}))
