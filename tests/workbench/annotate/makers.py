"""Small trajectories and random edits for the tests of reference trajectories."""

from __future__ import annotations

import random
from collections.abc import Callable

import PIL.Image

from executors.actions import Action
from executors.errors import InputError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Element, Observation, Step, Trajectory
from workbench.annotate import edits
from workbench.annotate.document import Change, Document, apply

SAVE = Element(role="button", text="Save", box=BoxNorm(0.4, 0.4, 0.6, 0.6))


def screen(number: int, size: tuple[int, int] = (64, 48)) -> Observation:
    """A screen of one colour with one button."""
    image = PIL.Image.new("RGB", size, (number % 256, 40, 200))
    return Observation(image_size=ImageSize(*size), image=image, elements=(SAVE,), summary=f"Screen {number}")


def way(id: str = "t1", goal: str = "Save the file as notes", *, shade: int = 0) -> Trajectory:
    """Four steps on three screens: click, type, type and submit, finished."""
    save, typed = Action(type="click", point=PointNorm(0.5, 0.5)), Action(type="type", content="notes")
    submit = Action(type="type", content="notes\n", point=PointNorm(0.45, 0.55))
    return Trajectory(
        id=id, goal=goal, source="made for tests", platform="desktop", outcome="success", meta={"level": 2},
        steps=(
            Step(observation=screen(shade + 1), action=save, instruction="click Save", target=SAVE.box, thought="Go."),
            Step(observation=screen(shade + 2), action=typed, instruction="type the name of the notes"),
            Step(observation=screen(shade + 2), action=submit, instruction="type it", flags=frozenset({"redundant"})),
            Step(observation=screen(shade + 3), action=Action(type="finished"), instruction="the file is saved"),
        ),
    )


def document(**values: object) -> Document:
    """The same as a document."""
    return Document.of(way(**values))


Edit = Callable[[Document, random.Random], Change]


def _key(doc: Document, rng: random.Random) -> str:
    return rng.choice(doc.keys)


def _point(rng: random.Random) -> PointNorm:
    return PointNorm(rng.random(), rng.random())


def _box(rng: random.Random) -> BoxNorm:
    left, top = rng.uniform(0, 0.8), rng.uniform(0, 0.8)
    return BoxNorm(left, top, left + rng.uniform(0.05, 0.2), top + rng.uniform(0.05, 0.2))


EDITS: dict[str, Edit] = {
    "goal": lambda d, r: edits.set_goal(d, r.choice(["Save it", "Sichere es", "", "a" * 100])),
    "outcome": lambda d, r: edits.set_outcome(d, r.choice(["success", "failure", "impossible", ""])),
    "difficulty": lambda d, r: edits.set_difficulty(d, r.choice([None, 0, 3, 10])),
    "point": lambda d, r: edits.set_point(d, _key(d, r), r.choice(["point", "start", "end"]), _point(r)),
    "target": lambda d, r: edits.set_target(d, _key(d, r), r.choice([None, _box(r)])),
    "type": lambda d, r: edits.set_action(d, _key(d, r), r.choice(["click", "drag", "type", "scroll", "wait"])),
    "arguments": lambda d, r: edits.set_action(d, _key(d, r), "scroll", r.choice(["direction='up'", "direction=3"])),
    "instruction": lambda d, r: edits.set_instruction(d, _key(d, r), r.choice(["go  on", "", "mach\nweiter"])),
    "thought": lambda d, r: edits.set_thought(d, _key(d, r), r.choice(["", "Because \ud83d it is."])),
    "screen": lambda d, r: edits.pair_screen(d, _key(d, r), d.step(_key(d, r)).step.observation),
    "mark": lambda d, r: edits.mark(d, _key(d, r), r.choice(edits.MARKS), r.random() < 0.6),
    "private": lambda d, r: edits.set_private_boxes(d, _key(d, r), [_box(r) for _ in range(r.randrange(3))]),
    "insert": lambda d, r: edits.insert_step(d, r.randint(0, len(d.steps)), Action(type="wait"), "wait"),
    "delete": lambda d, r: edits.delete_step(d, _key(d, r)),
    "duplicate": lambda d, r: edits.duplicate_step(d, _key(d, r)),
    "move": lambda d, r: edits.move_step(d, _key(d, r), r.randrange(len(d.steps))),
    "split": lambda d, r: edits.split_step(d, _key(d, r)),
    "merge": lambda d, r: edits.merge_steps(d, _key(d, r)),
}


def random_change(doc: Document, rng: random.Random, name: str = "") -> Change | None:
    """A random edit, or the one of this name; None where it is refused with a sentence."""
    try:
        return EDITS[name or rng.choice(list(EDITS))](doc, rng)
    except InputError:
        return None


def random_walk(doc: Document, rng: random.Random, num_edits: int) -> tuple[Document, list[Change]]:
    """The document after random edits, and the changes they made."""
    made = []
    while len(made) < num_edits:
        change = random_change(doc, rng)
        if change is not None and not change.is_empty:
            doc = apply(doc, change)
            made.append(change)
    return doc, made
