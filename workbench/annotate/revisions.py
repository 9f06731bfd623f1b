"""Revisions inside one transaction: what the store, the drafts and the queue share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from executors.errors import InputError, MissingFileError
from workbench.annotate.checks import check, errors
from workbench.annotate.document import Document, change_between, describe
from workbench.annotate.pool import get_document, put_document
from workbench.store import storable, utc_now

MAIN, SECOND = "main", "second"
"""The branch that is the reference, and that of the blind second annotation."""
MAX_WHY_CHARS = 2000
MAX_NAME_CHARS = 200


RevisionName = tuple[str, int]
"""What tells a trajectory's revisions apart: branch and number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision without its document: who made it, when, why, and what it changed, in lines of words.

    `number` counts from 1 in its branch. `parent` is what it was made from; None for an import.
    """

    trajectory: str
    branch: str
    number: int
    parent: RevisionName | None
    author: str
    why: str
    created: str
    changes: tuple[str, ...]

    @property
    def name(self) -> RevisionName:
        """Its branch and number."""
        return self.branch, self.number


def spoken(name: RevisionName) -> str:
    """A revision's name as people read it.

    >>> spoken((MAIN, 3)), spoken((SECOND, 1))
    ('3', 'second 1')
    """
    branch, number = name
    return f"{number}" if branch == MAIN else f"{branch} {number}"


def trajectory_row(db: Database, id: str) -> dict[str, Any]:
    """The row of a trajectory; raises MissingFileError when there is none."""
    rows = list(db["annotation_trajectories"].rows_where("id = ?", [storable(id)]))
    if not rows:
        raise MissingFileError(f"trajectory {id[:80]!r} is not in this store: choose one of the list")
    return rows[0]


def head(db: Database, trajectory: str, branch: str = MAIN) -> int:
    """The number of a branch's newest revision; 0 when it has none."""
    sql = "select max(number) from annotation_revisions where trajectory = ? and branch = ?"
    return db.execute(sql, [trajectory, branch]).fetchone()[0] or 0


def read(db: Database, root: Path, trajectory: str, branch: str, number: int) -> Document:
    """The document of a revision.

    Raises:
        MissingFileError: there is no such revision.
        InputError: it is damaged.
    """
    sql = "select record from annotation_revisions where trajectory = ? and branch = ? and number = ?"
    row = db.execute(sql, [trajectory, branch, number]).fetchone()
    if row is None:
        raise MissingFileError(f"trajectory {trajectory} has no revision {branch} {number}: choose one of its history")
    return get_document(db, row[0], root, f"trajectory {trajectory}: revision {branch} {number}")


def append(
    db: Database, trajectory: str, document: Document, *, before: Document | None, parent: RevisionName | None,
    author: str, why: str, branch: str = MAIN,
) -> int:
    """Stores a new revision at the end of a branch and returns its number; the main one's is what lists show.

    Args:
        db: inside a writing transaction.
        trajectory: its id in the store.
        document: the new state.
        before: the document of `parent`, from which the list of changes is made; None for an import.
        parent: the revision that it was made from.
        author: a login name; empty where nobody logs in.
        why: the reason in words.
        branch: `MAIN` or `SECOND`.

    Raises:
        InputError: the reason is empty or too long.
    """
    why = checked_text("why", why, MAX_WHY_CHARS)
    changes = [] if before is None else describe(change_between(before, document), before)
    number, now = head(db, trajectory, branch) + 1, utc_now()
    db["annotation_revisions"].insert({
        "trajectory": trajectory, "branch": branch, "number": number, "parent_branch": parent[0] if parent else None,
        "parent": parent[1] if parent else None, "author": storable(author), "why": why, "created": now,
        "changes": storable("\n".join(line.replace("\n", " ") for line in changes)),
        "record": put_document(db, document),
    })
    if branch == MAIN:
        db["annotation_trajectories"].update(
            trajectory_row(db, trajectory)["number"], {**summary_columns(document), "revision": number, "updated": now}
        )
    return number


def summary_columns(document: Document) -> dict[str, Any]:
    """The columns of a trajectory's row that its newest revision decides."""
    findings = check(document)
    num_errors = len(errors(findings))
    return {
        "goal": storable(document.goal), "source": storable(document.source), "platform": document.platform,
        "outcome": document.outcome, "difficulty": document.difficulty, "num_steps": len(document.steps),
        "num_errors": num_errors, "num_warnings": len(findings) - num_errors,
    }


def revision_of(row: Mapping[str, Any]) -> Revision:
    """The revision of a row of its table."""
    parent = None if row["parent"] is None else (row["parent_branch"], row["parent"])
    names = ("trajectory", "branch", "number", "author", "why", "created")
    return Revision(parent=parent, changes=tuple(filter(None, row["changes"].split("\n"))),
                    **{name: row[name] for name in names})


def checked_text(name: str, text: str, max_chars: int) -> str:
    """The text without spaces around it; raises InputError naming the field when it is empty or too long."""
    text = storable(text).strip()
    if not text or len(text) > max_chars:
        shown = f"{len(text)} characters are" if text else "it is empty, which is"
        raise InputError(f"field {name!r}: {shown} not allowed: give 1..{max_chars} characters")
    return text
