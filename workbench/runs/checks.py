"""What can be told before a run is launched, each check with its reason. Nothing is loaded, requested or written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from executors.errors import WorkbenchError
from executors.tool_agents import get_tool_agent
from training.checkpoint import check_checkpoint
from training.config_reading import to_dict
from training.trackers import missing_trackers
from workbench.runs.gpus import Machine, read_machine
from workbench.runs.memory import as_gib, checkpoint_bytes, estimate_memory, final_bytes, model_shape

if TYPE_CHECKING:
    from workbench.runs.draft import Draft

_VLLM = Requirement("vllm>=0.31,<0.32")
"""The one that fits the transformers that this project needs, see pyproject.toml."""
_TRAINING_PACKAGES = ("accelerate", "datasets", "torch", "torchvision", "transformers", "trl")
_TINY_BYTES = 200_000_000
"""Weights, gradients and Adam of the largest tiny planner, 10 million weights, generously."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check: `level` is "ok", "warning" or "error" (a draft with an error is not launched)."""

    name: str
    level: str
    reason: str
    detail: str = ""
    """More lines, such as the arithmetic of an estimate; often empty."""


def check_draft(draft: Draft, machine: Machine | None = None) -> list[Check]:
    """All checks of a draft, in the order in which a person reads them.

    Args:
        draft: what would be launched.
        machine: the machine as it is; None reads it.
    """
    machine = machine or read_machine(draft.out)
    values = to_dict(draft.config)
    return [
        *_check_model(draft),
        *_check_data(draft),
        *_check_output(draft),
        *_check_disk(draft, values, machine),
        *_check_devices(draft, machine),
        *_check_memory(draft, values, machine),
        *_check_batch(draft, values),
        *_check_versions(),
        *_check_extras(draft, values),
    ]


def _told(name: str, error: WorkbenchError) -> Check:
    return Check(name=name, level="error", reason=str(error))


def _ok(name: str, reason: str, detail: str = "") -> Check:
    return Check(name=name, level="ok", reason=reason, detail=detail)


def _check_model(draft: Draft) -> Iterator[Check]:
    model = draft.config.model
    if draft.stage == "sft" and not model:
        yield _ok("model", "a tiny planner is built from nothing")
        return
    if draft.after and Path(model) == draft.out.parent / draft.after / "final":
        yield _ok("model", f"run {draft.after} makes it")
        return
    try:
        source, is_local = check_checkpoint(model)
    except WorkbenchError as error:
        yield _told("model", error)
        return
    if is_local:
        yield _ok("model", f"{source} is whole")
    else:
        yield Check(name="model", level="warning", reason=f"{source} is not a folder here: the hub's is fetched")


def _check_data(draft: Draft) -> Iterator[Check]:
    path = draft.config.data.path
    if not path:
        yield _ok("data", f"{draft.config.data.num_episodes} episodes recorded from the embedded world")
    elif Path(path).is_file():
        yield _ok("data", f"{path}, {as_gib(Path(path).stat().st_size)}")
    else:
        reason = f"config field 'data.path': {path} does not exist: check the path"
        yield Check(name="data", level="error", reason=reason)


def _check_output(draft: Draft) -> Iterator[Check]:
    folder = draft.out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        yield Check(name="output", level="error", reason=f"{folder} is already used: give the run another name")
        return
    while not folder.exists():
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        yield _ok("output", f"{draft.out} can be made")
    else:
        yield Check(name="output", level="error", reason=f"{folder} may not be written: choose another root folder")


def _check_disk(draft: Draft, values: dict[str, Any], machine: Machine) -> Iterator[Check]:
    shape = model_shape(draft.config.model) if draft.config.model else None
    one = _TINY_BYTES if shape is None else checkpoint_bytes(values, shape)
    result = _TINY_BYTES if shape is None else final_bytes(values, shape)
    kept = draft.config.optim.keep_checkpoints + 1  # the oldest is removed when the newest is whole
    needed, free = kept * one + result, machine.disk_free_bytes
    if shape is None and draft.config.model:
        yield Check(name="disk", level="warning", reason=f"{as_gib(free)} free; the size of a checkpoint is not known")
        return
    detail = f"{kept} checkpoints x {as_gib(one)} + result {as_gib(result)} = {as_gib(needed)}"
    if free >= needed:
        yield _ok("disk", f"{as_gib(free)} free, about {as_gib(needed)} needed", detail)
    elif free < one + result:
        yield Check(
            name="disk", level="error", detail=detail,
            reason=f"{as_gib(free)} free, one checkpoint and the result need {as_gib(one + result)}: free some space",
        )  # fmt: skip
    else:
        yield Check(
            name="disk", level="warning", detail=detail,
            reason=f"{as_gib(free)} free, about {as_gib(needed)} needed: free some space or keep fewer checkpoints",
        )  # fmt: skip


def _check_devices(draft: Draft, machine: Machine) -> Iterator[Check]:
    name = "devices"
    missing = [device for device in draft.devices if device not in machine.devices]
    if missing:
        yield Check(
            name=name, level="error",
            reason=f"{missing[0]} is not on this machine: choose from {', '.join(machine.devices)}",
        )  # fmt: skip
        return
    if draft.num_processes > 1 and draft.stage == "sft":
        yield Check(
            name=name, level="error",
            reason=f"stage sft does not share its work between {draft.num_processes} processes: use one",
        )  # fmt: skip
        return
    busy = [gpu for gpu in machine.gpus if gpu.device in draft.devices and gpu.process_bytes]
    if busy:
        owners = "; ".join(
            f"{gpu.device}: " + ", ".join(f"process {pid} with {as_gib(size)}" for pid, size in gpu.process_bytes)
            for gpu in busy
        )
        yield Check(name=name, level="warning", reason="other processes compute on the GPU", detail=owners)
        return
    if draft.devices == ("cpu",) and machine.gpus:
        yield Check(name=name, level="warning", reason="runs on the CPU, although this machine has a GPU")
        return
    yield _ok(name, f"{', '.join(draft.devices)}, {draft.num_processes} process{'es'[: 2 * (draft.num_processes > 1)]}")


def _check_memory(draft: Draft, values: dict[str, Any], machine: Machine) -> Iterator[Check]:
    if not draft.config.model:
        yield _ok("memory", "a tiny planner needs about 2 GiB")
        return
    shape = model_shape(draft.config.model)
    if shape is None:
        level = "ok" if draft.after else "warning"
        yield Check(name="memory", level=level, reason="the model's size is not known before it is there")
        return
    gpus = [gpu for gpu in machine.gpus if gpu.device in draft.devices]
    if draft.devices != ("cpu",) and not gpus:
        return  # told by the check of devices
    total = min((gpu.total_bytes for gpu in gpus), default=machine.ram_total_bytes)
    free = min((gpu.free_bytes for gpu in gpus), default=machine.ram_total_bytes - machine.ram_used_bytes)
    parts = estimate_memory(draft.stage, values, shape, total if gpus else None)
    copies = 1 if gpus else draft.num_processes
    needed = copies * sum(part.num_bytes for part in parts)
    certain = copies * sum(part.num_bytes for part in parts if part.is_certain)
    lines = [f"{part.name}: {part.arithmetic} = {as_gib(part.num_bytes)}" for part in parts]
    if copies > 1:
        lines.append(f"x {copies} processes")
    lines.append(f"together about {as_gib(needed)} of {as_gib(total)}, {as_gib(free)} free")
    where = "each GPU" if len(gpus) > 1 else "the GPU" if gpus else "main memory"
    reason, level = f"about {as_gib(needed)} of the {as_gib(free)} free in {where}", "ok"
    if certain > total:
        level = "error"
        reason = (
            f"weights, gradients and optimiser alone need {as_gib(certain)}, {where} has {as_gib(total)}: "
            "train adapters (lora.rank), or take a larger device"
        )
    elif needed > free:
        level = "warning"
        reason = (
            f"about {as_gib(needed)} needed, {as_gib(free)} free in {where}: lower optim.batch_size, "
            "optim.accumulation or data.max_pixels, or turn on optim.gradient_checkpointing"
        )
    yield Check(name="memory", level=level, reason=reason, detail="\n".join(lines))


def _check_batch(draft: Draft, values: dict[str, Any]) -> Iterator[Check]:
    optim, grpo = values["optim"], values.get("grpo")
    rows = optim["batch_size"] * optim["accumulation"] * draft.num_processes
    arithmetic = f"{optim['batch_size']} x {optim['accumulation']} x {draft.num_processes}"
    if grpo is None:
        yield _ok("batch", f"{arithmetic} = {rows} sequences in an optimiser step")
        return
    group, passes = grpo["group_size"], grpo["updates_per_batch"]
    if optim["num_steps"] % passes:
        yield Check(
            name="batch", level="warning",
            reason=f"{optim['num_steps']} steps are no multiple of grpo.updates_per_batch, {passes}: the last batch of "
            "completions is used less often",
        )  # fmt: skip
        return
    yield _ok("batch", f"{arithmetic} = {rows} completions in an optimiser step: {rows // group} prompts x {group}")


@cache
def _requirements() -> tuple[Requirement, ...]:
    from workbench.runs.draft import PROJECT

    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return tuple(Requirement(line) for line in lines if line.strip() and not line.startswith("#"))


def _check_versions() -> Iterator[Check]:
    wrong, found = [], []
    for needed in _requirements():
        if needed.name not in _TRAINING_PACKAGES:
            continue
        version = _version(needed.name)
        found.append(f"{needed.name} {version or 'is not installed'}")
        if version is None or not needed.specifier.contains(version, prereleases=True):
            wrong.append(f"{found[-1]}, {needed.specifier} is needed")
    if wrong:
        yield Check(
            name="versions", level="error", detail="\n".join(found),
            reason=f"{wrong[0]}: install the project's requirements again",
        )  # fmt: skip
    else:
        yield _ok("versions", "the packages are the ones this project needs", "\n".join(found))


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _check_extras(draft: Draft, values: dict[str, Any]) -> Iterator[Check]:
    """What only some settings need: vLLM, peft, trackers, a tool agent."""
    if (values.get("grpo") or {}).get("use_vllm"):
        yield _check_vllm(draft)
    if (values.get("lora") or {}).get("rank"):
        if find_spec("peft") is None:
            reason = "adapters (lora.rank) need the package peft: install it, or set lora.rank to 0"
            yield Check(name="adapters", level="error", reason=reason)
        else:
            yield _ok("adapters", f"peft {_version('peft')}")
    missing = missing_trackers(draft.config.optim)
    if missing:
        reason = f"optim.report_to: {missing[0]} is not installed: install it, or leave it out"
        yield Check(name="trackers", level="error", reason=reason)
    elif draft.config.optim.trackers:
        yield _ok("trackers", f"{' and '.join(draft.config.optim.trackers)}, on this machine")
    if draft.stage == "stage2":
        try:
            get_tool_agent(draft.config.tool_agent)
            yield _ok("tool agent", draft.config.tool_agent)
        except WorkbenchError as error:
            yield _told("tool agent", error)


def _check_vllm(draft: Draft) -> Check:
    version = _version("vllm")
    if version is None:
        reason = "grpo.use_vllm: vLLM is not installed: install the extra `vllm` of this project, or set it to false"
        return Check(name="vllm", level="error", reason=reason)
    if draft.devices == ("cpu",):
        reason = "grpo.use_vllm: vLLM needs a GPU: choose one, or set it to false"
        return Check(name="vllm", level="error", reason=reason)
    if not _VLLM.specifier.contains(version, prereleases=True):
        return Check(name="vllm", level="error", reason=f"vLLM {version} is installed, {_VLLM.specifier} is needed")
    return _ok("vllm", f"vLLM {version}")
