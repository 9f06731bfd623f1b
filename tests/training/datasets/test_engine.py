"""The engine: same file with any number of workers, resumed after a stop, a crash or a kill, bounded in memory."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from executors.errors import InputError, OutputError
from executors.trajectory import Trajectory
from tests.training.datasets.formats import (
    agenttrek_row,
    android_episode,
    android_folder,
    json_lines,
    mind2web_file,
    mind2web_row,
    mm_traj_record,
    ui_s1_record,
)
from tests.training.datasets.importing import import_all
from training.cli import main
from training.datasets import engine
from training.datasets.base import ImportOptions, Notes, RawRecord
from training.datasets.conversion import Converted
from training.datasets.mm_traj import MmTraj
from training.datasets.registry import IMPORTERS, load_importer


def android_set(root: Path) -> tuple[str, Path]:
    """Ten episodes, one of them twice, one broken."""
    records = [android_episode(number) for number in range(1, 10)]
    return "android_control", android_folder(root, *records, records[3], android_episode(11, goal=[]))


def mind2web_set(root: Path) -> tuple[str, Path]:
    """Five tasks with their rows mixed, one row of another missing."""
    rows = [mind2web_row(f"t{i}", step) for step in (1, 0, 2) for i in range(5)] + [mind2web_row("gap", 1)]
    mind2web_file(root / "train-00000-of-00001.parquet", *rows)
    return "mind2web", root


def agenttrek_set(root: Path) -> tuple[str, Path]:
    """Six episodes of three rows."""
    rows = [agenttrek_row(f"goal {i}", step, f"scroll(0, {i + 1})") for i in range(6) for step in range(3)]
    return "agenttrek", json_lines(root / "a.json", *rows)


SETS = [android_set, mind2web_set, agenttrek_set]


@pytest.mark.parametrize("make", SETS)
def test_workers_write_the_same_file_as_one_process(tmp_path: Path, make: Callable) -> None:
    name, path = make(tmp_path / "set")
    one, two = tmp_path / "1" / "t.jsonl", tmp_path / "2" / "t.jsonl"
    _, first = import_all(name, path, out=one)
    _, second = import_all(name, path, out=two, num_workers=2)
    assert one.read_bytes() == two.read_bytes()
    assert first == second


class Killed(BaseException):
    """Stands for a process that ends without a word."""


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize("num_before", [1, 4, 9])
def test_an_import_that_crashed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable, num_before: int
) -> None:
    name, path = make(tmp_path / "set")
    whole, out = tmp_path / "whole" / "t.jsonl", tmp_path / "out" / "t.jsonl"
    _, expected = import_all(name, path, out=whole)
    monkeypatch.setattr(engine, "SAVE_SECONDS", 0.0)
    convert, done = engine.convert, []

    def crash(*args: object) -> Converted:
        if len(done) == num_before:
            raise Killed
        done.append(args)
        return convert(*args)

    monkeypatch.setattr(engine, "convert", crash)
    with pytest.raises(Killed):
        import_all(name, path, out=out)
    assert not out.exists()
    with (tmp_path / "out" / "t.jsonl.partial").open("ab") as partial:
        partial.write(b'{"half a li')  # what a kill in the middle of a write leaves
    told: list[str] = []
    done.clear()
    monkeypatch.setattr(engine, "convert", lambda *args: done.append(args) or convert(*args))
    report = engine.run_import(name, ImportOptions(path=path), out, tell=told.append)
    assert told == [f"going on after {num_before} records of an unfinished import"]
    assert len(done) == expected.num_records_read - num_before
    assert out.read_bytes() == whole.read_bytes()
    assert report == expected
    assert sorted(p.name for p in out.parent.iterdir() if p.is_file()) == ["t.jsonl"]


WAIT_SECONDS = 300  # enough on a machine with other work; nothing waits that long on a quiet one
NUM_SLOW = 1500
SLOW_IMPORT = """
import os, sys, time
from training.datasets import conversion, engine
convert = conversion.convert
if os.environ.get("SLOW"):
    engine.SAVE_SECONDS = 0.05
    conversion.convert = engine.convert = lambda *args: time.sleep(0.002) or convert(*args)
if __name__ == "__main__":
    from training.cli import main
    sys.exit(main(sys.argv[1:]))
"""
"""The command line, with records that take 2 ms and a state that is saved all the time; workers run it too."""


def slow_set(root: Path) -> Path:
    """Enough episodes to be interrupted in the middle."""
    return json_lines(root / "test.jsonl", *(ui_s1_record(number) for number in range(NUM_SLOW)))


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts `SLOW_IMPORT` of a `slow_set` in a process of its own, slow or at its usual speed."""
    processes: list[subprocess.Popen] = []

    def start(path: Path, out: Path, *options: str, is_slow: bool = False) -> subprocess.Popen:
        script = out.parent / "start.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(SLOW_IMPORT)
        processes.append(subprocess.Popen(
            [sys.executable, str(script), "import", "ui_s1", str(path), "--out", str(out), *options],
            env={**os.environ, "PYTHONPATH": str(Path(engine.__file__).parents[2]), "SLOW": "1" * is_slow}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def wait_for_state(out: Path) -> None:
    """Until the import has saved that it kept something."""
    state = out.with_name(out.name + ".import.json")
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        if state.exists() and json.loads(state.read_bytes())["report"]["num_trajectories"]:
            return
        time.sleep(0.01)
    raise AssertionError("the import saved nothing")


@pytest.mark.parametrize(
    ("number", "workers", "code"),
    [(signal.SIGTERM, "1", 130), (signal.SIGINT, "2", 130), (signal.SIGKILL, "1", -9), (signal.SIGKILL, "2", -9)],
)
def test_a_stopped_or_killed_process_goes_on_to_the_same_file(
    tmp_path: Path, started: Callable, number: int, workers: str, code: int
) -> None:
    path = slow_set(tmp_path / "set")
    out = tmp_path / "out" / "t.jsonl"
    process = started(path, out, "--workers", workers, is_slow=True)
    wait_for_state(out)
    children = psutil.Process(process.pid).children(recursive=True)
    assert bool(children) == (workers != "1")
    process.send_signal(number)
    _, told = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == code, told
    assert not psutil.wait_procs(children, timeout=WAIT_SECONDS)[1]
    assert number == signal.SIGKILL or "the same command goes on from here" in told
    again = started(path, out, "--workers", "1")
    printed, told = again.communicate(timeout=WAIT_SECONDS)
    assert again.returncode == 0, told
    assert "going on after" in told
    assert f"records: {NUM_SLOW} read, {NUM_SLOW} kept" in printed
    with out.open() as lines:
        assert [json.loads(line)["id"] for line in lines] == [str(i) for i in range(NUM_SLOW)]


def test_a_worker_that_is_killed_is_told_and_nothing_is_lost(tmp_path: Path, started: Callable) -> None:
    path = slow_set(tmp_path / "set")
    out = tmp_path / "out" / "t.jsonl"
    process = started(path, out, "--workers", "2", is_slow=True)
    wait_for_state(out)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    workers[0].kill()
    _, told = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 2
    assert "fewer --workers" in told
    again = started(path, out, "--workers", "1")
    printed, told = again.communicate(timeout=WAIT_SECONDS)
    assert f"records: {NUM_SLOW} read, {NUM_SLOW} kept" in printed, told


@pytest.mark.parametrize("change", ["option", "source", "broken"])
def test_an_unfinished_import_of_something_else_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    name, path = android_set(tmp_path / "set")
    out = tmp_path / "out" / "t.jsonl"
    monkeypatch.setattr(engine, "SAVE_SECONDS", 0.0)
    taken: list[Converted] = []
    take = engine._Import._take

    def crash(self: object, record: Converted) -> None:
        taken.append(record)
        if len(taken) == 3:
            raise Killed
        take(self, record)

    monkeypatch.setattr(engine._Import, "_take", crash)
    with pytest.raises(Killed):
        import_all(name, path, out=out)
    state = out.with_name("t.jsonl.import.json")
    if change == "source":
        android_folder(path, android_episode(1))
    if change == "broken":
        state.write_text("{")
    before = out.with_name("t.jsonl.partial").read_bytes()
    with pytest.raises(InputError, match="remove this file to begin anew"):
        import_all(name, path, out=out, split="train" if change == "option" else None)
    assert out.with_name("t.jsonl.partial").read_bytes() == before
    state.unlink()
    monkeypatch.undo()
    report = engine.run_import(name, ImportOptions(path=path), out)  # begins anew
    assert report.num_trajectories == len(out.read_text().splitlines()) == (1 if change == "source" else 9)


def test_two_imports_do_not_write_one_file(tmp_path: Path) -> None:
    name, path = android_set(tmp_path / "set")
    out = tmp_path / "t.jsonl"
    with (tmp_path / "t.jsonl.partial").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another import is writing"):
            import_all(name, path, out=out)
    assert import_all(name, path, out=out)[0]


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("make", SETS)
def test_a_limit_ends_the_import_and_leaves_no_screenshot_behind(
    tmp_path: Path, make: Callable, num_workers: int
) -> None:
    name, path = make(tmp_path / "set")
    kept, report = import_all(name, path, out=tmp_path / "t.jsonl", limit=2, num_workers=num_workers)
    assert len(kept) == 2
    assert set(report.skipped_records) <= {"beyond the limit"}


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    name, path = agenttrek_set(tmp_path / "set")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose a folder you may write"):
        import_all(name, path, out=tmp_path / "file" / "t.jsonl")
    with pytest.raises(OutputError, match="no plain file"):
        import_all(name, path, out=Path("/dev/null"))


def test_a_record_that_no_rule_foresaw_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = MmTraj.convert

    def fail(self: MmTraj, raw: RawRecord, notes: Notes) -> Trajectory:
        if raw.number == 2:
            raise ZeroDivisionError("oops")
        return convert(self, raw, notes)

    monkeypatch.setattr(MmTraj, "convert", fail)
    path = json_lines(tmp_path / "m.jsonl", *(mm_traj_record(str(i)) for i in range(3)))
    report = engine.run_import("mm_traj", ImportOptions(path=path), tmp_path / "t.jsonl")
    assert (report.num_records_kept, report.skipped_records) == (2, {"not understood": 1})
    assert report.problems[0].message == "ZeroDivisionError: oops"


def test_a_result_comes_back_equal_from_the_saved_state() -> None:
    notes = Notes(record="r")
    notes.repair("why", "field", "message", "outcome")
    notes.skipped_steps["x"] += 2
    record = Converted(file="f", number=3, notes=notes, line=b'{"a":1}\n', id="i", num_steps=2)
    assert Converted.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Peak memory of an import of 8 and of 64 large episodes; the larger file has 80 MB."""
    noise = [os.urandom(200_000) for _ in range(6)]
    import PIL.Image

    screens = []
    for data in noise:
        path = tmp_path / "noise.png"
        PIL.Image.frombytes("L", (400, 500), data).save(path)
        screens.append(path.read_bytes())
    peaks = []
    for count in (8, 64):
        wait = [{"action_type": "wait"}] * 5
        records = [android_episode(number, wait, screenshots=screens) for number in range(10, 10 + count)]
        folder = android_folder(tmp_path / str(count), *records, splits={"test": list(range(10, 100))})
        code = (
            "import re, sys; from training.cli import main; code = main(sys.argv[1:])\n"
            "print(code, re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "import", "android_control", str(folder), "--out",
             str(tmp_path / f"{count}.jsonl"), "--workers", "1"],
            capture_output=True, text=True, check=True, cwd=Path(engine.__file__).parents[2])
        exit_code, peak_kb = done.stdout.split()[-2:]
        assert exit_code == "0", done.stdout
        peaks.append(int(peak_kb) / 1024)
    assert peaks[1] < peaks[0] + 25, peaks  # MB; the file grew by 70


def test_a_bar_is_shown_on_a_terminal_and_only_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, path = android_set(tmp_path / "set")
    assert main(["import", name, str(path), "--out", str(tmp_path / "a.jsonl"), "--workers", "1"]) == 0
    assert capsys.readouterr().err == ""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 120))
    process = subprocess.Popen(
        [sys.executable, "-m", "training.cli", "import", name, str(path), "--out", str(tmp_path / "b.jsonl")],
        stdout=subprocess.DEVNULL, stderr=follower, cwd=Path(engine.__file__).parents[2])
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(leader)
    assert process.wait(timeout=WAIT_SECONDS) == 0
    assert b"android_control" in shown and b"11 records, 9 kept" in shown and b"100%" in shown


@pytest.mark.parametrize("name", IMPORTERS)
def test_every_data_set_is_listed_with_its_path_and_has_an_importer(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_importer(name).name == name
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    assert IMPORTERS[name].help in capsys.readouterr().out


def test_an_unknown_data_set_is_named() -> None:
    with pytest.raises(InputError, match="'mnist' is unknown: choose one of agentnet"):
        load_importer("mnist")
