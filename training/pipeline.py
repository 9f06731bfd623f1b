"""Running one stage in its run folder, and the pipeline of all three.

A pipeline folder holds `pipeline.json` (preset, seed, overrides), the run folders `1_sft` (and `1_sft_again`, where the
preset has a second SFT), `2_stage1` and `3_stage2`, and at the end `planner/`, the result in bfloat16. A stage that is
finished is never run again.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from executors.errors import InputError, MissingFileError, OutputError, WorkbenchError
from executors.tool_agents import get_tool_agent
from training.checkpoint import check_checkpoint, read_planner_settings, save_planner_settings
from training.config import STAGES
from training.config_reading import from_dict
from training.presets import FROM_STAGE_BEFORE, get_preset
from training.run_folder import RunFolder, RunStatus, is_first_process
from training.run_record import lost_logins, scrubbed_command
from training.trackers import set_tracker_folders

PIPELINE_FOLDERS = {"sft": "1_sft", "sft_again": "1_sft_again", "stage1": "2_stage1", "stage2": "3_stage2"}
"""Parts of a `PipelineConfig` in the order in which they run, and their run folders."""
_RUNNERS = {
    "sft": ("training.sft", "run_sft"),
    "stage1": ("training.stages", "run_stage1"),
    "stage2": ("training.stages", "run_stage2"),
}
_SCHEMA_VERSION = 1


def check_inputs(stage: str, config: Any) -> None:
    """Raises the errors that a stage's settings would raise later, before a run folder is made.

    Raises:
        MissingFileError: the start checkpoint or the trajectory file does not exist.
        InputError: the tool agent is unknown, or vLLM is not installed.
        CheckpointError: the start checkpoint is damaged.
    """
    if stage != "sft" or config.model:
        check_checkpoint(config.model)
    _check_all_but_the_model(stage, config)


def _check_all_but_the_model(stage: str, config: Any) -> None:
    if config.data.path and not os.path.isfile(config.data.path):
        raise MissingFileError(f"config field 'data.path': there is no file {config.data.path}: check the path")
    if stage != "sft" and config.grpo.use_vllm and find_spec("vllm") is None:
        raise InputError(
            "config field 'grpo.use_vllm': vLLM is not installed: install the extra `vllm`, or set it to false"
        )
    if stage == "stage2":
        get_tool_agent(config.tool_agent)


def check_processes(stage: str) -> None:
    """Raises InputError when this stage is started with several processes and cannot share its work."""
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    if num_processes > 1 and stage == "sft":
        raise InputError(f"stage sft does not share its work between {num_processes} processes: start it with one")


def start_stage(stage: str, config: Any, path: Path, command: Sequence[str]) -> RunStatus:
    """Makes a run folder, trains in it, and returns its last state: "finished" or "stopped".

    Args:
        stage: a key of `STAGES`.
        config: the stage's config.
        path: the run folder to make.
        command: the command line, for the record.

    Raises:
        WorkbenchError: settings, checkpoint or folder cannot be used.
    """
    check_inputs(stage, config)
    check_processes(stage)
    if is_first_process():
        run = RunFolder.create(path, stage=stage, config=config, command=command, seed=config.optim.seed)
    else:
        run = RunFolder.worker(path)
    return _run(stage, config, run, resume=False)


def resume_stage(path: Path, command: Sequence[str], stage: str | None = None) -> RunStatus:
    """Goes on with a run from its last whole checkpoint, under its own config; see `start_stage`.

    A finished run is left as it is. A `stage` other than the run's own raises InputError.
    """
    run = RunFolder.open(path)
    stage, asked = run.stage, stage
    if stage not in STAGES:
        raise InputError(f"{path}/run.json field 'stage': {stage!r} is not one of {', '.join(STAGES)}")
    if asked not in (None, stage):
        raise InputError(f"run {path} is of stage {stage}, not {asked}: write `tracer1 train {stage} --resume {path}`")
    if run.status().state == "finished":
        return run.status()
    values = run.config
    if (name := next(lost_logins(values), None)) is not None:
        raise InputError(
            f"run {path} was started with a login in {name}, which is not kept: write it back into {path}/config.yaml"
        )
    config = from_dict(STAGES[stage], values)
    check_inputs(stage, config)
    check_processes(stage)
    run = RunFolder.resume(path, command=command) if is_first_process() else RunFolder.worker(path)
    return _run(stage, config, run, resume=True)


def _run(stage: str, config: Any, run: RunFolder, *, resume: bool) -> RunStatus:
    module, name = _RUNNERS[stage]
    set_tracker_folders(run)
    with run.session():
        if is_first_process():
            num_steps = config.num_steps if stage == "sft" else config.optim.num_steps
            print(f"{stage}: {num_steps} steps in {run.path}", flush=True)
        getattr(importlib.import_module(module), name)(config, run, resume)
    return run.status() if is_first_process() else RunStatus(state="finished")


def start_pipeline(
    preset: str, seed: int, path: Path, command: Sequence[str], overrides: Sequence[str] = ()
) -> RunStatus:
    """Makes a pipeline folder and runs its stages; the state is that of the last stage that ran.

    Args:
        preset: a key of `PRESETS`.
        seed: of everything.
        path: the pipeline folder to make.
        command: the command line, for the record.
        overrides: "key=value" each, see `get_preset`.

    Raises:
        InputError: the preset is unknown, an override is not allowed or holds a login.
        MissingFileError: a stage's trajectory file or start checkpoint does not exist.
        OutputError: the folder is in use or cannot be written.
    """
    stages = get_preset(preset, seed, overrides)
    if scrubbed_command(overrides) != list(overrides):
        raise InputError(
            "--set: a pipeline does not keep logins and keys: leave them out, or train one stage after the other"
        )
    for part in PIPELINE_FOLDERS:
        config = getattr(stages, part)
        if config is not None:
            check = _check_all_but_the_model if config.model == FROM_STAGE_BEFORE else check_inputs
            check(part.removesuffix("_again"), config)
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(f"folder {path} is already used: choose another --out, or go on with --resume {path}")
        path.mkdir(parents=True, exist_ok=True)
        record = {"schema_version": _SCHEMA_VERSION, "preset": preset, "seed": seed, "overrides": [*overrides]}
        (path / "pipeline.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    except OSError as error:
        if isinstance(error, WorkbenchError):
            raise
        raise OutputError(f"cannot write {path} ({error.strerror}): choose a folder you may write") from None
    return resume_pipeline(path, command)


def resume_pipeline(path: Path, command: Sequence[str]) -> RunStatus:
    """Runs the stages of a pipeline folder that are not finished, then writes `planner/`; see `start_pipeline`.

    Raises:
        MissingFileError: this is no pipeline folder.
        InputError: pipeline.json is damaged.
    """
    stages = get_preset(*_read_pipeline(path))
    status = RunStatus(state="finished")
    before: Path | None = None
    for part, folder in PIPELINE_FOLDERS.items():
        config = getattr(stages, part)
        if config is None:
            continue
        if before is not None:
            config = replace(config, model=str(before))
        run_path = path / folder
        if (run_path / "run.json").is_file():
            status = resume_stage(run_path, command)
        else:
            status = start_stage(part.removesuffix("_again"), config, run_path, command)
        if status.state != "finished":
            return status
        before = run_path / "final"
    export_planner(before, path / "planner")
    return status


def _read_pipeline(path: Path) -> tuple[str, int, list[str]]:
    """Preset, seed and overrides of a pipeline folder."""
    file = path / "pipeline.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        version, preset, seed = record["schema_version"], record["preset"], record["seed"]
        overrides = [str(override) for override in record.get("overrides", [])]
    except OSError:
        raise MissingFileError(
            f"{path} is not a pipeline folder (no pipeline.json): give the folder of --out"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{file} is damaged: start the pipeline again with another --out") from None
    if version != _SCHEMA_VERSION or not isinstance(preset, str) or not isinstance(seed, int):
        raise InputError(f"{file} was not written by this version: start the pipeline again with another --out")
    return preset, seed, overrides


def export_planner(checkpoint: Path, folder: Path) -> int:
    """Copies a checkpoint with its weights in bfloat16 and its planner settings; returns the size in bytes.

    Args:
        checkpoint: the `final` folder of a run.
        folder: is replaced when it exists.

    Raises:
        OutputError: the folder cannot be written.
    """
    import shutil

    from training.checkpoint import load_model_and_processor
    from training.tiny import save_checkpoint

    model, processor = load_model_and_processor(checkpoint, device="cpu")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_checkpoint(partial, model, processor, dtype="bfloat16")
    settings = read_planner_settings(checkpoint)
    if settings is not None:
        save_planner_settings(partial, settings)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        partial.replace(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder} ({error.strerror}): move away what is there") from None
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
