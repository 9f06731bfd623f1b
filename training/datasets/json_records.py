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
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(\\?+"?)|[{}\[\]]', re.DOTALL)
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
    """The scan of one array: a window of the file, and how far it was read."""

    file: Path
    stream: IO[bytes]
    window: bytes = b""
    start_bytes: int = 0
    is_at_end: bool = False
    is_closed: bool = False
    number: int = 0
    start_of_record: re.Pattern[bytes] | None = None

    def read(self) -> Iterator[RawRecord]:
        self._fill()
        self._drop(self.window.index(b"[") + 1)
        record: RawRecord | None = None
        while True:
            begin = self.window.find(b"{")
            if begin < 0 and not self.is_at_end:
                yield from self._between(self.window)
                self._drop(len(self.window))
                self._fill()
                continue
            yield from self._between(self.window if begin < 0 else self.window[:begin])
            if begin < 0:
                break
            self._drop(begin)
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
        """The record at the window's beginning, or the problem that it is, and the window moved behind it."""
        self.number += 1
        length = self._find_end()
        if length is not None and self._is_one_record(length):
            data = self.window[:length]
            self._drop(length)
            return self._record(None, data)
        self._find_next_start()
        return self._record(Skip("not JSON", "(record)", "brackets or quotes do not match, or cut off"))

    def _find_end(self) -> int | None:
        """Length of the record at the window's beginning; None when it is cut off or too long."""
        depth = place = 0
        while True:
            match = _TOKEN.search(self.window, place)
            is_string = match is not None and match[0].startswith(b'"')
            if match is None or (is_string and match[1] != b'"'):  # the window ends outside, or inside, a string
                if self.is_at_end or len(self.window) > MAX_RECORD_BYTES:
                    return None
                place = len(self.window) if match is None else match.start()
                self._fill()
                continue
            place = match.end()
            if not is_string:
                depth += 1 if match[0] in b"{[" else -1
                if depth == 0:
                    return place

    def _is_one_record(self, length: int) -> bool:
        """False when the bytes swallowed the beginning of other records and are no JSON."""
        if self.start_of_record is None:
            begin = _START.match(self.window[:length])
            self.start_of_record = re.compile(rb"\{\s*" + re.escape(begin[1]) + rb"\s*:" if begin else rb"\{")
        if self.start_of_record.search(self.window, 1, length) is None:
            return True
        try:
            parse_object(self.window[:length])
        except Skip:
            return False
        return True

    def _find_next_start(self) -> None:
        """Moves the window to where the next record seems to begin, or to the file's end."""
        pattern = self.start_of_record or _START
        self._drop(1)
        while (match := pattern.search(self.window)) is None and not self.is_at_end:
            self._drop(max(0, len(self.window) - 256))  # a beginning may lie across the window's end
            self._fill()
        self._drop(len(self.window) if match is None else match.start())

    def _fill(self) -> None:
        chunk = self.stream.read(max(_CHUNK_BYTES, len(self.window)))
        self.is_at_end = not chunk
        self.window += chunk

    def _drop(self, num_bytes: int) -> None:
        self.window = self.window[num_bytes:]
        self.start_bytes += num_bytes
