"""Tool tasks as a benchmark, as training data, and by `tracer1 episode --env tools`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import ExecutorError, InputError
from executors.simulator import make_task as make_gui_task
from executors.simulator import record_episode
from executors.tool_tasks import TEMPLATES, make_task, usable_templates
from executors.tool_tasks import base as task_base
from executors.toolbox.box import ToolResult
from executors.trajectory import Observation, Step, Trajectory, read_trajectories, write_trajectories
from tests.chat_server import completion, serve
from tests.training.planner_helpers import ScriptedPlanner
from training.benchmarks import tools
from training.benchmarks.tools import evaluate, oracle_planner, record_trajectories, run_oracle
from training.cli import main
from training.config import ForecastConfig
from training.episode_record import StopReason, load_episode
from training.forecast import format_reply
from training.plan_act import Episode
from training.planner import ReplayPlanner
from training.samples import build_samples

TASK = make_task("basket", "test", 3)


@pytest.fixture
def few_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only templates that are quick and need no program of the system."""
    quick = tuple(TEMPLATES[name] for name in ("best_row", "basket"))
    monkeypatch.setattr("executors.tool_tasks.splits.usable_templates", lambda split: (quick, {"sign_code": "no OCR"}))
    monkeypatch.setattr(tools, "usable_templates", lambda split: (quick, {"sign_code": "no OCR"}))


def test_oracles_are_right_and_nothing_fails(few_templates):
    result = evaluate(None, "test", 4, 0)
    assert (result["success_rate"], result["num_errors"], result["tool_errors"]) == (1.0, 0, 0)
    assert result["tool_calls"] == 6 and result["mean_steps"] == 2.5 and result["stop_reasons"] == {"finished": 4}
    assert result["by_template"]["basket"] == {"success_rate": 1.0, "num_episodes": 2}
    assert result["left_out"] == {"sign_code": "no OCR"} and result["ci95"][0] > 0.4


def test_a_planner_whose_calls_fail_is_wrong_and_its_failures_are_counted(few_templates):
    planner = ScriptedPlanner("1. tool_call(name='Fly', arguments={}) | fly")
    lines = []
    result = evaluate(planner, "test", 2, 0, max_steps=3, batch_size=2, on_progress=lines.append)
    assert (result["success_rate"], result["tool_calls"], result["tool_errors"]) == (0.0, 6, 6)
    assert result["tool_errors_ci95"][0] > 0.5
    assert result["stop_reasons"] == {"max_steps": 2} and result["num_errors"] == 0
    assert len(lines) == 2 and "max_steps after 3 steps" in lines[0]


def test_a_planner_that_repeats_the_oracle_is_right(few_templates):
    planner = ReplayPlanner.of_trajectories(record_trajectories("test", 2, 0))
    result = evaluate(planner, "test", 2, 0)
    assert (result["success_rate"], result["tool_errors"], result["mode"]) == (1.0, 0, "anticipatory")


def test_a_planner_without_words_stops_and_leaves_no_folder(few_templates, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = evaluate(ScriptedPlanner("nothing"), "test", 2, 0)
    assert result["stop_reasons"] == {"parse_failure": 2} and result["parse_failure_rate"] == 1.0
    assert (result["tool_calls"], result["tool_errors_ci95"]) == (0, None)
    assert list(tmp_path.iterdir()) == []


def test_an_oracle_whose_tool_fails_ends_with_an_error(monkeypatch):
    broken = ToolResult(kind="failed", text="broken")
    monkeypatch.setattr("executors.toolbox.box.Toolbox.call", lambda self, name, arguments: broken)
    record = run_oracle(TASK)
    assert record.stop_reason is StopReason.EXECUTOR_ERROR and record.num_errors == 3 and record.success is False
    with pytest.raises(ExecutorError, match="oracle does not solve"):
        oracle_planner(TASK)
    assert list(record_trajectories("test", 1, 0)) == []


def test_oracle_planner_foresees_all_its_steps():
    planner, world = oracle_planner(TASK), TASK.open()
    record = Episode(world, planner, meta=TASK.meta).run()
    world.close()
    assert record.success and [len(step.forecast.steps) for step in record.steps] == [3, 2, 1]


def test_recorded_trajectories_become_samples_that_know_their_tools(tmp_path, capsys):
    out = tmp_path / "tools.jsonl"
    assert main(["record", "tools", "--split", "val", "--episodes", "3", "--seed", "7", "--out", str(out)]) == 0
    assert "wrote 3 of 3 episodes" in capsys.readouterr().out
    trajectories = list(read_trajectories(out))
    assert {t.platform for t in trajectories} == {"tools"} and {t.split for t in trajectories} == {"val"}
    assert all(t.outcome == "success" and t.steps[-1].action.type == "finished" for t in trajectories)
    assert all(step.thought and step.instruction for t in trajectories for step in t.steps)
    sample = next(build_samples(trajectories, ForecastConfig()))
    assert "Calculator" in sample.tools and "Calculator(expression" in str(sample.messages(ForecastConfig()))
    assert "Calculator(expression" not in str(sample.messages(ForecastConfig(prompt_style="compact")))


def test_the_prompt_tells_tools_only_where_there_are_some():
    gui = record_episode(make_gui_task("alarm_on", "train", 0))
    text = str(next(build_samples([gui], ForecastConfig())).messages(ForecastConfig()))
    assert "You operate a device" in text and "Tools you can call" not in text


@pytest.mark.parametrize("task", ["basket", "best_row"])
def test_episode_command_solves_a_task_and_keeps_it(task, tmp_path, capsys):
    out = tmp_path / "episode.json"
    command = ["episode", "--env", "tools", "--task", task, "--seed", "3"]
    assert main([*command, "--planner", "oracle", "--out", str(out)]) == 0
    assert "Ended: finished, success" in capsys.readouterr().out
    kept = load_episode(out)
    assert kept.success and kept.platform == "tools" and kept.meta["task"] == task
    assert kept.steps[-1].action.type == "finished" and kept.final_observation.text
    assert main([*command, "--planner", f"replay:{out}"]) == 0
    assert "success" in capsys.readouterr().out


def test_episode_command_takes_a_goal_and_files(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("name,price\nmilk,12\n")
    plan = tmp_path / "plan.jsonl"
    steps = [
        Step(observation=Observation(), instruction="read",
             action=Action(type="tool_call", name="FileInspector", arguments={"file_path": "a.csv"})),
        Step(observation=Observation(), instruction="answer", action=Action(type="finished", content="12")),
    ]  # fmt: skip
    write_trajectories(plan, [Trajectory(id="t", goal="Price?", steps=tuple(steps), source="test", platform="tools")])
    assert main(["episode", "--env", "tools", "--goal", "Price?", "--file", str(tmp_path / "a.csv"), "--planner",
                 f"replay:{plan}"]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "name | price milk | 12" in out and "success unknown" in out


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["episode", "--env", "tools", "--task", "baskte"], "near matches: basket"),
        (["episode", "--env", "tools", "--split", "x"], "split 'x'"),
        (["episode", "--env", "tools", "--goal", "x", "--file", "gone.csv"], "gone.csv does not exist"),
        (["episode", "--env", "tools", "--file", "gone.csv"], "--file belongs to --goal"),
        (["episode", "--env", "tools", "--goal", "x", "--file", __file__, "--file", __file__], "two files of one name"),
        (["episode", "--env", "simulator", "--file", "x"], "--file is not of simulator"),
        (["episode", "--env", "simulator", "--planner", "oracle"], "--planner oracle is of --env tools"),
        (["episode", "--env", "tools", "--goal", "x", "--planner", "oracle"], "--planner oracle is of --env tools"),
        (["evaluate", "tools", "--split", "x"], "split 'x'"),
        (["evaluate", "tools", "--tasks", "basket"], "--tasks belongs to miniwob"),
        (["evaluate", "tools", "--tool-agent", "elements"], "--tool-agent belongs"),
        (["record", "tools", "--split", "x", "--out", "x.jsonl"], "split 'x'"),
        (["record", "tools", "--tasks", "basket", "--out", "x.jsonl"], "--tasks belongs to miniwob"),
        (["record", "miniwob", "--out", "x.jsonl"], "--tasks is missing"),
    ],
)
def test_bad_options_are_told(arguments: list[str], match: str, capsys: pytest.CaptureFixture, tmp_path: Path):
    assert main(arguments) == 2
    assert match in capsys.readouterr().err


def test_evaluate_command_prints_one_json_object_or_a_summary(few_templates, capsys, monkeypatch):
    monkeypatch.setattr("executors.tool_tasks.usable_templates", tools.usable_templates)
    assert main(["evaluate", "tools", "--planner", "oracle", "--episodes", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["benchmark"], result["planner"], result["success_rate"]) == ("tools", "oracle", 1.0)
    assert main(["evaluate", "tools", "--planner", "oracle", "--episodes", "2"]) == 0
    out = capsys.readouterr().out
    assert "oracle on tools/test" in out and "left out       sign_code: no OCR" in out and "0 failed" in out


def test_numbers_that_are_not_allowed_are_told():
    with pytest.raises(InputError, match="number of episodes 0"):
        evaluate(None, "test", 0, 0)
    with pytest.raises(InputError, match="number of episodes 0"):
        next(record_trajectories("test", 0, 0))


def test_a_task_that_cannot_run_here_is_told(monkeypatch, capsys):
    monkeypatch.setattr(task_base.shutil, "which", lambda name: None)
    assert main(["episode", "--env", "tools", "--task", "sign_code"]) == 2
    assert "tool task 'sign_code' cannot be run here: the program tesseract" in capsys.readouterr().err
    assert "sign_code" in usable_templates("test")[1]


def test_a_model_behind_a_server_is_told_the_tools_and_solves_a_task(capsys):
    planner = oracle_planner(TASK)
    replies = [format_reply("", forecast.steps[:1]) for forecast in planner._forecasts[TASK.goal]]
    with serve(*((200, completion(reply)) for reply in replies)) as server:
        assert main(["episode", "--env", "tools", "--task", "basket", "--seed", "3",
                     "--planner", f"openai:some/model@{server.url}"]) == 0  # fmt: skip
        asked = [body["messages"][0]["content"] for _, _, body in server.seen]
    assert "Ended: finished, success" in capsys.readouterr().out
    assert len(asked) == 3 and all([part["type"] for part in content] == ["text"] for content in asked)
    first, second = asked[0][0]["text"], asked[1][0]["text"]
    assert first.startswith("You solve a task for a user by calling tools")
    assert "- Calculator(expression: text) -> text" in first
    assert "files: prices.csv" in first and "name | price" in second and "FileInspector" in second
