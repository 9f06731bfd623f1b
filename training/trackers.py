"""Trackers that transformers' trainers also report to, kept on this machine."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from executors.errors import InputError
from training.config import OptimConfig
from training.run_folder import RunFolder

PROJECT = "tracer1"
"""The project under which trackio keeps runs."""


def tracker_arguments(optim: OptimConfig, run: RunFolder) -> dict[str, Any]:
    """The trainer's arguments for `optim.report_to`.

    TensorBoard's files go to `tensorboard/` of the run folder, trackio's database to `trackio/` beside the run folder.

    Raises:
        InputError: a tracker is not installed.
    """
    missing = missing_trackers(optim)
    if missing:
        name = missing[0]
        raise InputError(f"config field 'optim.report_to': {name} is not installed: install it, or leave it out")
    if "tensorboard" in optim.trackers:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.path / "tensorboard")
    if "trackio" in optim.trackers:
        os.environ.setdefault("TRACKIO_DIR", str(run.path.absolute().parent / "trackio"))
    return {
        "report_to": optim.trackers,
        "project": PROJECT,
        "run_name": run.path.name,
        "trackio_space_id": None,
        "trackio_static_space_id": False,
    }


def missing_trackers(optim: OptimConfig) -> list[str]:
    """The trackers that are asked for and not installed."""
    return [name for name in optim.trackers if find_spec(name) is None]
