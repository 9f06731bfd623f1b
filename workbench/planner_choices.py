"""Which planners a person may choose: the app's own, a checkpoint of a run, or an OpenAI-compatible server.

A checkpoint is chosen by its place below the folder of runs, and only one that was found there is opened.
"""

from __future__ import annotations

import os
from pathlib import Path

from executors.errors import InputError
from training.checkpoint import SETTINGS_FILE

DEFAULT, CHECKPOINT, SERVER = "default", "checkpoint", "server"
KINDS = (DEFAULT, CHECKPOINT, SERVER)

MAX_CHECKPOINTS = 200
_MAX_DEPTH = 4


def list_checkpoints(runs_root: Path) -> list[str]:
    """The planners below a folder of runs, newest first, as paths relative to it; empty when there is no folder."""
    found: list[tuple[float, str]] = []
    for folder, names, files in os.walk(runs_root):
        place = Path(folder).relative_to(runs_root)
        if len(place.parts) >= _MAX_DEPTH:
            names.clear()
        if SETTINGS_FILE in files and "config.json" in files:
            found.append(((Path(folder) / SETTINGS_FILE).stat().st_mtime, place.as_posix()))
    return [name for _, name in sorted(found, reverse=True)[:MAX_CHECKPOINTS]]


def planner_spec(kind: str, checkpoint: str | None, model: str, address: str, runs_root: Path) -> str:
    """The specification that `training.planner.load_planner` reads; "" for the app's own planner.

    Args:
        kind: one of `KINDS`.
        checkpoint: one of `list_checkpoints`.
        model: the model's name at the server.
        address: the server's root, such as http://localhost:8000/v1.
        runs_root: the folder of runs.

    Raises:
        InputError: the kind or the checkpoint is not in the list, or the server is not named in full.
    """
    if kind == DEFAULT:
        return ""
    if kind == CHECKPOINT:
        if checkpoint not in list_checkpoints(runs_root):
            raise InputError(f"checkpoint {str(checkpoint)[:80]!r} is not below {runs_root}: choose one of the list")
        return str(runs_root / checkpoint)
    if kind != SERVER:
        raise InputError(f"field 'planner': {str(kind)[:40]!r} is not one of {', '.join(KINDS)}")
    model, address = model.strip(), address.strip()
    if not model or "@" in model or not address.startswith(("http://", "https://")):
        raise InputError("name the model and the server's address, for example http://localhost:8000/v1")
    return f"openai:{model}@{address}"
