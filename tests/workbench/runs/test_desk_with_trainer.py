"""The desk with the real trainer in real processes, on a tiny random planner."""

import os
import signal
import time

import pytest
import yaml

from tests.training.grpo_helpers import stage1_config, tiny_checkpoint
from training.config_reading import to_dict
from training.run_folder import RunFolder
from workbench.runs import launcher, reader
from workbench.runs.desk import RunDesk

pytestmark = [pytest.mark.flows, pytest.mark.timeout(2400)]
PATIENCE_SECONDS = 600  # a machine with much else to do loads torch for minutes


@pytest.fixture
def desk(tmp_path):
    desk = RunDesk(tmp_path / "runs", tmp_path / "queue.sqlite")
    yield desk
    for row in desk.list():
        launcher.kill(desk.folder(row.id), {})
    desk.close()


def _wait_for(check, what):
    until = time.monotonic() + PATIENCE_SECONDS
    while not (found := check()):
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.2)
    return found


def _launch(desk, num_steps, **options):
    values = to_dict(stage1_config(tiny_checkpoint(), optim={"num_steps": num_steps}))
    values["eval_samples"] = 2
    run_id = desk.launch(desk.draft("stage1", values, name="run", **options))
    assert desk.tick() == [run_id]
    return run_id


def _event(desk, run_id, name):
    return lambda: [e for e in reader.read_events(desk.folder(run_id)) if e["event"] == name]


def _steps(desk, run_id):
    return [row["step"] for row in RunFolder(desk.folder(run_id)).metrics() if "loss" in row]


def test_a_run_is_saved_evaluated_killed_found_resumed_and_stopped(desk, tmp_path):
    run_id = _launch(desk, 400)
    assert desk.row(run_id).state == "starting"
    _wait_for(lambda: desk.row(run_id).step >= 1, "the first step")

    desk.request(run_id, "save")
    (saved,) = _wait_for(_event(desk, run_id, "saved"), "the save")
    checkpoint = desk.folder(run_id) / "checkpoints" / saved["checkpoint"]
    assert checkpoint.name == f"checkpoint-{saved['step']}"
    assert not (desk.folder(run_id) / "save").exists()

    desk.request(run_id, "evaluate")
    (evaluated,) = _wait_for(_event(desk, run_id, "evaluated"), "the evaluation")
    assert {"val/reward", "val/parse_failures"} <= set(evaluated["scores"])
    points = reader.read_metrics(desk.folder(run_id))
    assert evaluated["scores"]["val/reward"] in points.columns["val/reward"]
    (group, *_) = reader.read_rollouts(desk.folder(run_id), 1)
    assert len(group.completions) == 2 and group.screen is not None
    assert reader.planner_settings(desk.folder(run_id)) is not None

    os.kill(RunFolder(desk.folder(run_id)).info["pid"], signal.SIGKILL)
    _wait_for(lambda: desk.row(run_id).state == "crashed", "the crash to be seen")
    desk.reconcile()
    assert "SIGKILL" in desk.row(run_id).reason
    begun = time.monotonic()
    other = RunDesk(tmp_path / "runs", tmp_path / "queue.sqlite")  # the page server starts anew
    row = other.row(run_id)
    assert time.monotonic() - begun < 5
    assert row.state == "crashed" and "SIGKILL" in row.reason and row.error_lines and "resume" in row.actions
    other.close()

    last = RunFolder(desk.folder(run_id)).last_checkpoint()
    desk.resume(run_id)
    assert desk.tick() == [run_id]
    _wait_for(lambda: desk.row(run_id).state == "running" and desk.row(run_id).step >= int(last.name[11:]) + 2, "steps")
    desk.request(run_id, "stop")
    _wait_for(lambda: desk.row(run_id).state == "stopped", "the stop")
    steps = _steps(desk, run_id)
    assert steps == list(range(1, len(steps) + 1)), "resumed metrics go on without gap or repetition"
    assert _event(desk, run_id, "stopped")()[0]["step"] == steps[-1]
    _wait_for(lambda: "resume" in desk.row(run_id).actions, "the process to leave")


def test_two_processes_train_one_run_and_stop_together(desk):
    run_id = _launch(desk, 400, num_processes=2)
    folder = desk.folder(run_id)
    assert yaml.safe_load((folder / "launch" / "accelerate.yaml").read_text())["num_processes"] == 2
    _wait_for(lambda: desk.row(run_id).step >= 1, "the first step")
    assert RunFolder(folder).info["num_processes"] == 2
    assert len(launcher.processes_of(folder)) >= 3, "the launcher and two trainers"
    desk.request(run_id, "evaluate")
    _wait_for(_event(desk, run_id, "evaluated"), "the evaluation")
    desk.request(run_id, "stop")
    _wait_for(lambda: desk.row(run_id).state == "stopped", "the stop")
    steps = _steps(desk, run_id)
    assert steps == list(range(1, len(steps) + 1))
    _wait_for(lambda: "resume" in desk.row(run_id).actions, "the processes to leave")

    desk.resume(run_id)
    desk.tick()
    _wait_for(lambda: desk.row(run_id).step > steps[-1], "steps after the resume")
    desk.request(run_id, "kill")
    assert desk.row(run_id).state == "killed"
    assert launcher.processes_of(folder) == []


def test_settings_that_the_trainer_refuses_are_told_as_its_failure(desk):
    values = to_dict(stage1_config(tiny_checkpoint()))
    values["data"]["split"] = "nowhere"
    run_id = desk.launch(desk.draft("stage1", values, name="run"))
    desk.tick()
    row = _wait_for(lambda: (row := desk.row(run_id)).state == "failed" and row, "the failure")
    assert "nowhere" in row.reason
    assert any("nowhere" in line for line in row.error_lines)
