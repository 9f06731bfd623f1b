"""Reference trajectories of the embedded world, recorded from its oracle when they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from executors.trajectory import Trajectory, read_trajectories
from training.config import DataConfig


def record_trajectories(data: DataConfig) -> Iterator[Trajectory]:
    """Episodes of the oracle in the embedded world, one by one; equal settings give equal episodes.

    Args:
        data: split, number of episodes, seed, and the rates of mistakes and pop-ups.

    Raises:
        InputError: the embedded world has no such split.
    """
    from executors.simulator import record_episode, sample_tasks

    for task in sample_tasks(data.split, data.num_episodes, data.seed):
        yield record_episode(task, mistake_rate=data.mistake_rate, interruption_rate=data.interruption_rate)


def find_recorded(data: DataConfig, trajectory_id: str) -> Trajectory | None:
    """The one of `record_trajectories` that has this id, the others left unrecorded; None when none has it."""
    from executors.simulator import record_episode, sample_tasks

    for task in sample_tasks(data.split, data.num_episodes, data.seed):
        if trajectory_id.startswith(f"{task.id}-"):
            found = record_episode(task, mistake_rate=data.mistake_rate, interruption_rate=data.interruption_rate)
            if found.id == trajectory_id:
                return found
    return None


def load_trajectories(data: DataConfig) -> Iterator[Trajectory]:
    """The trajectories of the file that is named, of the split that is asked for, else those of the embedded world.

    Raises:
        MissingFileError: the file does not exist.
        InputError: a line of it is not a trajectory, or the embedded world has no such split.
    """
    if not data.path:
        yield from record_trajectories(data)
        return
    for trajectory in read_trajectories(Path(data.path)):
        if trajectory.split == data.split:
            yield trajectory
