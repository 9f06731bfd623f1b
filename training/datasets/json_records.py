"""JSON files as raw records: one object a line, one object a file, or the objects of one large array.

Nothing is read whole but one record at a time. An array that is damaged inside one record is found again at the next
one: records are told apart by brackets outside strings, and where that goes wrong, by how the first record began.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from training.datasets.base import RawRecord
from training.datasets.skip import Skip

MAX_RECORD_BYTES = 64 * 1024 * 1024
"""Longest record that is parsed; real ones are below one megabyte."""

_CHUNK_BYTES = 1024 * 1024
_STRING = rb'"[^"]*+(?<!\\)"|"(?:[^"\\]++|\\.)*+"'  # the first, much faster, is one without quotes in it
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + _STRING + rb')*+([{}\[\]]?)', re.DOTALL)
_START = re.compile(rb'\{\s*("(?:[^"\\]|\\.){0,100}")\s*:')
_BLANK = b" \t\r\n"


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object of a record's bytes; halves of surrogate pairs, which no file can hold, become "?".

    Raises:
        Skip: not UTF-8, not JSON, cut off, or not an object.
    """
    try:
        record = orjson.loads(data)
    except ValueError:
        record = _parse_slowly(data)
    if not isinstance(record, dict):
        raise Skip("not an object", "(record)", f"a {type(record).__name__}, not a JSON object")
    return record


def _parse_slowly(data: bytes) -> Any:
    """What orjson refuses and Python's own parser takes: a byte order mark, NaN, half a surrogate pair."""
    try:
        record = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Skip("not JSON", "(record)", f"not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise Skip("not JSON", "(record)", f"not JSON, or cut off ({error})") from None
    return _mend_text(record) if b"\\ud" in data.lower() else record


def _mend_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_mend_text(item) for item in value]
    if isinstance(value, dict):
        return {_mend_text(key): _mend_text(item) for key, item in value.items()}
    return value


def read_lines(file: Path) -> Iterator[RawRecord]:
    """The lines of a JSON Lines file that are not blank; a line that is too long is never held."""
    number = end_bytes = 0
    try:
        with file.open("rb") as lines:
            while line := lines.readline(MAX_RECORD_BYTES + 1):
                number += 1
                end_bytes += len(line)
                if not line.strip():
                    continue
                problem = None
                if len(line) > MAX_RECORD_BYTES:
                    problem = Skip("record too long", "(record)", f"longer than {MAX_RECORD_BYTES} bytes")
                    while line and not line.endswith(b"\n"):
                        line = lines.readline(MAX_RECORD_BYTES)
                        end_bytes += len(line)
                    line = b""
                yield RawRecord(file=str(file), number=number, data=line, num_bytes=len(line), end_bytes=end_bytes,
                                problem=problem)
    except OSError as error:
        yield unreadable(file, number + 1, error)


def read_whole(file: Path) -> Iterator[RawRecord]:
    """The file as one record."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_RECORD_BYTES + 1)
    except OSError as error:
        yield unreadable(file, 1, error)
        return
    problem = None
    if len(data) > MAX_RECORD_BYTES:
        data, problem = b"", Skip("record too long", "(record)", f"longer than {MAX_RECORD_BYTES} bytes")
    yield RawRecord(file=str(file), number=1, data=data, num_bytes=len(data), end_bytes=len(data), problem=problem)


def unreadable(file: Path, number: int, error: Exception) -> RawRecord:
    """The record that stands for the rest of a file that cannot be read on."""
    message = f"cannot be read on, and what follows is lost ({error})"
    return RawRecord(file=str(file), number=number, problem=Skip("rest of the file unreadable", "(file)", message))


def read_array_or_lines(file: Path) -> Iterator[RawRecord]:
    """The objects of a JSON array when the file begins with one, else its lines."""
    try:
        with file.open("rb") as stream:
            head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
    except OSError as error:
        yield unreadable(file, 1, error)
        return
    yield from _read_array(file) if head.startswith(b"[") else read_lines(file)


def _read_array(file: Path) -> Iterator[RawRecord]:
    try:
        with file.open("rb") as stream:
            yield from _ArrayReader(file, stream).read()
    except OSError as error:
        yield unreadable(file, 1, error)


@dataclass(slots=True)
class _ArrayReader:
    """The scan of one array: a window of the file, where in it the scan stands, and how far that is in the file."""

    file: Path
    stream: IO[bytes]
    window: bytes = b""
    place: int = 0
    start_bytes: int = 0
    is_at_end: bool = False
    is_closed: bool = False
    number: int = 0
    start_of_record: re.Pattern[bytes] | None = None

    def read(self) -> Iterator[RawRecord]:
        self._fill()
        self._move_to(self.window.index(b"[") + 1)
        record: RawRecord | None = None
        while True:
            begin = self.window.find(b"{", self.place)
            gap = self.window[self.place : begin if begin >= 0 else len(self.window)]
            yield from self._between(gap)
            if begin < 0 and self.is_at_end:
                break
            if begin < 0:
                self._move_to(len(self.window))
                self._fill()
                continue
            self._move_to(begin)
            record = self._next()
            yield record
        if not self.is_closed and (record is None or record.problem is None):
            self.number += 1
            yield self._record(Skip("not JSON", "(file)", "the array does not end: the file is cut off"))

    def _between(self, gap: bytes) -> Iterator[RawRecord]:
        """What stands between records and is neither blank nor a comma nor the array's end."""
        self.is_closed = b"]" in gap or (self.is_closed and not gap.strip(_BLANK))
        text = gap.strip(_BLANK + b",]")
        if text:
            self.number += 1
            yield self._record(Skip("not an object", "(record)", f"{text[:60]!r} stands between the records"))

    def _record(self, problem: Skip | None, data: bytes = b"") -> RawRecord:
        return RawRecord(
            file=str(self.file), number=self.number, data=data, num_bytes=len(data), end_bytes=self.start_bytes,
            problem=problem,
        )

    def _next(self) -> RawRecord:
        """The record at the scan's place, or the problem that it is, and the scan moved behind it."""
        self.number += 1
        length = self._find_length()
        if length is not None:
            data = self.window[self.place : self.place + length]
            if self._is_one_record(data):
                self._move_to(self.place + length)
                return self._record(None, data)
        self._find_next_start()
        return self._record(Skip("not JSON", "(record)", "brackets or quotes do not match, or cut off"))

    def _find_length(self) -> int | None:
        """Length of the record at the scan's place; None when it is cut off or too long."""
        depth = length = 0
        while True:
            match = _TO_BRACKET.match(self.window, self.place + length)
            length = match.end() - self.place
            if not match[1]:  # the window ends, inside a string or outside
                if self.is_at_end or len(self.window) - self.place > MAX_RECORD_BYTES:
                    return None
                self._fill()
                continue
            depth += 1 if match[1] in b"{[" else -1
            if depth == 0:
                return length

    def _is_one_record(self, data: bytes) -> bool:
        """False when the bytes swallowed the beginning of other records and are no JSON."""
        if self.start_of_record is None:
            begin = _START.match(data)
            self.start_of_record = re.compile(rb"\{\s*" + re.escape(begin[1]) + rb"\s*:" if begin else rb"\{")
        if self.start_of_record.search(data, 1) is None:
            return True
        try:
            parse_object(data)
        except Skip:
            return False
        return True

    def _find_next_start(self) -> None:
        """Moves the scan to where the next record seems to begin, or to the file's end."""
        pattern = self.start_of_record or _START
        self._move_to(self.place + 1)
        while (match := pattern.search(self.window, self.place)) is None and not self.is_at_end:
            self._move_to(max(self.place, len(self.window) - 256))  # a beginning may lie across the window's end
            self._fill()
        self._move_to(len(self.window) if match is None else match.start())

    def _fill(self) -> None:
        """Reads on, and drops from the window what the scan has passed."""
        rest = self.window[self.place :]
        chunk = self.stream.read(max(_CHUNK_BYTES, len(rest)))
        self.is_at_end = not chunk
        self.window, self.place = rest + chunk, 0

    def _move_to(self, place: int) -> None:
        self.start_bytes += place - self.place
        self.place = place
