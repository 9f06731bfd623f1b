"""OSWorld's real DesktopEnv, SetupController, getters and metrics, with a local server on Xvfb in place of the machine.

Needs the package desktop-env and what it imports, which is too much for the default environment: skipped without it.
Readers of sound, text in pictures and PDF pages that single metrics import are left out; no such task is done here.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.actions import Action
from executors.geometry import ImageSize, PointNorm
from executors.osworld import desktop_env_opener
from executors.tool_agents import ElementTreeAgent
from tests.executors.osworld_vm import Machine
from tests.executors.xvfb import HEIGHT, WIDTH, end, start_xvfb
from tests.training.live_helpers import FINISHED, GoalPlanner
from training.benchmarks.agents import OSWorldAgent
from training.benchmarks.osworld import OSWorldTask, Waits, evaluate

pytest.importorskip("desktop_env")

TEXT = PointNorm(0.5, 0.1)
WINDOW = Path(__file__).resolve().parents[2] / "executors" / "desktop_window.py"
TYPED = "it's <b> \"café\" 你好\n"


class _Anything(types.ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> Iterator[Machine]:
    server, display = start_xvfb()
    running = Machine(display, tmp_path_factory.mktemp("machine"))
    yield running
    running.set_back()
    running.shutdown()
    end(server)


@pytest.fixture
def open_env(machine, monkeypatch, tmp_path):
    """Opens the real DesktopEnv on the local machine."""
    for name in ("easyocr", "librosa", "borb"):
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            for module_name in (name, f"{name}.pdf"):
                monkeypatch.setitem(sys.modules, module_name, _Anything(module_name))
    import desktop_env.desktop_env as module

    class Provider:
        def start_emulator(self, *_: object) -> None:
            pass

        def get_ip_address(self, _: str) -> str:
            return f"127.0.0.1:{machine.port}:9222:8006:8080"

        def revert_to_snapshot(self, path: str, _: str) -> str:
            machine.set_back()
            return path

        def stop_emulator(self, *_: object) -> None:
            machine.set_back()

    manager = types.SimpleNamespace(get_vm_path=lambda **_: "machine")
    monkeypatch.setattr(module, "create_vm_manager_and_provider", lambda *_, **__: (manager, Provider()))
    monkeypatch.chdir(tmp_path)  # it writes a cache beside
    return desktop_env_opener("docker", screen=ImageSize(WIDTH, HEIGHT))


def task(id: str, include: list[str] | None) -> dict:
    """A task in OSWorld's JSON form: a window is shown, and what it was told must hold some texts."""
    judged = {"func": "infeasible"} if include is None else {
        "func": "check_include_exclude",
        "result": {"type": "vm_command_line", "command": ["cat", "told.jsonl"]},
        "expected": {"type": "rule", "rules": {"include": include, "exclude": ["error"]}},
    }  # fmt: skip
    show = f"sleep 600 | python {WINDOW} > told.jsonl"
    wait = ["python", "-c", "import time\nwhile 'ready' not in open('told.jsonl').read(): time.sleep(0.1)"]
    return {
        "id": id, "snapshot": "init_state", "instruction": f"goal of {id}", "source": "test",
        "trajectory": "trajectories/", "related_apps": ["window"], "evaluator": judged, "proxy": False,
        "config": [{"type": "launch", "parameters": {"command": show, "shell": True}},
                   {"type": "execute", "parameters": {"command": wait}}],
    }  # fmt: skip


def test_tasks_are_done_in_osworlds_own_environment_and_judged_by_its_metrics(machine, open_env, tmp_path):
    hover = Action(type="hover", point=PointNorm(0.5, 0.7))
    scripts = {
        "types": [Action(type="type", content=TYPED, point=TEXT), hover, FINISHED],
        "lazy": [FINISHED], "cannot": [Action(type="call_user")], "gives_up": [Action(type="call_user")],
        "clicks": [Action(type="right_single", point=PointNorm(0.5, 0.75)),
                   Action(type="hotkey", key="ctrl shift left"), Action(type="scroll", direction="down"),
                   Action(type="wait", seconds=0.2), FINISHED],
    }  # fmt: skip
    typed = json.dumps(TYPED)
    tasks = [task("types", [f'"text": {typed}']), task("lazy", [typed]), task("cannot", None),
             task("gives_up", ["ready"]), task("clicks", ['"button": 3', '"button": 5'])]  # fmt: skip
    result = evaluate(
        GoalPlanner({f"goal of {id}": script for id, script in scripts.items()}),
        {found.id: found for found in (OSWorldTask(domain="window", config=config) for config in tasks)},
        open_env, tmp_path / "out", data="five.json", tool_agent=ElementTreeAgent(), tool_agent_name="elements",
        planner_name="script", waits=Waits(action=0.2, reset=0.2, judge=0.2), max_steps=8,
    )  # fmt: skip
    assert machine.failures == []
    scores = {json.loads(line)["id"]: json.loads(line)["score"] for line in (tmp_path / "out" / "tasks.jsonl").open()}
    assert scores == {"window/types": 1.0, "window/lazy": 0.0, "window/cannot": 1.0, "window/gives_up": 0.0,
                      "window/clicks": 1.0}  # fmt: skip
    assert (result["success_rate"], result["num_errors"]) == (0.6, 0)
    assert result["without_effect"] >= 1  # moving the pointer changes no pixel of a screenshot without it


def test_agent_works_with_the_real_environment(machine, open_env):
    env = open_env()
    typing = Action(type="type", content=TYPED, point=TEXT)
    agent = OSWorldAgent(GoalPlanner({"goal of types": [typing, FINISHED]}))
    config = task("types", [f'"text": {json.dumps(TYPED)}'])
    agent.reset()
    obs, done = env.reset(task_config=config), False
    while not done:
        for command in agent.predict(config["instruction"], obs)[1]:
            obs, _, done, _ = env.step(command, 0.2)
    assert env.evaluate() == 1.0
    env.close()
