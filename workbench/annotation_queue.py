"""Samples that wait for an annotator: which recorded step, why, who sent it and when. Kept in the workbench's store."""

from __future__ import annotations

from dataclasses import dataclass

from executors.errors import InputError
from workbench.episode_store import utc_now
from workbench.store import Store

MAX_REASON = 400
"""Characters of a reason."""
MAX_NAME = 400
"""Characters of an id or a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedSample:
    """One waiting sample.

    `sample_id` is the recorded step's, "<episode>/<step>"; `evaluation` the stored evaluation that it was found in;
    `person` is empty where nobody logs in; `created` is ISO text in UTC.
    """

    number: int
    sample_id: str
    benchmark: str
    evaluation: str
    reason: str
    person: str
    created: str


class AnnotationQueue:
    """The waiting samples of a store; safe to use from several threads and processes."""

    def __init__(self, store: Store) -> None:
        """The queue of this store."""
        self._store = store

    def add(self, *, sample_id: str, benchmark: str, evaluation: str, reason: str, person: str = "") -> bool:
        """Puts a sample at the end; False when this sample of this benchmark waits already, which changes nothing.

        Raises:
            InputError: a name is empty or too long.
            OutputError: the store cannot be written.
        """
        for field, text in (("sample_id", sample_id), ("benchmark", benchmark), ("evaluation", evaluation)):
            if not text or len(text) > MAX_NAME:
                raise InputError(f"field '{field}': {text[:60]!r} is not allowed: give 1..{MAX_NAME} characters")
        if len(reason) > MAX_REASON:
            raise InputError(f"field 'reason' has {len(reason)} characters: give at most {MAX_REASON}")
        row = (sample_id, benchmark, evaluation, reason, person, utc_now())
        with self._store.writing() as db:
            cursor = db.execute(
                "INSERT OR IGNORE INTO annotation_queue (sample_id, benchmark, evaluation, reason, person, created) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
            return cursor.rowcount == 1

    def list(self, *, limit: int = 500, offset: int = 0) -> list[QueuedSample]:
        """The waiting samples, the longest waiting first."""
        sql = (
            "SELECT number, sample_id, benchmark, evaluation, reason, person, created FROM annotation_queue "
            "ORDER BY number LIMIT ? OFFSET ?"
        )
        names = ("number", "sample_id", "benchmark", "evaluation", "reason", "person", "created")
        with self._store.reading() as db:
            rows = db.execute(sql, (limit, offset)).fetchall()
        return [QueuedSample(**dict(zip(names, row, strict=True))) for row in rows]

    def count(self) -> int:
        """How many wait."""
        with self._store.reading() as db:
            return db.execute("SELECT count(*) FROM annotation_queue").fetchone()[0]

    def waiting_ids(self, benchmark: str) -> set[str]:
        """The ids of a benchmark's samples that wait."""
        with self._store.reading() as db:
            rows = db.execute("SELECT sample_id FROM annotation_queue WHERE benchmark = ?", (benchmark,)).fetchall()
        return {row[0] for row in rows}

    def remove(self, number: int) -> bool:
        """Takes a sample out; False when it was not there."""
        with self._store.writing() as db:
            return db.execute("DELETE FROM annotation_queue WHERE number = ?", (number,)).rowcount == 1
