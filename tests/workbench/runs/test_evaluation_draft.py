"""Evaluations in the queue: the command that is run, the checks before it, and what the desk does with them."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from executors.errors import InputError
from executors.simulator import make_task, record_episode
from executors.trajectory import write_trajectories
from training.benchmarks.evaluation import load_folder
from training.benchmarks.offline_run import OfflineSettings
from workbench.runs.desk import RunDesk
from workbench.runs.draft import PROJECT
from workbench.runs.evaluation_draft import EvaluationDraft, read_draft

PATIENCE_SECONDS = 300


@pytest.fixture
def desk(tmp_path):
    desk = RunDesk(tmp_path / "runs", tmp_path / "queue.sqlite")
    yield desk
    desk.close()


def settings(tmp_path: Path, **changes) -> OfflineSettings:
    given = {"protocol": "grounded", "data": "simulator", "planner": "random", "out": tmp_path / "evaluations" / "one",
             "num_episodes": 2}  # fmt: skip
    return OfflineSettings(**{**given, **changes})


def checks(draft: EvaluationDraft) -> dict[str, tuple[str, str]]:
    return {check.name: (check.level, check.reason) for check in draft.checks()}


def test_the_command_is_tracer1_evaluate_with_a_run_folder(desk, tmp_path):
    draft = desk.evaluation_draft(settings(tmp_path))
    words = draft.command()
    assert words[words.index("-m") :] == [
        "-m", "training.cli", "evaluate", "grounded", "--planner", "random", "--tool-agent", "elements",
        "--episodes", "2", "--out", str(tmp_path / "evaluations" / "one"),
        "--run", str(tmp_path / "runs" / "evaluate-one"),
    ]  # fmt: skip
    assert shlex.split(draft.command_text()) == ["cd", str(PROJECT), "&&", *words]


def test_a_draft_outlives_the_queues_file(desk, tmp_path):
    draft = replace(desk.evaluation_draft(settings(tmp_path, tool_agents=("elements", "oracle"))), resume=True)
    assert read_draft(json.loads(json.dumps(draft.to_json()))) == draft
    run_id = desk.launch(replace(draft, resume=False))
    again = RunDesk(tmp_path / "runs", tmp_path / "queue.sqlite")
    row = again.row(run_id)
    assert (row.stage, row.state, row.actions) == ("evaluate", "waiting", {"hold", "cancel", "reorder"})
    assert again.config(run_id)["tool_agents"] == ["elements", "oracle"]
    again.close()


def test_a_good_draft_passes_all_checks(desk, tmp_path):
    assert {level for level, _ in checks(desk.evaluation_draft(settings(tmp_path))).values()} == {"ok"}


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"protocol": "best"}, "benchmark", "'best'"),
        ({"level": "middle"}, "benchmark", "level 'middle'"),
        ({"planner": "/no/such/folder"}, "planner", "does not exist"),
        ({"planner": ""}, "planner", "the planner is empty"),
        ({"planner": "openai:nameless"}, "planner", "is not openai:MODEL@URL"),
        ({"data": "/no/such.jsonl"}, "data", "is not a file"),
        ({"references": "/no/such"}, "data", "references '/no/such' do not exist"),
        ({"tool_agents": ()}, "tool agents", "no tool agent is chosen"),
        ({"tool_agents": ("hands",)}, "tool agents", "tool agent 'hands' is unknown"),
        ({"num_episodes": 0}, "numbers", "num episodes 0 is not allowed: give at least 1"),
        ({"horizon": 0}, "numbers", "horizon 0"),
        ({"out": Path(__file__) / "one"}, "output", "may not be written"),
    ],
)
def test_what_is_wrong_is_told_before_launching(desk, tmp_path, changes, name, words):
    draft = desk.evaluation_draft(settings(tmp_path, **changes))
    level, reason = checks(draft)[name]
    assert level == "error" and words in reason
    with pytest.raises(InputError, match=name):
        desk.launch(draft)


def test_a_name_that_cannot_be_a_run_is_refused(desk, tmp_path):
    with pytest.raises(InputError, match="name .* is not allowed"):
        desk.evaluation_draft(settings(tmp_path, out=tmp_path / "a b"))


def test_what_only_training_can_do_is_refused_for_an_evaluation(desk, tmp_path):
    run_id = desk.launch(desk.evaluation_draft(settings(tmp_path)))
    for act, words in (
        (desk.clone, "is an evaluation"), (desk.again, "is an evaluation"), (desk.chain, "nothing comes after"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            act(run_id)
    for what in ("save", "evaluate"):
        with pytest.raises(InputError, match="is an evaluation"):
            desk.request(run_id, what)


def wait_for(desk: RunDesk, run_id: str, state: str, actions: set[str]) -> None:
    """Waits until a run has ended so, its process too, so that these actions are offered."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (desk.row(run_id).state, desk.row(run_id).actions) != (state, actions):
        assert time.monotonic() < until, desk.row(run_id)
        time.sleep(0.05)


def test_a_launched_evaluation_runs_tells_its_progress_and_leaves_results(desk, tmp_path):
    run_id = desk.launch(desk.evaluation_draft(settings(tmp_path)))
    assert desk.tick() == [run_id]
    wait_for(desk, run_id, "finished", set())
    row = desk.row(run_id)
    (evaluation,) = load_folder(tmp_path / "evaluations" / "one")
    assert row.step == row.total == 2 * len(evaluation.samples)


def test_a_failed_evaluation_tells_why_and_goes_on_when_the_cause_is_gone(desk, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text("")
    run_id = desk.launch(desk.evaluation_draft(settings(tmp_path, data=str(data))))
    desk.tick()
    wait_for(desk, run_id, "failed", {"resume"})
    assert "holds no trajectory" in desk.row(run_id).reason
    write_trajectories(data, [record_episode(make_task("alarm_on", "train", 0))])
    desk.resume(run_id)
    desk.tick()
    wait_for(desk, run_id, "finished", set())


def test_an_evaluation_of_the_command_line_is_listed_and_can_be_resumed(desk, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text("")
    draft = desk.evaluation_draft(settings(tmp_path, data=str(data), out=tmp_path / "evaluations" / "mine"))
    assert subprocess.run(draft.command(), cwd=PROJECT, capture_output=True).returncode == 2
    assert (desk.row(draft.name).stage, desk.row(draft.name).state) == ("evaluate", "failed")
    write_trajectories(data, [record_episode(make_task("alarm_on", "train", 0))])
    desk.resume(draft.name)
    assert desk.tick() == [draft.name]
    wait_for(desk, draft.name, "finished", set())
