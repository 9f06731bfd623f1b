"""The run folder: what is written is read back, and no kill or misuse leaves it unreadable."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from executors.errors import InputError, MissingFileError, OutputError
from training import run_folder
from training.config import SftConfig
from training.config_reading import from_dict, to_dict
from training.run_folder import RunFolder, RunStopped
from training.run_record import RUN_SCHEMA_VERSION

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", stage="sft", config=SftConfig(), command=["tracer1", "train"], seed=3)


def _finished_process_id():
    code = "import os; print(os.getpid())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout


def _pretend_dead(run):
    info = run.info
    run._write_json("run.json", {**info, "pid": int(_finished_process_id())})


def test_what_create_writes_is_read_back(run):
    read = RunFolder.open(run.path)
    assert from_dict(SftConfig, read.config) == SftConfig()
    assert (read.stage, read.info["seed"], read.info["pid"]) == ("sft", 3, os.getpid())
    assert read.info["schema_version"] == RUN_SCHEMA_VERSION
    assert read.metrics() == [] and read.rollouts() == []
    assert read.is_alive()


def test_secrets_reach_no_file(tmp_path, monkeypatch):
    values = {**to_dict(SftConfig()), "hub_token": "s3cret", "url": "https://me:s3cret@host/x", "max_tokens": 5}
    monkeypatch.setattr(run_folder, "to_dict", lambda config: values)
    command = ["tracer1", "--set", "judge.api_key=s3cret", "--set", "grpo.max_completion_tokens=9"]
    run = RunFolder.create(tmp_path / "r", stage="sft", config=SftConfig(), command=command, seed=0)
    written = "".join(path.read_text() for path in run.path.iterdir() if path.is_file())
    assert "s3cret" not in written
    assert run.config["max_tokens"] == 5 and run.info["command"][-1] == "grpo.max_completion_tokens=9"


def test_used_folder_is_refused_with_the_next_step(run):
    with pytest.raises(OutputError, match="already used.*--resume"):
        RunFolder.create(run.path, stage="sft", config=SftConfig(), command=[], seed=0)


def test_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="already used"):
        RunFolder.create(tmp_path / "file", stage="sft", config=SftConfig(), command=[], seed=0)
    with pytest.raises(OutputError, match="cannot write run folder"):
        RunFolder.create(tmp_path / "file" / "run", stage="sft", config=SftConfig(), command=[], seed=0)


def test_folder_without_run_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r"not a run folder"):
        RunFolder.open(tmp_path)


def test_other_schema_version_is_refused(run):
    run._write_json("run.json", {**run.info, "schema_version": 99})
    with pytest.raises(InputError, match="schema_version"):
        RunFolder.open(run.path)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000])
def test_damaged_run_json_is_told_as_such(run, text):
    (run.path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        RunFolder.open(run.path)


@pytest.mark.parametrize("text", ["", "[1]", "0", "a: [", "seed: 2024-13-45", "[" * 5000])
def test_damaged_config_is_refused_and_not_read_as_the_defaults(run, text):
    (run.path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml.*start a new run") as error:
        RunFolder.open(run.path).config  # noqa: B018
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"state": 5}', '{"state": "asleep"}', "[" * 100_000,
                                  '{"state": "running", "time": null}', '{"state": "running", "time": "x"}'])
@pytest.mark.parametrize("name", ["status.json", "heartbeat.json"])
def test_damaged_state_of_a_dead_trainer_reads_as_crashed(run, name, text):
    _pretend_dead(run)
    (run.path / name).write_text(text)
    assert run.status().state == "crashed" and isinstance(run.status().time, float)


@pytest.mark.parametrize("pid", [-1, 0, 10**30, "x", None])
def test_no_process_has_a_damaged_process_id(run, pid):
    run._write_json("run.json", {**run.info, "pid": pid, "resumes": 5})
    assert not run.is_alive()
    assert len(RunFolder.resume(run.path, command=[]).info["resumes"]) == 1


def test_damaged_lines_are_left_out_and_removed_when_the_run_is_resumed(run):
    run.log_metrics(1, 0.0, {"loss": 1.0})
    _checkpoint(run, 1)
    with (run.path / "metrics.jsonl").open("a") as out:
        out.write('{"step": "x"}\n{"step": null}\n{}\n[1]\nnull\n' + "[" * 100_000 + "\n")
    assert len(run.metrics()) == 4
    _pretend_dead(run)
    assert [row["step"] for row in RunFolder.resume(run.path, command=[]).metrics()] == [1]


def test_half_a_surrogate_pair_is_kept_in_every_file(run, monkeypatch):
    half = json.loads('"\\ud83d"')  # a tool's argument may hold it, as the model wrote it
    monkeypatch.setattr(sys, "stdout", open(os.devnull, "w", errors="backslashreplace"))  # as the command sets it
    with pytest.raises(ZeroDivisionError), run.session():
        run.log_rollouts([{"step": 1, "text": half}])
        print(half)
        raise ZeroDivisionError(half)
    assert run.rollouts() == [{"step": 1, "text": half}]
    assert run.status().reason == f"ZeroDivisionError: {half}"
    assert r"\ud83d" in (run.path / "log.txt").read_text()
    _checkpoint(run, 1)
    assert RunFolder.resume(run.path, command=[]).rollouts() == [{"step": 1, "text": half}]


def test_metrics_and_rollouts_round_trip_and_nan_becomes_null(run):
    run.log_metrics(1, 0.5, {"loss": float("nan"), "reward": 0.25})
    run.log_rollouts([{"step": 1, "id": "a/0", "completions": [{"text": "ü\n", "reward": None}]}])
    (row,) = run.metrics()
    assert (row["step"], row["epoch"], row["loss"], row["reward"]) == (1, 0.5, None, 0.25)
    assert run.rollouts() == [{"step": 1, "id": "a/0", "completions": [{"text": "ü\n", "reward": None}]}]


def test_torn_last_line_is_left_out(run):
    run.log_metrics(1, 0.0, {"loss": 1.0})
    with (run.path / "metrics.jsonl").open("ab") as out:
        out.write('{"step": 2, "text": "ü'.encode()[:-1])
    assert [row["step"] for row in run.metrics()] == [1]


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [(None, "finished", ""), (RunStopped("asked to stop"), "stopped", "asked to stop"),
     (ZeroDivisionError("x"), "failed", "ZeroDivisionError: x"),
     (KeyboardInterrupt(), "stopped", "interrupted at once; steps after the last checkpoint are lost")],
)  # fmt: skip
def test_session_leaves_the_state(run, error, state, reason):
    def work():
        with run.session():
            assert run.status().state == "running"
            run.set_progress(7, 10)
            print("a line")
            if error is not None:
                raise error

    if error is None or isinstance(error, RunStopped):
        work()
    else:
        with pytest.raises(type(error)):
            work()
    assert (run.status().state, run.status().reason) == (state, reason)
    assert run.heartbeat()["step"] == 7 and run.heartbeat()["total"] == 10
    assert "a line" in (run.path / "log.txt").read_text()


def test_heartbeat_beats_while_the_process_works(run, monkeypatch):
    monkeypatch.setattr(run_folder, "HEARTBEAT_SECONDS", 0.02)
    with run.session():
        first = _wait_for(run.heartbeat)["time"]
        assert _wait_for(lambda: run.heartbeat().get("time", 0) > first)


def _wait_for(condition):
    deadline = time.time() + 10
    while time.time() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise TimeoutError


def test_dead_trainer_is_reported_as_crashed(run):
    with run.session():
        run.set_progress(4, 9)
    run._set_status("running", "")
    assert run.status().state == "running"
    _pretend_dead(run)
    assert run.status().state == "crashed"
    assert "after step 4" in run.status().reason


def test_another_process_with_the_same_pid_is_not_the_trainer(run):
    run._write_json("run.json", {**run.info, "process_started": run.info["process_started"] - 100})
    assert not run.is_alive()


def test_stop_file_asks_for_a_stop(run):
    assert run.stop_reason() is None
    RunFolder.open(run.path).request_stop()
    assert run.stop_reason() == "asked to stop"


@pytest.fixture
def interruptible():
    """The handler of a program in the foreground; a shell lets one in the background ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_first_interrupt_asks_for_a_stop_and_the_second_stops(run, interruptible):
    with pytest.raises(KeyboardInterrupt), run.session():
        os.kill(os.getpid(), signal.SIGINT)
        assert run.stop_reason() == "interrupted from the keyboard"
        os.kill(os.getpid(), signal.SIGINT)
    assert run.status().state == "stopped"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _checkpoint(run, step, *, is_marked=True):
    folder = run.checkpoints_path / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"x" * 100)
    if is_marked:
        run.mark_checkpoint(folder)
    return folder


def test_last_checkpoint_passes_over_the_incomplete_and_the_truncated(run):
    assert run.last_checkpoint() is None
    whole, truncated, _ = _checkpoint(run, 2), _checkpoint(run, 10), _checkpoint(run, 12, is_marked=False)
    (truncated / "weights.bin").write_bytes(b"x" * 50)
    assert run.last_checkpoint() == whole


def test_prune_keeps_the_newest_whole_checkpoints(run):
    for step in (2, 4, 10):
        _checkpoint(run, step)
    run.prune_checkpoints(2)
    assert sorted(path.name for path in run.checkpoints_path.iterdir()) == ["checkpoint-10", "checkpoint-4"]


def test_resume_cuts_everything_after_the_checkpoint(run):
    for step in range(1, 6):
        run.log_metrics(step, 0.0, {"loss": step})
        run.log_rollouts([{"step": step}])
    _checkpoint(run, 3)
    _checkpoint(run, 5, is_marked=False)
    run.request_stop()
    _pretend_dead(run)
    resumed = RunFolder.resume(run.path, command=["tracer1"])
    assert [row["step"] for row in resumed.metrics()] == [1, 2, 3]
    assert [row["step"] for row in resumed.rollouts()] == [1, 2, 3]
    assert [path.name for path in resumed.checkpoints_path.iterdir()] == ["checkpoint-3"]
    assert resumed.stop_reason() is None
    assert resumed.info["resumes"][0]["step"] == 3 and resumed.is_alive()


def test_a_full_disk_is_told_with_the_next_step_however_a_library_words_it(run, monkeypatch):
    with pytest.raises(OutputError, match=r"disk of run folder .* is full: .*--resume"), run.session():
        raise RuntimeError("serializing: No space left on device (os error 28)")
    assert run.status().state == "failed"
    usage = shutil.disk_usage(run.path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match="is full"), run.session():
        raise RuntimeError("file write failed")


def test_running_run_is_not_resumed_by_another_process(run):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        import psutil

        started = psutil.Process(other.pid).create_time()
        run._write_json("run.json", {**run.info, "pid": other.pid, "process_started": started})
        with pytest.raises(InputError, match="still running"):
            RunFolder.resume(run.path, command=[])
        other.kill()


_BEGIN_AT_ONCE = """
import sys, time
from pathlib import Path
from executors.errors import WorkbenchError
from training.config import SftConfig
from training.run_folder import RunFolder
how, path, go = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
print("ready", flush=True)
while not go.exists():
    pass
try:
    if how == "resume":
        RunFolder.resume(path, command=[])
    else:
        RunFolder.create(path, stage="sft", config=SftConfig(), command=[], seed=0)
    print("mine", flush=True)
except WorkbenchError as error:
    print(error, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["create", "resume"])
def test_of_two_processes_that_begin_at_once_one_is_refused(run, tmp_path, how):
    if how == "resume":
        run._append("rollouts.jsonl", ({"step": 0, "text": "x" * 200} for _ in range(20_000)))  # takes a while to cut
        _pretend_dead(run)
    path = run.path if how == "resume" else tmp_path / "new"
    command = [sys.executable, "-c", _BEGIN_AT_ONCE, how, str(path), str(tmp_path / "go")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": REPOSITORY}
    others = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for other in others:
        assert other.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    said = sorted(other.stdout.readline() for other in others)  # both live on until they were heard
    for other in others:
        other.communicate("\n")
    assert "mine\n" in said and len(set(said)) == 2, said
    assert any("already used" in line or "still running" in line for line in said)


def test_json_files_are_replaced_whole(run):
    run._write_json("status.json", {"state": "running"})
    assert [path.name for path in run.path.iterdir() if "partial" in path.name] == []
    assert json.loads((run.path / "status.json").read_text()) == {"state": "running"}


def test_a_folder_with_only_the_launchers_files_can_be_used(tmp_path):
    (tmp_path / "run" / "launch").mkdir(parents=True)
    run = RunFolder.create(tmp_path / "run", stage="sft", config=SftConfig(), command=[], seed=0)
    assert run.stage == "sft" and (run.path / "launch").is_dir()


@pytest.mark.parametrize("what", run_folder.REQUESTS)
def test_a_request_is_asked_seen_and_confirmed(run, what):
    run.request(what)
    assert run.is_asked(what)
    run._write_heartbeat()
    assert run.heartbeat()["seen"] == [what]
    run.confirm(what, "done", 3, note="x")
    assert not run.is_asked(what)
    (event,) = run.events()
    assert (event["event"], event["step"], event["note"]) == ("done", 3, "x")
    with pytest.raises(InputError, match="explode"):
        run.request("explode")


def test_a_run_that_a_person_killed_is_told_from_a_crash_until_it_is_resumed(run):
    run.mark_killed()
    run.request("save")
    _pretend_dead(run)
    assert run.status().state == "killed"
    resumed = RunFolder.resume(run.path, command=[])
    assert not run.is_asked("save")
    _pretend_dead(resumed)
    assert resumed.status().state == "crashed"


def test_screens_are_kept_once_and_bounded(run, monkeypatch):
    from PIL import Image

    red, blue = Image.new("RGB", (8, 4), "red"), Image.new("RGB", (8, 4), "blue")
    monkeypatch.setattr(run_folder, "MAX_SCREENS", 1)
    kept = run.keep_screen(red)
    assert kept["image_size"] == [8, 4] and run.keep_screen(red) == kept
    assert [path.name for path in (run.path / "screens").glob("*.webp")] == [kept["image"]]
    assert run.keep_screen(blue) == {} and run.keep_screen(None) == {}


def test_a_worker_writes_nothing(run):
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    worker = RunFolder.worker(run.path)
    with worker.session():
        worker.log_metrics(1, 0.1, {"loss": 1.0})
        worker.log_rollouts([{"step": 1}])
        worker.confirm("stop", "stopped", 1)
        worker.mark_checkpoint(run.checkpoints_path)
        worker.prune_checkpoints(0)
        raise RunStopped("asked to stop")
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_the_folder_tells_who_launched_the_process(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACER1_LAUNCH", "a-name")
    run = RunFolder.create(tmp_path / "run", stage="sft", config=SftConfig(), command=[], seed=0)
    assert (run.info["launch"], run.info["num_processes"]) == ("a-name", 1)
