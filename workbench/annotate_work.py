"""What a page with an open trajectory asks: open, edit, undo, submit, review, compare. Answers are plain values.

Every question names the trajectory, the mode, the branch, the step that is shown and the version of the draft that the
page knows; an answer holds the parts of the page that are other than in "seen". An error is an answer in words, with
"kind" for the page to act on: "stale" (load again), "lease" (the task is in other hands), "gone".
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from executors.errors import InputError, MissingFileError, WorkbenchError
from executors.trajectory import Observation
from training.planner import Planner
from workbench.annotate.checks import check
from workbench.annotate.document import Document, StaleError
from workbench.annotate.queue import LeaseError, StaleSaveError, SubmissionError
from workbench.annotate.revisions import MAIN, RevisionName
from workbench.annotate_desk import MODES, AnnotateDesk, Work
from workbench.annotate_edit import text, whole
from workbench.annotate_editor import (
    render_checks,
    render_comments,
    render_fields,
    render_head,
    render_step_screen,
    render_strip,
    render_whole,
    saved_words,
)
from workbench.annotate_help import Proposal, accept, ground, propose
from workbench.annotate_versions import render_difference, render_forecast, render_history, render_three_way
from workbench.people import Role
from workbench.train_views import unseen_parts

Answer = dict[str, Any]
_KINDS = ((StaleSaveError, "conflict"), (StaleError, "stale"), (LeaseError, "lease"), (SubmissionError, "submission"),
          (MissingFileError, "gone"))
_MAX_PROPOSALS = 64


def answering(method: Callable[[Any, Any, str], Answer]) -> Callable[[Any, Any, str], Answer]:
    """The boundary to the browser: an error in words, and of which kind, instead of a broken request."""

    @functools.wraps(method)
    def answer(self: Any, ask: Any, person: str) -> Answer:
        try:
            if not isinstance(ask, Mapping):
                raise InputError(f"a question to the server must be an object, not {type(ask).__name__}")
            return method(self, ask, person)
        except WorkbenchError as error:
            kind = next((name for type_, name in _KINDS if isinstance(error, type_)), "")
            return {"error": str(error), "kind": kind}

    return answer


def file_href(path: Path) -> str:
    """Where the browser finds a file of the store."""
    return f"gradio_api/file={quote(str(path))}"


def image_href(seen: Observation) -> str:
    """Where the browser finds a stored screenshot; "" where there is none."""
    return "" if seen.image_path is None else file_href(seen.image_path)


class WorkViews:
    """Answers about open trajectories; shared by all pages."""

    def __init__(self, desk: AnnotateDesk, get_planner: Callable[[], Planner]) -> None:
        self.desk, self._get_planner = desk, get_planner
        self._proposals: OrderedDict[tuple[str, str], Proposal] = OrderedDict()
        self._lock = Lock()

    @answering
    def open(self, ask: Mapping[str, Any], person: str) -> Answer:
        """Opens a trajectory and takes its task, but for "look".

        Args:
            ask: "trajectory", "mode", and for "look" also "revision" and "branch".
            person: a login name.
        """
        work = self.desk.open(person, text(ask, "trajectory"), text(ask, "mode"), revision=whole(ask, "revision"),
                              branch=text(ask, "branch") or MAIN)
        self.desk.make_small_pictures(work.document)
        return self._state(work, ask, person)

    @answering
    def refresh(self, ask: Mapping[str, Any], person: str) -> Answer:
        """The open trajectory as it stands, another step of it shown."""
        return self._now(ask, person)

    @answering
    def edit(self, ask: Mapping[str, Any], person: str) -> Answer:
        """One change of the draft: "edit" is what `annotate_edit.change_of` reads, or "undo", "redo" or "discard"."""
        what, place = ask.get("edit"), (person, text(ask, "trajectory"), whole(ask, "version"))
        if what == "discard":
            self.desk.discard(*place)
            work = self.desk.open(person, place[1], text(ask, "mode"))
            return self._state(work, ask, person)
        before = self.desk.draft(*place).document
        if what in ("undo", "redo"):
            draft = self.desk.step_in_log(*place, is_redo=what == "redo")
        elif isinstance(what, Mapping):
            draft = self.desk.edit(*place, what)
        else:
            raise InputError("this edit did not arrive whole: load the page again")
        ask = {**ask, "step": _step_to_show(before, draft.document, ask.get("step"))}
        return self._now({**ask, "version": draft.version}, person)

    @answering
    def finish(self, ask: Mapping[str, Any], person: str) -> Answer:
        """Ends the work on a task: "act" is submit, fix, accept, return or release; "why" the person's words."""
        what, why = text(ask, "act"), text(ask, "why")
        task, token = whole(ask, "task"), text(ask, "token")
        draft = (person, text(ask, "trajectory"), whole(ask, "version"))
        try:
            if what == "submit":
                return {"done": f"Revision {self.desk.submit(*draft, task, token, why)} waits for review."}
            if what == "fix":
                return {"done": f"Accepted with your changes, as revision {self.desk.fix(*draft, task, token, why)}."}
        except StaleSaveError as error:
            return {"error": str(error), "kind": "conflict", "html": render_three_way(error.view)}
        if what == "accept":
            self.desk.accept(person, task, token, whole(ask, "revision"), why)
            return {"done": "Accepted."}
        if what == "return":
            self.desk.return_(person, task, token, whole(ask, "revision"), why, _texts(ask, "comments"))
            return {"done": "Returned to its annotator."}
        if what == "release":
            self.desk.release(person, task, token)
            return {"done": "The task is free again; your draft is kept."}
        raise InputError(f"{what[:40]!r} is nothing that can be done with a task: load the page again")

    @answering
    def renew(self, ask: Mapping[str, Any], person: str) -> Answer:
        """Keeps the lease: "task" and "token"."""
        return {"until": self.desk.renew(person, whole(ask, "task"), text(ask, "token")).until}

    @answering
    def join(self, ask: Mapping[str, Any], person: str) -> Answer:
        """The draft joined with the newest revision: "their_revision" and "choices"."""
        draft = self.desk.join(person, text(ask, "trajectory"), whole(ask, "version"), whole(ask, "their_revision"),
                               _texts(ask, "choices"))
        return self._now({**ask, "version": draft.version}, person)

    @answering
    def versions(self, ask: Mapping[str, Any], person: str) -> Answer:
        """History of the trajectory, the difference of two revisions, or a revision restored: "act"."""
        what, trajectory = text(ask, "act"), text(ask, "trajectory")
        if what == "difference":
            names = _revision(ask, "before"), _revision(ask, "after")
            change, before = self.desk.difference(person, trajectory, *names)
            return {"html": render_difference(change, before, names)}
        if what == "restore":
            number = self.desk.restore(person, trajectory, whole(ask, "number"), text(ask, "branch"), text(ask, "why"))
            return {"done": f"Restored as revision {number}."}
        found = self.desk.history(person, trajectory)
        may_restore = self.desk.store.people.role_of(person) >= Role.REVIEWER  # who may look has a role
        return {"html": render_history(found, trajectory, may_restore=may_restore)}

    @answering
    def resolve(self, ask: Mapping[str, Any], person: str) -> Answer:
        """Marks a comment as done with."""
        self.desk.resolve(person, whole(ask, "comment"))
        return self._now(ask, person)

    @answering
    def help(self, ask: Mapping[str, Any], person: str) -> Answer:
        """A planner's forecast, one of its steps accepted, or the step grounded by its words: "act"."""
        what, key = text(ask, "act"), text(ask, "step")
        place = (person, text(ask, "trajectory"), whole(ask, "version"))
        draft = self.desk.draft(*place)
        if what == "forecast":
            self._keep(person, place[1], propose(draft.document, key, self._get_planner))
            return self._now(ask, person)
        if what == "ground":
            change = ground(draft.document, key)
        elif what == "accept_forecast":
            proposal = self._proposals.get(place[:2])
            if proposal is None:
                raise InputError("this forecast is gone: ask the planner again")
            change = accept(draft.document, proposal, whole(ask, "number"))
        else:
            raise InputError(f"{what[:40]!r} is no help that there is: load the page again")
        return self._now({**ask, "version": self.desk.apply(*place, change).version}, person)

    def _keep(self, person: str, trajectory: str, proposal: Proposal) -> None:
        with self._lock:
            self._proposals[person, trajectory] = proposal
            self._proposals.move_to_end((person, trajectory))
            while len(self._proposals) > _MAX_PROPOSALS:
                self._proposals.popitem(last=False)

    # ---- the page's parts

    def _small_href(self, seen: Observation) -> str:
        """Where the browser finds a screenshot's small picture, or the whole where there is none of it."""
        small = self.desk.small_picture(seen)
        return image_href(seen) if small is None else file_href(small)

    def _now(self, ask: Mapping[str, Any], person: str) -> Answer:
        mode = text(ask, "mode")
        if mode not in MODES:
            raise InputError(f"mode {mode[:40]!r} is unknown: load the page again")
        work = self.desk.work(person, text(ask, "trajectory"), mode, text(ask, "branch") or MAIN,
                              revision=whole(ask, "revision"))
        return self._state(work, ask, person)

    def _state(self, work: Work, ask: Mapping[str, Any], person: str) -> Answer:
        keys = work.document.keys
        place = min(whole(ask, "place"), len(keys) - 1)  # where the page was: a step that is gone gives way to the next
        key = ask.get("step") if ask.get("step") in keys else keys[place]
        findings = check(work.document)
        step = work.document.step(key)
        proposal = self._proposals.get((person, work.row.id)) if work.is_editable else None
        is_proposed = proposal is not None and proposal.key == key
        marks = proposal.marks(step.step.observation) if is_proposed else []
        screens = self.desk.screens(work.row.id, work.document)
        pages = {
            "head": render_head(work, findings),
            "whole": render_whole(work),
            "strip": render_strip(work, key, findings, self._small_href),
            "screen": render_step_screen(work, key, image_href, forecast=marks),
            "fields": render_fields(work, key, screens),
            "checks": render_checks(work, findings),
            "comments": render_comments(work, self.desk.comments(person, work.row.id, work.branch), key),
            "forecast": render_forecast(work, key, proposal.steps, proposal.planner) if is_proposed else "",
        }
        answer: Answer = {
            "trajectory": work.row.id, "mode": work.mode, "branch": work.branch, "revision": work.revision, "step": key,
            "place": keys.index(key), "keys": list(keys), "version": work.draft.version if work.draft else 0,
            "saved": saved_words(work),
            "parts": unseen_parts(pages, ask),
        }
        if work.lease is not None:
            answer |= {"task": work.lease.task.number, "token": work.lease.token, "until": work.lease.until}
        return answer


def _step_to_show(before: Document, after: Document, shown: object) -> object:
    """The key of the first step that was put in or changed, so that an undo is seen; `shown` where it is among them."""
    old = {step.key: step for step in before.steps}
    changed = [step.key for step in after.steps if old.get(step.key) != step]
    return shown if shown in changed or not changed else changed[0]


def _revision(ask: Mapping[str, Any], name: str) -> RevisionName:
    """A revision's branch and number, as a page sends them together; raises InputError for anything else."""
    value = ask.get(name)
    if not isinstance(value, Mapping):
        raise InputError(f"field {name!r}: {str(value)[:40]!r} names no revision: load the page again")
    return text(value, "branch"), whole(value, "number", least=1)


def _texts(ask: Mapping[str, Any], name: str) -> dict[str, str]:
    """A mapping of texts; raises InputError for anything else."""
    value = ask.get(name) or {}
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()) or len(value) > 2000:
        raise InputError(f"field {name!r}: give texts by their names")
    return {str(key): text for key, text in value.items()}
