"""JSON lines, files and arrays as raw records; a damaged record costs itself and is told."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.training.datasets.formats import mm_traj_record
from training.datasets import json_records
from training.datasets.base import RawRecord
from training.datasets.json_records import parse_object, read_array_or_lines, read_lines, read_whole
from training.datasets.skip import Skip

RECORDS = [{"id": str(i), "text": text} for i, text in enumerate(['a "b" {', "\\", "]}", "x" * 300, "ü\n"])]


def good(raws: list[RawRecord]) -> list[dict]:
    """The objects of the records that can be read."""
    found = []
    for raw in raws:
        try:
            found.append(parse_object(raw.data) if raw.problem is None else None)
        except Skip:
            found.append(None)
    return [record for record in found if record is not None]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 1_000_000])
def test_an_array_is_read_whole_however_it_is_cut_into_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int, indent: int | None
) -> None:
    monkeypatch.setattr(json_records, "_CHUNK_BYTES", chunk_bytes)
    (tmp_path / "a.json").write_text(json.dumps(RECORDS, indent=indent))
    raws = list(read_array_or_lines(tmp_path / "a.json"))
    assert good(raws) == RECORDS
    assert [raw.number for raw in raws] == [1, 2, 3, 4, 5]
    assert [raw.end_bytes for raw in raws] == sorted(raw.end_bytes for raw in raws)


TEXTS = ("", "a", "id", '"', "{", "}", "]", "[", "\\", '\\"', '":', ',"id":', "ü\u2028", "\n")


def any_value(rng: random.Random, depth: int) -> object:
    """A JSON value whose texts are what a scanner of brackets and quotes stumbles over."""
    kind = rng.random()
    if depth > 3 or kind < 0.4:
        return rng.choice((None, 3, *TEXTS))
    if kind < 0.7:
        return [any_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(TEXTS): any_value(rng, depth + 1) for _ in range(rng.randint(0, 3))}


def test_any_array_of_objects_is_read_as_json_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for seed in range(300):
        rng = random.Random(seed)
        records = [{rng.choice(TEXTS): any_value(rng, 0) for _ in range(rng.randint(0, 3))}
                   for _ in range(rng.randint(0, 4))]
        path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
        raws = list(read_array_or_lines(path))
        assert [raw.problem for raw in raws] == [None] * len(records), seed
        assert good(raws) == records


def test_a_quote_that_is_lost_costs_one_record(tmp_path: Path) -> None:
    text = json.dumps([mm_traj_record(str(i)) for i in range(5)], indent=1)
    place = text.index('"Task: task 2')
    (tmp_path / "a.json").write_text(text[:place] + text[place + 1:])
    raws = list(read_array_or_lines(tmp_path / "a.json"))
    assert len(raws) >= 5
    assert [record["id"] for record in good(raws)] == ["0", "1", "3", "4"]


@pytest.mark.parametrize("seed", range(60))
def test_no_flipped_byte_loses_a_record_unseen(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(json.dumps([mm_traj_record(str(i)) for i in range(6)], indent=rng.choice((None, 1))).encode())
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    (tmp_path / "a.json").write_bytes(data)
    raws = list(read_array_or_lines(tmp_path / "a.json"))
    found = good(raws)
    assert len(found) == 6 or len(raws) > len(found)
    assert len(found) >= 6 - 3 * 2  # each flip costs its record, and at most the one beside it


@pytest.mark.parametrize(
    ("text", "num_good", "num_bad"),
    [
        ("[]", 0, 0), ("[", 0, 1), (" \n[ ]\n", 0, 0), ('[{"id": 1}', 1, 1), ('[{"id": 1},', 1, 1),
        ('[{"id": 1}, {"id"', 1, 1), ('[{"id": 1}, 5, {"id": 2}]', 2, 1), ('[1, "a", null]', 0, 1),
        ('[{"id": 1}] x', 1, 1), ('[[{"id": 1}]]', 1, 1), ('[{"id": 1}{"id": 2}]', 2, 0), ("\ufeff[{}]", 1, 0),
    ],
)
def test_arrays_that_are_not_in_order_tell_so(tmp_path: Path, text: str, num_good: int, num_bad: int) -> None:
    (tmp_path / "a.json").write_text(text)
    raws = list(read_array_or_lines(tmp_path / "a.json"))
    assert len(good(raws)) == num_good
    assert sum(raw.problem is not None for raw in raws) == num_bad


def test_a_record_that_is_too_long_is_told_and_the_next_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "MAX_RECORD_BYTES", 2000)
    monkeypatch.setattr(json_records, "_CHUNK_BYTES", 100)
    records = [{"id": 1}, {"id": 2, "text": "x" * 9000}, {"id": 3}]
    (tmp_path / "a.json").write_text(json.dumps(records))
    assert [record["id"] for record in good(list(read_array_or_lines(tmp_path / "a.json")))] == [1, 3]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert [record["id"] for record in good(list(read_lines(tmp_path / "a.jsonl")))] == [1, 3]
    (tmp_path / "b.json").write_text(json.dumps(records[1]))
    (raw,) = read_whole(tmp_path / "b.json")
    assert raw.problem.reason == "record too long" and raw.data == b""


@pytest.mark.parametrize("read", [read_lines, read_whole, read_array_or_lines])
def test_a_file_that_cannot_be_opened_is_one_problem(tmp_path: Path, read: object) -> None:
    (raw,) = read(tmp_path)
    assert raw.problem.reason == "rest of the file unreadable"


@pytest.mark.parametrize(
    ("data", "record"),
    [
        (b'{"a": NaN}', "nan"), (b'\xef\xbb\xbf{"a": 1}', {"a": 1}), (b'{"a": "\\ud83d x"}', {"a": "? x"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}), (b'{"a": 12345678901234567890123}', None),
    ],
)
def test_what_other_parsers_refuse_is_read(data: bytes, record: object) -> None:
    found = parse_object(data)
    assert record is None or record == "nan" or found == record


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "not JSON"), (b"{", "not JSON"), (b"\xff", "not JSON"), (b"[" * 100_000, "not JSON"),
     (b"[]", "not an object"), (b"5", "not an object"), (b"null", "not an object")],
)
def test_what_is_no_object_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Skip) as caught:
        parse_object(data)
    assert caught.value.reason == reason
