"""Records that are single steps -> the trajectories of their tasks.

A task's steps are put in order. Steps behind a gap are left out, because they were done on screens that the kept ones
do not lead to; a closing action that is not the last step is left out alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from executors.actions import ACTIONS
from training.datasets.conversion import Converted, dump


@dataclass(slots=True)
class Group:
    """The steps of one task so far, by step number; the same step again is held apart."""

    key: str
    num_steps: int | None
    steps: dict[int, Converted] = field(default_factory=dict)
    repeated: list[Converted] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """True when every step that the source counts is there."""
        return self.num_steps is not None and len(self.steps) >= self.num_steps

    def add(self, record: Converted) -> None:
        """Takes a record that belongs to this task."""
        if record.place.step in self.steps:
            self.repeated.append(record)
        else:
            self.steps[record.place.step] = record

    def split_at_gap(self) -> tuple[list[Converted], list[Converted]]:
        """(the records of steps 0, 1, ... without a gap, the records behind the first gap)."""
        ordered = [self.steps[number] for number in sorted(self.steps)]
        num_whole = next((i for i, record in enumerate(ordered) if record.place.step != i), len(ordered))
        return ordered[:num_whole], ordered[num_whole:]


class Groups:
    """Collects one-step records until their tasks are complete.

    Args:
        is_run: the records of a task stand in a row, so another task, or a step number that does not grow, ends it;
            else they may stand anywhere, and a task ends when all its steps are there.
    """

    def __init__(self, *, is_run: bool) -> None:
        self._is_run = is_run
        self._open: dict[str, Group] = {}

    def add(self, record: Converted) -> list[Group]:
        """Takes a record and returns the groups that it ended."""
        place = record.place
        ended = []
        if self._is_run:
            goes_on = place.key in self._open and place.step > max(self._open[place.key].steps)
            ended = [] if goes_on else self.flush()
        group = self._open.setdefault(place.key, Group(place.key, place.num_steps))
        group.add(record)
        if group.is_complete:
            ended.append(self._open.pop(place.key))
        return ended

    def flush(self) -> list[Group]:
        """All groups that are still open, which are then ended."""
        groups = list(self._open.values())
        self._open.clear()
        return groups

    def to_json(self) -> list[dict[str, Any]]:
        """The open groups' records, for the state of an unfinished import."""
        return [record.to_json() for group in self._open.values() for record in
                (*group.steps.values(), *group.repeated)]

    def load(self, records: list[dict[str, Any]]) -> None:
        """Takes back what `to_json` wrote."""
        for record in map(Converted.from_json, records):
            group = self._open.setdefault(record.place.key, Group(record.place.key, record.place.num_steps))
            group.add(record)


def merge(records: list[Converted], num_missing: int) -> tuple[bytes, int, int]:
    """(the line of the trajectory that these steps make, its number of steps, closing actions that were left out).

    Goal, source and the like come from the first step. A list in `meta` has one entry a step, so the lists are joined.

    Args:
        records: the steps from 0 on, without a gap.
        num_missing: steps of the task that are known and not among them; with any, the outcome is unknown.
    """
    whole = orjson.loads(records[0].line)
    steps: list[Any] = []
    lists: dict[str, list[Any]] = {name: [] for name, value in whole["meta"].items() if isinstance(value, list)}
    num_closing = 0
    for number, record in enumerate(records):
        part = orjson.loads(record.line)
        is_last = number == len(records) - 1
        if not is_last and ACTIONS[part["steps"][0]["action"]["type"]].is_terminal:
            num_closing += 1
            continue
        steps.extend(part["steps"])
        for name, values in lists.items():
            values.extend(part["meta"].get(name, [None]))
        if is_last:
            whole["outcome"] = "" if num_missing else part["outcome"]
    whole["steps"] = steps
    whole["meta"] |= lists
    if num_missing:
        whole["meta"]["num_source_steps"] = len(records) + num_missing
    return dump(whole), len(steps), num_closing
