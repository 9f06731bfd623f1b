"""MiniWoB++ as a device: 125 small web tasks that their own pages judge, and oracles for some of them.

`MiniWobExecutor` runs one task after another; `task_names` lists them; `oracle_move` is the next right action of a task
in `ORACLES`, and `put_in_words` says it as a planner would.
"""

from __future__ import annotations

from executors.miniwob.executor import MAX_SEED, MiniWobExecutor, check_task, task_names
from executors.miniwob.moves import Move, put_in_words
from executors.miniwob.oracles import ORACLES, oracle_move

__all__ = [
    "MAX_SEED",
    "ORACLES",
    "MiniWobExecutor",
    "Move",
    "check_task",
    "oracle_move",
    "put_in_words",
    "task_names",
]
