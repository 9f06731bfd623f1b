"""One raw record -> the line of a trajectory file, in whatever process; nothing that a record holds stops an import."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import orjson

from executors.actions import validate
from executors.errors import OutputError
from executors.trajectory import Trajectory, trajectory_to_json
from training.datasets.base import Importer, ImportOptions, Notes, Place, RawRecord
from training.datasets.registry import load_importer
from training.datasets.screens import ScreenStore
from training.datasets.skip import Skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What came of a raw record: `line` is its trajectory as JSON, or `skip` says why there is none."""

    file: str
    number: int
    notes: Notes
    num_records: int = 1
    skip: Skip | None = None
    line: bytes = b""
    id: str = ""
    num_steps: int = 0
    place: Place | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as JSON, for the state of an unfinished import; only for records that are not skipped."""
        notes = {f.name: getattr(self.notes, f.name) for f in fields(self.notes)}  # asdict would spoil the counters
        return {
            "file": self.file, "number": self.number, "notes": notes, "line": self.line.decode(),
            "id": self.id, "num_steps": self.num_steps, "place": None if self.place is None else asdict(self.place),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Converted:
        """The inverse of `to_json`."""
        notes = dict(record["notes"])
        notes |= {name: Counter(notes[name]) for name in ("repairs", "skipped_steps")}
        notes["problems"] = [tuple(problem) for problem in notes["problems"]]
        place = record["place"]
        return cls(**{**record, "notes": Notes(**notes), "line": record["line"].encode(),
                      "place": None if place is None else Place(**place)})


def convert(importer: Importer, raw: RawRecord) -> Converted:
    """The raw record converted, its screenshots saved; every error in it becomes a skip with a reason.

    Raises:
        OutputError: the screenshots cannot be written.
    """
    notes = Notes()
    place = None
    base = Converted(file=raw.file, number=raw.number, notes=notes, num_records=raw.num_records)
    try:
        if raw.problem is not None:
            raise raw.problem
        made = importer.convert(raw, notes)
        trajectory, place = made if isinstance(made, tuple) else (made, None)
        _check_actions(trajectory)
        paths = [step.observation.image_path for step in trajectory.steps]
        folder = importer.screens.folder.name
        names = [None if path is None else f"{folder}/{path.name}" for path in paths]
        line = dump(trajectory_to_json(trajectory, names))
        importer.screens.save(paths)
    except Skip as skip:
        importer.screens.forget()
        return replace(base, skip=skip)
    except OutputError:
        raise
    except Exception as error:  # a record that no rule foresaw must not end the import of the others
        importer.screens.forget()
        return replace(base, skip=Skip("not understood", "(record)", f"{type(error).__name__}: {error}"[:300]))
    return replace(base, line=line, id=trajectory.id, num_steps=len(trajectory.steps), place=place)


def _check_actions(trajectory: Trajectory) -> None:
    for number, step in enumerate(trajectory.steps):
        problem = validate(step.action, need_targets=False)
        if problem is not None:
            raise Skip("wrong action", f"steps[{number}]", problem)


def dump(record: dict[str, Any]) -> bytes:
    """A trajectory's JSON as one line."""
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a whole number beyond 64 bits
        return (json.dumps(record) + "\n").encode()


_worker: list[Importer] = []


def start_worker(name: str, options: ImportOptions, screens: Path) -> None:
    """Prepares a worker process; Ctrl+C is the main process's to handle, and a worker ends with its parent."""
    import signal
    import warnings

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore", SyntaxWarning)
    _worker[:] = [load_importer(name)(options, ScreenStore(screens))]


def _end_with_parent() -> None:
    """Ends this worker when its parent was killed; else it would wait for work for ever and hold the parent's pipes."""
    process = parent_process()
    assert process is not None
    process.join()
    os._exit(1)


def convert_in_worker(raws: Sequence[RawRecord]) -> list[Converted]:
    """A batch of raw records converted in a process that `start_worker` prepared."""
    return [convert(_worker[0], raw) for raw in raws]
