"""Documents into files, in the forms that others read, with a report of what each form cannot hold.

    trajectories    our JSON Lines with screenshots beside it; holds everything
    datasets        a folder that Hugging Face `datasets` loads, with images; holds everything
    parquet         the same columns in one file
    agentnet        AgentNet's JSON Lines with images/ beside it (`agentnet_form`)
    easyr1, verl    parquet of training samples (`training_rows`)

What was marked private is blurred in every form (`privacy`). "Everything" is meant of pixels, not of files: a
screenshot is written as PNG whatever it was. A file is written under a temporary name and moved into place at the end.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from executors.errors import InputError, OutputError, WorkbenchError
from executors.files import partial_path
from executors.trajectory import Trajectory, image_bytes, write_trajectories
from training.config import ForecastConfig
from workbench.annotate import training_rows
from workbench.annotate.agentnet_form import NoPlaceError, record_of
from workbench.annotate.document import Document
from workbench.annotate.privacy import private_boxes, without_private
from workbench.screens import screen_hash

FORMS = ("trajectories", "agentnet", "datasets", "parquet", *training_rows.FORMS)
MAX_PLACES = 200
"""Places of losses that a report names; all are counted."""
BATCH = 16


@dataclass(slots=True, kw_only=True)
class WriteReport:
    """What was written, and what the form could not hold: `losses` counts by kind, `places` names the first ones.

    `num_trajectories` and `num_steps` were written; `num_left_out` trajectories were not, for the reasons among the
    losses. `num_private_screens` screenshots were blurred.
    """

    form: str
    path: str
    num_trajectories: int = 0
    num_steps: int = 0
    num_left_out: int = 0
    num_private_screens: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    places: list[str] = field(default_factory=list)

    def lose(self, trajectory: str, what: str) -> None:
        """Counts something that is not in the file; `what` may begin with its step and a colon."""
        self.losses[what.rpartition(": ")[2] if what.startswith("step ") else what] += 1
        if len(self.places) < MAX_PLACES:
            self.places.append(f"{trajectory}: {what}")

    def to_json(self) -> dict[str, Any]:
        """All fields as a JSON object, losses from the most frequent on."""
        record = {name: value for name, value in asdict(self).items() if name != "losses"}
        return {**record, "losses": dict(self.losses.most_common())}

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.num_trajectories} trajectories with {self.num_steps} steps as {self.form}; "
                 f"{self.num_left_out} left out, {self.num_private_screens} screens blurred"]
        if self.losses:
            counts = ", ".join(f"{what} ({count})" for what, count in self.losses.most_common())
            lines.append(f"the form does not hold: {counts}")
            lines += [f"  {place}" for place in self.places[:10]]
        return "\n".join(lines)


def write_out(
    documents: Callable[[], Iterable[Document]], path: Path, form: str, *, forecast: ForecastConfig | None = None
) -> WriteReport:
    """Writes documents as a file, or a folder for "datasets".

    Args:
        documents: gives them anew at each call; they are gone through twice, first for what is private.
        path: the file, which is replaced, or a folder that does not exist yet.
        form: one of `FORMS`.
        forecast: horizon, history and prompt of easyr1's and verl's samples; None takes the defaults.

    Raises:
        InputError: an unknown form, or a folder that exists.
        MissingFileError: a screenshot is gone.
        OutputError: it cannot be written.
    """
    if form not in FORMS:
        raise InputError(f"form {form!r} is unknown: choose one of {', '.join(FORMS)}")
    screens = private_boxes(documents())
    report = WriteReport(form=form, path=str(path), num_private_screens=len(screens))
    trajectories = (without_private(document, screens).trajectory for document in documents())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == "trajectories":
            write_trajectories(path, _counted(trajectories, report))
        elif form == "agentnet":
            _write_agentnet(path, trajectories, report)
        elif form == "datasets":
            if path.exists():
                raise InputError(f"{path} exists already: name a new folder")
            _write_folder(path, trajectories, report)
        elif form == "parquet":
            _write_parquet(path, trajectories, report)
        else:
            _write_rows(path, trajectories, form, forecast or ForecastConfig(), report)
    except OSError as error:
        if isinstance(error, WorkbenchError):
            raise
        raise OutputError(f"cannot write {path} ({error.strerror or error}): choose a folder you may write") from None
    return report


def _counted(trajectories: Iterable[Trajectory], report: WriteReport) -> Iterator[Trajectory]:
    for trajectory in trajectories:
        yield trajectory
        report.num_trajectories += 1
        report.num_steps += len(trajectory.steps)


def _write_agentnet(path: Path, trajectories: Iterable[Trajectory], report: WriteReport) -> None:
    folder, partial = path.parent / "images", partial_path(path)
    with partial.open("w", encoding="utf-8") as out:
        for trajectory in trajectories:
            try:
                names = [_image_name(step.observation) for step in trajectory.steps]
                record, losses = record_of(trajectory, names)
            except NoPlaceError as error:
                report.num_left_out += 1
                report.lose(trajectory.id, f"whole trajectory, {error}")
                continue
            for step, name in zip(trajectory.steps, names):
                if not (folder / name).exists():
                    folder.mkdir(exist_ok=True)
                    partial_path(folder / name).write_bytes(image_bytes(step.observation)[0])
                    partial_path(folder / name).replace(folder / name)
            out.write(json.dumps(record) + "\n")
            for what in losses:
                report.lose(trajectory.id, what)
            report.num_trajectories += 1
            report.num_steps += len(trajectory.steps)
    partial.replace(path)


def _image_name(seen: Any) -> str | None:
    if seen.image_path is not None:
        return seen.image_path.name
    return None if seen.image is None else f"{screen_hash(seen.image)}.png"


def _write_folder(path: Path, trajectories: Iterable[Trajectory], report: WriteReport) -> None:
    """A parquet file first, so that not all screenshots are in memory at once."""
    from datasets import Dataset

    partial = path.with_name(path.name + ".partial.parquet")
    _write_parquet(partial, trajectories, report)
    try:
        Dataset.from_parquet(str(partial), cache_dir=str(path.with_name(path.name + ".cache"))).save_to_disk(path)
    finally:
        partial.unlink(missing_ok=True)
        shutil.rmtree(path.with_name(path.name + ".cache"), ignore_errors=True)


def _write_parquet(path: Path, trajectories: Iterable[Trajectory], report: WriteReport) -> None:
    import pyarrow.parquet

    from training.datasets.hf import features, to_dataset

    rest, partial = _counted(trajectories, report), partial_path(path)
    with pyarrow.parquet.ParquetWriter(partial, features().arrow_schema) as writer:
        while batch := list(islice(rest, BATCH)):
            writer.write_table(to_dataset(batch).with_format("arrow")[:].cast(features().arrow_schema))
    partial.replace(path)


def _write_rows(
    path: Path, trajectories: Iterable[Trajectory], form: str, forecast: ForecastConfig, report: WriteReport
) -> None:
    import pyarrow
    import pyarrow.parquet

    schema, partial = training_rows.schema(form), partial_path(path)
    with pyarrow.parquet.ParquetWriter(partial, schema) as writer:
        for trajectory in trajectories:
            rows = list(training_rows.rows_of(trajectory, form, forecast))
            placed = {json.loads(row[training_rows.RECORDING])["step"] for row in rows}
            for place in range(len(trajectory.steps)):
                if place not in placed:
                    report.lose(trajectory.id, f"step {place + 1}: step that makes no sample")
            report.num_left_out += not rows
            if rows:
                report.num_trajectories += 1
                report.num_steps += len(rows)
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    partial.replace(path)
