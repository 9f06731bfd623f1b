"""What the Annotate tab's lists ask, and what their buttons do. Answers are plain values, an error is one in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from executors.errors import InputError
from workbench.annotate.agreement import agreement, agreement_by_person
from workbench.annotate.datasets import read_shares
from workbench.annotate.progress import progress
from workbench.annotate.store import STATES
from workbench.annotate_desk import AnnotateDesk
from workbench.annotate_edit import text, whole
from workbench.annotate_files import AnnotateFiles, Exported
from workbench.annotate_html import (
    render_datasets,
    render_elsewhere,
    render_export_report,
    render_import_report,
    render_list,
    render_no_project,
    render_progress,
    render_projects,
)
from workbench.annotate_work import Answer, answering
from workbench.people import Role
from workbench.recordings import list_files
from workbench.train_views import unseen_parts

Ask = Mapping[str, Any]


class ListViews:
    """Answers about projects, their trajectories, files and dataset revisions; shared by all pages."""

    def __init__(self, desk: AnnotateDesk, files: AnnotateFiles) -> None:
        self.desk, self.files = desk, files

    @answering
    def look(self, ask: Ask, person: str) -> Answer:
        """The projects and a page of one's trajectories, each as {"hash", "html"} if it is other than in "seen".

        Args:
            ask: "project" (id; the first one where it is none), "text", "state", "platform", "with_errors", "offset".
            person: a login name.
        """
        projects = self.desk.projects(person)
        ids = [project.id for project in projects]
        shown = ask.get("project") if ask.get("project") in ids else (ids[0] if ids else "")
        pages = {"projects": render_projects(projects, shown, may_add=self._is(person, Role.REVIEWER)),
                 "list": self._list(ask, person, shown) if shown else render_no_project()}
        return {"project": shown, "has_projects": bool(ids), "parts": unseen_parts(pages, ask)}

    def _list(self, ask: Ask, person: str, project: str) -> str:
        state, platform = text(ask, "state", 20), text(ask, "platform", 40)
        if state not in ("", *STATES):
            raise InputError(f"field 'state': {state!r} is not one of {', '.join(STATES)}")
        words, offset, with_errors = text(ask, "text", 400), whole(ask, "offset"), ask.get("with_errors") is True
        page = self.desk.search(person, project, words, state=state, platform=platform, with_errors=with_errors,
                                offset=offset)
        tasks = {row.id: self.desk.queue.tasks(row.id) for row in page.rows}
        return render_list(page, tasks, offset=offset, is_filtered=bool(words or state or platform or with_errors))

    @answering
    def panel(self, ask: Ask, person: str) -> Answer:
        """One of the other panels: "panel" is elsewhere, progress or datasets."""
        name, id = text(ask, "panel"), text(ask, "project")
        project = self.desk.project(person, id)
        if name == "progress":
            passes = self.desk.queue.second_passes(project)
            whole_ = agreement((one, two) for _, _, one, _, two in passes)
            page = render_progress(progress(self.desk.store, project), whole_, agreement_by_person(passes))
        elif name == "datasets":
            may_train = self._is(person, Role.OPERATOR)
            page = render_datasets(self.files.dataset_revisions(person, id), may_train=may_train)
        elif name == "elsewhere":
            page = render_elsewhere(self.files.waiting_samples(person), self.files.recent_episodes(person, id))
        else:
            raise InputError(f"panel {name[:40]!r} is unknown: load the page again")
        return {"parts": unseen_parts({name: page}, ask)}

    @answering
    def paths(self, ask: Ask, person: str) -> Answer:
        """The trajectory files below --data, for who may import."""
        self.desk.store.people.check(person, Role.ANNOTATOR, "import trajectories")
        return {"paths": list_files(self.files.data_root)}

    @answering
    def act(self, ask: Ask, person: str) -> Answer:
        """What a button or a form asks for: "act" is one of `_ACTIONS`."""
        what = text(ask, "act")
        if what not in _ACTIONS:
            raise InputError(f"{what[:40]!r} is nothing that can be done here: load the page again")
        return _ACTIONS[what](self, ask, person)

    def _is(self, person: str, role: Role) -> bool:
        own = self.desk.store.people.role_of(person)
        return own is not None and own >= role

    # ---- actions

    def _add_project(self, ask: Ask, person: str) -> Answer:
        share = text(ask, "second_share").strip() or "0"
        try:
            value = float(share)
        except ValueError:
            raise InputError(f"field 'second_share': {share[:40]!r} is not a share 0..1") from None
        made = self.desk.store.add_project(text(ask, "name"), person=person, guide=text(ask, "guide"),
                                           second_share=value)
        return {"done": f"Project {made.name} is made: import trajectories into it.", "project": made.id}

    def _next(self, ask: Ask, person: str) -> Answer:
        kind = text(ask, "kind")
        lease = self.desk.next(person, text(ask, "project"), kind)
        if lease is None:
            words = {"annotate": "Nothing waits to be annotated by you in this project.",
                     "review": "Nothing waits for your review in this project."}
            return {"done": words.get(kind, "Nothing waits.")}
        return {"trajectory": lease.task.trajectory, "mode": kind}

    def _break(self, ask: Ask, person: str) -> Answer:
        self.desk.break_lease(person, whole(ask, "task"), text(ask, "why"))
        return {"done": "The task is free again; the draft of who held it is kept."}

    def _import_upload(self, ask: Ask, person: str) -> Answer:
        report = self.files.import_upload(person, text(ask, "project"), text(ask, "path"), text(ask, "form"))
        return {"html": render_import_report(report)}

    def _import_path(self, ask: Ask, person: str) -> Answer:
        report = self.files.import_path(person, text(ask, "project"), text(ask, "path"), text(ask, "form"))
        return {"html": render_import_report(report)}

    def _export_project(self, ask: Ask, person: str) -> Answer:
        return _exported(self.files.export_project(person, text(ask, "project"), text(ask, "form"), text(ask, "state")))

    def _export_dataset(self, ask: Ask, person: str) -> Answer:
        return _exported(self.files.export_dataset(person, text(ask, "name"), text(ask, "form")))

    def _bring_sample(self, ask: Ask, person: str) -> Answer:
        id = self.files.bring_sample(person, text(ask, "project"), whole(ask, "number"))
        return {"done": "The sample's episode is in the queue, before other tasks.", "added": id}

    def _bring_episode(self, ask: Ask, person: str) -> Answer:
        id = self.files.bring_episode(person, text(ask, "project"), text(ask, "episode"))
        return {"done": "The episode is in the queue, before other tasks.", "added": id}

    def _name_revision(self, ask: Ask, person: str) -> Answer:
        shares = read_shares(text(ask, "split")) if text(ask, "split").strip() else None
        made = self.files.name_revision(
            person, text(ask, "project"), text(ask, "name").strip(), why=text(ask, "why"), state=text(ask, "state"),
            shares=shares)
        return {"done": f"Dataset revision {made.name} names {len(made.entries)} trajectories."}

    def _train(self, ask: Ask, person: str) -> Answer:
        path = self.files.training_file(person, text(ask, "name"))
        return {"done": "The Train tab's form trains on it now.", "train_on": str(path)}


_ACTIONS: dict[str, Callable[[ListViews, Ask, str], Answer]] = {
    "add_project": ListViews._add_project, "next": ListViews._next, "break": ListViews._break,
    "import_upload": ListViews._import_upload, "import_path": ListViews._import_path,
    "export_project": ListViews._export_project, "export_dataset": ListViews._export_dataset,
    "bring_sample": ListViews._bring_sample, "bring_episode": ListViews._bring_episode,
    "name_revision": ListViews._name_revision, "train": ListViews._train,
}
"""What a button may ask for."""


def _exported(made: Exported) -> Answer:
    href = f"gradio_api/file={quote(str(made.path))}"
    return {"html": render_export_report(made.report, href), "href": href, "report": made.report.to_json()}
