"""TFRecord shards: what comes out of GZIP files that are cut, joined or followed by zeros."""

from __future__ import annotations

import gzip
import random
import zlib
from pathlib import Path

import pytest

from tests.training.datasets.formats import tfrecord
from training.datasets.tfrecords import read_records

RECORDS = [random.Random(seed).randbytes(400) + bytes(20_000) for seed in range(3)]


def read(path: Path, data: bytes) -> tuple[list[bytes], list[str]]:
    """(the records of a file of these bytes, the reasons of its problems)."""
    path.write_bytes(data)
    raws = list(read_records(path))
    return [raw.data for raw in raws if raw.problem is None], [raw.problem.reason for raw in raws if raw.problem]


@pytest.mark.parametrize(
    "stored",
    [
        tfrecord(*RECORDS),
        gzip.compress(tfrecord(*RECORDS)),
        gzip.compress(tfrecord(RECORDS[0])) + gzip.compress(b"") + gzip.compress(tfrecord(*RECORDS[1:])),
        gzip.compress(tfrecord(*RECORDS)) + bytes(100_000),
        gzip.compress(tfrecord(RECORDS[0])) + bytes(3) + gzip.compress(tfrecord(*RECORDS[1:])),
    ],
    ids=["plain", "gzip", "joined", "zeros behind", "zeros between"],
)
def test_all_records_of_a_whole_file_are_read(tmp_path: Path, stored: bytes) -> None:
    assert read(tmp_path / "shard", stored) == (RECORDS, [])


def test_a_cut_gzip_file_gives_the_records_before_the_cut(tmp_path: Path) -> None:
    whole, frame = tfrecord(*RECORDS), len(tfrecord(RECORDS[0]))
    stored = gzip.compress(whole, 1)
    for length in range(2, len(stored), 3):
        before = zlib.decompressobj(wbits=31).decompress(stored[:length])
        expected = (RECORDS[: len(before) // frame], ["rest of the file unreadable"])
        assert read(tmp_path / "shard", stored[:length]) == expected


@pytest.mark.parametrize("place", [-1, -6], ids=["size", "checksum"])
def test_a_wrong_end_of_a_gzip_file_is_told_behind_its_records(tmp_path: Path, place: int) -> None:
    stored = bytearray(gzip.compress(tfrecord(*RECORDS)))
    stored[place] ^= 1
    assert read(tmp_path / "shard", bytes(stored)) == (RECORDS, ["rest of the file unreadable"])


def test_what_follows_a_gzip_file_and_is_none_is_told(tmp_path: Path) -> None:
    stored = gzip.compress(tfrecord(*RECORDS)) + b"not a gzip file at all"
    assert read(tmp_path / "shard", stored)[1] == ["rest of the file unreadable"]
