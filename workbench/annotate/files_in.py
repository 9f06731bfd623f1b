"""Files into a project, record by record: a bad one is refused with its place and reason, the others are kept.

    trajectories    our JSON Lines, screenshots beside it
    datasets        a folder that Hugging Face `datasets` saved, of the columns that `files_out` writes
    parquet         the same columns in a file
    easyr1, verl    parquet that `files_out` wrote
    agentnet ...    every data set that `tracer1 import` knows, through its importer

What is refused: what is not JSON, cut off or in another encoding, another schema version, a wrong field, a screenshot
that is missing, damaged, outside the file's folder, larger than a browser can show or than `MAX_IMAGE_BYTES`, and an id
that the project has already. Nothing that a file holds is run or evaluated, and no path in it is followed out of its
folder.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from executors.errors import InputError, MissingFileError
from executors.geometry import ImageSize
from executors.trajectory import Trajectory, read_trajectories, trajectory_from_json
from training.datasets.base import ImportOptions, RawRecord
from training.datasets.engine import run_import
from training.datasets.json_records import parse_object, read_lines
from training.datasets.parquet_records import read_rows
from training.datasets.registry import IMPORTERS
from training.datasets.report import ImportReport, Problem
from training.datasets.screens import check_image
from training.datasets.skip import Skip
from workbench.annotate import training_rows
from workbench.annotate.document import META
from workbench.annotate.store import AnnotationStore, Project

FORMS = ("trajectories", "datasets", "parquet", *training_rows.FORMS, *IMPORTERS)
MAX_SIDE_PX = 16_384
"""Longest side of a screenshot: what browsers draw on a canvas."""
MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""Largest screenshot file that is read."""


def read_in(
    store: AnnotationStore, project: Project, path: Path, form: str, *, person: str = "", images: Path | None = None,
    priority: int = 0,
) -> ImportReport:
    """Puts the trajectories of a file into a project's queue; the report counts what was refused, and says why.

    Args:
        store: where they go.
        project: whose they become.
        path: the file, or the folder for "datasets" and some data sets.
        form: one of `FORMS`.
        person: who imports.
        images: folder of the screenshots, for data sets that keep them elsewhere.
        priority: of the tasks, see `AnnotationStore.add`.

    Raises:
        MissingFileError: the file does not exist.
        InputError: an unknown form, or a folder that is no data set.
        RoleError: the person is no annotator.
        OutputError: the store cannot be written.
    """
    if form not in FORMS:
        raise InputError(f"form {form!r} is unknown: choose one of {', '.join(FORMS)}")
    if not path.exists():
        raise MissingFileError(f"{path} does not exist: check the path")
    read = _Reading(store, project, person, priority, ImportReport(dataset=form, path=str(path)))
    if form in IMPORTERS:
        read.through_importer(form, path, images)
    elif form == "trajectories":
        for raw in read_lines(path):
            read.record(raw, lambda raw: _of_line(raw, path.parent))
    elif form in training_rows.FORMS:
        for _, rows in groupby(_rows(path, training_rows.schema(form).names), key=_row_group):
            read.record(*_of_rows(list(rows)))
    else:
        for raw in _saved_rows(path) if form == "datasets" else _rows(path, None):
            read.record(raw, _of_row)
    return read.report


class _Reading:
    """One import: where it goes, and its report."""

    def __init__(
        self, store: AnnotationStore, project: Project, person: str, priority: int, report: ImportReport
    ) -> None:
        self.store, self.project, self.person, self.priority, self.report = store, project, person, priority, report

    def record(self, raw: RawRecord, convert: Callable[[RawRecord], Trajectory]) -> None:
        """Keeps one record or counts why not."""
        self.report.num_records_read += raw.num_records
        id = ""
        try:
            if raw.problem is not None:
                raise raw.problem
            trajectory = convert(raw)
            id = trajectory.id
            _check_screens(trajectory)
            self._add(trajectory)
        except Skip as skip:
            self._refuse(raw, id, skip)
        else:
            self._keep(trajectory)

    def through_importer(self, form: str, path: Path, images: Path | None) -> None:
        """Runs a data set's importer into a temporary file beside the store and adds what it kept."""
        folder = Path(tempfile.mkdtemp(dir=self.store.root, prefix="import-"))
        try:
            out = folder / "imported.jsonl"
            self.report = run_import(form, ImportOptions(path=path, images=images), out)
            for number, trajectory in enumerate(read_trajectories(out) if out.exists() else (), start=1):
                try:
                    _check_screens(trajectory)
                    self._add(_with_difficulty(trajectory))
                except Skip as skip:
                    self.report.num_trajectories -= 1
                    self.report.num_steps_kept -= len(trajectory.steps)
                    self.report.num_records_kept -= 1  # at least; records of one step were counted singly
                    self._refuse(RawRecord(file=str(path), number=number), trajectory.id, skip)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _add(self, trajectory: Trajectory) -> None:
        name = Path(self.report.path).name
        try:
            self.store.add(
                self.project, trajectory, why=f"imported from {name} ({self.report.dataset})", person=self.person,
                origin={"kind": "import", "form": self.report.dataset, "file": name}, priority=self.priority,
            )
        except (InputError, MissingFileError) as error:
            raise _skip_of(error) from None

    def _keep(self, trajectory: Trajectory) -> None:
        self.report.num_records_kept += 1
        self.report.num_trajectories += 1
        self.report.num_steps_kept += len(trajectory.steps)

    def _refuse(self, raw: RawRecord, id: str, skip: Skip) -> None:
        self.report.num_records_skipped += raw.num_records
        self.report.skipped_records[skip.reason] += raw.num_records
        self.report.add_problem(Problem(
            file=raw.file, line=raw.number, record=id, field=skip.field, message=skip.message,
            outcome="record refused"))


_REASONS = (
    ("schema_version", "wrong version"), ("leaves the folder", "screenshot outside the folder"),
    ("already", "duplicate id"), ("does not exist", "missing screenshot"), ("no screenshot", "missing screenshot"),
    ("not a readable image", "unreadable screenshot"),
)


def _skip_of(error: Exception) -> Skip:
    """The error with the short reason that reports count."""
    text = str(error)
    reason = next((reason for words, reason in _REASONS if words in text), "wrong field")
    name = text.partition("field '")[2].partition("'")[0]
    return Skip(reason, name or "(record)", text)


def _with_difficulty(trajectory: Trajectory) -> Trajectory:
    """AgentNet's difficulty as the document's own."""
    difficulty = trajectory.meta.get("task_difficulty")
    if type(difficulty) is not int or not 0 <= difficulty <= 10:
        return trajectory
    rest = {name: value for name, value in trajectory.meta.items() if name != "task_difficulty"}
    return replace(trajectory, meta={**rest, META: {"difficulty": difficulty}})


def _check_screens(trajectory: Trajectory) -> None:
    """Does nothing when every screenshot that has a file is one that can be stored and shown; raises Skip."""
    for number, step in enumerate(trajectory.steps, start=1):
        path, name = step.observation.image_path, f"steps[{number - 1}].observation.image"
        if path is None:
            continue
        try:
            if path.stat().st_size > MAX_IMAGE_BYTES:
                raise Skip("screenshot too large", name, f"{path.name} has more than {MAX_IMAGE_BYTES} bytes")
            data = path.read_bytes()
        except OSError as error:
            raise Skip("missing screenshot", name, f"{path.name} cannot be read ({error.strerror})") from None
        size = _check_image(data, name)
        told = step.observation.image_size
        if told is not None and told != size:
            raise Skip("wrong field", name, f"{path.name} is {size.width_px}x{size.height_px}, the record says "
                                            f"{told.width_px}x{told.height_px}")


def _check_image(data: bytes, name: str) -> ImageSize:
    try:
        size, _ = check_image(data)
    except ValueError as error:
        reason = "screenshot too large" if "pixels" in str(error) else "unreadable screenshot"
        raise Skip(reason, name, f"not a readable image ({error})") from None
    if max(size.width_px, size.height_px) > MAX_SIDE_PX:
        raise Skip("screenshot too large", name,
                   f"{size.width_px}x{size.height_px} pixels: at most {MAX_SIDE_PX} a side can be shown")
    return size


def _of_line(raw: RawRecord, folder: Path) -> Trajectory:
    try:
        return trajectory_from_json(parse_object(raw.data), folder)
    except InputError as error:
        raise _skip_of(error) from None


# ------------------------------------------------------------------------------------------------- rows


def _rows(path: Path, names: list[str] | None) -> Iterator[RawRecord]:
    from training.datasets.hf import features

    return read_rows(path, list(features()) if names is None else names)


def _saved_rows(path: Path) -> Iterator[RawRecord]:
    from datasets import Image, List, load_from_disk

    try:
        dataset = load_from_disk(str(path))
        dataset = dataset.cast_column("images", List(Image(decode=False)))
    except Exception as error:  # whatever a folder that is no data set makes the library raise
        raise InputError(f"{path} is no data set that export wrote ({type(error).__name__}: {error})"[:300]) from None
    for number, row in enumerate(dataset, start=1):
        yield RawRecord(file=str(path), number=number, data=row)


def _of_row(raw: RawRecord) -> Trajectory:
    import PIL.Image

    from training.datasets.hf import features, trajectory_of_row

    for name in features():
        if name not in raw.data:
            raise Skip("wrong field", name, "the column is missing: write the file with `tracer1 annotations export`")
    datas = _image_datas(raw.data)
    try:
        images = [PIL.Image.open(io.BytesIO(data)) for data in datas]
        return trajectory_of_row({**raw.data, "images": images})
    except InputError as error:
        raise _skip_of(error) from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OSError, SyntaxError) as error:
        raise Skip("wrong field", "(row)", f"{type(error).__name__}: {error}"[:200]) from None


def _image_datas(row: Mapping[str, Any]) -> list[bytes]:
    """The bytes of a row's screenshots, each checked; a row that names files instead is refused."""
    datas = []
    for place, image in enumerate(row["images"] or ()):
        data, name = (image or {}).get("bytes"), f"images[{place}]"
        if not isinstance(data, bytes):
            raise Skip("missing screenshot", name, "the row holds no bytes of it, and paths are not followed")
        _check_image(data, name)
        datas.append(data)
    return datas


def _row_group(raw: RawRecord) -> tuple[str, int]:
    """What rows of one trajectory have in common; every row that names none stands alone."""
    try:
        return training_rows.id_of_row(raw.data), 0
    except InputError:
        return "", raw.number


def _of_rows(raws: list[RawRecord]) -> tuple[RawRecord, Callable[[RawRecord], Trajectory]]:
    """The rows of one trajectory as one record, and what makes a trajectory of it."""

    def convert(first: RawRecord) -> Trajectory:
        try:
            training_rows.id_of_row(raws[0].data)
            for raw in raws:
                _image_datas(raw.data)
            return training_rows.trajectory_of_rows([raw.data for raw in raws])
        except InputError as error:
            raise _skip_of(error) from None

    return raws[0], convert
