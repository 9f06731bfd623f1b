"""Splits as in AndroidControl, and how a seed becomes a task.

train, val and test share templates, apps and layouts and differ in seeds; layout_unseen has the trained templates
under layouts, themes and font sizes never used in training; task_unseen and app_unseen have templates of their own.
"""

from __future__ import annotations

import difflib
import random
from functools import lru_cache

from executors.errors import InputError
from executors.seeds import split_seed
from executors.simulator.apps import APPS
from executors.simulator.layout import TRAIN_LAYOUTS, UNSEEN_LAYOUTS
from executors.simulator.state import make_data
from executors.simulator.tasks import TEMPLATES, Task, TaskTemplate
from executors.simulator.themes import TRAIN_THEMES, UNSEEN_THEMES
from executors.simulator.widgets import DESKTOP, PHONE
from executors.simulator.world import Look

SPLITS = ("train", "val", "test", "layout_unseen", "task_unseen", "app_unseen")


def chance_seed(split: str, seed: int) -> int:
    """The number that all chance of a task grows from; its remainder by the number of splits names the split, so no
    two splits ever share one.

    >>> chance_seed("val", 7) % len(SPLITS) == SPLITS.index("val")
    True
    """
    return split_seed("simulator", SPLITS, split, seed)


def list_tasks(split: str) -> tuple[TaskTemplate, ...]:
    """The templates of a split, in a fixed order.

    Raises:
        InputError: there is no such split.
    """
    _check_split(split)
    kind = split if split in ("task_unseen", "app_unseen") else "train"
    return tuple(t for t in TEMPLATES.values() if t.kind == kind)


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise InputError(f"split {split!r} is unknown{_near(split, SPLITS)}: choose one of {', '.join(SPLITS)}")


def _check_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed {seed!r} is not a whole number")


def _near(name: object, known: tuple[str, ...]) -> str:
    matches = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    return f" (near matches: {', '.join(matches)})" if matches else ""


def make_task(template_name: str, split: str, seed: int) -> Task:
    """The task that a seed makes of a template.

    Args:
        template_name: a template of the split.
        split: one of `SPLITS`.
        seed: any whole number; the same number gives another task in another split.

    Raises:
        InputError: unknown split or template, or a template of another split; near matches are listed.
    """
    names = tuple(t.name for t in list_tasks(split))
    if template_name not in names:
        hint = f"it belongs to split {TEMPLATES[template_name].kind}" if template_name in TEMPLATES else "it is unknown"
        raise InputError(
            f"task template {template_name!r} is not in split {split!r} ({hint}){_near(template_name, names)}: "
            f"choose one of {', '.join(names)}"
        )
    _check_seed(seed)
    return _make_task(template_name, split, seed)


@lru_cache(maxsize=256)
def _make_task(template_name: str, split: str, seed: int) -> Task:
    template = TEMPLATES[template_name]
    base = f"{template_name}|{chance_seed(split, seed)}"
    rng = random.Random(f"{base}|data")
    data = make_data(rng, template.sizes)
    plan = template.make(rng, data)
    return Task(
        template=template,
        split=split,
        seed=seed,
        look=_make_look(random.Random(f"{base}|look"), split),
        data=data,
        plan=plan,
        chance_seed=f"{base}|world",
    )


def _make_look(rng: random.Random, split: str) -> Look:
    is_unseen = split == "layout_unseen"
    icons = list(APPS)
    rng.shuffle(icons)
    return Look(
        form=rng.choice((PHONE, PHONE, DESKTOP)),
        layout=rng.choice(UNSEEN_LAYOUTS if is_unseen else TRAIN_LAYOUTS),
        theme=rng.choice(UNSEEN_THEMES if is_unseen else TRAIN_THEMES),
        icon_order=tuple(icons),
        colour_shift=rng.randrange(12),
    )


def sample_tasks(split: str, num_episodes: int, seed: int) -> tuple[Task, ...]:
    """Tasks of a split, balanced over its templates: each template comes once per round, in shuffled order.

    Args:
        split: one of `SPLITS`.
        num_episodes: how many, at least 0.
        seed: the same seed gives the same tasks; a longer sample begins with the shorter one.

    Raises:
        InputError: unknown split, a negative number, or a seed that is no whole number.
    """
    templates = list_tasks(split)
    _check_seed(seed)
    if num_episodes < 0:
        raise InputError(f"num_episodes {num_episodes} is not allowed: give 0 or more")
    rng = random.Random(f"sample|{split}|{seed}")
    tasks: list[Task] = []
    while len(tasks) < num_episodes:
        for template in rng.sample(templates, len(templates)):
            tasks.append(make_task(template.name, split, rng.randrange(2**31)))
    return tuple(tasks[:num_episodes])
