"""Importing speed against the plain reader of the same format: `python -m tests.benchmarks.import_rate --json`.

Both work on the same made files of realistic sizes, in this process, and are told in records per second of CPU time
(best of several rounds), so that other work on the machine changes little. The plain reader is what a researcher writes
with the usual library to look at every record, and keeps nothing:

    JSON sets          json.loads of every record, and its screenshots' files read
    android_control    gzip, TFRecord framing, tf.train.Example
    mind2web           parquet rows of the needed columns

The import also checks checksums and screenshots, converts, hashes, writes the screenshots and the trajectory file.

What a reader does with a screenshot decides its rate, so both ways are told where there are screenshots: `bytes` hands
them on as they are stored, `pixels` decodes them with Pillow, as `datasets.Image` does. The bar is half of the rate of
the reader that does to them what the import must do: bytes where it copies screenshots, pixels for mind2web, where it
cuts the part that is shown out of a page. The exit code is 1 where a data set misses it.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import shutil
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import PIL.Image

from tests.training.datasets import formats
from training.datasets.base import ImportOptions
from training.datasets.engine import run_import
from training.datasets.tfrecords import Example

BAR = 0.5
ROUNDS = 3

See = Callable[[bytes], object]
"""What a plain reader does with the bytes of a screenshot."""


@cache
def _base(size: tuple[int, int], form: str) -> bytes:
    """A screenshot of rows of words and pictures, about as many bytes as a real one."""
    rng = random.Random(0)
    width, height = size
    image = PIL.Image.new("RGB", size, (250, 250, 250))
    for top in range(0, height - 40, 80):
        noise = PIL.Image.frombytes("L", (width // 3, 28), rng.randbytes(width // 3 * 28))
        image.paste(noise.convert("RGB"), (rng.randrange(width // 2), top))
    buffer = io.BytesIO()
    image.save(buffer, format=form)
    return buffer.getvalue()


def screenshot(size: tuple[int, int], number: int, form: str = "PNG") -> bytes:
    """The same screen with its number in a comment, so that no two files are equal."""
    data, note = _base(size, form), f"number\0{number}".encode()
    if form == "JPEG":
        return data[:2] + b"\xff\xfe" + struct.pack(">H", len(note) + 2) + note + data[2:]
    chunk = struct.pack(">I", len(note)) + b"tEXt" + note + struct.pack(">I", zlib.crc32(b"tEXt" + note))
    return data[:33] + chunk + data[33:]


def words(num_chars: int, rng: random.Random) -> str:
    """Text of about this length."""
    return " ".join("".join(rng.choices("etaoinshr", k=rng.randint(2, 9))) for _ in range(num_chars // 6))


def make_agentnet(folder: Path) -> Path:
    rng = random.Random(1)
    (folder / "images").mkdir(parents=True)
    records = []
    for task in range(4):
        steps = []
        for index in range(16):
            name = f"{task}_{index}.png"
            (folder / "images" / name).write_bytes(screenshot((1280, 720), 100 * task + index))
            steps.append({"index": index, "image": name, "value": {
                "observation": words(800, rng), "thought": words(800, rng), "action": words(80, rng),
                "code": "pyautogui.click(x=0.018, y=0.508)", "last_step_correct": True, "last_step_redundant": False,
                "reflection": words(300, rng)}})
        records.append({"task_id": str(task), "instruction": words(90, rng), "traj": steps})
    return formats.json_lines(folder / "data.jsonl", *records)


def make_android(folder: Path) -> Path:
    nodes = [formats.node(0, (0, 0, 1080, 2400), children=list(range(1, 121)))] + [
        formats.node(i, (0, 20 * i, 1080, 20 * i + 19), "android.widget.TextView", text=f"Row {i} of the list",
                     is_clickable=i % 3 == 0) for i in range(1, 121)]
    tree = formats.forest((1, nodes))
    episodes = [formats.android_episode(
        number, screenshots=[screenshot((1080, 2400), 10 * number + i) for i in range(4)],
        accessibility_trees=[tree] * 4, screenshot_widths=[1080] * 4, screenshot_heights=[2400] * 4,
    ) for number in range(10, 22)]
    return formats.android_folder(folder, *episodes)


def make_odyssey(folder: Path) -> Path:
    rng = random.Random(2)
    steps = [{"action": "CLICK", "info": [[500, 250], [500, 250]], "description": words(500, rng),
              "intention": words(200, rng), "context": words(200, rng)} for _ in range(14)]
    steps.append({"action": "COMPLETE", "info": ""})
    episodes = [formats.odyssey_episode(str(number), *steps) for number in range(4)]
    formats.odyssey_folder(folder, *episodes)
    for index, file in enumerate(sorted((folder / "screenshots").iterdir())):
        file.write_bytes(screenshot((1080, 2400), index))
    return folder


def make_mind2web(folder: Path) -> Path:
    candidate = [formats.candidate("300,1500,90,30")]
    rows = [formats.mind2web_row(
        f"t{task}", step, 6, pos_candidates=candidate, raw_html="<html>" * 20_000,
        screenshot={"bytes": screenshot((1280, 4000), 10 * task + step, "JPEG"), "path": "s.jpg"},
    ) for task in range(2) for step in range(6)]
    formats.mind2web_file(folder / "train-00000-of-00027.parquet", *rows, row_group_size=100)
    return folder


def make_agenttrek(folder: Path) -> Path:
    rng = random.Random(3)
    tree = "RootWebArea 'Shop', focused, url='https://shop'\n" + "\n".join(
        f"\t[{i}] link '{words(40, rng)}', clickable, visible" for i in range(250))
    rows = []
    for task in range(15):
        for step in range(8):
            row = formats.agenttrek_row(f"Goal {task}", step, f"click('{rng.randrange(250)}')", tree)
            row["messages"][0]["content"] = words(2000, rng)
            rows.append(row)
    return formats.json_lines(folder / "agenttrek.json", *rows)


def make_mm_traj(folder: Path) -> Path:
    rng = random.Random(4)
    records = [formats.mm_traj_record(str(i), 'a = ask_search_agent(query="x")\nprint(a)', "print(1)",
                                      'final_answer("42")') for i in range(100)]
    for record in records:
        record["conversations"][0]["value"] = words(9000, rng)
        for turn in record["conversations"][3::2]:
            turn["value"] += words(3000, rng)
    return formats.json_array(folder / "mm_traj.json", *records)


def make_ui_s1(folder: Path) -> Path:
    rng = random.Random(5)
    records = []
    for number in range(500):
        record = formats.ui_s1_record(number, goal=words(90, rng))
        record["steps"] = [{**step, "step_instruction": words(40, rng)} for step in record["steps"] * 2]
        records.append(record)
    return formats.json_lines(folder / "test.jsonl", *records)


def make_bench(folder: Path) -> Path:
    rng = random.Random(6)
    (folder / "images").mkdir(parents=True)
    for task in range(6):
        steps = []
        for index in range(10):
            step = formats.bench_step("pyautogui.click(x=0.5, y=0.25)", ("click", {"position": {"x": 0.5, "y": 0.25}}))
            (folder / "images" / f"{task}_{index}.png").write_bytes(screenshot((1280, 720), 100 * task + index))
            steps.append({**step, "image": f"{task}_{index}.png",
                          "inner_monologue": {"observation": words(700, rng), "thought": words(700, rng)}})
        formats.json_lines(folder / f"{task}.json", formats.bench_task(str(task), *steps))
    return folder


def as_bytes(data: bytes) -> None:
    """Leaves a screenshot as it is."""


def as_pixels(data: bytes) -> None:
    """Decodes a screenshot."""
    PIL.Image.open(io.BytesIO(data)).load()


def plain_json(files: Iterable[Path], see: See, images_of: Callable[[dict], Iterable[Path]] = lambda record: ()) -> int:
    """Reads JSON Lines or one array with the standard library; returns the number of records."""
    count = 0
    for file in files:
        text = file.read_text(encoding="utf-8")
        records = json.loads(text) if text.startswith("[") else map(json.loads, text.splitlines())
        for record in records:
            count += 1
            for image in images_of(record):
                see(image.read_bytes())
    return count


def plain_tfrecords(folder: Path, see: See) -> int:
    """Reads the shards' frames and messages without looking at checksums."""
    count = 0
    for file in folder.glob("android_control-*"):
        with gzip.open(file, "rb") as stream:
            while header := stream.read(12):
                (length,) = struct.unpack("<Q", header[:8])
                entries = Example.FromString(stream.read(length)).features.feature
                for screenshot in next(e for e in entries if e.key == "screenshots").value.bytes_list.value:
                    see(screenshot)
                count += 1
                stream.read(4)
    return count


def plain_parquet(folder: Path, see: See) -> int:
    """Reads the rows of a folder's files."""
    import pyarrow.parquet

    from training.datasets.mind2web import COLUMNS

    count = 0
    for file in folder.glob("*.parquet"):
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=16, columns=list(COLUMNS)):
            for row in batch.to_pylist():
                see(row["screenshot"]["bytes"])
                count += 1
    return count


def in_folder(folder: Path, key: str, field: str) -> Callable[[dict], Iterable[Path]]:
    """The screenshots that a record's steps name."""
    return lambda record: [folder / step[field] for step in record[key]]


# name -> (how its files are made, how its plain reader reads them, what that does with screenshots; None has none)
BENCHMARKS: dict[str, tuple[Callable[[Path], Path], Callable[[Path, See], int], See | None]] = {
    "agentnet": (make_agentnet, lambda path, see: plain_json(
        [path], see, in_folder(path.parent / "images", "traj", "image")), as_bytes),
    "agentnetbench": (make_bench, lambda path, see: plain_json(
        path.glob("*.json"), see, in_folder(path / "images", "steps", "image")), as_bytes),
    "agenttrek": (make_agenttrek, lambda path, see: plain_json([path], see), None),
    "android_control": (make_android, plain_tfrecords, as_bytes),
    "gui_odyssey": (make_odyssey, lambda path, see: plain_json(
        (path / "annotations").glob("*.json"), see, in_folder(path / "screenshots", "steps", "screenshot")), as_bytes),
    "mind2web": (make_mind2web, plain_parquet, as_pixels),
    "mm_traj": (make_mm_traj, lambda path, see: plain_json([path], see), None),
    "ui_s1": (make_ui_s1, lambda path, see: plain_json([path], see), None),
}


def best_seconds(work: Callable[[], int], clear: Callable[[], None] = lambda: None) -> tuple[float, int]:
    """(CPU seconds of the fastest round, what it returned); `clear` removes before each what the last one left."""
    best, count = float("inf"), 0
    for _ in range(ROUNDS):
        clear()
        start = time.process_time()
        count = work()
        best = min(best, time.process_time() - start)
    return best, count


def measure(name: str, folder: Path) -> dict[str, object]:
    """The rates of one data set, and whether the import reaches the bar."""
    make, plain, needed = BENCHMARKS[name]
    path = make(folder / "set")

    def run() -> int:
        report = run_import(name, ImportOptions(path=path), folder / "out" / "t.jsonl")
        assert report.num_records_kept == report.num_records_read, report.summary()
        return report.num_records_read

    import_seconds, num_records = best_seconds(run, lambda: shutil.rmtree(folder / "out", ignore_errors=True))
    ratios = {}
    for see in (as_bytes,) if needed is None else (as_bytes, as_pixels):
        seconds, num_plain = best_seconds(lambda see=see: plain(path, see))
        assert num_plain == num_records
        ratios[see] = seconds / import_seconds
    ratio = ratios[needed or as_bytes]
    return {
        "dataset": name, "num_records": num_records,
        "import_records_per_second": round(num_records / import_seconds, 1),
        "ratio_to_bytes": round(ratios[as_bytes], 3), "ratio_to_pixels": needed and round(ratios[as_pixels], 3),
        "ratio": round(ratio, 3), "is_bar_met": ratio >= BAR,
    }


def main() -> int:
    """Measures all data sets, or those that are named; 0 when all reach the bar."""
    parser = argparse.ArgumentParser(description="importing speed against the plain reader of the same format")
    parser.add_argument("datasets", nargs="*", choices=[[], *BENCHMARKS], help="which (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    results = []
    for name in args.datasets or BENCHMARKS:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(name, Path(folder)))
        if not args.json:
            line = results[-1]
            pixels = "" if line["ratio_to_pixels"] is None else f", pixels {line['ratio_to_pixels']:.2f}"
            print(f"{name:16} {line['num_records']:6} records, {line['import_records_per_second']:8} a second: "
                  f"ratio {line['ratio']:.2f} (bytes {line['ratio_to_bytes']:.2f}{pixels})", flush=True)
    if args.json:
        print(json.dumps({"bar": BAR, "unit": "records per second of CPU time", "results": results}, indent=2))
    return 0 if all(result["is_bar_met"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
