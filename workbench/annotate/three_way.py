"""Two people changed one revision: base, theirs and mine side by side, step by step, and how they are joined.

What only one side changed is taken from that side; what both changed alike is taken once; what they changed
differently is a conflict that a person decides. A step that one side took away and the other changed is a conflict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from executors.errors import InputError
from workbench.annotate.document import FIELDS, Document, DocumentStep, check_document

ORDER = "order"
"""The name under which a conflict of the steps' order is decided."""
SIDES = ("mine", "theirs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One field or step in three versions; None where a version lacks the step.

    `name` is the field's name or the step's key. `verdict` is "same", "mine" or "theirs" (only that side changed it),
    "both" (both changed it alike) or "conflict".
    """

    name: str
    base: Any
    theirs: Any
    mine: Any

    @property
    def verdict(self) -> str:
        """Who changed it, see the class."""
        if self.mine == self.theirs:
            return "same" if self.mine == self.base else "both"
        if self.theirs == self.base:
            return "mine"
        return "theirs" if self.mine == self.base else "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreeWay:
    """Three versions of a trajectory. `base_revision` is what mine was made from, `their_revision` the newest one."""

    base: Document
    theirs: Document
    mine: Document
    base_revision: int
    their_revision: int
    their_author: str = ""

    @property
    def fields(self) -> list[Row]:
        """The trajectory's own fields."""
        return [Row(name=name, base=getattr(self.base, name), theirs=getattr(self.theirs, name),
                    mine=getattr(self.mine, name)) for name in FIELDS]

    @property
    def steps(self) -> list[Row]:
        """All steps that any version has, in mine's order, then those that only the others have."""
        versions: list[dict[str, DocumentStep]] = [
            {step.key: step for step in document.steps} for document in (self.base, self.theirs, self.mine)]
        base, theirs, mine = versions
        keys = dict.fromkeys((*mine, *theirs, *base))
        return [Row(name=key, base=base.get(key), theirs=theirs.get(key), mine=mine.get(key)) for key in keys]

    @property
    def is_order_in_conflict(self) -> bool:
        """Whether both sides moved steps, and not alike."""
        shared = set(self.base.keys) & set(self.theirs.keys) & set(self.mine.keys)
        base, theirs, mine = ([key for key in d.keys if key in shared] for d in (self.base, self.theirs, self.mine))
        return mine != theirs and theirs != base and mine != base

    @property
    def conflicts(self) -> list[str]:
        """The names of the fields and steps, and `ORDER`, that a person has to decide."""
        names = [row.name for row in (*self.fields, *self.steps) if row.verdict == "conflict"]
        return names + ([ORDER] if self.is_order_in_conflict else [])


def merge(view: ThreeWay, choices: Mapping[str, str] | None = None) -> Document:
    """The three versions joined.

    Args:
        view: the versions.
        choices: for each of `view.conflicts`, "mine" or "theirs".

    Raises:
        InputError: a conflict is not decided, or the result is no document (each side deleted what the other kept).
    """
    choices = choices or {}
    for name in view.conflicts:
        if choices.get(name) not in SIDES:
            raise InputError(f"{name!r} was changed by both: choose {' or '.join(SIDES)}")

    def taken(row: Row) -> Any:
        if row.verdict == "conflict":
            return getattr(row, choices[row.name])
        return row.theirs if row.verdict == "theirs" else row.mine

    steps = {row.name: step for row in view.steps if (step := taken(row)) is not None}
    order = _joined_order(view, choices.get(ORDER), set(steps))
    values = {row.name: taken(row) for row in view.fields}
    document = replace(view.mine, **values, steps=tuple(steps[key] for key in order))
    check_document(document)
    return document


def _joined_order(view: ThreeWay, choice: str | None, kept: set[str]) -> list[str]:
    """The kept keys in the order of the side that moved steps; what only the other side has follows its forerunner."""
    shared = set(view.base.keys) & set(view.mine.keys)
    has_moved = [k for k in view.mine.keys if k in shared] != [k for k in view.base.keys if k in shared]
    is_mine = choice == "mine" if view.is_order_in_conflict else has_moved
    first, second = (view.mine, view.theirs) if is_mine else (view.theirs, view.mine)
    order = [key for key in first.keys if key in kept]
    placed, forerunner = set(order), None
    for key in second.keys:
        if key in kept and key not in placed:
            order.insert(0 if forerunner is None else order.index(forerunner) + 1, key)
            placed.add(key)
        if key in placed:
            forerunner = key
    return order
