"""The workbench's SQLite file: how it is opened, brought up to date, read and written.

Several threads and processes may use it at once. It is kept in WAL mode, so readers and a writer do not wait for one
another; a writer waits up to `BUSY_SECONDS` for another. What was committed survives the end of the process, however
it ends; a power cut may take the last seconds, never the file.

The schema's version is SQLite's `user_version`: the number of `MIGRATIONS` that the file has seen. A file that is
older is brought up to date when it is opened, one that is newer is refused.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from sqlite_utils import Database

from executors.errors import InputError, OutputError
from workbench.annotate.tables import add_annotation_tables

FILE_NAME = "workbench.sqlite"
BUSY_SECONDS = 10.0
MAX_ROWS, MAX_OFFSET = 500, 10**9
"""Bounds of a page of a search."""

Migration = Callable[[Database], None]


def _add_episodes(db: Database) -> None:
    """Episodes, their frames, and a full-text index of what a person would search for."""
    # `number` is SQLite's rowid under a name, so that VACUUM cannot renumber the rows that the index points to
    db["episodes"].create(
        {
            "number": int, "id": str, "setup": str, "goal": str, "task": str, "planner": str, "platform": str,
            "state": str, "outcome": str, "stop_reason": str, "created": str, "updated": str, "num_steps": int,
            "owner": str,
        },
        pk="number",
    )
    db["episodes"].create_index(["id"], unique=True)
    for column in ("created", "task", "planner", "outcome", "state"):
        db["episodes"].create_index([column])
    db["episodes"].enable_fts(
        ["id", "goal", "task", "planner"], create_triggers=True, tokenize="unicode61 remove_diacritics 2"
    )
    db["frames"].create(
        {"episode_id": str, "number": int, "has_step": int, "record": str}, pk=("episode_id", "number")
    )


def _add_annotation_queue(db: Database) -> None:
    """Samples of evaluations that wait for an annotator; one row for each sample of a benchmark."""
    db["annotation_queue"].create(
        {
            "number": int, "sample_id": str, "benchmark": str, "evaluation": str, "reason": str, "person": str,
            "created": str,
        },
        pk="number",
    )
    db["annotation_queue"].create_index(["benchmark", "sample_id"], unique=True)


def _add_comparisons(db: Database) -> None:
    """Comparisons of evaluations by their names."""
    db["comparisons"].create(
        {"name": str, "digests": str, "allow_different_prompts": int, "person": str, "created": str}, pk="name"
    )


MIGRATIONS: tuple[Migration, ...] = (_add_episodes, _add_annotation_queue, _add_comparisons, add_annotation_tables)
"""What makes version n of version n - 1. Once released, an entry is never changed; a new one is added at the end."""


class Store:
    """The open file; safe to share between threads."""

    def __init__(self, root: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        """Opens `root`/workbench.sqlite, made when it does not exist, and brings it up to date.

        Raises:
            OutputError: the folder or the file cannot be written.
            InputError: the file is no SQLite file, is damaged, or was made by a newer workbench or another program.
        """
        self.path = root / FILE_NAME
        self._write_lock, self._read_lock = Lock(), Lock()
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make folder {root} ({error.strerror}): choose one that you may write") from None
        with self._reporting():
            self._writer, self._reader = self._connect(), self._connect()
            self._migrate(migrations)

    def _connect(self) -> Database:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, check_same_thread=False)
        db = Database(connection)
        db.enable_wal()
        db.execute("PRAGMA synchronous = NORMAL")
        return db

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        if self.version < len(migrations):
            with self.writing() as db:
                done = self.version  # another process may have been here first
                if done == 0 and db.table_names():
                    raise InputError(
                        f"store {self.path} belongs to another program (it holds table {db.table_names()[0]!r}): move "
                        "it away or choose another folder"
                    )
                for number, migrate in enumerate(migrations[done:], start=done + 1):
                    migrate(db)
                    db.execute(f"PRAGMA user_version = {number}")
        if self.version > len(migrations):
            raise InputError(
                f"store {self.path} was made by a newer workbench (version {self.version}; this one knows versions up "
                f"to {len(migrations)}): update the workbench or choose another folder"
            )

    @property
    def version(self) -> int:
        """The schema's version: how many migrations the file has seen."""
        return self._writer.execute("PRAGMA user_version").fetchone()[0]

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """The file inside one transaction, which is committed at the end and undone when anything is raised.

        Raises:
            OutputError: the disk is full or read-only, or another process held the file for `BUSY_SECONDS`.
            InputError: the file is damaged.
        """
        with self._write_lock, self._reporting():
            self._writer.execute("BEGIN IMMEDIATE")  # a transaction that turns into a writer later may be refused
            try:
                yield self._writer
            except BaseException:
                self._writer.rollback()
                raise
            self._writer.commit()

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """The file as it is at one moment, whatever is written meanwhile; raises as `writing` does."""
        with self._read_lock, self._reporting():
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.rollback()

    def close(self) -> None:
        """Closes the file; the store cannot be used afterwards."""
        self._writer.close()
        self._reader.close()

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """The boundary at which SQLite's errors become sentences."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of the code only says more precisely where
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise InputError(
                    f"store {self.path} is damaged or no SQLite file ({error}): put a copy back, or move the file away "
                    "and a new one is made"
                ) from error
            raise OutputError(
                f"cannot use store {self.path} ({error}): free the disk, or choose a folder that you may write"
            ) from error


def utc_now() -> str:
    """The present moment as ISO text in UTC, to the millisecond; such texts sort by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def check_choice(name: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    """Does nothing for an allowed value; raises InputError naming the field for any other."""
    if value not in allowed:
        raise InputError(f"field {name!r}: {value!r} is not one of {', '.join(filter(None, allowed))}")


def storable(text: str) -> str:
    """The text with "?" for half a surrogate pair, which SQLite cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def match_words(text: str) -> str:
    """A full-text query for all words of the text, each as a beginning; empty when nothing is a word.

    >>> match_words("wi-fi - on")
    '"wi-fi"* "on"*'
    """
    words = [word for word in text.replace("\0", " ").split() if any(map(str.isalnum, word))]
    return " ".join('"' + storable(word).replace('"', '""') + '"*' for word in words)
