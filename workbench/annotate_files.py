"""Trajectories in and out of the Annotate tab: uploads, files below --data, what other tabs sent, and exports.

Exports are made below the store's `exports` folder, from where the browser fetches them; they are taken away after an
hour. A dataset revision that is trained on stays in `datasets` under its name.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from executors.errors import InputError, MissingFileError, OutputError, WorkbenchError
from executors.trajectory import Trajectory
from training.benchmarks.recordings import recorded_episode
from training.datasets.report import ImportReport
from workbench.annotate import datasets
from workbench.annotate.datasets import DatasetRevision
from workbench.annotate.document import Document
from workbench.annotate.files_in import FORMS as FORMS_IN
from workbench.annotate.files_in import read_in
from workbench.annotate.files_out import FORMS as FORMS_OUT
from workbench.annotate.files_out import WriteReport, write_out
from workbench.annotate.store import AnnotationStore, Project
from workbench.annotate.unpack import drop, is_zip, pack, unpack
from workbench.annotation_queue import AnnotationQueue, QueuedSample
from workbench.compare_shelf import EvaluationShelf
from workbench.episode_export import to_trajectory
from workbench.episode_store import EpisodeRow, EpisodeStore
from workbench.people import Role
from workbench.store import MAX_ROWS

EXPORTS, DATASETS = "exports", "datasets"
KEPT_SECONDS = 3600.0
"""How long an export waits to be fetched."""
MAX_EPISODES_LISTED = 20
_SUFFIXES = {"trajectories": ".jsonl", "agentnet": ".jsonl", "datasets": "", "parquet": ".parquet",
             "easyr1": ".parquet", "verl": ".parquet"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A file to fetch, and what it holds and could not hold."""

    path: Path
    report: WriteReport


class AnnotateFiles:
    """What goes in and out; shared by all pages. Methods raise RoleError for who may not."""

    def __init__(
        self, store: AnnotationStore, samples: AnnotationQueue, evaluations: EvaluationShelf, episodes: EpisodeStore, *,
        data_root: Path, uploads: Path,
    ) -> None:
        """Nothing is read or made before it is asked for.

        Args:
            store: where reference trajectories are kept.
            samples: what the Compare tab sent.
            evaluations: where those samples were found.
            episodes: the saved episodes.
            data_root: the folder below which paths may be named.
            uploads: the folder that the server puts uploaded files into; no other path from a page is read.
        """
        self.store, self.samples, self.evaluations, self.episodes = store, samples, evaluations, episodes
        self.data_root, self.uploads = data_root.resolve(), uploads.resolve()
        self.exports = store.root / EXPORTS

    # ---- in

    def import_upload(self, person: str, project: str, path: str, form: str) -> ImportReport:
        """Imports an uploaded file: JSON Lines, parquet, or a zip archive of a data set with its screenshots.

        Raises:
            InputError: the path is no upload, the form is unknown, or the archive is refused.
            MissingFileError: the upload is gone, or the archive holds no file of that form.
        """
        self._may_import(person)
        return self._import(person, project, _inside(self.uploads, path, "upload"), form)

    def import_path(self, person: str, project: str, name: str, form: str) -> ImportReport:
        """Imports a file or folder by its path below --data; raises as `import_upload` does."""
        self._may_import(person)
        if not name.strip():
            raise InputError(f"no path is given: write one below {self.data_root}, or choose a file to upload")
        return self._import(person, project, _inside(self.data_root, name.strip(), "path"), form)

    def _may_import(self, person: str) -> None:
        self.store.people.check(person, Role.ANNOTATOR, "import trajectories")

    def _import(self, person: str, project: str, path: Path, form: str) -> ImportReport:
        if form not in FORMS_IN:
            raise InputError(f"form {form[:40]!r} is unknown: choose one of {', '.join(FORMS_IN)}")
        target = self.store.project(project)
        if not is_zip(path):
            return read_in(self.store, target, path, form, person=person)
        folder = Path(tempfile.mkdtemp(dir=self.store.root, prefix="unpacked-"))
        try:
            unpack(path, folder)
            report = read_in(self.store, target, _entry(folder, form), form, person=person)
            report.path = path.name
            return report
        except OSError as error:
            if isinstance(error, WorkbenchError):
                raise
            reason = error.strerror or error
            raise OutputError(f"cannot unpack {path.name} ({reason}): free the disk, or give its folder "
                              "by the path below --data") from None
        finally:
            drop(folder)

    # ---- from elsewhere in the workbench

    def waiting_samples(self, person: str) -> list[QueuedSample]:
        """The samples that the Compare tab sent and nobody has put into a project yet."""
        self.store.people.check(person, Role.VIEWER, "look at trajectories")
        return self.samples.list()

    def recent_episodes(self, person: str, project: str) -> list[EpisodeRow]:
        """The newest episodes that have steps and are not in the project yet."""
        self.store.people.check(person, Role.VIEWER, "look at episodes")
        rows = self.episodes.search(limit=5 * MAX_EPISODES_LISTED).rows
        id = self.store.project(project).id
        with self.store.file.reading() as db:
            sql = "select source_id from annotation_trajectories where project = ? and source_id like 'episode-%'"
            known = {row[0] for row in db.execute(sql, [id])}
        return [row for row in rows if row.num_steps and f"episode-{row.id}" not in known][:MAX_EPISODES_LISTED]

    def bring_sample(self, person: str, project: str, number: int) -> str:
        """Puts the recorded episode of a waiting sample into a project, before other tasks; returns its id there.

        Raises:
            MissingFileError: the sample, its evaluation or the recording is gone.
            InputError: the project has the episode already, or it cannot be edited.
        """
        self._may_import(person)
        found = next((sample for sample in self.samples.list() if sample.number == number), None)
        if found is None:
            raise MissingFileError(f"sample {number} is not in the queue any more: load the page again")
        evaluation, _ = self.evaluations.load(found.evaluation)
        sample = next((sample for sample in evaluation.samples if sample.id == found.sample_id), None)
        if sample is None:
            raise MissingFileError(f"evaluation {found.evaluation} has no sample {found.sample_id[:80]!r} any more")
        origin = {"kind": "benchmark sample", "sample": found.sample_id, "step": sample.index + 1,
                  "benchmark": found.benchmark, "evaluation": found.evaluation, "reason": found.reason}
        id = self._bring(person, project, recorded_episode(evaluation, sample.episode), origin,
                         why=f"sent from Compare: {found.reason or found.sample_id}"[:400])
        self.samples.remove(number)
        return id

    def bring_episode(self, person: str, project: str, episode: str) -> str:
        """Puts a saved episode into a project; returns its id there. Raises as `bring_sample` does."""
        self._may_import(person)
        stored = self.episodes.load(episode)
        return self._bring(person, project, to_trajectory(stored), {"kind": "episode", "episode": stored.id},
                           why=f"episode {stored.id} of {stored.planner_name or 'nobody'}")

    def correct_episode(self, person: str, project: str, episode: str) -> tuple[Project, str, bool]:
        """The project and the id there of a saved episode, which is put in unless it is in; and whether it was put in.

        Args:
            person: who asks.
            project: its id; the oldest project where there is none of it.
            episode: its id.

        Raises:
            InputError: there is no project yet, or no step of the episode was carried out.
            MissingFileError: the episode or a screenshot is gone.
        """
        self._may_import(person)
        projects = self.store.projects()
        if not projects:
            raise InputError("there is no project yet whose queue would take the episode: make one in the Annotate tab "
                             "(a reviewer does), then press this again")
        target = next((one for one in projects if one.id == project), projects[0])
        known = self.store.find(target, to_trajectory(self.episodes.load(episode)).id)
        return target, known or self.bring_episode(person, target.id, episode), known is None

    def _bring(
        self, person: str, project: str, trajectory: Trajectory, origin: Mapping[str, object], *, why: str
    ) -> str:
        target = self.store.project(project)
        return self.store.add(target, trajectory, why=why, person=person, origin=origin, priority=1)

    # ---- out

    def export_project(self, person: str, project: str, form: str, state: str) -> Exported:
        """The newest revisions of a project's trajectories, those in a state or all for "", as a file to fetch."""
        self.store.people.check(person, Role.VIEWER, "export trajectories")
        target = self.store.project(project)

        def documents() -> Iterable[Document]:
            for id in self._ids(target, state):
                yield self.store.load(id)

        return self._export(target.name, form, lambda path: write_out(documents, path, form))

    def export_dataset(self, person: str, name: str, form: str) -> Exported:
        """A dataset revision as a file to fetch."""
        revision = datasets.dataset_revision(self.store, name)
        return self._export(name, form, lambda path: datasets.export(self.store, revision, path, form, person=person))

    def _ids(self, project: Project, state: str) -> list[str]:
        """Oldest first, as they were put in."""
        ids: list[str] = []
        while True:
            rows = self.store.search(project, state=state, limit=MAX_ROWS, offset=len(ids)).rows
            if not rows:
                return ids[::-1]
            ids += [row.id for row in rows]

    def _export(self, name: str, form: str, write: Callable[[Path], WriteReport]) -> Exported:
        if form not in FORMS_OUT:
            raise InputError(f"form {form[:40]!r} is unknown: choose one of {', '.join(FORMS_OUT)}")
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "project"
        try:
            self.exports.mkdir(parents=True, exist_ok=True)
            self._drop_old()
            place = self.exports / secrets.token_hex(16)
            folder = place / stem
            folder.mkdir(parents=True)
            report = write(folder / f"{stem}{_SUFFIXES[form]}")
            archive = place / f"{stem}-{form}.zip"
            pack(folder, archive)
            shutil.rmtree(folder)
        except OSError as error:
            if isinstance(error, WorkbenchError):
                raise
            raise OutputError(f"cannot write {self.exports} ({error.strerror or error}): free the disk") from None
        report.path = archive.name
        return Exported(path=archive, report=report)

    def _drop_old(self) -> None:
        for folder in self.exports.iterdir():
            with contextlib.suppress(OSError):  # another process may be taking it away too
                if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
                    drop(folder)

    # ---- dataset revisions

    def dataset_revisions(self, person: str, project: str) -> list[DatasetRevision]:
        """The dataset revisions of a project, newest first."""
        self.store.people.check(person, Role.VIEWER, "look at trajectories")
        id = self.store.project(project).id
        return [found for found in reversed(datasets.dataset_revisions(self.store)) if found.project == id]

    def name_revision(
        self, person: str, project: str, name: str, *, why: str, state: str, shares: Mapping[str, float] | None
    ) -> DatasetRevision:
        """Names the present state of a project, see `annotate.datasets.name_revision`."""
        target = self.store.project(project)
        return datasets.name_revision(self.store, target, name, why=why, person=person, state=state, shares=shares)

    def training_file(self, person: str, name: str) -> Path:
        """The file of a dataset revision that a run trains on, written when it is asked for first."""
        self.store.people.check(person, Role.OPERATOR, "launch training")
        revision = datasets.dataset_revision(self.store, name)
        path = self.store.root / DATASETS / name / f"{name}.jsonl"
        if not path.with_name(path.name + ".revision.json").exists():  # written last, so the file is whole where it is
            datasets.export(self.store, revision, path, "trajectories", person=person)
        return path


def _inside(root: Path, name: str, what: str) -> Path:
    """The existing file or folder of a name below a root.

    Raises:
        InputError: it leaves the root, links included.
        MissingFileError: there is none.
    """
    try:
        path = (root / name).resolve()
        is_there = path.exists()
    except (ValueError, OSError):  # a null character, or a name that is too long
        raise InputError(f"{what} {name[:80]!r} is not a usable name: choose another") from None
    if not path.is_relative_to(root) or path == root:
        raise InputError(f"{what} {name[:80]!r} is not below {root}: choose one that is")
    if not is_there:
        raise MissingFileError(f"{what} {name[:80]!r} does not exist below {root}: check it")
    return path


def _entry(folder: Path, form: str) -> Path:
    """What an unpacked archive is read from: its only *.jsonl or *.parquet where the form is a file, else itself."""
    top = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    while len(top) == 1 and top[0].is_dir():  # archives often hold one folder
        folder = top[0]
        top = list(folder.iterdir())
    suffix = {"trajectories": ".jsonl", "agentnet": ".jsonl", "parquet": ".parquet", "easyr1": ".parquet",
              "verl": ".parquet"}.get(form)
    if suffix is None:
        return folder
    files = sorted(path for path in folder.glob(f"*{suffix}") if path.is_file())
    if len(files) == 1 or form == "agentnet":
        return files[0] if len(files) == 1 else folder
    raise MissingFileError(f"the archive holds {len(files)} *{suffix} files beside one another: pack exactly one, with "
                           "its screenshots in folders beside it")
