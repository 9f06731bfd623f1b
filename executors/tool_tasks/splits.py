"""Splits of the tool tasks, and how a seed becomes a task.

train, val and test share templates and differ in seeds; task_unseen has templates of its own.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from executors.errors import InputError
from executors.seeds import split_seed
from executors.tool_tasks import images, tables
from executors.tool_tasks.base import ToolTask, ToolTemplate

SPLITS = ("train", "val", "test", "task_unseen")
TEMPLATES: dict[str, ToolTemplate] = {t.name: t for t in (*tables.TEMPLATES, *images.TEMPLATES)}


def list_templates(split: str) -> tuple[ToolTemplate, ...]:
    """The templates of a split, in a fixed order.

    Raises:
        InputError: there is no such split.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r} is unknown: choose one of {', '.join(SPLITS)}")
    kind = "task_unseen" if split == "task_unseen" else "train"
    return tuple(template for template in TEMPLATES.values() if template.kind == kind)


def usable_templates(split: str) -> tuple[tuple[ToolTemplate, ...], dict[str, str]]:
    """The templates of a split that can be run here, and {name: what is missing} of the others.

    Raises:
        InputError: there is no such split, or none of its templates can be run here.
    """
    missing = {t.name: reason for t in list_templates(split) if (reason := t.missing) is not None}
    usable = tuple(t for t in list_templates(split) if t.name not in missing)
    if not usable:
        raise InputError(f"no tool task of split {split!r} can be run here: {'; '.join(sorted(set(missing.values())))}")
    return usable, missing


def make_task(name: str, split: str, seed: int) -> ToolTask:
    """The task that a seed makes of a template.

    Args:
        name: a template of the split.
        split: one of `SPLITS`.
        seed: any whole number; the same number gives another task in another split.

    Raises:
        InputError: unknown split or template, one of another split, or one whose files cannot be made here.
    """
    names = [template.name for template in list_templates(split)]
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
        hint = f"it belongs to split {TEMPLATES[str(name)].kind}" if str(name) in TEMPLATES else "it is unknown"
        hint += f", near matches: {', '.join(near)}" if near else ""
        raise InputError(f"tool task {name!r} is not in split {split!r} ({hint}): choose one of {', '.join(names)}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed {seed!r} is not a whole number")
    return _make_task(name, split, seed)


@lru_cache(maxsize=256)
def _make_task(name: str, split: str, seed: int) -> ToolTask:
    template = TEMPLATES[name]
    try:
        plan = template.make(random.Random(f"{name}|{chance_seed(split, seed)}"))
    except ImportError:
        raise InputError(f"tool task {name!r} cannot be made: {template.missing}") from None
    return ToolTask(template=template, split=split, seed=seed, plan=plan)


def chance_seed(split: str, seed: int) -> int:
    """The number that all chance of a task grows from; its remainder by the number of splits names the split, so no
    two splits ever share one.

    >>> chance_seed("val", 7) % len(SPLITS) == SPLITS.index("val")
    True
    """
    return split_seed("tools", SPLITS, split, seed)


def sample_tasks(split: str, num_episodes: int, seed: int) -> tuple[ToolTask, ...]:
    """Tasks of a split, balanced over the templates that can be run here: each comes once per round, in shuffled order.

    Args:
        split: one of `SPLITS`.
        num_episodes: how many, at least 0.
        seed: the same seed gives the same tasks; a longer sample begins with the shorter one.

    Raises:
        InputError: an unknown split, a negative number, or no template can be run here.
    """
    if num_episodes < 0:
        raise InputError(f"num_episodes {num_episodes} is not allowed: give 0 or more")
    templates, _ = usable_templates(split)
    rng = random.Random(f"tools|sample|{split}|{seed}")
    tasks: list[ToolTask] = []
    while len(tasks) < num_episodes:
        for template in rng.sample(templates, len(templates)):
            tasks.append(make_task(template.name, split, rng.randrange(2**31)))
    return tuple(tasks[:num_episodes])


def task_of_meta(meta: Mapping[str, Any]) -> ToolTask | None:
    """The task that a record's meta names (`ToolTask.meta`); None when it names none.

    Raises:
        InputError: it names one that does not exist.
    """
    if meta.get("env") != "tools" or "task" not in meta:
        return None
    return make_task(meta.get("task"), meta.get("split"), meta.get("seed"))
