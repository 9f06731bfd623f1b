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


def set_tracker_folders(run: RunFolder) -> None:
    """Tells the trackers where to write; before trl is imported, for it imports trackio, which reads its folder then.

    TensorBoard's files go to `tensorboard/` of the run folder, trackio's database to `trackio/` beside the run folder.
    """
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.path / "tensorboard")
    os.environ.setdefault("TRACKIO_DIR", str(run.path.absolute().parent / "trackio"))


def tracker_arguments(optim: OptimConfig, run: RunFolder) -> dict[str, Any]:
    """The trainer's arguments for `optim.report_to`.

    Raises:
        InputError: a tracker is not installed.
    """
    missing = missing_trackers(optim)
    if missing:
        name = missing[0]
        raise InputError(f"config field 'optim.report_to': {name} is not installed: install it, or leave it out")
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
