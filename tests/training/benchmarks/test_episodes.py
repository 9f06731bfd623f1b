"""On-policy evaluations that keep a folder: gone on with after a kill, and compared like any other."""

from __future__ import annotations

import json

import pytest

from executors.errors import ExecutorError, InputError
from executors.simulator import record_episode, sample_tasks
from tests.support import require_program
from tests.training.planner_helpers import ScriptedPlanner
from training.benchmarks import miniwob, simulator, tools
from training.benchmarks.comparison import compare, flips
from training.benchmarks.episodes import TaskResult, episode_scores
from training.benchmarks.evaluation import load_folder
from training.cli import main
from training.planner import ReplayPlanner

GIVES_UP = "1. call_user() | not possible"


def test_a_killed_evaluation_goes_on_and_tells_what_an_uninterrupted_one_does(tmp_path):
    class Dies(ScriptedPlanner):
        def forecast(self, requests):
            if len(self.asked) > 5:
                raise KeyboardInterrupt
            return super().forecast(requests)

    options = {"batch_size": 2, "with_forecast_accuracy": False}
    whole = simulator.evaluate(ScriptedPlanner(GIVES_UP), "test", 8, 0, **options)
    with pytest.raises(KeyboardInterrupt):
        simulator.evaluate(Dies(GIVES_UP), "test", 8, 0, out=tmp_path / "a", **options)
    kept = (tmp_path / "a" / "tasks.jsonl").read_text().splitlines()
    assert 0 < len(kept) < 8
    planner = ScriptedPlanner(GIVES_UP)
    again = simulator.evaluate(planner, "test", 8, 0, out=tmp_path / "a", **options)
    assert len(planner.asked) == 8 - len(kept)  # what was done is not asked again
    assert {**again, "seconds": 0} == {**whole, "seconds": 0}


def test_tasks_that_a_server_failed_are_done_anew_where_that_is_asked(tmp_path):
    options = {"with_forecast_accuracy": False, "out": tmp_path}
    down = simulator.evaluate(ScriptedPlanner(ExecutorError("plan", "down")), "test", 2, 0, **options)
    planner = ScriptedPlanner(GIVES_UP)
    assert simulator.evaluate(planner, "test", 2, 0, **options)["num_errors"] == down["num_errors"] == 6
    assert planner.asked == []
    again = simulator.evaluate(planner, "test", 2, 0, retries_failed=True, **options)
    assert (again["num_errors"], len(planner.asked)) == (0, 2)


def test_two_planners_are_compared_task_by_task(tmp_path):
    tasks = sample_tasks("test", 12, 0)
    knows = ReplayPlanner.of_trajectories([record_episode(task) for task in tasks[:6]])
    options = {"with_forecast_accuracy": False, "interruption_rate": 0.0}
    best = simulator.evaluate(knows, "test", 12, 0, out=tmp_path / "knows", **options)
    worst = simulator.evaluate(ScriptedPlanner("hm"), "test", 12, 0, out=tmp_path / "hm", **options)
    a, b = (load_folder(tmp_path / name)[0] for name in ("hm", "knows"))
    pair = compare([a, b]).benchmarks[0].pairs[0]
    assert a.benchmark == "success on simulator/test, 12 tasks, seed 0 with elements"
    assert pair.gap == pytest.approx(best["success_rate"] - worst["success_rate"], abs=1e-4)
    assert (pair.num_only_a, pair.num_only_b) == (0, len(flips(a, b))) and len(flips(a, b)) >= 4
    assert {sample.slices["split"] for sample in a.samples} == {"test"}


def test_another_evaluation_is_not_mixed_in(tmp_path):
    simulator.evaluate(ScriptedPlanner("hm"), "test", 2, 0, out=tmp_path, with_forecast_accuracy=False)
    with pytest.raises(InputError, match="holds an evaluation with data"):
        simulator.evaluate(ScriptedPlanner("hm"), "test", 2, 1, out=tmp_path, with_forecast_accuracy=False)
    with pytest.raises(InputError, match="holds an evaluation with mode"):
        simulator.evaluate(ScriptedPlanner("hm"), "test", 2, 0, True, out=tmp_path, with_forecast_accuracy=False)


def test_tool_tasks_are_kept(tmp_path, capsys):
    first = tools.evaluate(None, "test", 3, 0, out=tmp_path / "oracle")
    assert main(["evaluate", "tools", "--planner", "oracle", "--episodes", "3", "--out", str(tmp_path / "oracle"),
                 "--json"]) == 0  # fmt: skip
    out, err = capsys.readouterr()
    again = json.loads(out)
    assert {**again, "seconds": 0} == {**first, "seconds": 0} and err == ""  # no episode was run
    assert [sample.success for sample in load_folder(tmp_path / "oracle")[0].samples] == [1.0] * 3


def test_miniwob_is_kept(tmp_path):
    pytest.importorskip("miniwob")
    require_program("chromium", "chromium-browser")
    first = miniwob.evaluate(None, ("click-test",), 2, 0, out=tmp_path)
    again = miniwob.evaluate(
        None, ("click-test",), 2, 0, out=tmp_path, open_executor=lambda *_: pytest.fail("everything is done already")
    )
    assert {**again, "seconds": 0} == {**first, "seconds": 0}


def test_scores_of_results_without_a_forecast():
    result = TaskResult(
        id="a", group="g", goal="", score=0.5, stop_reason="executor_error", num_steps=0, num_errors=3, num_forecasts=0,
        num_unreadable=0, num_without_effect=0, seconds=0.0,
    )  # fmt: skip
    scores = episode_scores([result])
    assert (scores["success_rate"], scores["parse_failure_rate"], scores["num_errors"]) == (0.0, 0.0, 3)
