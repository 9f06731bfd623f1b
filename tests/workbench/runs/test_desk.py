"""What a person does at the desk, with trainers that do as the test says."""

import os
import sqlite3
import time

import psutil
import pytest

from executors.errors import InputError, MissingFileError, OutputError
from training.config import SftConfig
from training.run_folder import RunFolder
from workbench.runs import launcher
from workbench.runs.desk import RunDesk


@pytest.fixture
def open_desk(tmp_path, trainers):
    desks = []

    def open_desk(**options):
        desks.append(RunDesk(tmp_path / "runs", tmp_path / "queue.sqlite", **{"start": trainers.start, **options}))
        return desks[-1]

    yield open_desk
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(open_desk):
    return open_desk()


def _launch(desk, name, **options):
    return desk.launch(desk.draft("sft", {}, name=name, **options))


def test_a_run_waits_for_its_device_and_says_why(desk, trainers):
    _launch(desk, "a"), _launch(desk, "b"), _launch(desk, "c")
    assert desk.tick() == ["a"]
    assert desk.row("b").reason == "waits for cpu, which run a uses"
    assert desk.row("c").reason == "waits for cpu, which run a uses"
    trainers.begin("a"), trainers.end("a", "finished")
    assert desk.tick() == ["b"]


def test_the_order_of_the_queue_is_the_order_of_the_starts(desk):
    for name in "abc":
        _launch(desk, name)
    desk.reorder("c", 1)
    assert [row.id for row in desk.list()] == ["c", "a", "b"]
    desk.hold("c")
    assert desk.tick() == ["a"]
    assert desk.row("c").reason == "held by a person"


def test_a_run_after_another_waits_for_its_success(desk, trainers):
    _launch(desk, "a")
    desk.launch(desk.draft("sft", {}, name="b", after="a"))
    desk.tick()
    assert desk.row("b").reason == "waits for run a to finish"
    trainers.begin("a"), trainers.end("a", "failed", "a bad thing")
    assert desk.tick() == []
    assert "a, which is failed" in desk.row("b").reason
    desk.resume("a"), desk.tick(), trainers.begin("a"), trainers.end("a", "finished")
    assert desk.tick() == ["b"]


def test_names_are_taken_once(desk, trainers):
    _launch(desk, "a")
    with pytest.raises(InputError, match="exists"):
        _launch(desk, "a")
    desk.cancel("a")
    _launch(desk, "a")
    assert desk.row("a").state == "waiting"


def test_a_run_outside_the_root_is_refused(desk, tmp_path):
    import dataclasses

    draft = dataclasses.replace(desk.draft("sft", {}, name="a"), out=tmp_path / "elsewhere")
    with pytest.raises(InputError, match="not in"):
        desk.launch(draft)


@pytest.mark.parametrize("run_id", ["../x", "a/../../x", "/etc", "a/b/c", "", "a\n"])
def test_ids_that_lead_out_of_the_root_are_refused(run_id, desk):
    for method in (desk.row, desk.folder, desk.config, desk.resume, desk.clone, desk.load):
        with pytest.raises(InputError, match="name"):
            method(run_id)


def test_unknown_runs_are_told(desk):
    for method in (desk.row, desk.hold, desk.cancel, desk.resume, desk.clone, desk.chain):
        with pytest.raises(MissingFileError, match="nobody"):
            method("nobody")


def test_an_error_of_a_check_refuses_the_launch_and_nothing_is_made(desk):
    draft = desk.draft("stage1", {"model": "$(touch pwned)"}, name="a")
    with pytest.raises(InputError, match="model: .*does not exist"):
        desk.launch(draft)
    assert desk.list() == [] and not draft.out.exists()


def test_requests_follow_the_state(desk, trainers):
    _launch(desk, "a")
    with pytest.raises(InputError, match="waiting"):
        desk.request("a", "stop")
    desk.tick()
    assert desk.row("a").actions == {"kill", "clone", "chain"}
    with pytest.raises(InputError, match="starting"):
        desk.request("a", "save")
    run = trainers.begin("a")
    assert desk.row("a").actions == {"kill", "clone", "chain", "stop", "save", "evaluate"}
    desk.request("a", "evaluate")
    assert desk.row("a").requests == {"evaluate": "asked"}
    run._write_heartbeat()
    assert desk.row("a").requests == {"evaluate": "seen"}
    with pytest.raises(InputError, match="unknown"):
        desk.request("a", "explode")
    with pytest.raises(InputError, match="running"):
        desk.resume("a")


def test_a_stalled_heartbeat_is_said(desk, trainers):
    _launch(desk, "a"), desk.tick()
    run = trainers.begin("a")
    assert not desk.row("a").is_stalled
    run._write_json("heartbeat.json", {"time": time.time() - 100, "step": 3, "total": 10})
    row = desk.row("a")
    assert row.is_stalled and row.heartbeat_age_seconds > 99 and (row.step, row.total) == (3, 10)
    assert [alert.kind for alert in desk.alerts("a")] == ["stalled"]


def test_alerts_are_met_once_and_remembered(open_desk, trainers):
    told = []
    desk = open_desk(on_alert=lambda run_id, alert: told.append((run_id, alert.kind)))
    _launch(desk, "a"), desk.tick()
    trainers.begin("a").log_metrics(1, 0.1, {"loss": float("nan"), "learning_rate": 0.1})
    desk.look_for_alerts()
    desk._next_alerts = 0.0
    desk.look_for_alerts()
    assert told == [("a", "nan")]
    assert [(a["kind"], a["step"]) for a in open_desk().alert_log("a")] == [("nan", 1)]


def test_the_time_to_the_end_is_the_pace_of_the_last_steps(desk, trainers):
    _launch(desk, "a"), desk.tick()
    run = trainers.begin("a")
    run._append("metrics.jsonl", [{"step": step, "time": 1000.0 + 2 * step} for step in range(1, 6)])
    run.set_progress(5, 20)
    run._write_heartbeat()
    assert desk.row("a").eta_seconds == pytest.approx(30.0)


def test_a_stage_of_a_pipeline_took_its_own_time_and_not_that_of_the_process(desk, trainers):
    _launch(desk, "a"), desk.tick()
    run = trainers.begin("a")
    begun = run.info["created"]
    run._write_json("run.json", {**run.info, "process_started": begun - 1000})
    run._write_json("heartbeat.json", {"time": begun + 30, "step": 2, "total": 2, "requests": []})
    trainers.end("a", "finished")
    assert desk.row("a").elapsed_seconds == pytest.approx(30.0)
    run._write_json("run.json", {**run.info, "resumes": [{"time": begun + 20}]})
    assert desk.row("a").elapsed_seconds == pytest.approx(10.0)


def test_a_process_with_a_recycled_id_is_not_the_run(desk, trainers):
    _launch(desk, "a"), desk.tick()
    with desk._queue.writing() as db:
        desk._queue.update(db, "a", process_started=1.0)
    assert desk.row("a").state == "crashed"


def test_kill_spares_processes_that_are_not_the_runs(desk, trainers):
    _launch(desk, "a"), desk.tick(), trainers.begin("a")
    other = trainers.start(desk.draft("sft", {}, name="other"), "x")
    desk.request("a", "kill")
    assert other.poll() is None and psutil.pid_exists(os.getpid())
    assert desk.row("a").state == "killed"


def test_two_servers_start_a_run_once(open_desk, trainers):
    one, two = open_desk(), open_desk()
    _launch(one, "a")
    assert one.tick() + two.tick() == ["a"]
    assert two.row("a").state == "starting"


def test_the_watching_thread_starts_runs(desk):
    _launch(desk, "a")
    desk.watch(0.02)
    until = time.monotonic() + 20
    while desk.row("a").state != "starting":
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_refusing_desk_shows_and_drafts_but_changes_nothing(open_desk, trainers):
    _launch(open_desk(), "a")
    demo = open_desk(refusal="this is a demo: duplicate it to train")
    draft = demo.draft("sft", {}, name="b")
    assert draft.command() and draft.checks()
    assert demo.row("a").actions == {"clone", "chain"}
    for act in (lambda: demo.launch(draft), lambda: demo.hold("a"), lambda: demo.cancel("a"),
                lambda: demo.reorder("a", 1), lambda: demo.resume("a"), lambda: demo.request("a", "kill")):  # fmt: skip
        with pytest.raises(InputError, match="this is a demo"):
            act()
    assert demo.tick() == []


def test_runs_made_at_the_command_line_are_listed_and_can_be_resumed(desk, trainers, tmp_path):
    folder = tmp_path / "runs" / "pipe" / "1_sft"
    run = RunFolder.create(folder, stage="sft", config=SftConfig(), command=["tracer1", "train"], seed=0)
    assert desk.row("pipe/1_sft").state == "running"
    run._set_status("stopped", "asked to stop")
    row = desk.row("pipe/1_sft")
    assert (row.state, row.reason, row.stage) == ("stopped", "asked to stop", "sft")
    assert "tracer1 train" in desk.command("pipe/1_sft")


def test_same_again_takes_a_seed_nobody_has(desk):
    desk.launch(desk.draft("sft", {"optim": {"seed": 4}}, name="a", preset="tiny"))
    again = desk.again("a")
    assert (again.config.optim.seed, again.preset) == (5, "tiny")
    desk.launch(again)
    assert desk.again("a").config.optim.seed == 6
    assert desk.again("a", seed=1).config.optim.seed == 1


def test_a_clone_takes_changes(desk):
    _launch(desk, "a")
    clone = desk.clone("a", name="b", config={"optim.num_steps": 7})
    assert (clone.name, clone.config.optim.num_steps) == ("b", 7)
    with pytest.raises(InputError, match="optim.nope"):
        desk.clone("a", config={"optim.nope": 7})


def test_chain_waits_for_its_run_and_takes_the_presets_settings(desk, trainers):
    drafts = desk.pipeline_drafts("smoke", seed=2, name="p")
    assert [(d.stage, d.after) for d in drafts] == [("sft", ""), ("stage1", "p-sft"), ("stage2", "p-stage1")]
    desk.launch(drafts[0])
    chained = desk.chain("p-sft")
    assert (chained.stage, chained.after, chained.config.optim) == ("stage1", "p-sft", drafts[1].config.optim)
    assert chained.config.model == str(desk.folder("p-sft") / "final")
    desk.launch(chained)
    with pytest.raises(InputError, match="nothing comes after"):
        desk.launch(drafts[1]), desk.launch(drafts[2]), desk.chain("p-stage2")


def test_chain_without_a_preset_takes_over_what_the_stages_share(desk, tmp_path):
    values = {"model": str(tmp_path), "grpo": {"kl_coef": 0.5}, "optim": {"num_steps": 3}, "lora": {"rank": 2}}
    draft = desk.draft("stage1", values, name="a")
    with desk._queue.writing() as db:
        desk._queue.append(db, "a", draft)
    chained = desk.chain("a")
    assert (chained.stage, chained.config.grpo.kl_coef, chained.config.lora.rank) == ("stage2", 0.5, 2)
    assert chained.config.optim.num_steps == 3


def test_a_program_that_cannot_be_started_is_the_runs_failure(open_desk):
    def start(draft, launch):
        raise OutputError("cannot start the run: no such program")

    desk = open_desk(start=start)
    _launch(desk, "a"), desk.tick()
    assert (desk.row("a").state, desk.row("a").reason) == ("failed", "cannot start the run: no such program")


def test_a_damaged_queue_is_told(tmp_path):
    (tmp_path / "queue.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match="damaged"):
        RunDesk(tmp_path / "runs", tmp_path / "queue.sqlite")


def test_a_queue_of_a_newer_workbench_is_told(desk, tmp_path):
    with sqlite3.connect(tmp_path / "queue.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="newer"):
        RunDesk(tmp_path / "runs", tmp_path / "queue.sqlite")


def test_the_launcher_runs_the_command_in_its_own_session_without_a_shell(desk, monkeypatch, tmp_path):
    """A real start with a model path full of shell characters: the trainer refuses it, and no shell has read it."""
    pwned = tmp_path / "pwned"
    draft = desk.draft("stage1", {"model": f"$(touch {pwned}); touch {pwned}"}, name="a")
    child = launcher.start(draft, "launch-name")
    assert os.getsid(child.pid) == child.pid
    assert child.wait(timeout=120) == 2
    assert "does not exist" in (draft.out / "launch" / "output.txt").read_text()
    assert draft.command_text() in (draft.out / "launch" / "command.txt").read_text()
    assert not pwned.exists()


def test_a_living_trainer_is_found_by_its_command_line(desk):
    draft = desk.draft("sft", {"data": {"num_episodes": 1_000_000}}, name="a")
    child = launcher.start(draft, "x")
    try:
        until = time.monotonic() + 20
        while child.pid not in {process.pid for process in launcher.processes_of(draft.out)}:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert launcher.kill(draft.out, {}) >= 1
        assert not psutil.pid_exists(child.pid)
    finally:
        child.kill()
