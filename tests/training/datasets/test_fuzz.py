"""Damaged files of every format: cut at random, bytes flipped, fields missing or of another kind.

An import of them must end, must account for every record that it saw, must never meet what no rule foresaw (checked in
`import_all`), and must not lose a record unseen: either as many trajectories come out as went in, or a problem is told.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from tests.training.datasets.formats import (
    agenttrek_row,
    android_episode,
    android_folder,
    bench_task,
    image_bytes,
    json_array,
    json_lines,
    mind2web_file,
    mind2web_row,
    mm_traj_record,
    odyssey_episode,
    odyssey_folder,
    tfrecord,
    ui_s1_record,
)
from tests.training.datasets.importing import import_all

NUM_SEEDS = 12
JUNK: tuple[object, ...] = (None, "", "x", 0, -1, 10**30, 0.5, True, [], [[]], {}, [None], {"a": 1}, "\ud800", [5, "5"])


def agentnet(folder: Path) -> list[dict]:
    """Four AgentNet records."""
    (folder / "images").mkdir()
    PIL.Image.new("RGB", (8, 4), "red").save(folder / "images" / "a.png")
    steps = [("pyautogui.moveTo(x=0.5, y=0.25)\npyautogui.scroll(-3)", "a"),
             ("pyautogui.write(message='a')\npyautogui.press('enter')", "b"),
             ("computer.terminate(status='success')", "c")]
    return [{"task_id": str(i), "instruction": "Do it", "task_completed": True, "domain": "os", "traj": [
        {"index": 0, "image": "a.png", "value": {"code": code, "action": words, "thought": "t", "observation": "o",
                                                 "last_step_correct": True, "last_step_redundant": False}}
        for code, words in steps]} for i in range(4)]


def write_agentnet(folder: Path, records: list[dict]) -> Path:
    """AgentNet's file."""
    return json_lines(folder / "data.jsonl", *records)


def write_bench(folder: Path, records: list[dict]) -> Path:
    """AgentNetBench's folder."""
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "a.png").write_bytes(image_bytes((32, 20)))
    for index, record in enumerate(records):
        json_lines(folder / f"{index}.json", record)
    return folder


def write_odyssey(folder: Path, records: list[dict]) -> Path:
    """GUI-Odyssey's folder; the files keep their names whatever the records say."""
    odyssey_folder(folder, *(odyssey_episode(str(i)) for i in range(len(records))))
    for index, record in enumerate(records):
        json_lines(folder / "annotations" / f"{index}.json", record)
    return folder


# name -> (records of a folder, writer of the data set); records are what JSON damage is done to.
JSON_SETS: dict[str, tuple[Callable[[Path], list[dict]], Callable[[Path, list[dict]], Path]]] = {
    "agentnet": (agentnet, write_agentnet),
    "agentnetbench": (lambda folder: [bench_task(str(i)) for i in range(4)], write_bench),
    "agenttrek": (lambda folder: [agenttrek_row(f"goal {i}", 0, "click('42')") for i in range(4)],
                  lambda folder, records: json_lines(folder / "a.json", *records)),
    "gui_odyssey": (lambda folder: [odyssey_episode(str(i)) for i in range(4)], write_odyssey),
    "mm_traj": (lambda folder: [mm_traj_record(str(i)) for i in range(4)],
                lambda folder, records: json_array(folder / "m.json", *records)),
    "ui_s1": (lambda folder: [ui_s1_record(i) for i in range(4)],
              lambda folder, records: json_lines(folder / "u.jsonl", *records)),
}


def spoil(value: object, rng: random.Random) -> None:
    """Removes one field somewhere in the record, or puts a value of another kind in its place."""
    while value:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = rng.choice(keys)
        if isinstance(value[key], (dict, list)) and value[key] and rng.random() < 0.75:
            value = value[key]
            continue
        if isinstance(value, dict) and rng.random() < 0.4:
            del value[key]
        else:
            value[key] = copy.deepcopy(rng.choice(JUNK))
        return


@pytest.mark.parametrize("seed", range(NUM_SEEDS))
@pytest.mark.parametrize("name", JSON_SETS)
def test_fields_that_are_missing_or_wrong_cost_no_more_than_their_record(tmp_path: Path, name: str, seed: int) -> None:
    rng = random.Random(f"{name}/{seed}")
    records_of, write = JSON_SETS[name]
    folder = tmp_path / "set"
    folder.mkdir()
    records = records_of(folder)
    for _ in range(rng.randint(1, 3)):
        spoil(records[1], rng)
    kept, report = import_all(name, write(folder, records))
    assert report.num_records_read == 4
    assert len(kept) in (3, 4)
    assert len(kept) == 4 or report.num_problems


def damage(data: bytes, rng: random.Random) -> bytes:
    """The bytes cut at a random place, or with a few of them flipped, removed or put in."""
    kind = rng.choice(("cut", "flip", "flip", "remove", "insert"))
    place = rng.randrange(len(data))
    if kind == "cut":
        return data[:place]
    if kind == "remove":
        return data[:place] + data[place + rng.randint(1, 20):]
    if kind == "insert":
        return data[:place] + rng.randbytes(rng.randint(1, 20)) + data[place:]
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def damage_a_file(path: Path, rng: random.Random) -> None:
    """Damages one data file of the set."""
    files = [path] if path.is_file() else sorted(
        file for names in ("*.json", "annotations/*.json", "images/*", "screenshots/*") for file in path.glob(names))
    file = rng.choice(files)
    file.write_bytes(damage(file.read_bytes(), rng))


@pytest.mark.parametrize("seed", range(NUM_SEEDS))
@pytest.mark.parametrize("name", JSON_SETS)
def test_damaged_json_and_images_are_told(tmp_path: Path, name: str, seed: int) -> None:
    rng = random.Random(f"{name}/{seed}")
    records_of, write = JSON_SETS[name]
    folder = tmp_path / "set"
    folder.mkdir()
    path = write(folder, records_of(folder))
    before = path.read_bytes() if path.is_file() else b""
    damage_a_file(path, rng)
    kept, report = import_all(name, path)
    is_cut_between_lines = path.is_file() and name != "mm_traj" and before.startswith(path.read_bytes()) and (
        before[len(path.read_bytes()) - 1:].startswith(b"\n") or not path.read_bytes())
    assert len(kept) >= 4 or report.num_problems or is_cut_between_lines
    assert len(kept) <= 5


@pytest.mark.parametrize("seed", range(2 * NUM_SEEDS))
@pytest.mark.parametrize("form", ["gzip", "plain"])
def test_damaged_tfrecords_are_told(tmp_path: Path, form: str, seed: int) -> None:
    rng = random.Random(f"{form}/{seed}")
    folder = android_folder(tmp_path / "set", android_episode(1))
    records = [android_episode(number) for number in range(1, 5)]
    data = tfrecord(*records)
    data = damage(gzip.compress(data, 1) if form == "gzip" else data, rng)
    (folder / "android_control-00000-of-00020").write_bytes(data)
    ends = {len(tfrecord(*records[:count])) for count in range(5)}
    kept, report = import_all("android_control", folder)
    assert len(kept) == 4 or report.num_problems or len(data) in ends
    assert {t.id for t in kept} <= {"1", "2", "3", "4"}
    assert all(t.goal == f"goal {t.id}" for t in kept)  # a checksum guards every byte


@pytest.mark.parametrize("seed", range(2 * NUM_SEEDS))
def test_damaged_examples_behind_a_right_checksum_are_told(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    records = [android_episode(number) for number in (1, 2, 3)]
    records[1] = damage(records[1], rng)
    kept, report = import_all("android_control", android_folder(tmp_path / "set", *records))
    assert report.num_records_read == 3
    assert len(kept) in (2, 3)
    assert len(kept) == 3 or report.num_problems


@pytest.mark.parametrize("seed", range(2 * NUM_SEEDS))
def test_damaged_parquet_is_told(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rows = [mind2web_row(f"t{number}", step, 2) for number in range(4) for step in range(2)]
    path = mind2web_file(tmp_path / "set" / "train-00000-of-00001.parquet", *rows)
    path.write_bytes(damage(path.read_bytes(), rng))
    kept, report = import_all("mind2web", path)
    assert len(kept) == 4 or report.num_problems
    assert len(kept) <= 5


@pytest.mark.parametrize("seed", range(NUM_SEEDS))
def test_wrong_rows_of_parquet_are_told(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rows = [mind2web_row(f"t{number}", 0, 1) for number in range(3)]
    column = rng.choice(list(rows[1]))
    texts = (None, "", "x", "-1", "9" * 20, "[]", "{}", "null", '{"a": 1}', json.dumps({"attributes": "5"}))
    if column == "screenshot":
        rows[1][column] = rng.choice((None, {"bytes": b"", "path": None}, {"bytes": b"GIF89a", "path": "x"}))
    elif isinstance(rows[1][column], list):
        rows[1][column] = rng.choice((None, [], [None], [rng.choice(texts)]))
    else:
        rows[1][column] = rng.choice(texts)
    kept, report = import_all("mind2web", mind2web_file(tmp_path / "set" / "train-0.parquet", *rows))
    assert report.num_records_read == 3
    assert len(kept) == 3 or report.num_problems
