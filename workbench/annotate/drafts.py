"""Drafts: one open document per trajectory and person, saved at every edit, with undo and redo that outlive the page.

A draft is a base revision and a log of changes, of which the first `position` are carried out. An edit after an undo
drops what could be redone, as editors do. The log has no limit. `version` counts what was done to the draft, so that
two windows of one person cannot write over one another: the older one is told to load again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from executors.errors import InputError, MissingFileError
from workbench.annotate import revisions
from workbench.annotate.document import Change, Document, StaleError, apply, change_between
from workbench.annotate.pool import get_change, get_document, put_change, put_document
from workbench.annotate.revisions import MAIN
from workbench.annotate.store import AnnotationStore
from workbench.people import Role
from workbench.store import storable, utc_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A draft as it is stored. `saved` is when, `undo_note` and `redo_note` say what would be undone or redone."""

    trajectory: str
    person: str
    branch: str
    base: int
    version: int
    document: Document
    saved: str
    undo_note: str | None
    redo_note: str | None


class Drafts:
    """The drafts of a store; safe to use from several threads and processes.

    All methods raise RoleError for who is no annotator, MissingFileError for what is not there, and as
    `workbench.store.Store` does when the file cannot be used.
    """

    def __init__(self, store: AnnotationStore) -> None:
        self.store = store

    def open(self, trajectory: str, person: str, branch: str = MAIN) -> Draft:
        """The person's draft, begun from the branch's newest revision when there is none.

        While the second branch has no revision, its draft begins at the imported one, whatever came after that.

        Raises:
            InputError: the person has a draft of the other branch.
        """
        self._check(person)
        person = storable(person)
        with self.store.file.writing() as db:
            revisions.trajectory_row(db, trajectory)
            row = _find(db, trajectory, person)
            if row is None:
                self._begin(db, trajectory, person, branch)
            elif row["branch"] != branch:
                raise InputError(f"you have a draft of this trajectory's {row['branch']} annotation: submit it first")
            return self._draft(db, trajectory, person)

    def find(self, trajectory: str, person: str) -> Draft | None:
        """The person's draft; None when there is none."""
        with self.store.file.reading() as db:
            return None if _find(db, trajectory, storable(person)) is None else self._draft(db, trajectory, person)

    def edit(self, draft: Draft, change: Change) -> Draft:
        """The draft after a change, stored; an empty change changes nothing.

        Raises:
            StaleError: the draft has been changed in another window since, or the change was made to another state.
            InputError: the result is refused by `document.check_document`.
        """
        self._check(draft.person)
        if change.is_empty:
            return draft
        with self.store.file.writing() as db:
            row = self._current(db, draft)
            self._record(db, row, change, row["base"])
            return self._draft(db, draft.trajectory, draft.person)

    def undo(self, draft: Draft) -> Draft:
        """The draft without its last change; raises InputError when there is none, StaleError as `edit` does."""
        return self._step_in_log(draft, -1)

    def redo(self, draft: Draft) -> Draft:
        """The draft with the change that was undone last; raises as `undo` does."""
        return self._step_in_log(draft, 1)

    def rebase(self, draft: Draft, document: Document, base: int) -> Draft:
        """The draft as a person joined it with a newer revision (`three_way.merge`), which it is then based on.

        Undo still leads through all that was done before; undoing the joining gives back the old base with it. Raises
        StaleError as `edit` does, and when that revision is not the newest one any more.
        """
        self._check(draft.person)
        with self.store.file.writing() as db:
            row = self._current(db, draft)
            if base != revisions.head(db, draft.trajectory, draft.branch):
                raise StaleError(f"revision {base} is not the newest one any more: compare again")
            change = change_between(self._document(db, row), document, f"joined with revision {base}")
            self._record(db, row, change, base)
            return self._draft(db, draft.trajectory, draft.person)

    def discard(self, draft: Draft) -> None:
        """Drops the draft with its log; revisions stay. Raises StaleError as `edit` does."""
        self._check(draft.person)
        with self.store.file.writing() as db:
            self._current(db, draft)
            drop(db, draft.trajectory, draft.person)

    def _check(self, person: str) -> None:
        self.store.people.check(person, Role.ANNOTATOR, "edit trajectories")

    def _begin(self, db: Database, trajectory: str, person: str, branch: str) -> None:
        base = revisions.head(db, trajectory, branch)
        document = revisions.read(db, self.store.root, trajectory, *((branch, base) if base else (MAIN, 1)))
        db["annotation_drafts"].insert({
            "trajectory": trajectory, "person": person, "branch": branch,
            "base": base, "version": 1, "position": 0,
            "updated": utc_now(), "record": put_document(db, document),
        })

    def _record(self, db: Database, row: Mapping[str, Any], change: Change, base: int) -> None:
        """Carries a change out and puts it at the log's end, in place of what could have been redone."""
        document, number = apply(self._document(db, row), change), row["position"] + 1
        place = [row["trajectory"], row["person"]]
        db.execute("delete from annotation_changes where trajectory = ? and person = ? and number >= ?",
                   [*place, number])
        db["annotation_changes"].insert({
            "trajectory": row["trajectory"], "person": row["person"], "number": number, "created": utc_now(),
            "change": put_change(db, change), "base_before": row["base"], "base_after": base,
        })
        self._save(db, row, document, position=number, base=base)

    def _step_in_log(self, draft: Draft, by: int) -> Draft:
        self._check(draft.person)
        with self.store.file.writing() as db:
            row = self._current(db, draft)
            number = row["position"] + (by > 0)
            logged = _logged(db, row, number)
            if logged is None:
                raise InputError(f"there is nothing to {'redo' if by > 0 else 'undo'}")
            change = get_change(db, logged["change"], self.store.root)
            document = apply(self._document(db, row), change if by > 0 else change.inverted())
            base = logged["base_after" if by > 0 else "base_before"]
            self._save(db, row, document, position=row["position"] + by, base=base)
            return self._draft(db, draft.trajectory, draft.person)

    def _current(self, db: Database, draft: Draft) -> dict[str, Any]:
        row = _find(db, draft.trajectory, draft.person)
        if row is None:
            raise MissingFileError("this draft is gone, because it was submitted or dropped: open the trajectory again")
        if row["version"] != draft.version:
            raise StaleError("this draft was changed in another window: load it again")
        return row

    def _document(self, db: Database, row: Mapping[str, Any]) -> Document:
        return get_document(db, row["record"], self.store.root, f"the draft of {row['person'] or 'nobody'}")

    def _save(self, db: Database, row: Mapping[str, Any], document: Document, **columns: Any) -> None:
        db["annotation_drafts"].update((row["trajectory"], row["person"]), {
            **columns, "version": row["version"] + 1, "updated": utc_now(), "record": put_document(db, document),
        })

    def _draft(self, db: Database, trajectory: str, person: str) -> Draft:
        row = _find(db, trajectory, storable(person))
        done, undone = (_logged(db, row, row["position"] + by) for by in (0, 1))
        names = ("trajectory", "person", "branch", "base", "version")
        return Draft(
            **{name: row[name] for name in names}, document=self._document(db, row), saved=row["updated"],
            undo_note=_note(done), redo_note=_note(undone),
        )


def _find(db: Database, trajectory: str, person: str) -> dict[str, Any] | None:
    found = db["annotation_drafts"].rows_where("trajectory = ? and person = ?", [trajectory, person])
    return next(iter(list(found)), None)


def _logged(db: Database, row: Mapping[str, Any], number: int) -> dict[str, Any] | None:
    """The log's entry of this number; None when there is none."""
    where = "trajectory = ? and person = ? and number = ?"
    found = db["annotation_changes"].rows_where(where, [row["trajectory"], row["person"], number])
    return next(iter(list(found)), None)


def _note(logged: Mapping[str, Any] | None) -> str | None:
    return None if logged is None else json.loads(logged["change"])["note"]


def drop(db: Database, trajectory: str, person: str) -> None:
    """Takes a draft and its log away, inside a writing transaction."""
    for table in ("annotation_drafts", "annotation_changes"):
        db.execute(f"delete from {table} where trajectory = ? and person = ?", [trajectory, person])
