"""Tasks for tools, made from seeds: a goal, files, an answer that is known by construction, and an oracle.

    base.py        what a template, a task and a move are; the oracle's next move; whether an answer is right
    making.py      files and images as bytes
    tables.py      templates over tables and texts
    images.py      templates over rendered images
    splits.py      splits, and how a seed becomes a task

`make_task(...).open()` gives the world; `next_move(task, world.calls)` says what is to be done in it.
"""

from __future__ import annotations

from executors.tool_tasks.base import TOOLS, Move, ToolTask, ToolTemplate, is_right, next_move, next_moves
from executors.tool_tasks.splits import (
    SPLITS,
    TEMPLATES,
    list_templates,
    make_task,
    sample_tasks,
    task_of_meta,
    usable_templates,
)

__all__ = [
    "SPLITS",
    "TEMPLATES",
    "TOOLS",
    "Move",
    "ToolTask",
    "ToolTemplate",
    "is_right",
    "list_templates",
    "make_task",
    "next_move",
    "next_moves",
    "sample_tasks",
    "task_of_meta",
    "usable_templates",
]
