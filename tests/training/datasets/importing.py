"""Runs an import for a test and checks that every record is accounted for."""

from __future__ import annotations

import tempfile
from pathlib import Path

from executors.trajectory import Trajectory, read_trajectories
from training.datasets.base import ImportOptions
from training.datasets.engine import run_import
from training.datasets.report import ImportReport


def import_all(
    name: str, path: Path, *, out: Path | None = None, num_workers: int = 1, limit: int | None = None, **options: object
) -> tuple[list[Trajectory], ImportReport]:
    """The trajectories that an import wrote, read back from its file, and its report."""
    out = out or Path(tempfile.mkdtemp(dir=path.parent)) / "out.jsonl"
    report = run_import(name, ImportOptions(path=path, **options), out, num_workers=num_workers, limit=limit)
    kept = list(read_trajectories(out)) if out.exists() else []
    assert report.num_records_read == report.num_records_kept + report.num_records_skipped
    assert report.num_trajectories == len(kept)
    assert report.num_steps_kept == sum(len(t.steps) for t in kept)
    assert report.num_records_skipped == report.skipped_records.total()
    assert report.num_steps_skipped == report.skipped_steps.total()
    assert "not understood" not in report.skipped_records, report.problems
    paths = [s.observation.image_path for t in kept for s in t.steps if s.observation.image_path is not None]
    folder = out.with_name(f"{out.stem}_images")
    assert all(path.is_file() for path in paths)
    assert {path.name for path in paths} == {path.name for path in folder.glob("*")}  # nothing is left behind
    return kept, report
