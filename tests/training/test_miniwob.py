"""MiniWoB++ as a benchmark and as a source of trajectories, in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import Sequence

import psutil
import pytest

from executors.actions import Action
from executors.errors import InputError
from executors.miniwob import MiniWobExecutor
from executors.trajectory import read_trajectories
from tests.support import require_program
from training.benchmarks.miniwob import choose_tasks, evaluate
from training.cli import main
from training.config import ForecastConfig
from training.forecast import Forecast, ForecastStep
from training.planner import PlanRequest, ReplayPlanner
from training.samples import build_samples

pytest.importorskip("playwright")
pytest.importorskip("miniwob")

SHARED_WITH_SIMULATOR = {
    "benchmark", "planner", "seed", "mode", "success_rate", "ci95", "num_episodes", "num_errors", "mean_steps",
    "parse_failure_rate", "stop_reasons", "seconds",
}  # fmt: skip


@pytest.fixture(autouse=True)
def chromium() -> None:
    require_program("chromium", "chromium-browser")


class PressesTheButton:
    """A planner that knows one thing."""

    name, config = "presses the button", ForecastConfig()

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        step = ForecastStep(action=Action(type="click"), instruction='click the "Click Me!" button')
        return [Forecast(steps=(step,)) for _ in requests]


def test_oracle_is_evaluated_and_the_result_tells_how_it_was_judged(capsys):
    assert main(["evaluate", "miniwob", "--planner", "oracle", "--tasks", "click-test,click-option", "--episodes", "2",
                 "--seed", "5", "--json"]) == 0  # fmt: skip
    result = json.loads(capsys.readouterr().out)
    assert SHARED_WITH_SIMULATOR < set(result)
    assert (result["success_rate"], result["num_episodes"], result["num_errors"]) == (1.0, 4, 0)
    assert result["by_task"] == {task: {"success_rate": 1.0, "num_episodes": 2} for task in
                                 ("click-option", "click-test")}  # fmt: skip
    assert (result["time_limit"], result["success_rule"]) == ("lifted", "raw reward of 1")
    assert result["stop_reasons"] == {"world_ended": 4}


def test_planner_is_judged_by_the_page_task_by_task():
    result = evaluate(PressesTheButton(), ("click-test", "click-option"), 2, 0, num_browsers=2)
    assert {task: part["success_rate"] for task, part in result["by_task"].items()} == {
        "click-test": 1.0, "click-option": 0.0,
    }  # fmt: skip
    assert result["stop_reasons"] == {"not_grounded": 2, "world_ended": 2}
    assert result["num_errors"] == 0


class KillsItsBrowser(MiniWobExecutor):
    """Its Chromium dies under the first action of every first episode."""

    marks: set[str] = set()

    def execute(self, action: Action):
        if len(KillsItsBrowser.marks) == 1:
            for process in psutil.process_iter(["cmdline"]):
                if self._mark in (process.info["cmdline"] or []):
                    process.kill()
        return super().execute(action)


def test_browser_killed_in_an_episode_costs_that_episode_only():
    def open_executor(task: str, seed: int) -> MiniWobExecutor:
        executor = KillsItsBrowser(task, seed, time_limit_seconds=20.0)
        KillsItsBrowser.marks.add(executor._mark)
        return executor

    result = evaluate(None, ("click-test",), 2, 0, open_executor=open_executor)
    assert result["stop_reasons"] == {"executor_error": 1, "world_ended": 1}
    assert result["success_rate"] == 0.5 and result["num_errors"] >= 1
    assert not [p for p in psutil.process_iter(["cmdline"]) if KillsItsBrowser.marks & set(p.info["cmdline"] or [])]


def test_recorded_episodes_train_and_replay(tmp_path, capsys):
    path = tmp_path / "miniwob.jsonl"
    assert main(["record", "miniwob", "--tasks", "login-user,click-checkboxes", "--episodes", "1", "--out",
                 str(path)]) == 0  # fmt: skip
    assert f"wrote 2 of 2 episodes to {path}" in capsys.readouterr().out
    login, boxes = read_trajectories(path)
    assert (login.id, login.platform, login.split, login.outcome) == (
        "miniwob/login-user/1000", "browser", "train", "success")  # fmt: skip
    assert [step.action.type for step in login.steps] == ["click", "type", "click", "type", "click"]
    assert all(step.target is not None for step in login.steps if step.action.type == "click")
    assert "field username empty" in login.steps[0].thought
    samples = list(build_samples([login, boxes], ForecastConfig(horizon=4, with_points=False)))
    assert len(samples) == len(login.steps) + len(boxes.steps)
    assert samples[0].steps[0].action.point is None and samples[0].load_image().size == (320, 420)

    planner = ReplayPlanner.of_trajectories([login, boxes])
    result = evaluate(planner, ("login-user", "click-checkboxes"), 1, 1000)
    assert result["success_rate"] == 1.0


@pytest.mark.parametrize(("arguments", "words"), [
    (["--tasks", "click-nothing"], "'click-nothing' is unknown"), ([], "--tasks is missing"),
    (["--tasks", ","], "no MiniWoB"), (["--tasks", "click-test,click-test"], "name one twice"),
    (["--tasks", "bisect-angle", "--planner", "oracle"], "'bisect-angle' has no oracle"),
    (["--tasks", "click-test", "--split", "test"], "--split"),
    (["--tasks", "click-test", "--planner", "oracle", "--seed", "9999999999"], "seed 9999999999"),
    (["--tasks", "click-test", "--tool-agent", "elements", "--tool-agent", "elements"], "given twice"),
])  # fmt: skip
def test_request_that_is_not_possible_is_told(arguments, words, capsys):
    assert main(["evaluate", "miniwob", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_tasks_of_the_simulator_are_not_named(capsys):
    assert main(["evaluate", "simulator", "--tasks", "click-test"]) == 2
    assert "--tasks belongs to miniwob" in capsys.readouterr().err


def test_all_tasks_can_be_named_at_once():
    assert len(choose_tasks("all")) == 125
    assert set(choose_tasks("all", with_oracle=True)) < set(choose_tasks("all"))
    with pytest.raises(InputError, match="no episodes|number of episodes 0"):
        evaluate(None, ("click-test",), 0, 0)
