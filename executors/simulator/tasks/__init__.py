"""All task templates by name."""

from __future__ import annotations

from executors.simulator.tasks.base import Task, TaskTemplate
from executors.simulator.tasks.heldout import TEMPLATES as _HELDOUT
from executors.simulator.tasks.long import TEMPLATES as _LONG
from executors.simulator.tasks.short import TEMPLATES as _SHORT

TEMPLATES: dict[str, TaskTemplate] = {t.name: t for t in (*_SHORT, *_LONG, *_HELDOUT)}

__all__ = ["TEMPLATES", "Task", "TaskTemplate"]
