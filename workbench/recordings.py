"""Recorded trajectory files below one folder: which there are, and what is in them.

A name from the browser is resolved below the folder and may not leave it, links included.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from executors.errors import InputError, MissingFileError
from executors.trajectory import Trajectory, read_trajectories

MAX_LISTED_FILES = 200
MAX_LISTED_TRAJECTORIES = 500


def list_files(root: Path) -> list[str]:
    """Names of the *.jsonl files below the folder, relative to it, sorted; empty when there is no folder."""
    found = (p.relative_to(root).as_posix() for p in root.rglob("*.jsonl") if p.is_file())
    return sorted(islice(found, MAX_LISTED_FILES))


def resolve_file(root: Path, name: str) -> Path:
    """The file of a name given by a person.

    Raises:
        InputError: the name is empty, leaves the folder, or is not a *.jsonl file.
        MissingFileError: there is no such file.
    """
    name = (name or "").strip()
    if not name:
        raise InputError(f"no trajectory file is chosen: put *.jsonl files into {root} and choose one")
    root = root.resolve()
    try:
        path = (root / name).resolve()
    except (ValueError, OSError):  # a null character, or a name that is too long
        raise InputError(f"trajectory file {name[:80]!r} is not a usable name: choose one of the list") from None
    if not path.is_relative_to(root):
        raise InputError(f"trajectory file {name!r} is outside {root}: start the app with --data for another folder")
    if path.suffix != ".jsonl":
        raise InputError(f"trajectory file {name!r} is not a *.jsonl file: make one with `tracer1 import`")
    if not path.is_file():
        raise MissingFileError(f"trajectory file {name!r} does not exist in {root}: choose another or refresh the list")
    return path


def list_trajectories(path: Path) -> list[tuple[str, int]]:
    """(label, position) of the first trajectories of a file.

    Raises:
        InputError: a line is not a trajectory, or there is none.
    """
    listed = [
        (f"{number}. {_short(t.goal)} ({len(t.steps)} step{'' if len(t.steps) == 1 else 's'})", number - 1)
        for number, t in enumerate(islice(read_trajectories(path), MAX_LISTED_TRAJECTORIES), start=1)
    ]
    if not listed:
        raise InputError(f"trajectory file {path.name} is empty: make it again with `tracer1 import`")
    return listed


def _short(text: str, limit: int = 70) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def read_trajectory(path: Path, position: int) -> Trajectory:
    """The trajectory at a position, counted from 0.

    Raises:
        InputError: there is none at that position, or it holds no screen.
    """
    trajectory = next(islice(read_trajectories(path), position, None), None) if position >= 0 else None
    if trajectory is None:
        raise InputError(f"trajectory {position + 1} is not in {path.name}: choose one of the list")
    if not any(step.observation.image_path or step.observation.image for step in trajectory.steps):
        raise InputError(f"trajectory {trajectory.id!r} of {path.name} has no screenshots: import it with its images")
    return trajectory
