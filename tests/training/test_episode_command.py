"""`tracer1 episode`: the live text view, the kept file, and how it ends."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from executors.simulator import record_episode, sample_tasks
from executors.trajectory import write_trajectories
from training.cli import main
from training.commands.episode import whole_number
from training.episode_record import StopReason, load_episode


@pytest.fixture
def recording(tmp_path: Path) -> str:
    """The oracle's recording of the task that seed 3 draws, as a planner."""
    task = sample_tasks("test", 1, 3)[0]
    write_trajectories(tmp_path / "t.jsonl", [record_episode(task, interruption_rate=0.0)])
    return f"replay:{tmp_path / 't.jsonl'}"


def test_an_episode_is_shown_kept_and_repeated_from_its_file(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "episode.json"
    assert main(["episode", "--seed", "3", "--planner", recording, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Goal: ") and "Step 1" in shown and "Ended: " in shown
    kept = load_episode(out)
    assert all(step.forecast is not None for step in kept.steps)
    assert main(["episode", "--seed", "3", "--planner", f"replay:{out}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == shown.splitlines()[-1]


@pytest.mark.parametrize("seed", ["1" * 19, "-1", "+-1", "1.0", "x", ""])
def test_a_seed_that_is_not_allowed_is_told_with_what_is(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["episode", f"--seed={seed}"])
    assert caught.value.code == 2
    assert f"{seed!r} is not a whole number of at least 0 and at most 18 digits" in capsys.readouterr().err


def test_reactive_episodes_forecast_one_step(recording: str, tmp_path: Path) -> None:
    out = tmp_path / "episode.json"
    assert main(["episode", "--seed", "3", "--planner", recording, "--reactive", "--out", str(out)]) == 0
    assert {len(step.forecast.steps) for step in load_episode(out).steps} == {1}


def test_a_server_that_does_not_answer_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "episode.json"
    assert main(["episode", "--planner", "openai:m@http://localhost:1/v1", "--out", str(out)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("tracer1: the episode was ended by errors, the last: plan: server localhost failed")
    assert load_episode(out).stop_reason is StopReason.EXECUTOR_ERROR


@pytest.mark.parametrize("text", ["", "-1", "+-5", "1.0", "1e3", "five", "9" * 30])
def test_text_that_is_no_whole_number_is_told(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number of at least 0"):
        whole_number(0)(text)
    assert whole_number(-1)(" -1 ") == -1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--task", "no_such"], "task template 'no_such'"),
        (["--split", "no_such"], "split 'no_such'"),
        (["--goal", " "], "--goal is empty"),
        (["--planner", "replay:none.jsonl"], "none.jsonl"),
        (["--planner", "replay:"], "names no file"),
    ],
)
def test_bad_input_is_one_sentence(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["episode", *options]) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


def test_an_output_that_is_no_file_is_told(recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["episode", "--seed", "3", "--planner", recording, "--out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "no plain file" in err and out == ""  # told before the episode runs
    assert main(["episode", "--seed", "3", "--planner", recording, "--out", str(tmp_path / "t.jsonl" / "under")]) == 2
    assert "choose a folder you may write" in capsys.readouterr().err
