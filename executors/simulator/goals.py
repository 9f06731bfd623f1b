"""What a task wants: small statements about the final state, which also say how a data set would look after them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from executors.simulator.apps import APPS, CART, ORDERED
from executors.simulator.state import Data, Value, copy_data


@dataclass(frozen=True, slots=True)
class SetValue:
    """A setting has this value."""

    app: str
    label: str
    value: Value

    def apply(self, data: Data) -> None:
        """Makes it so."""
        data[self.app].values[self.label] = self.value


@dataclass(frozen=True, slots=True)
class SetTag:
    """A record bears a tag, or does not. `via` is where the oracle does it: "row", "menu" or "detail"."""

    app: str
    record_id: int
    tag: str
    is_set: bool = True
    via: str = "detail"

    def apply(self, data: Data) -> None:
        """Makes it so."""
        tags = data[self.app].record(self.record_id).tags
        (tags.add if self.is_set else tags.discard)(self.tag)


@dataclass(frozen=True, slots=True)
class Delete:
    """A record is gone. `via` is "menu" or "detail"."""

    app: str
    record_id: int
    via: str = "detail"

    def apply(self, data: Data) -> None:
        """Makes it so."""
        data[self.app].records = [r for r in data[self.app].records if r.id != self.record_id]


@dataclass(frozen=True, slots=True)
class Create:
    """A record with these fields exists; fields not named are empty. `source` is where a value must be read."""

    app: str
    fields: tuple[tuple[str, str], ...]
    group: str = ""
    source: Source | None = None

    def apply(self, data: Data) -> None:
        """Makes it so."""
        values = dict(self.fields)
        data[self.app].add({f.label: values.get(f.label, "") for f in APPS[self.app].record.fields}, self.group)


@dataclass(frozen=True, slots=True)
class Edit:
    """A field of a record has this value."""

    app: str
    record_id: int
    label: str
    value: str

    def apply(self, data: Data) -> None:
        """Makes it so."""
        data[self.app].record(self.record_id).fields[self.label] = self.value


@dataclass(frozen=True, slots=True)
class Send:
    """A text was sent in a chat, once. `source` is where it must be read."""

    app: str
    record_id: int
    text: str
    source: Source | None = None

    def apply(self, data: Data) -> None:
        """Makes it so."""
        data[self.app].record(self.record_id).sent.append(self.text)


@dataclass(frozen=True, slots=True)
class Order:
    """Everything in the cart is ordered."""

    app: str = "Shop"

    def apply(self, data: Data) -> None:
        """Makes it so."""
        for record in data[self.app].records:
            if CART.tag in record.tags:
                record.tags = record.tags - {CART.tag} | {ORDERED}


@dataclass(frozen=True, slots=True)
class MoveTo:
    """A record has taken another's place in the list."""

    app: str
    record_id: int
    onto_id: int

    def apply(self, data: Data) -> None:
        """Makes it so."""
        records = data[self.app].records
        ids = [r.id for r in records]
        place = ids.index(self.onto_id)
        records.insert(place, records.pop(ids.index(self.record_id)))


@dataclass(frozen=True, slots=True)
class LookFor:
    """Something named `label` is looked for on a page and is not there: the task is impossible."""

    app: str
    page: tuple
    label: str

    def apply(self, data: Data) -> None:
        """Changes nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """A record whose page must be read; `text` is what is to be carried away."""

    app: str
    record_id: int
    text: str


@dataclass(frozen=True, slots=True)
class Buy:
    """A product was ordered: put in the cart, then checked out."""

    record_id: int
    app: str = "Shop"

    def apply(self, data: Data) -> None:
        """Makes it so."""
        data[self.app].record(self.record_id).tags.add(ORDERED)


Want = SetValue | SetTag | Delete | Create | Edit | Send | Order | MoveTo | LookFor | Buy


def expected_data(data: Data, wants: Iterable[Want]) -> Data:
    """The data after all wants are fulfilled, in order; the given data is not changed."""
    result = copy_data(data)
    for want in wants:
        want.apply(result)
    return result


def is_reached(data: Data, expected: Data, apps: Iterable[str], ordered_apps: Iterable[str]) -> bool:
    """True when the data of the task's apps is what was expected and no other app has lost a record.

    Args:
        data: the present data.
        expected: the data after the wants.
        apps: the apps that the task is about; their values and records must match exactly.
        ordered_apps: those of them in which the sequence of records counts too.
    """
    for name, want in expected.items():
        have = data[name]
        if name not in apps:
            present = {r.id for r in have.records}
            if any(r.id not in present for r in want.records):
                return False
            continue
        if have.values != want.values:
            return False
        have_keys, want_keys = [r.key() for r in have.records], [r.key() for r in want.records]
        if name not in ordered_apps:
            have_keys, want_keys = sorted(have_keys), sorted(want_keys)
        if have_keys != want_keys:
            return False
    return True


def is_met(want: Want, data: Data, initial: Mapping) -> bool:
    """True when one want already holds; `initial` is the data at the start (to count what was there before)."""
    app = data[want.app]
    match want:
        case SetValue():
            return app.values[want.label] == want.value
        case SetTag():
            record = app.record(want.record_id)
            return record is None or (want.tag in record.tags) == want.is_set
        case Delete():
            return app.record(want.record_id) is None
        case Create():
            fields = {k: v for k, v in want.fields if v}
            return any(
                {k: v for k, v in r.fields.items() if v} == fields and r.group == want.group for r in app.records
            )
        case Edit():
            record = app.record(want.record_id)
            return record is None or record.fields[want.label] == want.value
        case Send():
            record = app.record(want.record_id)
            before = initial[want.app].record(want.record_id).sent.count(want.text)
            return record is None or record.sent.count(want.text) > before
        case Buy():
            return ORDERED in app.record(want.record_id).tags
        case Order():
            return not any(CART.tag in r.tags for r in app.records)
        case MoveTo():
            # any other order than the first is past the move; what is then still wrong is for the repair to sort
            ids, before = [r.id for r in app.records], [r.id for r in initial[want.app].records]
            return want.record_id not in ids or want.onto_id not in ids or ids != before
    return False
