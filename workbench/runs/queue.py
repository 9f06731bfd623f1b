"""What waits, in SQLite, and whose turn it is.

One row per run that this desk was asked to launch: its draft, its place, and, once it was started, the process that was
started. How a started run fares is not kept here; its folder and its process tell (workbench.runs.observe).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from executors.errors import InputError, OutputError
from workbench.runs.evaluation_draft import AnyDraft, read_draft

WAITING, HELD, STARTED, CANCELLED = "waiting", "held", "started", "cancelled"
BUSY_SECONDS = 10.0
_MIGRATIONS = (
    """
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, draft TEXT NOT NULL, state TEXT NOT NULL, place REAL NOT NULL, created REAL NOT NULL,
        launch TEXT NOT NULL DEFAULT '', pid INTEGER, process_started REAL, killed INTEGER NOT NULL DEFAULT 0,
        exit_code INTEGER, seen TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE alerts (
        run_id TEXT NOT NULL, kind TEXT NOT NULL, level TEXT NOT NULL, step INTEGER NOT NULL, time REAL NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE INDEX alerts_of_run ON alerts (run_id, time);
    """,
)
"""What makes version n of the file from version n - 1. Once released, an entry is never changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One row of the queue."""

    id: str
    draft: AnyDraft
    state: str
    """WAITING, HELD, STARTED (it may have ended since) or CANCELLED."""
    place: float
    created: float
    launch: str = ""
    """A random name of the last start, which the trainer repeats in run.json."""
    pid: int | None = None
    process_started: float | None = None
    killed: bool = False
    """Whether a person killed the last start."""
    exit_code: int | None = None
    """Of the last start, when this or an earlier page server was its parent; negative for a signal."""
    seen: str = ""
    """The state in which the run was last seen."""
    error: str = ""
    """Why the last start came to nothing; empty when a process was started."""


def whose_turn(
    entries: Sequence[Entry],
    busy: Mapping[str, str],
    states: Mapping[str, str],
    devices: Collection[str],
) -> tuple[list[Entry], dict[str, str]]:
    """(the runs that may start now, why each of the others waits).

    The queue is kept in order on every device: a run that waits for a device keeps later ones from it. A run that is
    held, or that waits for another run to finish, keeps nobody.

    Args:
        entries: the waiting and held runs, first in the queue first.
        busy: device -> id of the run that has it.
        states: id -> state of all runs, for those that wait for another.
        devices: the devices of this machine.
    """
    taken = dict(busy)
    turn: list[Entry] = []
    reasons: dict[str, str] = {}
    for entry in entries:
        reason = _own_reason(entry, states, devices)
        if reason:
            reasons[entry.id] = reason
            continue
        blocked = next((device for device in entry.draft.devices if device in taken), None)
        if blocked is None:
            turn.append(entry)
        elif busy.get(blocked) == taken[blocked]:
            reasons[entry.id] = f"waits for {blocked}, which run {taken[blocked]} uses"
        else:
            reasons[entry.id] = f"waits for {blocked}, for which run {taken[blocked]} comes first"
        for device in entry.draft.devices:
            taken.setdefault(device, entry.id)
    return turn, reasons


def _own_reason(entry: Entry, states: Mapping[str, str], devices: Collection[str]) -> str:
    """Why a run waits that has nothing to do with who uses the devices; empty when nothing."""
    if entry.state == HELD:
        return "held by a person"
    missing = [device for device in entry.draft.devices if device not in devices]
    if missing:
        return f"waits for {missing[0]}, which this machine does not have now: cancel it, or bring the device back"
    before = entry.draft.after
    state = states.get(before, "gone")
    if before and state in ("waiting", "held", "starting", "running"):
        return f"waits for run {before} to finish"
    if before and state != "finished":
        return f"waits for run {before}, which is {state}: resume that one, or cancel this one"
    return ""


class Queue:
    """The rows; safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made when it does not exist, and brings it up to date.

        Raises:
            OutputError: it cannot be written.
            InputError: it is no SQLite file, or was made by a newer workbench.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make folder {path.parent} ({error.strerror}): choose another") from None
        with self._connected() as db:
            db.execute("PRAGMA journal_mode = WAL")
            for number, script in enumerate(_MIGRATIONS, start=1):
                db.execute("BEGIN IMMEDIATE")
                if db.execute("PRAGMA user_version").fetchone()[0] < number:
                    for statement in filter(str.strip, script.split(";")):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {number}")
                db.execute("COMMIT")
            version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(_MIGRATIONS):
            raise InputError(
                f"queue {path} was made by a newer workbench (version {version}; this one knows up to "
                f"{len(_MIGRATIONS)}): update the workbench or choose another file"
            )
        # while one connection stays open, closing the others does not write the whole file back
        self._keeper = sqlite3.connect(path, check_same_thread=False)
        self._keeper.execute("PRAGMA user_version").fetchone()

    def close(self) -> None:
        """Closes the file."""
        self._keeper.close()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own, so that threads never share one; SQLite's errors become sentences."""
        try:
            db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = NORMAL")
            try:
                yield db
            finally:
                db.close()
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise InputError(f"queue {self.path} is damaged ({error}): move it away; a new one is made") from error
            raise OutputError(f"cannot use queue {self.path} ({error}): free the disk or choose another") from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that no other writer overlaps; undone when anything is raised."""
        with self._connected() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def entries(self, db: sqlite3.Connection | None = None) -> list[Entry]:
        """All rows in the order of the queue; inside a transaction those that it sees."""
        if db is None:
            with self._connected() as own:
                return self.entries(own)
        rows = db.execute("SELECT * FROM runs ORDER BY place, created")
        return [entry for row in rows if (entry := _entry(row)) is not None]

    def get(self, run_id: str, db: sqlite3.Connection | None = None) -> Entry | None:
        """The row of a run; None when there is none."""
        if db is None:
            with self._connected() as own:
                return self.get(run_id, own)
        row = db.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
        return None if row is None else _entry(row)

    def append(self, db: sqlite3.Connection, run_id: str, draft: AnyDraft) -> None:
        """A row at the queue's end; one that the run had before is replaced, apart from when it was made."""
        last = db.execute("SELECT coalesce(max(place), 0) FROM runs").fetchone()[0]
        db.execute(
            "INSERT INTO runs (id, draft, state, place, created) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "draft = excluded.draft, state = excluded.state, place = excluded.place",
            (run_id, json.dumps(draft.to_json()), WAITING, last + 1, time.time()),
        )

    def update(self, db: sqlite3.Connection, run_id: str, **values: Any) -> None:
        """Sets columns of a row."""
        names = ", ".join(f"{name} = ?" for name in values)
        db.execute(f"UPDATE runs SET {names} WHERE id = ?", (*values.values(), run_id))

    def move(self, db: sqlite3.Connection, run_id: str, place: int) -> None:
        """Puts a waiting run at this place among those that wait, from 1; beyond the end is the end."""
        waiting = [e.id for e in self.entries(db) if e.state in (WAITING, HELD) and e.id != run_id]
        waiting.insert(max(0, place - 1), run_id)
        for number, moved in enumerate(waiting, start=1):
            self.update(db, moved, place=float(number))

    def log_alert(self, run_id: str, kind: str, level: str, step: int, reason: str) -> None:
        """Remembers an alert."""
        with self.writing() as db:
            row = (run_id, kind, level, step, time.time(), reason)
            db.execute("INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?)", row)

    def alerts(self, run_id: str, most: int = 200) -> list[sqlite3.Row]:
        """The newest remembered alerts of a run, oldest first: kind, level, step, time, reason."""
        with self._connected() as db:
            sql = "SELECT kind, level, step, time, reason FROM alerts WHERE run_id = ? ORDER BY time DESC LIMIT ?"
            return db.execute(sql, (run_id, most)).fetchall()[::-1]


def _entry(row: sqlite3.Row) -> Entry | None:
    """The row; None for a draft that this version cannot read, whose run folder then is all there is."""
    values = dict(row)
    try:
        return Entry(**{**values, "draft": _read_draft(values["draft"]), "killed": bool(values["killed"])})
    except (InputError, KeyError, TypeError, ValueError):
        return None


@lru_cache(maxsize=1024)
def _read_draft(text: str) -> AnyDraft:
    return read_draft(json.loads(text))
