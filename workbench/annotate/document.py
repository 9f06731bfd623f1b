"""A trajectory as it is edited, and the invertible difference of two of them.

A `Document` is a `Trajectory` whose steps have keys. A key stays with its step through every edit, so that a
difference, a merge and a comment speak of the step and not of its number. What a trajectory has no field for, that a
step was judged correct, which boxes of its screen are private, and how hard the task is, travels in
`Trajectory.meta["annotation"]`; every format that keeps `meta` keeps it.

Box edges are held to five decimals, as `executors.trajectory` writes them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from executors.actions import validate
from executors.errors import InputError, WorkbenchError
from executors.geometry import BoxNorm
from executors.trajectory import Step, Trajectory, box_from_json, box_to_json, step_from_json, step_to_json
from training.samples import spaces_of
from workbench.screens import SCREENS
from workbench.store import check_choice

META = "annotation"
"""The entry of `Trajectory.meta` that holds what a trajectory has no field for."""
TARGET_BOXES = "target_boxes"
PER_STEP = (TARGET_BOXES, "original_ops")
"""Entries of `Trajectory.meta` with one value a step, which stay with their steps: all places in which a benchmark
takes the step's point for right, and what a data set wrote for it."""
FIELDS = ("id", "goal", "source", "platform", "split", "licence", "outcome", "difficulty", "meta")
OUTCOMES = ("success", "failure", "impossible", "")
MAX_DIFFICULTY = 10
"""Difficulty counts 0..10, as AgentNet's `task_difficulty` does."""
MAX_STEPS = 1000
MAX_TEXT_CHARS = 20_000
MAX_BOXES = 100


class StaleError(WorkbenchError, ValueError):
    """A change was made to another state than the present one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentStep:
    """A step under its key; `is_correct` that a person judged it right, `blur` what of its screen is private.

    `per_step` is the step's part of those entries of the trajectory's meta that hold one value a step (`PER_STEP`).
    """

    key: str
    step: Step
    is_correct: bool = False
    blur: tuple[BoxNorm, ...] = ()
    per_step: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON object without the key, the screenshot named by its place in the store; inverse of `from_json`."""
        path = self.step.observation.image_path
        record: dict[str, Any] = {"step": step_to_json(self.step, None if path is None else f"{SCREENS}/{path.name}")}
        if self.is_correct:
            record["is_correct"] = True
        if self.blur:
            record["blur"] = [box_to_json(box) for box in self.blur]
        if self.per_step:
            record["per_step"] = dict(self.per_step)
        return record

    @classmethod
    def from_json(cls, key: str, record: Mapping[str, Any], root: Path) -> DocumentStep:
        """The step of a `to_json` record, its screenshot below `root`; raises InputError, KeyError or TypeError."""
        return cls(
            key=key, step=step_from_json(record["step"], root), is_correct=bool(record.get("is_correct", False)),
            blur=tuple(box_from_json(box, "blur") for box in record.get("blur", ())),
            per_step=dict(record.get("per_step", {})),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A trajectory under edit. `difficulty` is 0..10 or None; the other fields are those of `Trajectory`."""

    id: str
    goal: str
    source: str
    platform: str
    steps: tuple[DocumentStep, ...]
    split: str = "train"
    licence: str = ""
    outcome: str = ""
    difficulty: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, trajectory: Trajectory) -> Document:
        """The document of a trajectory, its steps under fresh keys.

        Raises:
            InputError: `check_document` refuses it, or its `meta["annotation"]` is not in order.
        """
        marks = trajectory.meta.get(META, {})
        try:
            if not isinstance(marks, Mapping):
                raise TypeError(f"{marks!r} is not an object")
            correct = {int(place) for place in marks.get("correct", ())}
            blur = {int(place): tuple(box_from_json(box, "blur") for box in boxes)
                    for place, boxes in dict(marks.get("blur", {})).items()}
            if not correct | set(blur) <= set(range(len(trajectory.steps))):
                raise ValueError("it names a step that is not there")
        except (TypeError, ValueError) as error:
            raise InputError(f"field 'meta.{META}': {str(error)[:200]}: write it as an export does") from None
        lists = {name: values for name in PER_STEP if isinstance(values := trajectory.meta.get(name), list)
                 and len(values) == len(trajectory.steps)}
        document = cls(
            **{name: getattr(trajectory, name) for name in FIELDS if name not in ("difficulty", "meta")},
            difficulty=marks.get("difficulty"),
            meta={name: value for name, value in trajectory.meta.items() if name != META and name not in lists},
            steps=tuple(
                DocumentStep(key=new_key(), step=step, is_correct=place in correct, blur=blur.get(place, ()),
                             per_step={name: values[place] for name, values in lists.items()})
                for place, step in enumerate(trajectory.steps)
            ),
        )
        check_document(document)
        return document

    @property
    def trajectory(self) -> Trajectory:
        """The trajectory, with the marks that it has no field for in `meta["annotation"]`; the inverse of `of`."""
        marks: dict[str, Any] = {} if self.difficulty is None else {"difficulty": self.difficulty}
        if correct := [place for place, step in enumerate(self.steps) if step.is_correct]:
            marks["correct"] = correct
        if blur := {str(place): [box_to_json(b) for b in s.blur] for place, s in enumerate(self.steps) if s.blur}:
            marks["blur"] = blur
        values = {name: getattr(self, name) for name in FIELDS if name not in ("difficulty", "meta")}
        names = [name for name in PER_STEP if any(name in step.per_step for step in self.steps)]
        lists = {name: [step.per_step.get(name) for step in self.steps] for name in names}
        meta = {**self.meta, **lists, **({META: marks} if marks else {})}
        return Trajectory(**values, meta=meta, steps=tuple(step.step for step in self.steps))

    @property
    def keys(self) -> tuple[str, ...]:
        """The steps' keys in order."""
        return tuple(step.key for step in self.steps)

    def place(self, key: str) -> int:
        """Where the step of this key stands, counted from 0; raises InputError when there is none."""
        for place, step in enumerate(self.steps):
            if step.key == key:
                return place
        raise InputError(f"step {key[:20]!r} is not in this trajectory: it may have been deleted, load it again")

    def step(self, key: str) -> DocumentStep:
        """The step of this key; raises InputError when there is none."""
        return self.steps[self.place(key)]


def new_key() -> str:
    """A key that no other step has, in this document or in another person's copy of it."""
    return secrets.token_hex(6)


def check_document(document: Document) -> None:
    """Does nothing for a document that can be stored, edited and trained on once its checks are clean.

    Raises:
        InputError: no step or too many, a key twice, a malformed action, a text that is too long, a box that is none,
            an unknown platform or outcome, or a difficulty outside 0..10; the message names step and field.
    """
    if not 1 <= len(document.steps) <= MAX_STEPS:
        raise InputError(f"field 'steps': {len(document.steps)} steps are not allowed: keep 1..{MAX_STEPS}")
    if len(set(document.keys)) < len(document.steps):
        raise InputError("field 'steps': two steps have one key: load the trajectory again")
    spaces_of(document.platform)
    check_choice("outcome", document.outcome, OUTCOMES)
    difficulty = document.difficulty
    if difficulty is not None and not (type(difficulty) is int and 0 <= difficulty <= MAX_DIFFICULTY):
        raise InputError(f"field 'difficulty': {difficulty!r} is not a whole number 0..{MAX_DIFFICULTY}")
    _check_text("goal", document.goal)
    for number, step in enumerate(document.steps, start=1):
        try:
            _check_step(step)
        except InputError as error:
            raise InputError(f"step {number}: {error}") from None


def _check_step(step: DocumentStep) -> None:
    problem = validate(step.step.action, need_targets=False)
    if problem is not None:
        raise InputError(problem)
    for name in ("instruction", "thought"):
        _check_text(name, getattr(step.step, name))
    if len(step.blur) > MAX_BOXES:
        raise InputError(f"field 'blur': {len(step.blur)} boxes are more than {MAX_BOXES}: join some")
    for name, boxes in (("blur", step.blur), ("target", (step.step.target,) if step.step.target else ())):
        for box in boxes:
            check_box(name, box)


def check_box(name: str, box: BoxNorm) -> None:
    """Does nothing for a box on the image with some extent; raises InputError naming the field for any other."""
    if not (0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1):
        edges = ", ".join(f"{edge:g}" for edge in (box.left, box.top, box.right, box.bottom))
        raise InputError(f"field {name!r}: [{edges}] is not [left, top, right, bottom] in 0..1 with left < right")


def _check_text(name: str, text: str) -> None:
    if len(text) > MAX_TEXT_CHARS:
        raise InputError(f"field {name!r}: {len(text)} characters are too many: give at most {MAX_TEXT_CHARS}")


def rounded_box(box: BoxNorm) -> BoxNorm:
    """The box with edges as they are stored, to five decimals."""
    return BoxNorm(*box_to_json(box))


# ---------------------------------------------------------------------------------------------------- differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What leads from one document to another: for each field and each step that differs, before and after.

    `note` says it in words. A step that is added has None before, one that is taken away None after. `order` holds the
    keys before and after, and is None where they are equal.
    """

    note: str = ""
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    steps: Mapping[str, tuple[DocumentStep | None, DocumentStep | None]] = field(default_factory=dict)
    order: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return not self.fields and not self.steps and self.order is None

    def inverted(self) -> Change:
        """The change that takes this one back."""
        return Change(
            note=self.note,
            fields={name: (after, before) for name, (before, after) in self.fields.items()},
            steps={key: (after, before) for key, (before, after) in self.steps.items()},
            order=None if self.order is None else (self.order[1], self.order[0]),
        )

    def to_json(self, put: Callable[[DocumentStep], str]) -> dict[str, Any]:
        """A JSON object in which each step is what `put` gives for it; the inverse of `from_json`."""
        return {
            "note": self.note,
            "fields": {name: list(pair) for name, pair in self.fields.items()},
            "steps": {key: [None if step is None else put(step) for step in pair] for key, pair in self.steps.items()},
            "order": None if self.order is None else [list(keys) for keys in self.order],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], get: Callable[[str, str], DocumentStep]) -> Change:
        """The change of a `to_json` record; `get` gives a step for its key and what `put` gave."""
        order = record["order"]
        return cls(
            note=record["note"],
            fields={name: (before, after) for name, (before, after) in record["fields"].items()},
            steps={key: tuple(None if put is None else get(key, put) for put in pair)
                   for key, pair in record["steps"].items()},
            order=None if order is None else (tuple(order[0]), tuple(order[1])),
        )


def apply(document: Document, change: Change) -> Document:
    """The document after the change.

    Raises:
        StaleError: something that it changes is not as it was when the change was made.
        InputError: the result is refused by `check_document`.
    """
    steps = {step.key: step for step in document.steps}
    for name, (before, _) in change.fields.items():
        if name not in FIELDS or getattr(document, name) != before:
            raise StaleError(f"field {name!r} has been changed meanwhile: look at it again")
    for key, (before, after) in change.steps.items():
        if steps.get(key) != before:
            raise StaleError(f"step {key!r} has been changed meanwhile: look at it again")
        steps[key] = after
    order = document.keys
    if change.order is not None:
        if order != change.order[0]:
            raise StaleError("the order of steps has been changed meanwhile: look at it again")
        order = change.order[1]
    if set(order) != {key for key, step in steps.items() if step is not None}:
        raise StaleError("steps have been added or taken away meanwhile: look at them again")
    values = {name: after for name, (_, after) in change.fields.items()}
    result = replace(document, **values, steps=tuple(steps[key] for key in order))
    check_document(result)
    return result


def change_between(before: Document, after: Document, note: str = "") -> Change:
    """What leads from one document to the other; empty for equal ones. `apply(before, ...)` gives `after`."""
    old, new = ({step.key: step for step in document.steps} for document in (before, after))
    return Change(
        note=note,
        fields={name: (a, b) for name in FIELDS if (a := getattr(before, name)) != (b := getattr(after, name))},
        steps={key: (a, b) for key in (*old, *(k for k in new if k not in old))
               if (a := old.get(key)) != (b := new.get(key))},
        order=None if before.keys == after.keys else (before.keys, after.keys),
    )


def describe(change: Change, before: Document) -> list[str]:
    """The change in words, one line for each thing, steps numbered as in `before` (added ones as they come to stand).

    >>> describe(Change(fields={"goal": ("a", "b")}), None)
    ["goal: 'a' became 'b'"]
    """
    lines = [f"{name}: {_short(old)} became {_short(new)}" for name, (old, new) in change.fields.items()]
    for key, (old, new) in change.steps.items():
        if old is None:
            lines.append(f"step {change.order[1].index(key) + 1} added: {new.step.instruction[:80]}")
        elif new is None:
            lines.append(f"step {before.place(key) + 1} taken away: {old.step.instruction[:80]}")
        else:
            lines.append(f"step {before.place(key) + 1}: {', '.join(changed_parts(old, new))} changed")
    if change.order is not None:
        kept = [[key for key in keys if key in set(change.order[0]) & set(change.order[1])] for keys in change.order]
        if kept[0] != kept[1]:
            lines.append("steps put into another order")
    return lines


def changed_parts(old: DocumentStep, new: DocumentStep) -> list[str]:
    """The names of what differs between two states of a step, in the order a person would look."""
    parts = [name for name in ("action", "instruction", "thought", "target", "flags", "error", "observation")
             if getattr(old.step, name) != getattr(new.step, name)]
    names = {"observation": "screen", "flags": "marks"}
    parts = [names.get(name, name) for name in parts]
    if old.is_correct != new.is_correct and "marks" not in parts:
        parts.append("marks")
    if old.per_step != new.per_step:
        parts.append("right places of the benchmark")
    return parts + (["private boxes"] if old.blur != new.blur else [])


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
