"""Comparisons that were saved under a name, which is also their link: what was compared, never the figures.

A saved comparison is worked out again from the results as they are when it is opened. The hashes of the result files
are kept, so that results that have changed since are told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from executors.errors import InputError, MissingFileError
from workbench.episode_store import utc_now
from workbench.runs.draft import check_name
from workbench.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedComparison:
    """A name, the ids of stored evaluations with the hashes of their files, and whether prompts may differ."""

    name: str
    digests: Mapping[str, str]
    allow_different_prompts: bool = False
    person: str = ""
    created: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.digests) < 2:
            raise InputError(f"comparison {self.name!r} has {len(self.digests)} evaluations: choose two or more")


class SavedComparisons:
    """The saved comparisons of a store; safe to use from several threads and processes."""

    def __init__(self, store: Store) -> None:
        """Those of this store."""
        self._store = store

    def save(self, saved: SavedComparison, *, replace: bool = False) -> None:
        """Keeps a comparison.

        Raises:
            InputError: another one has this name and is not to be replaced.
            OutputError: the store cannot be written.
        """
        verb = "INSERT OR REPLACE" if replace else "INSERT OR IGNORE"
        row = (
            saved.name, json.dumps(dict(saved.digests)), saved.allow_different_prompts, saved.person,
            saved.created or utc_now(),
        )  # fmt: skip
        with self._store.writing() as db:
            cursor = db.execute(
                f"{verb} INTO comparisons (name, digests, allow_different_prompts, person, created) "
                "VALUES (?, ?, ?, ?, ?)",
                row,
            )
            if cursor.rowcount != 1:
                raise InputError(f"a comparison named {saved.name!r} exists: choose another name")

    def load(self, name: str) -> SavedComparison:
        """The comparison of this name; raises MissingFileError when there is none."""
        for saved in self.list():
            if saved.name == name:
                return saved
        raise MissingFileError(f"no comparison is saved as {name[:80]!r}: choose one of the list")

    def list(self) -> list[SavedComparison]:
        """All of them, newest first."""
        sql = "SELECT name, digests, allow_different_prompts, person, created FROM comparisons ORDER BY created DESC"
        with self._store.reading() as db:
            rows = db.execute(sql).fetchall()
        return [
            SavedComparison(
                name=name, digests=json.loads(digests), allow_different_prompts=bool(allow), person=person,
                created=created,
            )
            for name, digests, allow, person, created in rows
        ]

    def delete(self, name: str) -> bool:
        """Forgets the comparison; False when there was none of this name."""
        with self._store.writing() as db:
            return db.execute("DELETE FROM comparisons WHERE name = ?", (name,)).rowcount == 1
