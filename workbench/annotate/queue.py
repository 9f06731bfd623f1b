"""The team's queue: who works on what, for how long, and what becomes of it.

A task is the annotation of one trajectory in one branch. Its way:

    waiting -> submitted -> accepted, or returned -> submitted ...

Whoever works on a task holds its lease, for annotating or for reviewing. A lease ends `lease_seconds` after it was
renewed last, is given back, or is broken by a reviewer; the draft stays with its person in every case. Nothing watches
over leases: one that has run out is free for the next who asks, so none can be stuck.

Every method is one transaction, so several servers may share a queue, and one that is killed leaves a task either as it
was or as it was told to be.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlite_utils import Database

from executors.errors import MissingFileError, WorkbenchError
from workbench.annotate import revisions
from workbench.annotate.checks import Finding, check, errors
from workbench.annotate.document import Document, StaleError
from workbench.annotate.drafts import Draft, drop
from workbench.annotate.pool import get_document
from workbench.annotate.revisions import MAIN, SECOND, checked_text
from workbench.annotate.store import AnnotationStore, Project
from workbench.annotate.three_way import ThreeWay
from workbench.people import Role
from workbench.store import check_choice, storable

LEASE_SECONDS = 300.0
"""How long a lease lasts without renewal; a page renews it much more often."""
KINDS = ("annotate", "review")
MAX_COMMENT_CHARS = 4000
_COLUMNS = ("number", "trajectory", "project", "branch", "state", "priority", "annotator", "submitted", "holder",
            "lease_until")


class LeaseError(WorkbenchError, ValueError):
    """A task is not (any more) in the hands of who asks; their draft is kept."""


class SubmissionError(WorkbenchError, ValueError):
    """The checks found errors; `findings` are those."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        super().__init__(f"cannot be submitted: {findings[0].message}{more}")
        self.findings = tuple(findings)


class StaleSaveError(StaleError):
    """Somebody appended a revision since the draft was begun; `view` shows all three versions."""

    def __init__(self, view: ThreeWay) -> None:
        who = view.their_author or "somebody"
        super().__init__(f"{who} made revision {view.their_revision} since: compare the versions, then submit again")
        self.view = view


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it stands. `annotator` is whose work it is, empty before the first submission; `submitted` the revision
    that was submitted last, 0 for none; `holder` who holds or held its lease last, until `lease_until`.
    """

    number: int
    trajectory: str
    project: str
    branch: str
    state: str
    priority: int
    annotator: str
    submitted: int
    holder: str
    lease_until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on a task until `until`; `token` proves it."""

    task: Task
    person: str
    token: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """What a person said about a revision, or about a step of it (`step` is its key, else empty)."""

    number: int
    trajectory: str
    branch: str
    revision: int
    step: str
    author: str
    text: str
    created: str
    resolved_by: str | None


def _now() -> datetime:
    return datetime.now(UTC)


class Queue:
    """The tasks of a store; safe to use from several threads and processes.

    All methods raise RoleError for who may not, MissingFileError for what is not there, and as `workbench.store.Store`
    does when the file cannot be used.
    """

    def __init__(
        self, store: AnnotationStore, *, lease_seconds: float = LEASE_SECONDS, clock: Callable[[], datetime] = _now
    ) -> None:
        self.store, self.lease_seconds, self._clock = store, lease_seconds, clock

    # ---- leases

    def take(self, project: Project, person: str, kind: str = "annotate", *, trajectory: str = "") -> Lease | None:
        """The lease of the next task for this person; None when there is none.

        First comes what they hold already (after a reload, or in another window), then what was returned to them, then
        by priority and age what nobody has submitted yet. What was returned to somebody else is taken over only by
        naming its trajectory. A second annotation is given only to somebody who is logged in and has neither annotated
        nor reviewed the trajectory; where people log in, nobody reviews their own work.

        Args:
            project: whose tasks.
            person: a login name; empty where nobody logs in.
            kind: "annotate" or "review".
            trajectory: only a task of this trajectory, also one that was returned to somebody else.

        Raises:
            InputError: an unknown kind.
        """
        check_choice("kind", kind, KINDS)
        role = Role.REVIEWER if kind == "review" else Role.ANNOTATOR
        self.store.people.check(person, role, f"{kind} trajectories")
        person = storable(person)
        values = {"project": project.id, "person": person, "now": self._iso(), "trajectory": trajectory}
        states, fits = _REVIEWABLE if kind == "review" else _ANNOTATABLE
        if kind == "review" and self.store.people.must_log_in:
            fits += " and annotator != :person"
        if kind == "annotate" and not person:
            fits += f" and branch = '{MAIN}'"
        # each of these is found through an index of its own, in the order of priority and age
        turns = [f"holder = :person and token != '' and state in ({states})"]
        if trajectory:
            turns = [f"trajectory = :trajectory and state in ({states})"]
        elif kind == "review":
            turns.append("state = 'submitted'")
        else:
            turns += ["annotator = :person and state = 'returned'", "state = 'waiting'"]
        with self.store.file.writing() as db:
            for turn in turns:
                found = db["annotation_tasks"].rows_where(
                    f"project = :project and {turn} and {fits}", values, order_by="priority desc, number", limit=1)
                for row in list(found):
                    return self._lend(db, row, person)
        return None

    def renew(self, lease: Lease) -> Lease:
        """The lease with a new end; one that has run out is renewed when nobody took the task since.

        Raises:
            LeaseError: the task is in other hands, or the lease was broken.
        """
        with self.store.file.writing() as db:
            return self._lend(db, self._held(db, lease), lease.person, lease.token)

    def release(self, lease: Lease) -> None:
        """Gives the task back; the draft stays. Raises LeaseError as `renew` does."""
        with self.store.file.writing() as db:
            self._update(db, self._held(db, lease), holder="", token="", lease_until="")

    def break_lease(self, task: int, person: str, why: str) -> None:
        """Takes a task out of somebody's hands; their draft stays.

        Raises:
            InputError: no reason is given.
        """
        self.store.people.check(person, Role.REVIEWER, "break leases")
        why = checked_text("why", why, revisions.MAX_WHY_CHARS)
        with self.store.file.writing() as db:
            row = _task_row(db, task)
            self._update(db, row, holder="", token="", lease_until="")
            self._log(db, row, "lease broken", person, row["submitted"], why)

    # ---- annotating and reviewing

    def submit(self, lease: Lease, draft: Draft, why: str) -> int:
        """Makes the draft a revision that waits for review; returns its number. Draft and lease end.

        A draft that changes nothing makes no revision: the one it is based on is submitted.

        Raises:
            SubmissionError: the checks find errors.
            StaleSaveError: somebody appended a revision since; its `view` shows all three versions.
            StaleError: the draft was changed in another window.
            LeaseError: the task is in other hands; the draft is kept.
            InputError: the reason is empty or too long.
        """
        self.store.people.check(lease.person, Role.ANNOTATOR, "submit trajectories")
        with self.store.file.writing() as db:
            row = self._held(db, lease)
            if row["state"] not in ("waiting", "returned"):
                raise LeaseError("this task is not to be annotated now: take the next one")
            number = self._append_draft(db, row, draft, why)
            self._update(db, row, state="submitted", submitted=number, annotator=lease.person, holder="", token="",
                         lease_until="")
            self._log(db, {**row, "annotator": lease.person}, "submitted", lease.person, number, why)
            return number

    def accept(self, lease: Lease, revision: int, note: str = "") -> None:
        """Ends a task: this revision is right.

        Raises:
            StaleError: it is not the newest revision of its branch any more.
            LeaseError: the task is in other hands, or not to be reviewed.
        """
        with self.store.file.writing() as db:
            row = self._reviewed(db, lease, revision)
            self._update(db, row, state="accepted", holder="", token="", lease_until="")
            self._log(db, row, "accepted", lease.person, revision, note)

    def return_(self, lease: Lease, revision: int, note: str, comments: Mapping[str, str] | None = None) -> None:
        """Sends a task back to its annotator.

        Args:
            lease: for reviewing.
            revision: the one that was looked at.
            note: what is wrong, in words.
            comments: step key -> what is wrong with that step.

        Raises:
            InputError: the note or a comment is empty or too long, or a step is not in the revision.
            StaleError, LeaseError: as `accept` does.
        """
        note = checked_text("note", note, MAX_COMMENT_CHARS)
        with self.store.file.writing() as db:
            row = self._reviewed(db, lease, revision)
            document = revisions.read(db, self.store.root, row["trajectory"], row["branch"], revision)
            for step, text in (comments or {}).items():
                document.place(step)
                self._comment(db, row["trajectory"], row["branch"], revision, step, lease.person, text)
            self._update(db, row, state="returned", holder="", token="", lease_until="")
            self._log(db, row, "returned", lease.person, revision, note)

    def fix(self, lease: Lease, draft: Draft, why: str) -> int:
        """Accepts a task with what the reviewer mended in a draft of their own; returns the new revision's number.

        Raises as `submit` does.
        """
        with self.store.file.writing() as db:
            row = self._reviewed(db, lease, None)
            number = self._append_draft(db, row, draft, why)
            self._update(db, row, state="accepted", submitted=number, holder="", token="", lease_until="")
            self._log(db, row, "fixed", lease.person, number, why)
            return number

    # ---- comments

    def comment(
        self, trajectory: str, person: str, text: str, *, revision: int, branch: str = MAIN, step: str = ""
    ) -> None:
        """Says something about a revision or a step of it; raises InputError when it says nothing or too much."""
        self.store.people.check(person, Role.ANNOTATOR, "comment on trajectories")
        with self.store.file.writing() as db:
            document = revisions.read(db, self.store.root, trajectory, branch, revision)
            if step:
                document.place(step)
            self._comment(db, trajectory, branch, revision, step, person, text)

    def resolve(self, comment: int, person: str) -> None:
        """Marks a comment as done with; it stays to be read."""
        self.store.people.check(person, Role.ANNOTATOR, "comment on trajectories")
        with self.store.file.writing() as db:
            sql = "update annotation_comments set resolved_by = ? where number = ? and resolved_by is null"
            db.execute(sql, [storable(person), comment])

    def comments(self, trajectory: str, branch: str = MAIN) -> list[Comment]:
        """What was said about a branch, oldest first."""
        with self.store.file.reading() as db:
            rows = list(db["annotation_comments"].rows_where(
                "trajectory = ? and branch = ?", [trajectory, branch], order_by="number"))
        return [Comment(**row) for row in rows]

    # ---- looking

    def tasks(self, trajectory: str) -> list[Task]:
        """The tasks of a trajectory: that of the main branch, then that of the second where there is one."""
        with self.store.file.reading() as db:
            rows = list(db["annotation_tasks"].rows_where("trajectory = ?", [trajectory], order_by="number"))
        return [_task(row) for row in rows]

    def second_passes(self, project: Project) -> list[tuple[str, str, Document, str, Document]]:
        """(trajectory, first annotator, their document, second annotator, theirs) where both were submitted.

        The first one's document is that of their first submission, before any review, so that both were made blindly.
        """
        sql = (
            "select t.trajectory, m.author, m.revision, s.author, s.revision from annotation_tasks t "
            "join annotation_reviews m on m.number = (select min(number) from annotation_reviews where task = "
            f"(select number from annotation_tasks where trajectory = t.trajectory and branch = '{MAIN}') "
            "and verdict = 'submitted') "
            "join annotation_reviews s on s.number = (select min(number) from annotation_reviews where task = t.number "
            f"and verdict = 'submitted') where t.project = ? and t.branch = '{SECOND}' order by t.number"
        )
        with self.store.file.reading() as db:
            found = db.execute(sql, [project.id]).fetchall()
            return [
                (id, first, revisions.read(db, self.store.root, id, MAIN, number), second,
                 revisions.read(db, self.store.root, id, SECOND, second_number))
                for id, first, number, second, second_number in found
            ]

    # ---- helpers

    def _iso(self, after_seconds: float = 0.0) -> str:
        return (self._clock() + timedelta(seconds=after_seconds)).isoformat(timespec="milliseconds")

    def _lend(self, db: Database, row: dict[str, Any], person: str, token: str = "") -> Lease:
        if not token:
            token = row["token"] if row["holder"] == person and row["token"] else secrets.token_hex(16)
        until = self._iso(self.lease_seconds)
        self._update(db, row, holder=person, token=token, lease_until=until)
        task = replace(_task(row), holder=person, lease_until=until)
        return Lease(task=task, person=person, token=token, until=until)

    def _held(self, db: Database, lease: Lease) -> dict[str, Any]:
        row = _task_row(db, lease.task.number)
        if not lease.token or row["token"] != lease.token or row["holder"] != lease.person:
            who = f"{row['holder']} has it now" if row["holder"] else "it was ended or broken"
            raise LeaseError(f"you do not hold this task any more ({who}): your draft is kept, take the task again")
        return row

    def _reviewed(self, db: Database, lease: Lease, revision: int | None) -> dict[str, Any]:
        self.store.people.check(lease.person, Role.REVIEWER, "review trajectories")
        row = self._held(db, lease)
        if row["state"] != "submitted":
            raise LeaseError("this task is not to be reviewed now: take the next one")
        latest = revisions.head(db, row["trajectory"], row["branch"])
        if revision is not None and revision != latest:
            raise StaleError(f"revision {revision} is not the newest one any more, {latest} is: look at that one")
        return row

    def _append_draft(self, db: Database, row: Mapping[str, Any], draft: Draft, why: str) -> int:
        """The number of the revision that the draft of the lease's holder becomes; the draft ends."""
        id, branch = row["trajectory"], row["branch"]
        where = [id, row["holder"]]
        stored = next(iter(list(db["annotation_drafts"].rows_where("trajectory = ? and person = ?", where))), None)
        if stored is None or (draft.trajectory, draft.person, stored["branch"]) != (*where, branch):
            raise MissingFileError("there is no draft of this task: open the trajectory first")
        if stored["version"] != draft.version:
            raise StaleError("this draft was changed in another window: load it again")
        document = get_document(db, stored["record"], self.store.root, "the draft")
        if found := errors(check(document)):
            raise SubmissionError(found)
        latest = revisions.head(db, id, branch)
        source = (branch, stored["base"]) if stored["base"] else (MAIN, 1)
        before = revisions.read(db, self.store.root, id, *source)
        if latest != stored["base"]:
            raise StaleSaveError(self._three_way(db, id, branch, before, stored["base"], latest, document))
        drop(db, id, draft.person)
        if latest and document == before:
            checked_text("why", why, revisions.MAX_WHY_CHARS)
            return latest
        return revisions.append(
            db, id, document, before=before, parent=source, author=draft.person, why=why, branch=branch)

    def _three_way(
        self, db: Database, id: str, branch: str, base: Document, base_number: int, latest: int, mine: Document
    ) -> ThreeWay:
        sql = "select author from annotation_revisions where trajectory = ? and branch = ? and number = ?"
        return ThreeWay(
            base=base, theirs=revisions.read(db, self.store.root, id, branch, latest), mine=mine,
            base_revision=base_number, their_revision=latest,
            their_author=db.execute(sql, [id, branch, latest]).fetchone()[0],
        )

    def _update(self, db: Database, row: Mapping[str, Any], **columns: Any) -> None:
        now = self._iso()
        db["annotation_tasks"].update(row["number"], {**columns, "updated": now})
        if "state" in columns and row["branch"] == MAIN:
            db.execute("update annotation_trajectories set state = ?, updated = ? where id = ?",
                       [columns["state"], now, row["trajectory"]])

    def _log(self, db: Database, row: Mapping[str, Any], verdict: str, person: str, revision: int, note: str) -> None:
        db["annotation_reviews"].insert({
            "task": row["number"], "trajectory": row["trajectory"], "verdict": verdict, "revision": revision,
            "annotator": row["annotator"], "author": storable(person), "note": storable(note), "created": self._iso(),
        })

    def _comment(
        self, db: Database, trajectory: str, branch: str, revision: int, step: str, person: str, text: str
    ) -> None:
        db["annotation_comments"].insert({
            "trajectory": trajectory, "branch": branch, "revision": revision, "step": step, "author": storable(person),
            "text": checked_text("comment", text, MAX_COMMENT_CHARS), "created": self._iso(), "resolved_by": None,
        })


# for each kind: the states that a task can be in, and what else must hold
_FREE = "(holder = '' or holder = :person or lease_until <= :now)"
_REVIEWABLE = "'submitted'", _FREE
# who has worked on another branch of the trajectory, in any role, cannot annotate this one blindly
_ANNOTATABLE = "'waiting', 'returned'", (
    f"{_FREE} and (:person = '' or not exists ("
    "select 1 from annotation_tasks o where o.trajectory = annotation_tasks.trajectory "
    "and o.branch != annotation_tasks.branch and (o.annotator = :person or o.holder = :person "
    "or exists (select 1 from annotation_reviews where task = o.number and author = :person) "
    "or exists (select 1 from annotation_drafts d where d.trajectory = o.trajectory and d.branch = o.branch "
    "and d.person = :person))))"
)


def _task_row(db: Database, number: int) -> dict[str, Any]:
    rows = list(db["annotation_tasks"].rows_where("number = ?", [number]))
    if not rows:
        raise MissingFileError(f"task {number} is not in this store: take another one")
    return rows[0]


def _task(row: Mapping[str, Any]) -> Task:
    return Task(**{name: row[name] for name in _COLUMNS})
