"""The embedded GUI world: rendered phone and desktop screens, tasks, an oracle.

`sample_tasks` or `make_task` give a `Task`; `SimulatorExecutor` runs it as a device; `record_episode` has the oracle
solve it; `describe` puts a screen in words.
"""

from __future__ import annotations

from executors.simulator.describe import describe
from executors.simulator.executor import SimulatorExecutor
from executors.simulator.oracle import oracle_action
from executors.simulator.record import record_drawings, record_episode
from executors.simulator.splits import SPLITS, list_tasks, make_task, sample_tasks
from executors.simulator.tasks.base import Task, TaskTemplate

__all__ = [
    "SPLITS",
    "SimulatorExecutor",
    "Task",
    "TaskTemplate",
    "describe",
    "list_tasks",
    "make_task",
    "oracle_action",
    "record_drawings",
    "record_episode",
    "sample_tasks",
]
