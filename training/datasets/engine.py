"""An import from its source to a trajectory file: streamed, in several processes, and resumed after a stop.

The main process reads raw records and hands them to workers in batches; their results come back in the source's order
and are written as they come, so the same source gives the same file with any number of workers. Held in memory are
two batches a worker, the ids seen, and, where records are single steps, the tasks that are not complete.

Beside the output lie, while the import runs, `FILE.partial` (the lines so far) and `FILE.import.json` (how far they
go). The same command after a stop or a crash goes on from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import accumulate, islice
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

import orjson

from executors.errors import InputError, OutputError, WorkbenchError
from executors.files import partial_path
from training.datasets.base import Importer, ImportOptions, RawRecord
from training.datasets.conversion import Converted, convert, convert_in_worker, dump, start_worker
from training.datasets.grouping import Group, Groups, merge
from training.datasets.registry import load_importer
from training.datasets.report import ImportReport, Problem
from training.datasets.screens import ScreenStore

STATE_VERSION = 1
SAVE_SECONDS = 5.0
"""How often the state is written; as much work is done again after a crash."""

_IMAGE = re.compile(r'"image": ?"([^"\\]+_images/[0-9a-f]{24}\.\w+)"')

BATCH_RECORDS = 64
BATCH_BYTES = 8 * 1024 * 1024
"""A batch ends at either; a single record may be larger."""


def run_import(
    name: str,
    options: ImportOptions,
    out: Path,
    *,
    num_workers: int = 1,
    limit: int | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> ImportReport:
    """Imports a data set into a trajectory file and returns the report; with nothing kept, no file is made or changed.

    Args:
        name: the data set, one of `registry.IMPORTERS`.
        options: its path and the choices of its importer.
        out: the trajectory file; screenshots go to `<stem>_images/` beside it.
        num_workers: processes that convert; 1 converts in this one.
        limit: stop after so many trajectories; None reads all.
        tell: gets messages for a person, such as that an earlier import goes on.

    Raises:
        MissingFileError: the source does not exist.
        InputError: an option is wrong, or an unfinished import of something else lies beside `out`.
        OutputError: `out` cannot be written, or another import writes it.
        KeyboardInterrupt: stopped by Ctrl+C or SIGTERM; the same call goes on.
    """
    screens = out.parent / f"{out.stem}_images"
    importer = load_importer(name)(options, ScreenStore(screens))
    partial = partial_path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as file, _only_writer(file, partial):
            run = _Import(name=name, importer=importer, out=out, file=file, limit=limit)
            tell_of = run.resume()
            if tell_of:
                tell(tell_of)
            run.convert_all(num_workers, screens)
            file.flush()
            run.remove_unused(partial)
            if run.report.num_trajectories:
                partial.replace(out)
            else:
                partial.unlink()
            run.state_path.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, WorkbenchError):
            raise
        raise OutputError(f"cannot write {out} ({error.strerror or error}): choose a folder you may write") from None
    return run.report


@contextlib.contextmanager
def _only_writer(file: IO[bytes], partial: Path) -> Iterator[None]:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.fstat(file.fileno()).st_ino == partial.stat().st_ino  # else it has just become the output
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    if not is_ours:
        raise OutputError(f"another import is writing {partial}: wait for it or choose another --out")
    yield


@dataclass(slots=True)
class _Import:
    """The state of one import: what is written, what was seen, and how far the source is read."""

    name: str
    importer: Importer
    out: Path
    file: IO[bytes]
    limit: int | None
    report: ImportReport = field(init=False)
    groups: Groups = field(init=False)
    seen: dict[str, list[str]] = field(default_factory=dict)
    unused: set[str] = field(default_factory=set)
    file_index: int = 0
    num_read: int = 0
    saved_at: float = field(default_factory=time.monotonic)
    is_stopped: bool = False

    def __post_init__(self) -> None:
        self.report = ImportReport(dataset=self.name, path=str(self.importer.options.path))
        self.groups = Groups(is_run=self.importer.grouping == "run")

    @property
    def state_path(self) -> Path:
        """Where the state of this import lies while it runs."""
        return self.out.with_name(self.out.name + ".import.json")

    @property
    def _is_full(self) -> bool:
        return self.limit is not None and self.report.num_trajectories >= self.limit

    # ------------------------------------------------------------------------------------------- stop and go on

    def resume(self) -> str:
        """Takes up an unfinished import of the same source and says so; else begins anew and says nothing."""
        state = self._load_state()
        self.file.truncate(state["num_bytes"] if state else 0)
        self.file.seek(0, os.SEEK_END)
        if not state:
            return ""
        self.report = ImportReport.from_json(state["report"])
        self.seen, self.unused = state["seen"], set(state["unused"])
        self.file_index, self.num_read = state["file_index"], state["num_read"]
        self.groups.load(state["groups"])
        return f"going on after {self.report.num_records_read} records of an unfinished import"

    def _load_state(self) -> dict[str, Any] | None:
        try:
            state = orjson.loads(self.state_path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            state = {}
        if not isinstance(state, dict) or state.get("source") != self._source():
            raise InputError(
                f"{self.state_path} belongs to an unfinished import of something else, or with other options: "
                "repeat that command to go on with it, or remove this file to begin anew"
            )
        return state

    def _source(self) -> dict[str, Any]:
        """What must be equal for an unfinished import to go on: the files, the options, the form of the state."""
        options = self.importer.options
        digest = hashlib.blake2b(digest_size=16)
        for path in self.importer.files:
            stat = path.stat()
            digest.update(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return {
            "version": STATE_VERSION, "dataset": self.name, "files": digest.hexdigest(), "split": options.split,
            "crop": options.crop, "images": None if options.images is None else str(options.images.resolve()),
            "limit": self.limit,
        }

    def save_state(self) -> None:
        """Writes how far the import is, so that it can go on from here."""
        self.file.flush()
        state = {
            "source": self._source(), "num_bytes": self.file.tell(), "file_index": self.file_index,
            "num_read": self.num_read, "report": self.report.to_json(), "seen": self.seen,
            "unused": sorted(self.unused), "groups": self.groups.to_json(),
        }
        temporary = self.state_path.with_name(self.state_path.name + ".partial")
        temporary.write_text(json.dumps(state), encoding="utf-8")
        temporary.replace(self.state_path)
        self.saved_at = time.monotonic()

    @contextlib.contextmanager
    def _stopping_cleanly(self) -> Iterator[None]:
        """A first Ctrl+C or SIGTERM stops between two records; a second one as always."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in signals}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def stop(number: int, frame: object) -> None:
            self.is_stopped = True
            restore()

        for number in signals:
            signal.signal(number, stop)
        try:
            yield
        finally:
            restore()

    # ------------------------------------------------------------------------------------------- read and convert

    def convert_all(self, num_workers: int, screens: Path) -> None:
        """Reads to the end, or to the limit, or until it is stopped."""
        work = self._in_workers if num_workers > 1 else self._in_this_process
        with self._stopping_cleanly(), warnings.catch_warnings(), self._progress() as progress:
            warnings.simplefilter("ignore", SyntaxWarning)  # odd escapes in recorded code, which is only parsed
            for file_index, num_read, end_bytes, record in work(num_workers, screens):
                self._take(record)
                self.file_index, self.num_read = file_index, num_read
                progress(file_index, end_bytes)
                if self._is_full:
                    break
                if self.is_stopped:
                    self.save_state()
                    raise KeyboardInterrupt
                if time.monotonic() - self.saved_at > SAVE_SECONDS:
                    self.save_state()
        self._take_groups(self.groups.flush())

    def _raws(self) -> Iterator[tuple[int, int, RawRecord]]:
        """(file number, records of it read so far with this one, raw record) from where the import stands."""
        for index in range(self.file_index, len(self.importer.files)):
            start = self.num_read if index == self.file_index else 0
            raws = islice(self.importer.read(self.importer.files[index]), start, None)
            for number, raw in enumerate(raws, start=start + 1):
                yield index, number, raw

    def _in_this_process(self, num_workers: int, screens: Path) -> Iterator[tuple[int, int, int, Converted]]:
        for index, number, raw in self._raws():
            yield index, number, raw.end_bytes, convert(self.importer, raw)

    def _in_workers(self, num_workers: int, screens: Path) -> Iterator[tuple[int, int, int, Converted]]:
        pool = ProcessPoolExecutor(
            num_workers, mp_context=get_context("spawn"), initializer=start_worker,
            initargs=(self.name, self.importer.options, screens),
        )
        raws = self._raws()
        waiting: deque[tuple[list[tuple[int, int, int]], Future[list[Converted]]]] = deque()
        try:
            while True:
                while len(waiting) < 2 * num_workers and (batch := list(self._batch(raws, waiting))):
                    places = [(index, number, raw.end_bytes) for index, number, raw in batch]
                    waiting.append((places, pool.submit(convert_in_worker, [raw for _, _, raw in batch])))
                if not waiting:
                    return
                places, future = waiting.popleft()
                for place, record in zip(places, future.result(), strict=True):
                    yield *place, record
        except BrokenProcessPool:
            self.save_state()
            raise OutputError(
                "a worker process was ended from outside (often for want of memory): run the same command again with "
                "fewer --workers, and it goes on where it was"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _batch(
        self, raws: Iterator[tuple[int, int, RawRecord]], waiting: deque[tuple[list, Future]]
    ) -> Iterator[tuple[int, int, RawRecord]]:
        """The next records for a worker; never more under way than may still be kept."""
        room = BATCH_RECORDS
        if self.limit is not None:
            under_way = sum(len(places) for places, _ in waiting)
            room = min(room, self.limit - self.report.num_trajectories - under_way)
        num_bytes = 0
        while room > 0 and num_bytes < BATCH_BYTES and (item := next(raws, None)) is not None:
            room -= 1
            num_bytes += item[2].num_bytes
            yield item

    def remove_unused(self, partial: Path) -> None:
        """Deletes the screenshots of records that were converted and then left out, unless a kept one shows them."""
        if not self.unused:
            return
        with partial.open(encoding="utf-8") as lines:
            for line in lines:
                self.unused.difference_update(_IMAGE.findall(line))
        for name in self.unused:
            (self.out.parent / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _progress(self) -> Iterator[Callable[[int, int], None]]:
        """A bar of the bytes read, on standard error when that is a terminal."""
        from tqdm import tqdm

        sizes = [path.stat().st_size for path in self.importer.files]
        starts = [0, *accumulate(sizes)]
        with tqdm(total=sum(sizes), desc=self.name, unit="B", unit_scale=True, disable=None, file=sys.stderr,
                  dynamic_ncols=True) as bar:

            def show(file_index: int, end_bytes: int) -> None:
                if bar.disable:
                    return
                bar.n = starts[file_index] + end_bytes
                bar.set_postfix_str(f"{self.report.num_records_read} records, {self.report.num_trajectories} kept",
                                    refresh=False)
                bar.update(0)

            yield show

    # ------------------------------------------------------------------------------------------- write and count

    def _take(self, record: Converted) -> None:
        """Counts a result, and writes the trajectories that it ends."""
        report = self.report
        report.num_records_read += record.num_records
        if record.skip is not None:
            self._skip(record, record.skip.reason, record.skip.field, record.skip.message)
        elif record.place is None:
            self._write(record.id, record.line, [record], record.num_steps)
        else:
            self._take_groups(self.groups.add(record))

    def _take_groups(self, groups: list[Group]) -> None:
        for group in groups:
            records, behind = group.split_at_gap()
            for record in group.repeated:
                self._skip(record, "repeated record", "(record)", f"step {record.place.step} of {group.key!r} again")
            for record in behind:
                self._skip(record, "after a missing step", "(record)",
                           f"step {record.place.step} of {group.key!r}: only {len(records)} steps before it are there")
            if not records:
                continue
            expected = group.num_steps if group.num_steps is not None else len(group.steps)
            line, num_steps, num_closing = merge(records, max(0, expected - len(records)))
            if num_closing:
                records[0].notes.repair("terminate before the end", "(record)", "steps follow it",
                                        f"{num_closing} steps left out")
                records[0].notes.skipped_steps["terminate before the end"] += num_closing
            self._write(records[0].id, line, records, num_steps)

    def _write(self, record_id: str, line: bytes, records: list[Converted], num_steps: int) -> None:
        """Writes a trajectory under an id of its own, unless it is an earlier one again."""
        if self._is_full:
            for record in records:
                self._skip(record, "beyond the limit", "", "")
            return
        digest = hashlib.blake2b(line, digest_size=16).hexdigest()
        earlier = self.seen.setdefault(record_id, [])
        name = self.importer.id_field
        if digest in earlier:
            for record in records:
                self._skip(record, "repeated record", name, f"the same trajectory as an earlier one, {record_id!r}")
            return
        earlier.append(digest)
        if len(earlier) > 1:
            unique = f"{record_id}#{len(earlier)}"
            records[0].notes.repair("id used twice", name, f"{record_id!r} names another record too",
                                    f"kept as {unique!r}")
            line = dump({**orjson.loads(line), "id": unique})
        self.file.write(line)
        report = self.report
        report.num_trajectories += 1
        report.num_steps_kept += num_steps
        for record in records:
            notes = record.notes
            report.num_records_kept += 1
            report.num_records_repaired += bool(notes.repairs)
            report.num_steps_skipped += notes.skipped_steps.total()
            report.num_steps_added += notes.num_steps_added
            report.num_instructions_generated += notes.num_instructions_generated
            if notes.repairs or notes.skipped_steps:
                report.repairs.update(notes.repairs)
                report.skipped_steps.update(notes.skipped_steps)
            self._note(record)

    def _skip(self, record: Converted, reason: str, name: str, message: str) -> None:
        report = self.report
        report.num_records_skipped += record.num_records
        report.skipped_records[reason] += record.num_records
        num_steps = record.notes.num_source_steps or record.num_steps
        report.num_steps_skipped += num_steps
        report.skipped_steps += Counter({"of a skipped record": num_steps})
        self.unused.update(_IMAGE.findall(record.line.decode(errors="replace")))
        self._note(record)
        if name:
            outcome = "record skipped" if record.num_records == 1 else f"{record.num_records} records skipped"
            self._problem(record, name, message, outcome)

    def _note(self, record: Converted) -> None:
        for name, message, outcome in record.notes.problems:
            self._problem(record, name, message, outcome)

    def _problem(self, record: Converted, name: str, message: str, outcome: str) -> None:
        self.report.add_problem(
            Problem(file=record.file, line=record.number, record=record.notes.record, field=name, message=message,
                    outcome=outcome)
        )

