"""`tracer1 serve`: the vLLM command that is printed and run; a real server where one is installed."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from executors.simulator import SimulatorExecutor, make_task
from training.cli import main
from training.plan_act import Episode
from training.planner import OpenAIPlanner, TransformersPlanner
from training.serving import MODELS

TINY = Path("assets/tiny_planner").resolve()


def printed(capsys, *arguments: str) -> list[str]:
    assert main(["serve", *arguments, "--print"]) == 0
    return shlex.split(capsys.readouterr().out)


def options(command: list[str]) -> dict[str, str]:
    assert command[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    return dict(zip(command[3::2], command[4::2], strict=True))


def test_planner_is_served_to_this_machine_alone_under_its_folders_name(capsys):
    command = printed(capsys, "--planner", str(TINY), "--port", "8123")
    assert command[0] == sys.executable
    assert options(command) == {
        "--model": str(TINY), "--served-model-name": "tiny_planner", "--host": "127.0.0.1", "--port": "8123",
        "--limit-mm-per-prompt": '{"image": 1}', "--generation-config": "vllm",
    }  # fmt: skip


def test_planners_address_is_told_as_other_commands_take_it(capsys):
    assert main(["serve", "--planner", "Qwen/Qwen3-VL-8B-Thinking", "--print"]) == 0
    assert "--planner openai:Qwen/Qwen3-VL-8B-Thinking@http://localhost:8000/v1" in capsys.readouterr().err


def test_planner_that_a_server_would_ask_otherwise_than_it_was_trained_is_told(capsys):
    assert main(["serve", "--planner", str(TINY), "--print"]) == 0
    assert "not as its tracer1.json says" in capsys.readouterr().err


# Limits of the image: executors.vision_agents.GROUNDERS.
@pytest.mark.parametrize(("name", "most_pixels"), [
    ("ui-tars-1.0", 16384 * 28 * 28), ("gta1", 4096 * 2160), ("jedi", 2700 * 28 * 28)])  # fmt: skip
def test_tool_agent_is_served_with_its_own_limits_of_an_image(capsys, name, most_pixels):
    found = options(printed(capsys, "--tool-agent", name))
    assert (found["--model"], found["--served-model-name"]) == (MODELS[name], name)
    assert json.loads(found["--mm-processor-kwargs"])["max_pixels"] == most_pixels


def test_another_model_and_arguments_of_vllm_are_passed_on_as_they_are(capsys):
    assert main(["serve", "--tool-agent", "gta1", "--model", "HelloKKMe/GTA1-32B", "--print", "--",
                 "--tensor-parallel-size", "2", "; rm -rf /"]) == 0  # fmt: skip
    command = shlex.split(capsys.readouterr().out)
    assert command[command.index("--model") + 1] == "HelloKKMe/GTA1-32B"
    assert command[-3:] == ["--tensor-parallel-size", "2", "; rm -rf /"]


@pytest.mark.parametrize(("arguments", "words"), [
    (["--tool-agent", "elements"], "'elements' is not served by vLLM"), (["--planner", "/nowhere"], "/nowhere"),
    (["--planner", str(TINY), "--model", "x/y"], "--model is of a tool agent"),
])  # fmt: skip
def test_what_cannot_be_served_is_told(capsys, arguments, words):
    assert main(["serve", *arguments, "--print"]) == 2
    assert words in capsys.readouterr().err


def test_a_busy_port_is_told(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["serve", "--planner", str(TINY), "--port", str(port)]) == 2
    assert f"port {port} cannot be used" in capsys.readouterr().err


def test_missing_vllm_is_told_in_one_sentence(capsys, tmp_path):
    python = tmp_path / "python"  # an interpreter whose environment has nothing
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    python.chmod(0o755)
    assert main(["serve", "--planner", str(TINY), "--python", str(python)]) == 2
    assert "vLLM is not installed for" in capsys.readouterr().err
    assert main(["serve", "--planner", str(TINY), "--python", str(tmp_path / "none")]) == 2
    assert "cannot be started" in capsys.readouterr().err


def test_command_becomes_the_server_itself(tmp_path):
    """A stand-in for vLLM tells its arguments and process; nothing lies between it and whoever started the command."""
    package = tmp_path / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    (package / "api_server.py").write_text("import os, sys; print(os.getpid(), sys.argv[1:])")
    process = subprocess.Popen(
        [sys.executable, "-m", "training.cli", "serve", "--planner", str(TINY)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())])},
    )  # fmt: skip
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    command, said = out.splitlines()
    assert said.startswith(f"{process.pid} ['--model', '{TINY}'")
    assert shlex.split(command)[4] == str(TINY)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A real vLLM with the shipped planner; TRACER1_VLLM_PYTHON names the interpreter that has it."""
    python = os.environ.get("TRACER1_VLLM_PYTHON", sys.executable)
    command = [sys.executable, "-m", "training.cli", "serve", "--planner", str(TINY), "--port", "8765",
               "--python", python,
               "--", "--enforce-eager", "--max-model-len", "4096", "--dtype", "float32"]  # fmt: skip
    process = subprocess.Popen(command)
    url, end = "http://127.0.0.1:8765", time.monotonic() + 600
    try:
        while time.monotonic() < end and process.poll() is None:
            try:
                if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(2)
        assert process.poll() is None and time.monotonic() < end, "vLLM did not start"
        yield f"{url}/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.vllm
@pytest.mark.timeout(1200)
def test_episode_through_vllm_is_the_one_in_process_word_for_word(server):
    here = TransformersPlanner(TINY)
    there = OpenAIPlanner(server, TINY.name, config=here.config)

    def replies(planner) -> list[str]:
        episode = Episode(SimulatorExecutor(make_task("alarm_on", "test", 0)), planner, max_steps=6)
        return [step.forecast.raw for step in episode.run().steps]

    assert replies(there) == replies(here)
