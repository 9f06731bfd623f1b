"""Task templates and tasks: the types, and the helpers that templates are written with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from executors.simulator.apps import APPS
from executors.simulator.goals import Want
from executors.simulator.state import Data, Record, copy_data
from executors.simulator.widgets import Frame, Page
from executors.simulator.world import Look, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a template makes of a seed: the goal in words, the wants, and the pages open at the start."""

    goal: str
    wants: tuple[Want, ...]
    start: tuple[Page, ...] = ()
    is_ordered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTemplate:
    """One kind of task.

    `level` is 1 (up to 3 steps), 2 (up to 6) or 3; `kind` is "train", "task_unseen" or "app_unseen"; `sizes` gives
    the number of records by app; `make` turns chance and data into a plan (it may prepare the data).
    """

    name: str
    level: int
    apps: tuple[str, ...]
    make: Callable[[random.Random, Data], Plan] = field(repr=False, compare=False)
    kind: str = "train"
    sizes: Mapping[str, int] = field(default_factory=dict, hash=False, compare=False)
    is_impossible: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: a template filled by a seed, with its look and its initial data.

    `data` is the state at the start; worlds copy it. `level` and `goal` are what a reader wants to see.
    """

    template: TaskTemplate
    split: str
    seed: int
    look: Look
    data: Data = field(repr=False)
    plan: Plan = field(repr=False)
    chance_seed: str = ""

    @property
    def id(self) -> str:
        """"sim-TEMPLATE-SPLIT-SEED"."""
        return f"sim-{self.template.name}-{self.split}-{self.seed}"

    @property
    def goal(self) -> str:
        """The goal in words."""
        return self.plan.goal

    @property
    def level(self) -> int:
        """1, 2 or 3."""
        return self.template.level

    @property
    def form(self) -> str:
        """"phone" or "desktop"."""
        return self.look.form

    @property
    def is_impossible(self) -> bool:
        """True when the right answer is to call the user."""
        return self.template.is_impossible

    def make_world(self, *, interruption_rate: float = 0.0, noise_seed: int = 0) -> World:
        """A fresh world at the start of the task."""
        world = World(
            look=self.look,
            data=copy_data(self.data),
            rng=random.Random(f"{self.chance_seed}|{noise_seed}"),
            interruption_rate=interruption_rate,
        )
        if self.plan.start:
            world.app = self.template.apps[0]
            world.stack = [Frame(page=page) for page in self.plan.start]
        return world


def root_of(app: str) -> Page:
    """The first root page of an app."""
    return ("tab", APPS[app].tabs[0].label)


def pick(rng: random.Random, data: Data, app: str, *, first: int = 0, last: int | None = None,
         without_tag: str = "", with_tag: str = "") -> Record:
    """A record of an app among positions first..last-1, with or without a tag."""
    records = data[app].records[first:last]
    wanted = [
        r for r in records if (not without_tag or without_tag not in r.tags) and (not with_tag or with_tag in r.tags)
    ]
    return rng.choice(wanted or records)


def new_name(rng: random.Random, data: Data, app: str) -> str:
    """A title that no record of the app has (numbers and times are left out for notes)."""
    pool = APPS[app].record.fields[0].pool[:40]
    used = {r.title for r in data[app].records}
    return rng.choice([name for name in pool if name not in used])


def say(rng: random.Random, *variants: str, **words: object) -> str:
    """One of the variants, filled in."""
    return rng.choice(variants).format(**words)
