"""Named dataset revisions: which trajectories, at which revision, in which split. Once named, they never change.

A dataset revision is a list in the store, and a row of its table cannot be changed or deleted. Its fingerprint is a
hash of what the trajectories say, screenshots included, so two stores can tell that they name the same data. Exported,
it has a file `FILE.revision.json` beside it with name, fingerprint and counts, by which a run can be led back to it.

Splits are made of whole episodes, and no screenshot occurs in two of them: trajectories that share one stay together.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from executors.errors import InputError, MissingFileError, OutputError
from training.config import ForecastConfig
from workbench.annotate import revisions
from workbench.annotate.document import Document
from workbench.annotate.files_out import WriteReport, write_out
from workbench.annotate.pool import get_document
from workbench.annotate.revisions import MAIN, checked_text
from workbench.annotate.store import STATES, AnnotationStore, Project
from workbench.people import Role
from workbench.store import check_choice, utc_now

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One trajectory of a dataset revision: its id in the store, its main revision, its split."""

    trajectory: str
    revision: int
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRevision:
    """A named list of trajectories. `fingerprint` is a SHA-256 in hex of their content and splits."""

    name: str
    project: str
    author: str
    why: str
    created: str
    fingerprint: str
    entries: tuple[Entry, ...]

    @property
    def num_by_split(self) -> dict[str, int]:
        """How many trajectories each split has."""
        counts: dict[str, int] = defaultdict(int)
        for entry in self.entries:
            counts[entry.split] += 1
        return dict(counts)


def name_revision(
    store: AnnotationStore, project: Project, name: str, *, why: str, person: str = "", state: str = "accepted",
    shares: Mapping[str, float] | None = None,
) -> DatasetRevision:
    """Names the present state of a project's trajectories.

    Args:
        store: where they are.
        project: whose trajectories.
        name: letters, digits, ".", "_" and "-", at most 100; also the name of exported files.
        why: what it is for.
        person: who names it.
        state: only trajectories in this state; "" takes all.
        shares: split -> share, adding up to 1, see `split_by_screen`; None keeps the trajectories' own splits.

    Raises:
        InputError: the name is not allowed or taken, no trajectory is in that state, one of them has an error, or the
            shares are no shares.
        RoleError: the person is no reviewer.
    """
    store.people.check(person, Role.REVIEWER, "name dataset revisions")
    if not _NAME.fullmatch(name):
        raise InputError(f"field 'name': {name[:100]!r} is not 1..100 letters, digits, '.', '_' or '-'")
    check_choice("state", state, ("", *STATES))
    why = checked_text("why", why, revisions.MAX_WHY_CHARS)
    with store.file.writing() as db:
        if db["annotation_datasets"].count_where("name = ?", [name]):
            raise InputError(f"field 'name': there is a dataset revision {name!r} already: choose another name")
        found = db.execute(
            "select t.id, t.revision, t.num_errors, r.record "
            "from annotation_trajectories t join annotation_revisions r "
            f"on r.trajectory = t.id and r.branch = '{MAIN}' and r.number = t.revision "
            "where t.project = ? and (? = '' or t.state = ?) order by t.number", [project.id, state, state],
        ).fetchall()
        if not found:
            raise InputError(f"project {project.name} has no trajectory that is {state or 'stored'}: review some first")
        if broken := [id for id, _, num_errors, _ in found if num_errors]:
            raise InputError(f"{len(broken)} trajectories have errors, the first is {broken[0]}: mend them first")
        splits, screens, digest = {}, {}, hashlib.sha256()
        for id, number, _, record in found:
            document = get_document(db, record, store.root, f"trajectory {id}: revision {number}")
            splits[id] = document.split
            screens[id] = {s.step.observation.image_path for s in document.steps} - {None}
        if shares is not None:
            splits = split_by_screen(screens, shares)
        for id, _, _, record in found:
            steps = [step for _, step in json.loads(record)["steps"]]  # without keys, which differ between stores
            digest.update(json.dumps([json.loads(record)["fields"], steps, splits[id]], sort_keys=True).encode())
        row = {"name": name, "project": project.id, "author": person, "why": why, "created": utc_now(),
               "fingerprint": digest.hexdigest()}
        entries = tuple(Entry(trajectory=id, revision=number, split=splits[id]) for id, number, _, _ in found)
        db["annotation_datasets"].insert({
            **row, "num_trajectories": len(entries),
            "entries": json.dumps([[e.trajectory, e.revision, e.split] for e in entries]),
        })
    return DatasetRevision(**row, entries=entries)


def dataset_revisions(store: AnnotationStore) -> list[DatasetRevision]:
    """All dataset revisions, oldest first."""
    with store.file.reading() as db:
        rows = list(db["annotation_datasets"].rows_where(order_by="created, name"))
    names = ("name", "project", "author", "why", "created", "fingerprint")
    return [
        DatasetRevision(
            **{name: row[name] for name in names},
            entries=tuple(Entry(trajectory=t, revision=r, split=s) for t, r, s in json.loads(row["entries"])))
        for row in rows
    ]


def dataset_revision(store: AnnotationStore, name: str) -> DatasetRevision:
    """The dataset revision of this name; raises MissingFileError when there is none."""
    found = dataset_revisions(store)
    for revision in found:
        if revision.name == name:
            return revision
    names = ", ".join(revision.name for revision in found) or "none yet"
    raise MissingFileError(f"dataset revision {name[:100]!r} is not in this store: choose one of {names}")


def documents_of(store: AnnotationStore, revision: DatasetRevision) -> Iterator[Document]:
    """The documents of a dataset revision, one by one, each with its split."""
    for entry in revision.entries:
        yield replace(store.load(entry.trajectory, entry.revision), split=entry.split)


def export(
    store: AnnotationStore, revision: DatasetRevision, path: Path, form: str, *, forecast: ForecastConfig | None = None,
    person: str = "",
) -> WriteReport:
    """Writes a dataset revision as a file, and `FILE.revision.json` beside it, which leads back to it.

    Raises as `files_out.write_out` does, and RoleError when the person is no viewer.
    """
    store.people.check(person, Role.VIEWER, "export dataset revisions")
    report = write_out(lambda: documents_of(store, revision), path, form, forecast=forecast)
    told = {name: value for name, value in asdict(revision).items() if name != "entries"}
    told |= {"num_trajectories": len(revision.entries), "num_by_split": revision.num_by_split,
             "export": {**report.to_json(), "path": path.name}}  # the folder is nobody else's business
    beside = path.with_name(path.name + ".revision.json")
    try:
        beside.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {beside} ({error.strerror}): choose a folder you may write") from None
    return report


def read_shares(text: str) -> dict[str, float]:
    """The shares of a text; raises InputError when it is none.

    >>> read_shares("train=0.9, val=0.1")
    {'train': 0.9, 'val': 0.1}
    """
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(share) for name, share in pairs}
    except ValueError:
        raise InputError(f"split {text[:80]!r} is not SPLIT=SHARE,...: write for example train=0.9,val=0.1") from None


def split_by_screen(screens: Mapping[str, Iterable[object]], shares: Mapping[str, float]) -> dict[str, str]:
    """A split for each trajectory, such that no screen occurs in two splits.

    Trajectories that share a screen, directly or through others, form a group. Groups are dealt out from the largest
    down, each to the split that lacks most of its share; equal ones by a hash of their ids, so the same trajectories
    are always split alike. One large group makes the shares come out as they can.

    Args:
        screens: trajectory id -> its screens.
        shares: split -> its share; they add up to 1.

    Raises:
        InputError: no shares, or they are not above 0 or do not add up to 1.

    >>> split_by_screen({"a": [1], "b": [1, 2], "c": [2], "d": [3]}, {"train": 0.75, "test": 0.25})
    {'a': 'train', 'b': 'train', 'c': 'train', 'd': 'test'}
    """
    if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"field 'shares': {dict(shares)} are not shares above 0 that add up to 1")
    missing = {split: share * len(screens) for split, share in shares.items()}
    found: dict[str, str] = {}
    for group in sorted(_groups(screens), key=lambda ids: (-len(ids), _hash(min(ids)))):
        split = max(missing, key=lambda name: missing[name])
        missing[split] -= len(group)
        found |= dict.fromkeys(group, split)
    return {id: found[id] for id in screens}


def _groups(screens: Mapping[str, Iterable[object]]) -> list[Sequence[str]]:
    """The trajectories that hang together by their screens."""
    parent = {id: id for id in screens}

    def root(id: str) -> str:
        while parent[id] != id:
            parent[id] = parent[parent[id]]
            id = parent[id]
        return id

    first: dict[object, str] = {}
    for id, shown in screens.items():
        for screen in shown:
            parent[root(id)] = root(first.setdefault(screen, id))
    groups: dict[str, list[str]] = defaultdict(list)
    for id in screens:
        groups[root(id)].append(id)
    return list(groups.values())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
