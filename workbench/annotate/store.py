"""Projects, trajectories and their revisions: put in, found, looked at, compared, restored."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from executors.errors import InputError, MissingFileError
from executors.trajectory import Step, Trajectory
from workbench.annotate import revisions
from workbench.annotate.document import OUTCOMES, Change, Document, DocumentStep, change_between
from workbench.annotate.revisions import (
    MAIN,
    MAX_NAME_CHARS,
    MAX_WHY_CHARS,
    SECOND,
    Revision,
    RevisionName,
    checked_text,
    spoken,
)
from workbench.people import People, Role
from workbench.screens import Screens
from workbench.store import MAX_OFFSET, MAX_ROWS, Store, check_choice, match_words, storable, utc_now

STATES = ("waiting", "submitted", "returned", "accepted")
"""How a task and its trajectory stand: not yet submitted, waiting for review, sent back, done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Trajectories that a team works on together; `guide` tells annotators what is wanted, `second_share` is the share
    of trajectories (0..1) that a second person annotates blindly.
    """

    id: str
    name: str
    guide: str
    second_share: float
    author: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryRow:
    """One trajectory as a list shows it, as its newest revision has it.

    `source_id` is its id where it came from, unique in its project; `origin` says what brought it here, such as
    {"kind": "benchmark sample", "reason": ...}. `num_errors` and `num_warnings` are those of `checks`.
    """

    id: str
    project: str
    source_id: str
    source: str
    goal: str
    platform: str
    outcome: str
    difficulty: int | None
    num_steps: int
    num_errors: int
    num_warnings: int
    state: str
    revision: int
    created: str
    updated: str
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrajectoryPage:
    """One page of rows, newest first, and how many trajectories fit in all."""

    rows: tuple[TrajectoryRow, ...]
    total: int


class AnnotationStore:
    """The reference trajectories below one folder; safe to use from several threads and processes.

    Methods that write take the login name of who asks and refuse by their role (`RoleError`). All of them raise as
    `workbench.store.Store` does when the file cannot be used.
    """

    def __init__(self, root: Path, people: People | None = None) -> None:
        """Opens the store, made when it does not exist.

        Args:
            root: the workbench's folder, which also holds the episodes.
            people: who may do what; None lets everyone do everything, as on a server that only its machine reaches.
        """
        self.root = root.resolve()
        self.people = people or People()
        self.file, self.screens = Store(self.root), Screens(self.root)

    def close(self) -> None:
        """Closes the file."""
        self.file.close()

    # ---- projects

    def add_project(self, name: str, *, person: str = "", guide: str = "", second_share: float = 0.0) -> Project:
        """A new project.

        Raises:
            InputError: the name is empty, too long or taken, or the share is not 0..1.
            RoleError: the person is no reviewer.
        """
        self.people.check(person, Role.REVIEWER, "make projects")
        name = checked_text("name", name, MAX_NAME_CHARS)
        if not 0 <= second_share <= 1:
            raise InputError(f"field 'second_share': {second_share:g} is not a share 0..1")
        row = {
            "id": secrets.token_hex(8), "name": name, "guide": storable(guide), "second_share": float(second_share),
            "author": storable(person), "created": utc_now(),
        }
        with self.file.writing() as db:
            if db["annotation_projects"].count_where("name = ?", [name]):
                raise InputError(f"field 'name': there is a project {name!r} already: choose another name")
            db["annotation_projects"].insert(row)
        return Project(**row)

    def projects(self) -> list[Project]:
        """All projects, oldest first."""
        with self.file.reading() as db:
            rows = list(db["annotation_projects"].rows_where(order_by="number"))
        return [_project(row) for row in rows]

    def project(self, name_or_id: str) -> Project:
        """The project of this name or id; raises MissingFileError when there is none."""
        for project in self.projects():
            if name_or_id in (project.id, project.name):
                return project
        names = ", ".join(project.name for project in self.projects()) or "none yet"
        raise MissingFileError(f"project {name_or_id[:80]!r} is not in this store: choose one of {names}")

    # ---- trajectories

    def add(
        self, project: Project, trajectory: Trajectory, *, why: str, person: str = "",
        origin: Mapping[str, Any] | None = None, priority: int = 0,
    ) -> str:
        """Puts a trajectory into a project and its task into the queue; returns its id in the store.

        Its screenshots are stored first; they stay, unused, when the trajectory is refused after that.

        Args:
            project: where it belongs.
            trajectory: what an importer, an episode or a benchmark's data gave.
            why: the reason in words, such as "imported from agentnet.jsonl".
            person: who puts it in.
            origin: what brought it here, as JSON values.
            priority: tasks of higher priority are taken first.

        Raises:
            InputError: it cannot be edited (`document.check_document`), a screenshot is damaged, or the project has one
                of this id already.
            MissingFileError: a screenshot is gone.
            RoleError: the person is no annotator.
        """
        self.people.check(person, Role.ANNOTATOR, "put trajectories into the queue")
        checked_text("id", trajectory.id, MAX_NAME_CHARS)
        document = self._canonical(Document.of(self._with_stored_screens(trajectory)))
        id, now = secrets.token_hex(8), utc_now()
        row = {
            "id": id, "project": project.id, "source_id": storable(trajectory.id), "state": "waiting", "revision": 0,
            "origin": json.dumps(dict(origin or {})), "created": now, "updated": now,
            **revisions.summary_columns(document),
        }
        with self.file.writing() as db:
            if db["annotation_trajectories"].count_where(
                "project = ? and source_id = ?", [project.id, row["source_id"]]
            ):
                raise InputError(f"field 'id': project {project.name} has a trajectory {trajectory.id[:80]!r} already")
            db["annotation_trajectories"].insert(row)
            revisions.append(db, id, document, before=None, parent=None, author=person, why=why)
            branches = (MAIN, SECOND) if _is_chosen(id, project.second_share) else (MAIN,)
            for branch in branches:
                db["annotation_tasks"].insert({
                    "trajectory": id, "project": project.id, "branch": branch, "state": "waiting",
                    "priority": priority, "annotator": "", "base": 1, "submitted": 0, "holder": "", "token": "",
                    "lease_until": "", "created": now, "updated": now,
                })
        return id

    def _with_stored_screens(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory with its screenshots and their small pictures in the store, each saved once."""
        saved: dict[Path, Path] = {}

        def stored(step: Step) -> Step:
            seen = step.observation
            if seen.image is None and seen.image_path is None:
                return step
            path = saved.get(seen.image_path)
            if path is None:
                image = seen.load_image()
                sha256 = self.screens.save(image)
                self.screens.save_small(sha256, image)
                path = self.screens.path(sha256)
            if seen.image_path is not None:
                saved[seen.image_path] = path
            return replace(step, observation=replace(seen, image=None, image_path=path))

        return replace(trajectory, steps=tuple(stored(step) for step in trajectory.steps))

    def _canonical(self, document: Document) -> Document:
        """The document as it will be read back: boxes to five decimals, JSON values as JSON gives them."""
        try:
            meta = json.loads(json.dumps(dict(document.meta), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(f"field 'meta' is no JSON ({error}): leave that value out") from None
        steps = (DocumentStep.from_json(step.key, json.loads(json.dumps(step.to_json())), self.root)
                 for step in document.steps)
        return replace(document, meta=meta, steps=tuple(steps))

    def search(
        self, project: Project, text: str = "", *, state: str = "", platform: str = "", source: str = "",
        outcome: str | None = None, with_errors: bool = False, limit: int = 50, offset: int = 0,
    ) -> TrajectoryPage:
        """The project's trajectories that fit all that is given, newest first; an empty value fits all.

        Args:
            project: whose trajectories.
            text: words that goal, source or source id hold; the beginning of a word is enough.
            state: one of `STATES`.
            platform: the whole name.
            source: the whole name.
            outcome: one of `document.OUTCOMES`; None fits all.
            with_errors: only those in which the checks find an error.
            limit: rows at most, 1..`MAX_ROWS`.
            offset: rows to leave out, 0..`MAX_OFFSET`.

        Raises:
            InputError: a value that is not allowed; the message names the field.
        """
        check_choice("state", state, ("", *STATES))
        check_choice("outcome", outcome, (None, *OUTCOMES))
        if not 1 <= limit <= MAX_ROWS:
            raise InputError(f"field 'limit': {limit} is not 1..{MAX_ROWS}")
        if not 0 <= offset <= MAX_OFFSET:
            raise InputError(f"field 'offset': {offset} is not 0..{MAX_OFFSET}")
        conditions, values = ["project = :project"], {"project": project.id}
        given = {"state": state or None, "platform": platform or None, "source": source or None, "outcome": outcome}
        for name, value in given.items():
            if value is not None:
                conditions.append(f"{name} = :{name}")
                values[name] = storable(value)
        if with_errors:
            conditions.append("num_errors > 0")
        if words := match_words(text):
            conditions.append(
                "number in (select rowid from annotation_trajectories_fts where annotation_trajectories_fts "
                "match :words)"
            )
            values["words"] = words
        where = " and ".join(conditions)
        with self.file.reading() as db:
            table = db["annotation_trajectories"]
            total = table.count_where(where, values)
            rows = list(table.rows_where(where, values, order_by="number desc", limit=limit, offset=offset))
        return TrajectoryPage(tuple(_row(row) for row in rows), total)

    def find(self, project: Project, source_id: str) -> str | None:
        """The id in the store of the project's trajectory that had this id where it came from; None for none."""
        sql = "select id from annotation_trajectories where project = ? and source_id = ?"
        with self.file.reading() as db:
            found = db.execute(sql, [project.id, storable(source_id)]).fetchone()
        return found and found[0]

    def row(self, id: str) -> TrajectoryRow:
        """One trajectory as a list shows it; raises MissingFileError when there is none."""
        with self.file.reading() as db:
            return _row(revisions.trajectory_row(db, id))

    # ---- revisions

    def load(self, id: str, number: int | None = None, branch: str = MAIN) -> Document:
        """The document of a revision, the branch's newest when no number is given.

        Raises:
            MissingFileError: there is no such trajectory or revision.
            InputError: it is damaged.
        """
        with self.file.reading() as db:
            revisions.trajectory_row(db, id)
            number = revisions.head(db, id, branch) if number is None else number
            return revisions.read(db, self.root, id, branch, number)

    def history(self, id: str) -> list[Revision]:
        """All revisions of a trajectory in the order they were made; raises MissingFileError when there is none."""
        with self.file.reading() as db:
            revisions.trajectory_row(db, id)
            rows = list(db["annotation_revisions"].rows_where("trajectory = ?", [id], order_by="created, rowid"))
        return [revisions.revision_of(row) for row in rows]

    def difference(self, id: str, before: RevisionName, after: RevisionName) -> Change:
        """What leads from one revision to another, of any branch; raises as `load` does."""
        with self.file.reading() as db:
            old, new = (revisions.read(db, self.root, id, *name) for name in (before, after))
        return change_between(old, new, f"revision {spoken(before)} to {spoken(after)}")

    def restore(self, id: str, number: int, *, why: str, person: str = "", branch: str = MAIN) -> int:
        """Makes an earlier revision, or that of the second branch, the newest main one, as a new revision.

        Returns the new revision's number; what was restored over stays in the history. Whoever has a draft of the
        revision before it is shown all three versions when they submit.

        Raises:
            MissingFileError: there is no such trajectory or revision.
            InputError: the reason is empty or too long.
            RoleError: the person is no reviewer.
        """
        self.people.check(person, Role.REVIEWER, "restore revisions")
        checked_text("why", why, MAX_WHY_CHARS)
        with self.file.writing() as db:
            revisions.trajectory_row(db, id)
            old = revisions.read(db, self.root, id, branch, number)
            latest = revisions.head(db, id)
            before = revisions.read(db, self.root, id, MAIN, latest)
            why = f"restored revision {branch} {number}: {why}"[:MAX_WHY_CHARS]
            return revisions.append(db, id, old, before=before, parent=(MAIN, latest), author=person, why=why)


def _is_chosen(id: str, share: float) -> bool:
    """Whether a trajectory is among a share of all, decided by its id alone."""
    return int(hashlib.sha256(id.encode()).hexdigest()[:8], 16) < share * 2**32


def _project(row: Mapping[str, Any]) -> Project:
    return Project(**{name: value for name, value in row.items() if name != "number"})


def _row(row: Mapping[str, Any]) -> TrajectoryRow:
    values = {name: value for name, value in row.items() if name not in ("number", "origin")}
    return TrajectoryRow(**values, origin=json.loads(row["origin"]))
