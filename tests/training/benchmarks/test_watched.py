"""Evaluations that keep a run folder, and settings that come back from the command line they make."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from executors.errors import InputError, WorkbenchError
from tests.training.planner_helpers import ScriptedPlanner
from training.benchmarks.baselines import RandomBaseline
from training.benchmarks.evaluation import find_results
from training.benchmarks.offline_run import OfflineSettings
from training.benchmarks.on_policy import OnPolicySettings
from training.benchmarks.watched import evaluate_watched
from training.cli import main
from training.commands import evaluate
from training.run_folder import RunFolder


def settings(tmp_path, **changes) -> OfflineSettings:
    given = {"protocol": "grounded", "data": "simulator", "planner": "random", "out": tmp_path / "out",
             "num_episodes": 3, "horizon": 2, "batch_size": 4}  # fmt: skip
    return OfflineSettings(**{**given, **changes})


def test_the_run_folder_tells_progress_state_settings_and_log(tmp_path):
    (summary,) = evaluate_watched(settings(tmp_path), tmp_path / "run", ["tracer1", "evaluate"])
    run = RunFolder.open(tmp_path / "run")
    num_states = summary["num_steps"]
    assert (run.stage, run.status().state) == ("evaluate", "finished")
    assert (run.heartbeat()["step"], run.heartbeat()["total"]) == (2 * num_states, 2 * num_states)
    assert OfflineSettings.from_json(run.config) == settings(tmp_path)
    steps = [row["step"] for row in run.metrics()]
    assert steps == sorted(steps) and steps[-1] == 2 * num_states
    assert f"actions of elements  {num_states} of {num_states} states" in (run.path / "log.txt").read_text()


class AsksToStopOnce(RandomBaseline):
    """Random, but asks its own run to stop while it answers for the first time."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.run, self.asked_for = run, []

    def forecast_states(self, states):
        if not self.asked_for:
            (self.run / "stop").touch()
        self.asked_for += [state.id for state in states]
        return super().forecast_states(states)


def test_a_stop_that_is_asked_for_ends_it_and_the_same_command_goes_on(tmp_path):
    planner, mine = AsksToStopOnce(tmp_path / "run"), settings(tmp_path, planner="mine")
    assert evaluate_watched(mine, tmp_path / "run", [], load=lambda _: planner) is None
    status = RunFolder.open(tmp_path / "run").status()
    assert (status.state, status.reason) == ("stopped", "asked to stop")
    assert len(planner.asked_for) == 4 and find_results(mine.out) == []
    (summary,) = evaluate_watched(mine, tmp_path / "run", [], load=lambda _: planner)
    assert len(set(planner.asked_for)) == len(planner.asked_for) == summary["num_steps"]  # nothing is asked twice
    assert RunFolder.open(tmp_path / "run").status().state == "finished"


def test_an_error_is_the_runs_last_word(tmp_path):
    with pytest.raises(WorkbenchError, match="does not exist"):
        evaluate_watched(settings(tmp_path, planner=str(tmp_path / "gone")), tmp_path / "run", [])
    status = RunFolder.open(tmp_path / "run").status()
    assert status.state == "failed" and "does not exist" in status.reason


def parsed(words: list[str]) -> OfflineSettings | OnPolicySettings:
    """The settings that `tracer1 evaluate` makes of words."""
    seen = []
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.benchmarks.watched.evaluate_watched", lambda found, *_: seen.append(found))
        evaluate.run(parser.parse_args([*words, "--run", "run"]))
    return seen[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data": "/tmp/a b.jsonl", "split": "val", "references": "/refs", "level": "low", "seed": 4},
        {"tool_agents": ("elements", "oracle"), "reactive": True, "history_length": 0, "horizon": None},
        {"num_episodes": None, "planner": "openai:m@http://localhost:1/v1"},
    ],
)
def test_settings_come_back_from_their_command_line_and_from_json(tmp_path, changes):
    mine = settings(tmp_path, **changes)
    assert parsed(mine.arguments()) == mine
    assert OfflineSettings.from_json(mine.to_json()) == mine


@pytest.mark.parametrize("record", [{}, {"out": "x", "tool_agents": [], "colour": "red"}])
def test_records_that_are_no_settings_are_refused(record):
    with pytest.raises(InputError, match="no settings of an evaluation"):
        OfflineSettings.from_json(record)


def test_the_command_keeps_a_run_folder_when_it_is_asked_to(tmp_path, capsys):
    words = ["--planner", "random", "--episodes", "2", "--out", str(tmp_path / "out"), "--run", str(tmp_path / "run")]
    assert main(["evaluate", "grounded", *words]) == 0
    assert "step success" in capsys.readouterr().out
    assert RunFolder.open(Path(tmp_path / "run")).status().state == "finished"
    assert main(["evaluate", "simulator", "--run", str(tmp_path / "other")]) == 2
    assert "--run needs --out" in capsys.readouterr().err


def on_policy(tmp_path, **changes) -> OnPolicySettings:
    given = {"benchmark": "simulator", "planner": "scripted", "out": tmp_path / "out", "num_episodes": 6,
             "batch_size": 2}  # fmt: skip
    return OnPolicySettings(**{**given, **changes})


def test_a_stopped_on_policy_evaluation_keeps_what_is_done_and_goes_on(tmp_path):
    class AsksToStop(ScriptedPlanner):
        def forecast(self, requests):
            if len(self.asked) == 2:
                (tmp_path / "run" / "stop").touch()
            return super().forecast(requests)

    mine = on_policy(tmp_path)
    assert evaluate_watched(mine, tmp_path / "run", [], load=lambda _: AsksToStop("1. call_user() | no")) is None
    assert RunFolder.open(tmp_path / "run").status().state == "stopped" and find_results(mine.out) == []
    planner = ScriptedPlanner("1. call_user() | no")
    (result,) = evaluate_watched(mine, tmp_path / "run", [], load=lambda _: planner)
    assert (result["num_episodes"], len(planner.asked)) == (6, 2) and len(find_results(mine.out)) == 1
    assert result["stop_reasons"] == {"impossible": 6}  # none that the stop ended
    run = RunFolder.open(tmp_path / "run")
    assert (run.status().state, run.heartbeat()["step"], run.heartbeat()["total"]) == ("finished", 6, 6)


@pytest.mark.parametrize("changes", [{}, {"benchmark": "tools", "planner": "oracle", "reactive": True, "seed": 3}])
def test_on_policy_settings_come_back_from_their_command_line_and_from_json(tmp_path, changes):
    mine = on_policy(tmp_path, **changes)
    assert parsed(mine.arguments()) == mine
    assert OnPolicySettings.from_json(mine.to_json()) == mine


def test_the_tools_oracle_keeps_a_run_folder(tmp_path, capsys):
    words = ["--planner", "oracle", "--episodes", "2", "--out", str(tmp_path / "out"), "--run", str(tmp_path / "run")]
    assert main(["evaluate", "tools", *words]) == 0
    assert "100.0%" in capsys.readouterr().out
    assert RunFolder.open(tmp_path / "run").heartbeat()["step"] == 2
