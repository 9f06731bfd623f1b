"""The simulator benchmark and the commands `evaluate` and `episode`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import pytest

from executors.errors import ExecutorError, InputError
from executors.simulator import record_episode, sample_tasks
from executors.trajectory import write_trajectories
from tests.training.planner_helpers import ScriptedPlanner, easy_task, oracle_planner, tiny_checkpoint
from training.benchmarks.simulator import evaluate, forecast_accuracy, step_hits
from training.commands import episode as episode_command
from training.commands import evaluate as evaluate_command
from training.episode_record import load_episode
from training.forecast import Forecast, ForecastStep, without_points

KEYS = {
    "benchmark", "planner", "split", "seed", "mode", "success_rate", "ci95", "num_episodes", "num_errors",
    "mean_steps", "by_level", "by_template", "forecast_accuracy", "parse_failure_rate", "stop_reasons", "seconds",
}


def test_oracle_scores_full_marks():
    tasks = sample_tasks("val", 8, 0)
    result = evaluate(oracle_planner(tasks), "val", 8, 0, interruption_rate=0.0, batch_size=3)
    assert set(result) == KEYS
    assert (result["success_rate"], result["num_errors"], result["parse_failure_rate"]) == (1.0, 0, 0.0)
    assert result["ci95"] == pytest.approx([0.6756, 1.0])  # Wilson, 8 of 8
    assert sum(part["num_episodes"] for part in result["by_level"].values()) == 8
    assert [part["accuracy"] for part in result["forecast_accuracy"].values()] == [1.0] * 4
    assert result["forecast_accuracy"]["1"]["num"] > result["forecast_accuracy"]["4"]["num"] > 0
    json.dumps(result)


def test_planner_that_always_gives_up_is_right_only_on_impossible_tasks():
    tasks = sample_tasks("test", 30, 1)
    result = evaluate(ScriptedPlanner("1. call_user() | not possible"), "test", 30, 1, with_forecast_accuracy=False)
    assert result["success_rate"] == pytest.approx(sum(task.is_impossible for task in tasks) / 30, abs=1e-4)
    assert result["stop_reasons"] == {"impossible": 30}


def test_unreadable_replies_are_counted_and_wrong():
    result = evaluate(ScriptedPlanner("hm"), "test", 3, 0, reactive=True)
    assert (result["parse_failure_rate"], result["success_rate"], result["num_errors"]) == (1.0, 0.0, 0)
    assert list(result["forecast_accuracy"]) == ["1"]
    assert result["mode"] == "reactive"


def test_failed_planner_counts_as_wrong_with_errors_beside():
    result = evaluate(ScriptedPlanner(ExecutorError("plan", "down")), "test", 2, 0, with_forecast_accuracy=False)
    assert (result["success_rate"], result["num_errors"]) == (0.0, 6)
    assert result["stop_reasons"] == {"executor_error": 2}


def test_failures_while_forecast_accuracy_is_measured_are_counted():
    accuracy, num_errors = forecast_accuracy(
        ScriptedPlanner(ExecutorError("plan", "down")), [easy_task()], horizon=2, seed=0, max_states=3
    )
    assert num_errors == 3
    assert accuracy["1"] == {"accuracy": 0.0, "num": 3}


def test_same_seed_gives_the_same_result():
    def scores() -> dict:
        result = evaluate(ScriptedPlanner("1. scroll(direction='down') | scroll down"), "test", 3, 5, max_steps=3)
        return {key: value for key, value in result.items() if key != "seconds"}

    assert scores() == scores()


def test_step_is_right_when_its_words_lead_to_the_oracles_target():
    reference = record_episode(easy_task(), with_images=False, interruption_rate=0.0).steps
    words = tuple(ForecastStep(action=without_points(s.action), instruction=s.instruction) for s in reference)
    assert step_hits(Forecast(steps=words), reference, 4) == [True] * 4
    wrong = (replace(words[0], instruction='tap the "Nowhere" button'), *words[1:3])
    first = reference[0].action.type in ("click", "left_double")
    assert step_hits(Forecast(steps=wrong), reference, 4) == [not first, True, True, False]


def test_interruptions_are_left_out_of_the_future_but_not_of_the_present():
    steps = record_episode(easy_task(), with_images=False, interruption_rate=0.0).steps[:3]
    popup = replace(steps[1], flags=frozenset({"interruption"}), instruction="cannot be foreseen")
    words = [ForecastStep(action=without_points(s.action), instruction=s.instruction) for s in steps]
    assert step_hits(Forecast(steps=(words[0], words[2])), [steps[0], popup, steps[2]], 6) == [True, True]
    assert len(step_hits(Forecast(steps=()), [popup, steps[2]], 6)) == 2


@pytest.mark.parametrize(("split", "episodes", "words"), [("tset", 3, "split"), ("test", 0, "episodes")])
def test_settings_that_are_not_allowed_are_refused(split, episodes, words):
    with pytest.raises(InputError, match=words):
        evaluate(ScriptedPlanner("hm"), split, episodes, 0)


def parse(command, *argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(argv)


@pytest.fixture
def recording(tmp_path) -> str:
    tasks = sample_tasks("test", 3, 0)
    write_trajectories(tmp_path / "t.jsonl", [record_episode(t, with_images=False) for t in tasks])
    return f"replay:{tmp_path / 't.jsonl'}"


def test_evaluate_prints_one_json_object_and_progress_beside(recording, capsys):
    args = parse(evaluate_command, "simulator", "--planner", recording, "--episodes", "3", "--seed", "0", "--json")
    assert evaluate_command.run(args) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert json.loads(out)["success_rate"] == 1.0
    assert err.count("success after") == 3


def test_evaluate_prints_a_summary_for_a_person(recording, capsys):
    evaluate_command.run(parse(evaluate_command, "simulator", "--planner", recording, "--episodes", "3"))
    assert "success   100.0%" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["simulator", "--episodes", "0"], ["simulator", "--seed", "x"], ["atari"], []])
def test_evaluate_refuses_wrong_usage(argv):
    with pytest.raises(SystemExit):
        parse(evaluate_command, *argv)


def test_a_server_that_never_answers_gives_the_scores_and_exit_code_2(capsys):
    argv = ("simulator", "--planner", "openai:m@http://localhost:1/v1", "--episodes", "2", "--json")
    assert evaluate_command.run(parse(evaluate_command, *argv)) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["stop_reasons"] == {"executor_error": 2}
    assert err.splitlines()[-1].startswith("tracer1: errors ended every episode, so nothing was measured")


def test_wrong_split_is_told_before_a_planner_is_loaded():
    with pytest.raises(InputError, match="split 'tests'"):
        evaluate_command.run(parse(evaluate_command, "simulator", "--planner", "/none", "--split", "tests"))


def test_episode_shows_each_step_and_keeps_the_record(recording, tmp_path, capsys):
    out = tmp_path / "e.json"
    assert episode_command.run(parse(episode_command, "--planner", recording, "--out", str(out))) == 0
    text = capsys.readouterr().out
    assert "Goal: " in text
    assert "> 1. " in text
    assert "Ended: finished, success" in text or "Ended: impossible, success" in text
    record = load_episode(out)
    assert record.success is True
    assert record.meta["split"] == "test"


def test_episode_with_a_goal_of_ones_own_runs_a_real_model(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("training.planner.default_max_new_tokens", lambda *_args, **_options: 6)
    args = parse(episode_command, "--planner", str(tiny_checkpoint(tmp_path)), "--goal", "open\x1b[2J Notes")
    assert episode_command.run(args) == 0
    text = capsys.readouterr().out
    assert "Ended: parse_failure, success unknown" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(("argv", "words"), [
    (["--goal", "  "], "--goal is empty"), (["--task", "wifi_of"], "template"), (["--split", "x"], "split"),
])
def test_episode_refuses_wrong_tasks(argv, words):
    with pytest.raises(InputError, match=words):
        episode_command.run(parse(episode_command, "--planner", "/none", *argv))


def test_task_and_goal_exclude_each_other():
    with pytest.raises(SystemExit):
        parse(episode_command, "--task", "a", "--goal", "b")
