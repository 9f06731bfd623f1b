"""OSWorld: the runner against an environment with OSWorld's contract, the agent in OSWorld's own loop, the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from executors.actions import Action
from executors.device import StopSignal
from executors.errors import ExecutorError, InputError, MissingFileError
from executors.osworld import OSWorldExecutor
from executors.tool_agents import ElementTreeAgent
from executors.trajectory import Observation, Step, Trajectory, write_trajectories
from tests.executors.conformance import *  # noqa: F403
from tests.executors.conformance import Subject
from tests.training.live_helpers import CENTER, FINISHED, DesktopEnv, GoalPlanner, opened, osworld_task
from training.benchmarks.agents import OSWorldAgent
from training.benchmarks.comparison import compare
from training.benchmarks.evaluation import load_folder, stored_summaries
from training.benchmarks.osworld import OSWorldTask, Waits, evaluate, read_tasks
from training.benchmarks.recordings import recorded_step
from training.cli import main

ROOT = Path(__file__).resolve().parents[3]
NO_WAITS = Waits(action=0.0, reset=0.0, judge=0.0)
SETUP = [{"type": "launch", "parameters": {"command": ["xterm"]}}]


@pytest.fixture
def subject():
    device = OSWorldExecutor(
        DesktopEnv, osworld_task("a"), pause_seconds=0.0, reset_wait_seconds=0.0, judge_wait_seconds=0.0
    )
    yield Subject(device, [Action(type="click", point=CENTER), Action(type="type", content="a <b> é\n"),
                           Action(type="scroll", direction="down"), Action(type="wait", seconds=0.0)])  # fmt: skip
    device.close()


def run(out: Path, tasks: list[dict], scripts: dict, *, open_env=None, **options) -> dict:
    given = {
        "data": "test_all.json", "tool_agent": ElementTreeAgent(), "tool_agent_name": "elements",
        "planner_name": "script", "waits": NO_WAITS, "max_steps": 5,
    }  # fmt: skip
    found = {task.id: task for task in (OSWorldTask(domain="os", config=config) for config in tasks)}
    planner = GoalPlanner({f"goal of {id}": script for id, script in scripts.items()})
    return evaluate(planner, found, open_env or DesktopEnv, out, **{**given, **options})


def folder_of(out: Path, id: str) -> Path:
    return out / "results" / "pyautogui" / "screenshot" / "script" / "os" / id


def lines_of(out: Path, id: str) -> list[dict]:
    return [json.loads(line) for line in (folder_of(out, id) / "traj.jsonl").read_text().splitlines()]


TYPE = Action(type="type", content="hello", point=CENTER)


def test_tasks_are_done_judged_and_told_with_interval_steps_and_errors(tmp_path):
    told = []
    tasks = [osworld_task("good", expected="write('hello'"), osworld_task("bad", expected="nothing"),
             osworld_task("half", "value", 0.5), osworld_task("no", "infeasible")]  # fmt: skip
    result = run(tmp_path, tasks, {
        "good": [TYPE, FINISHED], "bad": [TYPE, Action(type="hover", point=CENTER), FINISHED],
        "half": [FINISHED], "no": [Action(type="call_user", content="cannot be done")],
    }, on_progress=told.append)  # fmt: skip
    assert (result["success_rate"], result["num_episodes"], result["num_errors"]) == (0.625, 4, 0)
    assert result["episode_success"] == {"rate": 0.5, "num": 4}
    low, high = result["ci95"]
    assert 0 < low < 0.625 < high <= 1
    assert (result["mean_steps"], result["without_effect"]) == (7 / 4, 1)
    assert result["stop_reasons"] == {"finished": 3, "impossible": 1}
    assert result["by_group"] == {"os": {"success_rate": 0.625, "num_episodes": 4}}
    assert len(told) == 4 and "os/good: 1 (finished) after 2 steps" in told[0]
    json.dumps(result)


def test_folder_of_a_task_is_in_osworlds_form_with_the_whole_forecast(tmp_path):
    run(tmp_path, [osworld_task("good", expected="write('hello'")], {"good": [TYPE, FINISHED]})
    first, last = lines_of(tmp_path, "good")
    assert (folder_of(tmp_path, "good") / "result.txt").read_text() == "1.0\n"
    assert first["action"] == "pyautogui.click(32, 24); time.sleep(0.3); pyautogui.write('hello', interval=0.01)"
    assert (first["step_num"], first["reward"], first["done"], first["info"]) == (1, 0, False, {})
    assert (last["action"], last["done"], last["info"]) == ("DONE", True, {"done": True})
    assert first["response"] == "2 steps for goal of good"
    assert [step["action"]["type"] for step in first["tracer1"]["forecast"]["steps"]] == ["type", "finished"]
    assert first["tracer1"]["had_effect"] is True
    for name in ("step_0.png", first["screenshot_file"], last["screenshot_file"]):
        assert Image.open(folder_of(tmp_path, "good") / name).size == (64, 48)
    assert first["tracer1"]["observation"]["image"] == "step_0.png"


@pytest.mark.parametrize(("script", "stop_reason"), [
    (["no plan at all"], "parse_failure"), ([Action(type="click")], "executor_error"),
    ([ExecutorError("plan", "down")], "executor_error"), ([Action(type="press_home")], "not_grounded"),
    ([Action(type="hotkey", key="banana")], "executor_error"),
])  # fmt: skip
def test_our_own_failures_are_never_sent_as_fail_which_would_earn_an_infeasible_task(tmp_path, script, stop_reason):
    result = run(tmp_path, [osworld_task("no", "infeasible")], {"no": script})
    assert result["success_rate"] == 0.0
    assert result["stop_reasons"] == {stop_reason: 1}
    assert all(line["action"] != "FAIL" for line in lines_of(tmp_path, "no"))


@pytest.mark.parametrize(("task", "words"), [
    (osworld_task("a", config=[{"type": "broken"}]), "reset: OSWorld could not set task a up"),
    (osworld_task("a", "raises"), "judge: the OSWorld machine failed (KeyError"),
    (osworld_task("a", "value", 2.0), "judge: OSWorld judged 2.0"),
    (osworld_task("a", "value", float("nan")), "judge: OSWorld judged nan"),
])  # fmt: skip
def test_failure_of_the_world_is_wrong_and_counted_and_the_next_task_gets_a_fresh_machine(tmp_path, task, words):
    open_env, envs = opened()
    scripts = {"a": [FINISHED], "b": [FINISHED]}
    result = run(tmp_path, [task, osworld_task("b")], scripts, open_env=open_env)
    assert (result["success_rate"], result["num_errors"]) == (0.5, 1)
    record = json.loads((tmp_path / "tasks.jsonl").read_text().splitlines()[0])
    assert words in record["errors"][0]
    assert (len(envs), envs[0].is_closed, envs[1].is_closed) == (2, True, True)


def test_screen_that_is_gone_ends_the_task_with_its_errors(tmp_path):
    script = [Action(type="type", content="blind"), FINISHED]
    result = run(tmp_path, [osworld_task("a", expected="blind")], {"a": script})
    assert result["num_errors"] >= 1 and result["num_failed_tasks"] == 1


def test_machine_that_cannot_be_started_at_all_ends_the_evaluation(tmp_path):
    def open_env():
        raise FileNotFoundError("docker")

    with pytest.raises(InputError, match="no OSWorld machine could be started.*docker.*run again"):
        run(tmp_path, [osworld_task("a")], {"a": [FINISHED]}, open_env=open_env)
    assert not (tmp_path / "tasks.jsonl").exists()


def test_one_machine_does_one_task_after_another_and_is_set_back_each_time(tmp_path):
    open_env, envs = opened()
    run(tmp_path, [osworld_task(id, config=SETUP) for id in "abc"], {id: [FINISHED] for id in "abc"}, open_env=open_env)
    assert [env.num_resets for env in envs] == [3]


def test_machines_work_at_once_and_each_task_is_done_once(tmp_path):
    open_env, envs = opened()
    ids = [f"t{number}" for number in range(7)]
    started = time.perf_counter()
    result = run(tmp_path, [osworld_task(id) for id in ids], {id: [TYPE, FINISHED] for id in ids}, open_env=open_env,
                 num_envs=3, waits=Waits(action=0.3, reset=0.0, judge=0.0))  # fmt: skip
    seconds = time.perf_counter() - started
    assert result["num_episodes"] == 7 and result["success_rate"] == 1.0
    assert len(envs) == 3 and sum(env.num_resets for env in envs) == 7
    assert seconds < 0.8 * result["seconds"]
    assert sorted(json.loads(line)["id"] for line in (tmp_path / "tasks.jsonl").open()) == [f"os/{id}" for id in ids]


class OneAtATime(GoalPlanner):
    """Fails when two threads ask it at once."""

    def __init__(self, scripts: dict) -> None:
        super().__init__(scripts)
        self._lock = threading.Lock()

    def forecast(self, requests):
        assert self._lock.acquire(blocking=False), "two at once"
        time.sleep(0.02)
        self._lock.release()
        return super().forecast(requests)


def test_planner_of_this_process_is_never_asked_by_two_machines_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "GoalPlanner", OneAtATime)
    ids = [f"t{number}" for number in range(6)]
    result = run(tmp_path, [osworld_task(id) for id in ids], {id: [TYPE, TYPE, FINISHED] for id in ids}, num_envs=3)
    assert (result["success_rate"], result["num_errors"]) == (1.0, 0)


def test_finished_tasks_are_not_done_again_and_failed_ones_only_where_asked(tmp_path):
    tasks = [osworld_task("a", "raises"), osworld_task("b")]
    scripts = {"a": [ExecutorError("plan", "down")], "b": [FINISHED]}
    first = run(tmp_path, tasks, scripts)
    assert first["num_failed_tasks"] == 1

    def never():
        raise AssertionError("nothing is to be done")

    assert run(tmp_path, tasks, scripts, open_env=never) == first
    open_env, envs = opened()
    run(tmp_path, tasks, {"a": [FINISHED], "b": [FINISHED]}, open_env=open_env, retries_failed=True)
    assert [env.num_resets for env in envs] == [1]
    with pytest.raises(InputError, match="data .*5 steps.*not .*6 steps"):
        run(tmp_path, tasks, scripts, max_steps=6)


def test_what_a_killed_try_left_of_a_task_is_removed(tmp_path):
    folder = folder_of(tmp_path, "a")
    folder.mkdir(parents=True)
    (folder / "traj.jsonl").write_text('{"step_num": 1}\n{"torn')
    (folder / "step_9_old.png").touch()
    run(tmp_path, [osworld_task("a")], {"a": [FINISHED]})
    assert [line["step_num"] for line in lines_of(tmp_path, "a")] == [1]
    assert not (folder / "step_9_old.png").exists()


def test_stop_signal_ends_a_wait_at_once():
    stop = StopSignal()
    device = OSWorldExecutor(DesktopEnv, osworld_task("a"), reset_wait_seconds=60.0, stop=stop)
    stop.trip("a test")
    started = time.perf_counter()
    with pytest.raises(ExecutorError, match="stopped by a test"):
        device.reset()
    device.close()
    assert time.perf_counter() - started < 5


def test_two_evaluations_are_compared_like_all_others(tmp_path):
    ids = [f"t{number}" for number in range(8)]
    tasks = [osworld_task(id, expected="write('hello'") for id in ids]
    run(tmp_path / "strong", tasks, {id: [TYPE, FINISHED] for id in ids})
    run(tmp_path / "weak", tasks, {id: [FINISHED] for id in ids})
    rows = stored_summaries(tmp_path)
    assert [row["name"] for row in rows] == ["strong", "weak"]
    assert {row["benchmark"] for row in rows} == {"osworld on test_all.json, 8 tasks, 5 steps with elements"}
    evaluations = [load_folder(tmp_path / name)[0] for name in ("weak", "strong")]
    pair = compare(evaluations).benchmarks[0].pairs[0]
    assert (pair.gap, pair.num_only_b, pair.better) == (1.0, 8, "strong")
    last = evaluations[1].samples[0]
    assert last.forecast["raw"] == "1 steps for goal of t0" and last.steps[0].prediction.action == FINISHED
    assert last.steps[0].prediction.reason == "finished after 2 steps"
    with pytest.raises(MissingFileError, match="os/t0 was done live"):
        recorded_step(evaluations[0], evaluations[0].samples[0])


def in_osworlds_loop(agent: OSWorldAgent, env: DesktopEnv, task: dict, max_steps: int) -> tuple[list[str], list[dict]]:
    """lib_run_single of OSWorld: reset, predict, step; commands and responses."""
    agent.reset(None, vm_ip="x")
    env.reset(task_config=task)
    obs, done, commands, responses = env._get_obs(), False, [], []
    while not done and len(commands) < max_steps:
        response, actions = agent.predict(task["instruction"], obs)
        for action in actions:
            obs, _, done, _ = env.step(action, 0)
            commands.append(action)
            responses.append(json.loads(response))
    return commands, responses


def test_agent_works_in_osworlds_own_loop():
    agent = OSWorldAgent(GoalPlanner({
        "goal of a": [TYPE, Action(type="hover", point=CENTER), Action(type="scroll", direction="down"), FINISHED],
        "goal of b": ["no plan"], "goal of c": [Action(type="call_user")],
    }))  # fmt: skip
    env = DesktopEnv()
    commands, responses = in_osworlds_loop(agent, env, osworld_task("a", expected="write('hello'"), 10)
    assert [command.split("(")[0] for command in commands] == [
        "pyautogui.click", "pyautogui.moveTo", "pyautogui.moveTo", "DONE"]  # fmt: skip
    assert env.evaluate() == 1.0
    assert [len(response["forecast"]["steps"]) for response in responses] == [4, 3, 2, 1]
    assert [response["previous_had_effect"] for response in responses] == [None, True, False, False]
    assert in_osworlds_loop(agent, env, osworld_task("b"), 3)[0] == ["WAIT"] * 3
    assert in_osworlds_loop(agent, env, osworld_task("c", "infeasible"), 3)[0] == ["FAIL"]
    assert env.evaluate() == 1


def test_agent_is_not_asked_for_a_screen_that_is_not_there():
    with pytest.raises(ExecutorError, match="no screenshot"):
        OSWorldAgent(GoalPlanner({})).predict("a goal", {"screenshot": None})


def write_examples(folder: Path, index: object, tasks: dict[str, object]) -> Path:
    for name, task in tasks.items():
        path = folder / "examples" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(task if isinstance(task, str) else json.dumps(task))
    path = folder / "test_all.json"
    path.write_text(index if isinstance(index, str) else json.dumps(index))
    return path


def test_tasks_are_read_from_the_index_its_folder_a_folder_of_tasks_and_one_file(tmp_path):
    tasks = {name: osworld_task(name[-1]) for name in ("os/a", "os/b", "chrome/c")}
    index = write_examples(tmp_path, {"os": ["b", "a"], "chrome": ["c"]}, tasks)
    assert list(read_tasks(index)) == list(read_tasks(tmp_path)) == ["os/b", "os/a", "chrome/c"]
    assert list(read_tasks(tmp_path / "examples")) == ["chrome/c", "os/a", "os/b"]
    assert list(read_tasks(tmp_path / "examples" / "os" / "a.json")) == ["os/a"]


@pytest.mark.parametrize(("index", "task", "words"), [
    ("{", {}, "is not JSON"), ("[]", {}, "no JSON object"), ({"os": "a"}, {}, "field 'os'"),
    ({"os": ["../a"]}, {}, "not a list of task ids"),
    ({"../os": ["a"]}, {}, "no name of a domain"), ({}, {}, "no task"),
    ({"os": ["missing"]}, {}, "cannot read .*missing.json"), ({"os": ["a"]}, "{", "a.json is not JSON"),
    ({"os": ["a"]}, {**osworld_task("a"), "id": "../../x"}, "field 'id'"),
    ({"os": ["a"]}, {**osworld_task("a"), "instruction": " "}, "field 'instruction'"),
    ({"os": ["a"]}, {**osworld_task("a"), "config": {}}, "field 'config'"),
    ({"os": ["a"]}, {**osworld_task("a"), "evaluator": {}}, "field 'evaluator'"),
    ({"os": ["a", "a"]}, osworld_task("a"), "twice"),
])  # fmt: skip
def test_files_that_are_not_in_osworlds_form_are_refused(tmp_path, index, task, words):
    with pytest.raises((InputError, MissingFileError), match=words):
        read_tasks(write_examples(tmp_path, index, {"os/a": task} if task else {}))


def test_folder_without_tasks_is_told(tmp_path):
    with pytest.raises(MissingFileError, match="neither test_all.json"):
        read_tasks(tmp_path)


@pytest.fixture
def package(tmp_path) -> dict[str, str]:
    """An environment in which `desktop_env` is the small one."""
    (tmp_path / "packages" / "desktop_env").mkdir(parents=True)
    (tmp_path / "packages" / "desktop_env" / "__init__.py").touch()
    code = "from tests.training.live_helpers import DesktopEnv  # noqa: F401\n"
    (tmp_path / "packages" / "desktop_env" / "desktop_env.py").write_text(code)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "packages"), str(ROOT)])}


def command(tmp_path: Path, *more: str) -> list[str]:
    ids = [f"t{number}" for number in range(4)]
    tasks = {f"os/{id}": osworld_task(id, expected="write('hello'") for id in ids}
    index = write_examples(tmp_path, {"os": ids}, tasks)
    steps = tuple(
        Step(observation=Observation(), action=action, instruction=action.type)
        for action in (Action(type="type", content="hello"), FINISHED)
    )
    recorded = [Trajectory(id=id, goal=f"goal of {id}", steps=steps, source="test", platform="desktop") for id in ids]
    write_trajectories(tmp_path / "t.jsonl", recorded)
    return [sys.executable, "-m", "training.cli", "evaluate", "osworld", str(index), "--planner",
            f"replay:{tmp_path / 't.jsonl'}", "--out", str(tmp_path / "out"), "--action-wait", "0", "--judge-wait", "0",
            *more]  # fmt: skip


def test_command_killed_in_the_middle_goes_on_where_it_was(tmp_path, package):
    words = command(tmp_path, "--reset-wait", "0.5", "--json")
    process = subprocess.Popen(words, cwd=ROOT, env=package, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    journal = tmp_path / "out" / "tasks.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") >= 1):
        assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=20)
    num_done = journal.read_text().count("\n")
    assert 1 <= num_done < 4
    done = subprocess.run(words, cwd=ROOT, env=package, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert f"{num_done} of 4 tasks are done already" in done.stderr
    result = json.loads(done.stdout)
    assert (result["success_rate"], result["num_episodes"], result["num_errors"]) == (1.0, 4, 0)
    assert [json.loads(line)["id"] for line in journal.open()] == [f"os/t{number}" for number in range(4)]


def test_ctrl_c_ends_a_long_wait_and_leaves_what_is_done(tmp_path, package):
    words = command(tmp_path, "--reset-wait", "300")
    process = subprocess.Popen(
        words, cwd=ROOT, env=package, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "evaluation.json").exists():
        assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not (tmp_path / "out" / "tasks.jsonl").exists()


def test_command_tells_a_person_and_does_chosen_tasks_alone(tmp_path, package):
    words = command(tmp_path, "--reset-wait", "0", "--tasks", "os/t1,os/t3", "--batch-size", "2")
    done = subprocess.run(words, cwd=ROOT, env=package, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "success   100.0% (95 % interval 34.2% to 100.0%) of 2 tasks, 0 errors" in done.stdout


@pytest.mark.parametrize(("arguments", "words"), [
    (["osworld"], "PATH is missing"), (["osworld", "x", "--server", "http://a"], "--server belongs to android_world"),
    (["osworld", "nothing.json"], "cannot read nothing.json"), (["osworld", "x", "--episodes", "3"], "--episodes"),
    (["osworld", "x", "--horizon", "3"], "--horizon belongs to the offline"), (["miniwob", "x"], "PATH 'x' belongs to"),
    (["osatlas", "--retry-failed"], "--retry-failed belongs to"),
    (["simulator", "--vm", "x"], "--vm belongs to osworld"),
    (["osworld", "--tasks", "os/b", "TASKS"], "'os/b' is not there"), (["osworld", "TASKS"], "desktop-env cannot be"),
    (["osworld", "TASKS", "--tool-agent", "nobody"], "'nobody' is unknown"),
])  # fmt: skip
def test_request_that_is_not_possible_is_told(tmp_path, arguments, words, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "desktop_env.desktop_env", None)  # as where it is not installed
    index = write_examples(tmp_path, {"os": ["a"]}, {"os/a": osworld_task("a")})
    words_given = [str(index) if word == "TASKS" else word for word in arguments]
    out = [] if "PATH is missing" in words else ["--out", str(tmp_path / "out")]
    assert main(["evaluate", *words_given, *out]) == 2
    assert words in capsys.readouterr().err
