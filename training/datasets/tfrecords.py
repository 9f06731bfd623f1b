"""TFRecord files without TensorFlow: framing, checksums, and the tf.train.Example message.

A record is its length (8 bytes), the masked CRC-32C of the length (4), the data, and the masked CRC-32C of the data
(4), all little-endian. Both checksums are verified, so that a flipped byte costs one record and is told. (The package
`tfrecord` verifies none, ends a GZIP file where the compressed size is reached, and keeps one value of a list of
bytes.)

Source: tensorflow/core/lib/io/record_writer.h and tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import google_crc32c
from google.protobuf.message import DecodeError
from isal import igzip_lib

from training.datasets.base import RawRecord
from training.datasets.json_records import unreadable
from training.datasets.protos import build_messages
from training.datasets.skip import Skip

MAX_RECORD_BYTES = 512 * 1024 * 1024
"""Longest record that is held; an AndroidControl episode of 30 screens has about 30 megabytes."""

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")

_MESSAGES = build_messages(
    "tf",
    {
        "BytesList": "value=1:bytes*",
        "FloatList": "value=1:float*",
        "Int64List": "value=1:int64*",
        "Feature": "bytes_list=1:BytesList float_list=2:FloatList int64_list=3:Int64List",
        "FeatureEntry": "key=1:string value=2:Feature",
        "Features": "feature=1:FeatureEntry*",
        "Example": "features=1:Features",
    },
)
Example = _MESSAGES["Example"]
"""The tf.train.Example message; its map of features is the list of entries that a map is on the wire."""


def masked_crc(data: bytes) -> int:
    """The checksum as TFRecord files hold it.

    >>> hex(masked_crc(b"123456789"))
    '0xc78ab0e5'
    """
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(file: Path) -> Iterator[RawRecord]:
    """The records of a TFRecord file, GZIP or plain; `data` is the record's bytes.

    A record with a wrong checksum is a problem, and reading goes on behind it. Where a length is wrong or the GZIP
    stream is damaged nobody can tell where the next record begins: one problem stands for the rest of the file.
    """
    number = 0
    try:
        with file.open("rb") as stored:
            is_gzip = stored.peek(2)[:2] == b"\x1f\x8b"
            stream = io.BufferedReader(_Gunzip(stored)) if is_gzip else stored
            while True:
                number += 1
                raw = _read_record(stream, file, number)
                if raw is None:
                    return
                data, problem = raw
                yield RawRecord(file=str(file), number=number, data=data, num_bytes=len(data),
                                end_bytes=stored.tell(), problem=problem)
    except (OSError, EOFError) as error:
        yield unreadable(file, number, error)


_TRAILER_BYTES = 8
_CHUNK_BYTES = 64 * 1024


class _Gunzip(io.RawIOBase):
    """What a GZIP file holds, by ISA-L, which takes half the time of `gzip`.

    What lies before a cut is handed out before the error, as `gzip` does and ISA-L's own reader does not. So the last
    bytes, the checksum, must not be given to ISA-L together with data: they are held back.
    """

    def __init__(self, stored: IO[bytes]) -> None:
        self._stored = stored
        self._waiting = b""
        self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills some of the buffer and returns how much; 0 at the file's end.

        Raises:
            OSError: the file is damaged.
            EOFError: it is cut off.
        """
        while True:
            if self._member.eof:
                rest = (self._member.unused_data + self._waiting).lstrip(b"\0")  # zeros may follow a member
                while not rest and (read := self._stored.read(_CHUNK_BYTES)):
                    rest = read.lstrip(b"\0")
                if not rest:
                    return 0
                self._waiting = rest
                self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            try:
                found = self._member.decompress(self._next() if self._member.needs_input else b"", len(buffer))
            except igzip_lib.IsalError as error:
                raise OSError(str(error)) from None
            buffer[: len(found)] = found
            if found:
                return len(found)

    def _next(self) -> bytes:
        """The next stored bytes, of the last ones those of the trailer apart."""
        read = self._stored.read(_CHUNK_BYTES)
        data = self._waiting + read
        if not data:
            raise EOFError("the GZIP stream is cut off")
        num_bytes = max(0, len(data) - _TRAILER_BYTES) if read else len(data)
        self._waiting = data[num_bytes:]
        return data[:num_bytes]


def _read_record(stream: IO[bytes], file: Path, number: int) -> tuple[bytes, Skip | None] | None:
    """(data, what is wrong with it); None at the file's end.

    Raises:
        OSError: the frame is broken.
    """
    header = _read_exactly(stream, _HEADER.size, may_end=True)
    if not header:
        return None
    length, length_crc = _HEADER.unpack(header)
    if masked_crc(header[:8]) != length_crc:
        raise OSError("the checksum of a record's length is wrong")
    if length > MAX_RECORD_BYTES:
        raise OSError(f"a record of {length} bytes is longer than {MAX_RECORD_BYTES}")
    data = _read_exactly(stream, length)
    (data_crc,) = _FOOTER.unpack(_read_exactly(stream, _FOOTER.size))
    if masked_crc(data) != data_crc:
        return b"", Skip("wrong checksum", "(record)", f"the checksum of its {length} bytes is wrong")
    return data, None


def _read_exactly(stream: IO[bytes], num_bytes: int, *, may_end: bool = False) -> bytes:
    data = stream.read(num_bytes)
    if len(data) < num_bytes and not (may_end and not data):
        raise EOFError(f"cut off: {len(data)} of {num_bytes} bytes are there")
    return data


def read_example(data: bytes) -> dict[str, list]:
    """The features of a tf.train.Example by name: lists of bytes, floats or whole numbers.

    Raises:
        Skip: the bytes are no such message.
    """
    try:
        entries = Example.FromString(data).features.feature
    except DecodeError as error:
        raise Skip("not an Example", "(record)", f"not a tf.train.Example ({error})") from None
    found: dict[str, list] = {}
    for entry in entries:
        for _, value in entry.value.ListFields()[:1]:
            found[entry.key] = value.value
    return found
