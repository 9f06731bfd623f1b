"""What an annotator, a reviewer and an onlooker do with trajectories. No gradio, no HTML.

Who asks is a login name that the server found; everything else that comes from a page is an id or a text and is
checked. What somebody may do is decided here and in `workbench.annotate`, never by the page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from executors.errors import InputError, MissingFileError, WorkbenchError
from executors.trajectory import Observation
from workbench.annotate import three_way
from workbench.annotate.document import Change, Document, StaleError
from workbench.annotate.drafts import Draft, Drafts
from workbench.annotate.queue import Comment, Lease, LeaseError, Queue, Task
from workbench.annotate.revisions import MAIN, SECOND, Revision, RevisionName
from workbench.annotate.store import AnnotationStore, Project, TrajectoryPage, TrajectoryRow
from workbench.annotate.three_way import ThreeWay
from workbench.annotate_edit import change_of
from workbench.people import Role

MODES = ("annotate", "review", "fix", "look")
"""annotate: a draft of one's own; review: the submitted revision; fix: a reviewer's draft of it; look: any revision."""
PAGE_SIZE = 25
MAX_SMALL_MADE = 15
"""Small pictures that opening one trajectory makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A trajectory as it is open on a page.

    `document` is the draft's in the modes "annotate" and "fix", else that of `revision` in `branch`; `task` is that of
    the branch, None where the branch has none. `lease` is None in mode "look".
    """

    row: TrajectoryRow
    mode: str
    document: Document
    branch: str
    revision: int
    task: Task | None
    draft: Draft | None = None
    lease: Lease | None = None

    @property
    def is_editable(self) -> bool:
        """Whether a person may change the document here."""
        return self.draft is not None


class AnnotateDesk:
    """The store, its drafts and its queue; shared by all pages.

    Every method raises RoleError for who may not, MissingFileError for what is not there, and as
    `workbench.store.Store` does when the file cannot be used.
    """

    def __init__(self, store: AnnotationStore) -> None:
        self.store, self.drafts, self.queue = store, Drafts(store), Queue(store)

    # ---- the work list

    def projects(self, person: str) -> list[Project]:
        """All projects, oldest first."""
        self._may_look(person)
        return self.store.projects()

    def project(self, person: str, id: str) -> Project:
        """The project of this id or name."""
        self._may_look(person)
        return self.store.project(id)

    def search(self, person: str, project: str, text: str = "", **filters: Any) -> TrajectoryPage:
        """A page of a project's trajectories, see `AnnotationStore.search`."""
        return self.store.search(self.project(person, project), text, limit=PAGE_SIZE, **filters)

    def next(self, person: str, project: str, kind: str) -> Lease | None:
        """The next task of a kind, which the person now holds; None when there is none."""
        return self.queue.take(self.store.project(project), person, kind)

    def break_lease(self, person: str, task: int, why: str) -> None:
        """Takes a task out of somebody's hands; their draft stays."""
        self.queue.break_lease(task, person, why)

    # ---- opening

    def open(self, person: str, trajectory: str, mode: str, *, revision: int = 0, branch: str = MAIN) -> Work:
        """A trajectory for annotating, reviewing, mending or looking; the first three take its task.

        Args:
            person: who asks.
            trajectory: its id in the store.
            mode: one of `MODES`.
            revision: which one to look at; 0 for the newest.
            branch: whose revision to look at.

        Raises:
            InputError: an unknown mode.
            LeaseError: the task is in other hands, or not to be worked on in this way now.
        """
        if mode not in MODES:
            raise InputError(f"mode {mode[:40]!r} is not one of {', '.join(MODES)}")
        if mode == "look":
            return self._look(person, trajectory, revision, branch)
        row = self.store.row(trajectory)
        kind = "annotate" if mode == "annotate" else "review"
        lease = self.queue.take(self.store.project(row.project), person, kind, trajectory=trajectory)
        if lease is None:
            raise LeaseError(self._why_not(trajectory, kind))
        return self.work(person, trajectory, mode, lease.task.branch, lease=lease)

    def work(
        self, person: str, trajectory: str, mode: str, branch: str, *, revision: int = 0, lease: Lease | None = None
    ) -> Work:
        """The trajectory as it stands now in a mode that was opened before; takes no task."""
        if mode == "look":
            return self._look(person, trajectory, revision, branch)
        self.store.people.check(person, Role.ANNOTATOR if mode == "annotate" else Role.REVIEWER, f"{mode} trajectories")
        task = self._task(trajectory, branch)
        draft = None
        if mode != "review":
            draft = self.drafts.find(trajectory, person)
            if draft is None and lease is None:
                raise MissingFileError("your draft is gone, because it was submitted or dropped: open the trajectory "
                                       "again")
            draft = draft or self.drafts.open(trajectory, person, branch)
            if draft.branch != branch:
                raise InputError(f"you have a draft of this trajectory's {draft.branch} annotation: submit it first")
        revision = draft.base if draft else task.submitted
        if mode == "review":
            revision = self._head(trajectory, branch)
        document = draft.document if draft else self.store.load(trajectory, revision, branch)
        return Work(row=self.store.row(trajectory), mode=mode, document=document, branch=branch, revision=revision,
                    task=task, draft=draft, lease=lease)

    def _look(self, person: str, trajectory: str, revision: int, branch: str) -> Work:
        self._may_look(person)
        self._check_blind(person, trajectory, revision, branch)
        revision = revision or self._head(trajectory, branch)
        document = self.store.load(trajectory, revision, branch)
        return Work(row=self.store.row(trajectory), mode="look", document=document, branch=branch, revision=revision,
                    task=next((t for t in self.queue.tasks(trajectory) if t.branch == branch), None))

    def _why_not(self, trajectory: str, kind: str) -> str:
        tasks = self.queue.tasks(trajectory)
        wanted = ("submitted",) if kind == "review" else ("waiting", "returned")
        words = {"waiting": "waits to be annotated", "submitted": "waits for review", "returned": "was returned",
                 "accepted": "is accepted"}
        open_tasks = [task for task in tasks if task.state in wanted]
        if not open_tasks:
            return f"this trajectory {words[tasks[0].state]}, so there is nothing to {kind}: look at it instead"
        if kind == "review" and self.store.people.must_log_in and not open_tasks[0].holder:
            return "you annotated this trajectory yourself: somebody else reviews it"
        if open_tasks[0].holder:
            return (f"{open_tasks[0].holder} works on this trajectory: take another one, or ask a reviewer to break "
                    "the lease")
        return "this trajectory is not for you: you have worked on its other annotation"

    # ---- leases

    def renew(self, person: str, task: int, token: str) -> Lease:
        """The lease with a new end; raises LeaseError when the task is in other hands."""
        return self.queue.renew(self._lease(person, task, token))

    def release(self, person: str, task: int, token: str) -> None:
        """Gives a task back; the draft stays."""
        self.queue.release(self._lease(person, task, token))

    def _lease(self, person: str, task: int, token: str) -> Lease:
        stub = Task(number=task, trajectory="", project="", branch="", state="", priority=0, annotator="", submitted=0,
                    holder="", lease_until="")
        return Lease(task=stub, person=person, token=token, until="")

    # ---- editing

    def draft(self, person: str, trajectory: str, version: int) -> Draft:
        """The person's draft as their page knows it.

        Raises:
            MissingFileError: there is none any more.
            StaleError: it was changed in another window.
        """
        self.store.people.check(person, Role.ANNOTATOR, "edit trajectories")
        draft = self.drafts.find(trajectory, person)
        if draft is None:
            raise MissingFileError("your draft is gone, because it was submitted or dropped: open the trajectory again")
        if draft.version != version:
            raise StaleError("this draft was changed in another window: it is loaded again")
        return draft

    def edit(self, person: str, trajectory: str, version: int, ask: Mapping[str, Any]) -> Draft:
        """The draft after a page's edit (`annotate_edit.change_of`); raises as `draft` and the edit do."""
        draft = self.draft(person, trajectory, version)
        screens = self.screens(trajectory, draft.document) if ask.get("name") == "screen" else {}
        return self.drafts.edit(draft, change_of(draft.document, ask, screens))

    def apply(self, person: str, trajectory: str, version: int, change: Change) -> Draft:
        """The draft after a change that was made on the server."""
        return self.drafts.edit(self.draft(person, trajectory, version), change)

    def step_in_log(self, person: str, trajectory: str, version: int, *, is_redo: bool) -> Draft:
        """The draft after an undo or redo."""
        draft = self.draft(person, trajectory, version)
        return self.drafts.redo(draft) if is_redo else self.drafts.undo(draft)

    def discard(self, person: str, trajectory: str, version: int) -> None:
        """Drops the draft with all that can be undone in it; revisions stay."""
        self.drafts.discard(self.draft(person, trajectory, version))

    def screens(self, trajectory: str, document: Document) -> dict[str, Observation]:
        """The screens a step may be paired with, by a step that showed them: the document's, then the import's."""
        steps = {step.key: step.step.observation for step in document.steps}
        first = self.store.load(trajectory, 1)
        known = set(map(_identity, steps.values()))
        return steps | {s.key: s.step.observation for s in first.steps
                        if s.key not in steps and _identity(s.step.observation) not in known}

    def small_picture(self, seen: Observation) -> Path | None:
        """The small picture of a stored screenshot; None where there is none."""
        if seen.image_path is None:
            return None
        path = self.store.screens.small_path(seen.image_path.stem)
        return path if path.exists() else None

    def make_small_pictures(self, document: Document) -> None:
        """Makes small pictures that are missing, as in a store of before there were any, or one put back from a backup;
        at most `MAX_SMALL_MADE`, so that nobody waits long.
        """
        missing = {seen.image_path: seen for step in document.steps
                   if (seen := step.step.observation).image_path and not self.small_picture(seen)}
        for path, seen in list(missing.items())[:MAX_SMALL_MADE]:
            with contextlib.suppress(WorkbenchError):  # a damaged or lost one is told where it is shown whole
                self.store.screens.save_small(path.stem, seen.load_image())

    # ---- submitting and reviewing

    def submit(self, person: str, trajectory: str, version: int, task: int, token: str, why: str) -> int:
        """Makes the draft a revision that waits for review, see `Queue.submit`."""
        return self.queue.submit(self._lease(person, task, token), self.draft(person, trajectory, version), why)

    def fix(self, person: str, trajectory: str, version: int, task: int, token: str, why: str) -> int:
        """Accepts a task with the reviewer's own draft, see `Queue.fix`."""
        return self.queue.fix(self._lease(person, task, token), self.draft(person, trajectory, version), why)

    def accept(self, person: str, task: int, token: str, revision: int, note: str) -> None:
        """Ends a task: this revision is right."""
        self.queue.accept(self._lease(person, task, token), revision, note)

    def return_(
        self, person: str, task: int, token: str, revision: int, note: str, comments: Mapping[str, str]
    ) -> None:
        """Sends a task back with a note and comments on steps."""
        self.queue.return_(self._lease(person, task, token), revision, note, comments)

    def versions(self, person: str, trajectory: str, version: int) -> ThreeWay:
        """The draft beside its base and the newest revision of its branch."""
        draft = self.draft(person, trajectory, version)
        latest = self._head(trajectory, draft.branch)
        source = (draft.base, draft.branch) if draft.base else (1, MAIN)
        author = next((r.author for r in self.store.history(trajectory)
                       if r.name == (draft.branch, latest)), "")
        return ThreeWay(
            base=self.store.load(trajectory, *source), theirs=self.store.load(trajectory, latest, draft.branch),
            mine=draft.document, base_revision=draft.base, their_revision=latest, their_author=author,
        )

    def join(
        self, person: str, trajectory: str, version: int, their_revision: int, choices: Mapping[str, str]
    ) -> Draft:
        """The draft joined with the newest revision, conflicts decided by `choices` (`three_way.merge`)."""
        view = self.versions(person, trajectory, version)
        if view.their_revision != their_revision:
            raise StaleError(f"revision {view.their_revision} was made meanwhile: compare again")
        draft = self.draft(person, trajectory, version)
        return self.drafts.rebase(draft, three_way.merge(view, choices), their_revision)

    # ---- history and comments

    def history(self, person: str, trajectory: str) -> list[Revision]:
        """All revisions; where two annotate blindly, neither is told of the other's."""
        self._may_look(person)
        found = self.store.history(trajectory)
        hidden = self._hidden_branch(person, trajectory)
        return [r for r in found if r.branch != hidden or r.name == (MAIN, 1)]

    def difference(
        self, person: str, trajectory: str, before: RevisionName, after: RevisionName
    ) -> tuple[Change, Document]:
        """What leads from one revision to another, of any branch that the person may see, and the document before."""
        self._may_look(person)
        for branch, number in (before, after):
            self._check_blind(person, trajectory, number, branch)
        document = self.store.load(trajectory, before[1], before[0])
        return self.store.difference(trajectory, before, after), document

    def restore(self, person: str, trajectory: str, number: int, branch: str, why: str) -> int:
        """Makes an earlier revision the newest one; not one that the person must not see yet."""
        self._check_blind(person, trajectory, number, branch)
        return self.store.restore(trajectory, number, why=why, person=person, branch=branch)

    def comments(self, person: str, trajectory: str, branch: str) -> list[Comment]:
        """What was said about a branch; nothing about one that the person must not see yet."""
        self._may_look(person)
        if branch == self._hidden_branch(person, trajectory):
            return []
        return self.queue.comments(trajectory, branch)

    def resolve(self, person: str, comment: int) -> None:
        """Marks a comment as done with."""
        self.queue.resolve(comment, person)

    # ---- helpers

    def _may_look(self, person: str) -> None:
        self.store.people.check(person, Role.VIEWER, "look at trajectories")

    def _head(self, trajectory: str, branch: str) -> int:
        numbers = [r.number for r in self.store.history(trajectory) if r.branch == branch]
        if not numbers:
            raise MissingFileError(f"trajectory {trajectory[:80]} has no {branch[:40]!r} revision yet")
        return max(numbers)

    def _task(self, trajectory: str, branch: str) -> Task:
        for task in self.queue.tasks(trajectory):
            if task.branch == branch:
                return task
        raise MissingFileError(f"trajectory {trajectory[:80]} has no {branch[:40]!r} task: choose one of the list")

    def _hidden_branch(self, person: str, trajectory: str) -> str:
        """The branch that the person must not see, because they annotate the other one blindly; "" for none."""
        tasks = self.queue.tasks(trajectory)
        if not person or len(tasks) < 2:
            return ""
        draft = self.drafts.find(trajectory, person)
        for task in tasks:
            is_theirs = person in (task.holder, task.annotator) or (draft is not None and draft.branch == task.branch)
            is_blind = task.branch == SECOND or not task.submitted  # once submitted it is fixed
            if is_theirs and is_blind and task.state in ("waiting", "returned"):
                return MAIN if task.branch == SECOND else SECOND
        return ""

    def _check_blind(self, person: str, trajectory: str, revision: int, branch: str) -> None:
        if (branch, revision) != (MAIN, 1) and branch == self._hidden_branch(person, trajectory):
            raise InputError("you annotate this trajectory blindly: submit yours before you look at the other one")


def _identity(seen: Observation) -> object:
    return replace(seen, image=None)
