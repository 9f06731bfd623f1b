"""What the apps remember: records, values, and how a seed fills them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from executors.simulator.apps import APPS, AppSpec

Value = bool | int | str


@dataclass(slots=True)
class Record:
    """One record: a stable id within its app, its fields, its tags ("on" is the mark of a checked row)."""

    id: int
    fields: dict[str, str]
    tags: set[str] = field(default_factory=set)
    sent: list[str] = field(default_factory=list)
    group: str = ""

    @property
    def title(self) -> str:
        """The first field, which lists show."""
        return next(iter(self.fields.values()))

    def copy(self) -> Record:
        """An independent copy."""
        return Record(self.id, dict(self.fields), set(self.tags), list(self.sent), self.group)

    def key(self) -> tuple:
        """What makes two records the same, whatever their ids."""
        return tuple(self.fields.items()), tuple(sorted(self.tags)), tuple(self.sent), self.group


@dataclass(slots=True)
class AppData:
    """All that one app holds; `order` gives the sequence of settings on each options page."""

    values: dict[str, Value] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    order: dict[str, list[str]] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    next_id: int = 1

    def copy(self) -> AppData:
        """An independent copy; `order` and `groups` never change and are shared."""
        return AppData(dict(self.values), [r.copy() for r in self.records], self.order, self.groups, self.next_id)

    def record(self, record_id: int) -> Record | None:
        """The record with this id, None when it is gone."""
        return next((r for r in self.records if r.id == record_id), None)

    def add(self, fields: dict[str, str], group: str = "") -> Record:
        """Appends a record and returns it."""
        record = Record(self.next_id, fields, group=group)
        self.next_id += 1
        self.records.append(record)
        return record


Data = dict[str, AppData]


def copy_data(data: Mapping[str, AppData]) -> Data:
    """An independent copy of all apps' data."""
    return {name: app.copy() for name, app in data.items()}


def make_data(rng: random.Random, sizes: Mapping[str, int]) -> Data:
    """Data for every app.

    Args:
        rng: the source of chance.
        sizes: number of records by app name; other apps get 4 to 6 (2 to 4 in each group).
    """
    return {name: _fill(rng, spec, sizes.get(name, 0)) for name, spec in APPS.items()}


def _fill(rng: random.Random, spec: AppSpec, size: int) -> AppData:
    data = AppData()
    for page, settings in spec.options.items():
        labels = [s.label for s in settings]
        rng.shuffle(labels)
        data.order[page] = labels
        for setting in settings:
            data.values[setting.label] = (
                rng.random() < 0.5
                if setting.kind == "switch"
                else 10 * rng.randint(1, 9)
                if setting.kind == "slider"
                else rng.choice(setting.options)
            )
    pages = list(spec.options)
    rng.shuffle(pages)
    data.order[""] = pages
    if spec.record is not None:
        _fill_records(rng, spec, data, size)
    return data


def _fill_records(rng: random.Random, spec: AppSpec, data: AppData, size: int) -> None:
    record_spec = spec.record
    titles_pool = record_spec.fields[0].pool[:40]  # codes and times among note titles come only from tasks
    if record_spec.groups:
        data.groups = list(record_spec.groups)
        rng.shuffle(data.groups)
        plan = [g for g in data.groups for _ in range(size or rng.randint(2, 4))]
    else:
        plan = [""] * (size or rng.randint(4, 6))
    titles = rng.sample(titles_pool, min(len(plan), len(titles_pool)))
    for title, group in zip(titles, plan, strict=False):
        fields = {f.label: rng.choice(f.pool) for f in record_spec.fields}
        fields[record_spec.fields[0].label] = title
        record = data.add(fields, group)
        if record_spec.check_role and rng.random() < 0.4:
            record.tags.add("on")
