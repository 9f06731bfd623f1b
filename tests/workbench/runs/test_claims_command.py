"""`tracer1 claims`: what it queues, waits for and keeps; the planners are those of the tests."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from executors.errors import WorkbenchError
from tests.training.planner_helpers import ScriptedPlanner, tiny_checkpoint
from training.benchmarks.claims import BOTH, STAGE1, VARIANTS, read_outcomes
from workbench.runs import claims_command
from workbench.runs.desk import RunDesk


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("start"))


@pytest.fixture
def desk(tmp_path, trainers):
    desk = RunDesk(tmp_path / "runs", tmp_path / "runs" / "queue.sqlite", start=trainers.start)
    yield desk
    desk.close()


def parse(start: Path, tmp_path: Path, *words: str, world: str = "simulator") -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    claims_command.add_arguments(parser)
    places = ["--planner", str(start), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "claims")]
    return parser.parse_args([world, *places, *words])


def test_a_variant_is_queued_once_with_its_change_behind_what_it_starts_from(start, tmp_path, desk) -> None:
    words = ("--seeds", "3", "--steps", "5", "--set", "optim.batch_size=16")
    study = claims_command._Study.of(parse(start, tmp_path, *words))
    for _ in range(2):
        for name in (BOTH, STAGE1, "Stage 1, gamma = 1"):
            study.queue(desk, VARIANTS[name], 3)
    rows = [row.id for row in desk.list()]
    assert rows == ["claims-simulator-stage-1-seed3", "claims-simulator-stage-1-2-seed3",
                    "claims-simulator-stage-1-gamma-1-seed3"]
    first, both, gamma = (desk.config(row) for row in rows)
    assert (first["reward"]["gamma"], gamma["reward"]["gamma"]) == (0.8, 1.0)
    assert (first["model"], both["model"]) == (str(start), str(desk.root / rows[0] / "final"))
    assert {c["optim"]["seed"] for c in (first, both, gamma)} == {3}
    assert {(c["optim"]["num_steps"], c["optim"]["batch_size"]) for c in (first, both, gamma)} == {(5, 16)}
    assert desk.row(rows[1]).reason == f"waits for run {rows[0]} to finish"


def test_what_was_evaluated_is_kept_and_not_done_again(start, tmp_path, monkeypatch, capsys) -> None:
    loaded = []
    monkeypatch.setattr("training.planner.load_planner", lambda spec: loaded.append(spec) or ScriptedPlanner("nothing"))
    words = ("--seeds", "0", "--episodes", "2", "--variants", "SFT;reactive")
    assert claims_command.run(parse(start, tmp_path, *words)) == 0
    assert len(loaded) == 2 and "| SFT | 0.0 |" in capsys.readouterr().out
    outcomes = read_outcomes(tmp_path / "claims" / "outcomes.jsonl")
    assert [(o.variant, o.seed, len(o.success)) for o in outcomes] == [("SFT", 0, 2), ("reactive", 0, 2)]
    assert outcomes[0].success.keys() == outcomes[1].success.keys()
    assert (tmp_path / "claims" / "claims.html").is_file()
    assert claims_command.run(parse(start, tmp_path, *words)) == 0
    assert len(loaded) == 2


def test_a_run_that_failed_leaves_its_variants_out_and_is_named(start, tmp_path, desk, trainers, monkeypatch, capsys):
    monkeypatch.setattr(claims_command, "_open_desk", lambda runs: desk)
    monkeypatch.setattr(claims_command, "_WAIT_SECONDS", 0.05)
    name = "claims-simulator-stage-1-seed0"
    args = parse(start, tmp_path, "--seeds", "0", "--episodes", "1", "--variants", f"{STAGE1};{BOTH}")
    study = claims_command._Study.of(args)
    study.queue(desk, VARIANTS[BOTH], 0)
    desk.tick(), trainers.begin(name), trainers.end(name, "failed", "a bad thing")
    monkeypatch.setattr(desk, "resume", lambda run_id: None)
    assert claims_command.run(args) == 2
    assert f"not trained: {STAGE1}, seed 0; {BOTH}, seed 0" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "world", "message"), [
    (("--variants", "Stage 9"), "simulator", "'Stage 9' is unknown"),
    (("--seeds", "0,x"), "simulator", "not a list of whole numbers"),
    (("--tasks", "click-test"), "miniwob", "--data is missing"),
    (("--set", "optim"), "simulator", "not key=value"),
    (("--split", "nope"), "simulator", "split 'nope' is unknown"),
    (("--device", "gpu99"), "simulator", "--device 'gpu99' is not of this machine"),
    (("--out", __file__), "simulator", "choose a folder you may write"),
])  # fmt: skip
def test_wrong_options_are_told_before_anything_is_queued(start, tmp_path, words, world, message) -> None:
    with pytest.raises(WorkbenchError, match=message):
        claims_command.run(parse(start, tmp_path, *words, world=world))
    assert not (tmp_path / "runs").exists()
