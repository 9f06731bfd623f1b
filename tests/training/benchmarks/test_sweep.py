"""Ablation sweeps: combinations, what is reused, table and figure."""

from __future__ import annotations

import csv
import io

import pytest

from executors.errors import InputError
from tests.training.planner_helpers import ScriptedPlanner
from training.benchmarks.offline_run import OfflineSettings, evaluate_offline
from training.benchmarks.sweep import Axis, points, run_sweep, sweep_csv, sweep_figure, sweep_markdown
from training.cli import main

TWO = '1. click() | tap the "Nowhere" button\n2. finished() | done'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("horizon", "KEY=VALUE"), ("=1", "KEY=VALUE"), ("horizon=1,,2", "KEY=VALUE"), ("horizon=long", "whole numbers"),
        ("gamma=0.5", "no setting: give horizon or history"),
    ],
)  # fmt: skip
def test_wrong_axis_is_one_sentence(text, problem):
    with pytest.raises(InputError, match=problem):
        Axis.parse(text)


def test_every_combination_occurs_once_and_the_untrained_planner_comes_first():
    axes = [Axis.parse("reward.gamma=0.5,1"), Axis.parse("horizon=1,2")]
    found = points(["sft"], axes, is_trained=True)
    assert [point.name for point in found] == [
        "sft, horizon=1", "sft, horizon=2", "sft, reward.gamma=0.5, horizon=1", "sft, reward.gamma=0.5, horizon=2",
        "sft, reward.gamma=1, horizon=1", "sft, reward.gamma=1, horizon=2",
    ]  # fmt: skip
    assert len({point.folder for point in found}) == 6
    assert len({point.run_folder for point in found if point.trained is not None}) == 2
    assert [p.trained for p in points(["a"], [], is_trained=True)] == [None, {}]  # with and without the stage


@pytest.mark.parametrize(
    ("planners", "axes", "problem"),
    [
        (["a"], ["reward.gamma=1,2"], "--train"),
        (["a", "a"], [], "--planner 'a' is given twice"),
        (["a"], ["horizon=1", "horizon=2"], "--vary 'horizon' is given twice"),
    ],
)
def test_impossible_sweeps_are_refused(planners, axes, problem):
    with pytest.raises(InputError, match=problem):
        points(planners, [Axis.parse(text) for text in axes], is_trained=False)


@pytest.fixture
def settings(tmp_path) -> OfflineSettings:
    out = tmp_path / "sweep"
    return OfflineSettings(
        protocol="grounded", data="simulator", planner="", out=out, num_episodes=8, tool_agents=("oracle",)
    )


def test_trained_sweep_trains_each_run_once_and_tests_against_the_first_row(settings):
    sweep = points(["sft"], [Axis.parse("reward.gamma=0.5,1"), Axis.parse("horizon=1,2")], is_trained=True)
    trained = []

    def train(point, folder):
        trained.append((dict(point.trained), folder.name))
        return "oracle"  # training made it perfect

    def evaluate(own):
        evaluate_offline(own, load=lambda name: ScriptedPlanner("hm"))

    rows = run_sweep(sweep, {"sft": "made"}, settings, train, evaluate)
    assert {folder for _, folder in trained} == {"sft_trained_reward.gamma=0.5", "sft_trained_reward.gamma=1"}
    assert [row.score.rate for row in rows] == [0, 0, 1, 1, 1, 1]
    assert rows[0].against_first is None
    assert rows[2].against_first.better == "sft, reward.gamma=0.5, horizon=1"
    table = list(csv.DictReader(io.StringIO(sweep_csv(rows))))
    assert [row["stage"] for row in table] == ["without the stage"] * 2 + ["trained"] * 4
    assert [row["shown"] for row in table] == ["", "no difference shown", *["better"] * 4]
    assert sweep_markdown(rows).count("\n") == 7
    figure = sweep_figure(rows)
    assert {tuple(trace.x) for trace in figure.data} == {(0.5, 1.0)}
    assert {tuple(trace.y) for trace in figure.data} == {(100.0, 100.0)}
    assert len(figure.layout.shapes) == 2  # the untrained planner at both horizons


def test_sweep_that_is_given_again_evaluates_nothing_anew(settings):
    sweep = points(["a"], [Axis.parse("horizon=1,3")], is_trained=False)
    planner = ScriptedPlanner(TWO)


    def run(load):
        return run_sweep(sweep, {"a": "made"}, settings, None, lambda own: evaluate_offline(own, load=load))

    assert run(lambda _: planner) == run(lambda _: pytest.fail("loaded again"))
    assert {request.horizon for request in planner.asked} == {1, 3}


def test_settings_that_are_no_numbers_become_bars(settings):
    sweep = points(["a", "b"], [], is_trained=False)
    rows = run_sweep(sweep, {"a": "oracle", "b": "random"}, settings, None, evaluate_offline)
    (bars,) = sweep_figure(rows).data
    assert (list(bars.x), bars.y[0]) == (["a", "b"], 100.0)
    assert rows[1].against_first.better == "a"


def test_sweep_command_writes_table_and_figure(tmp_path, capsys):
    out = tmp_path / "s"
    args = ["--planner", "good=oracle", "--planner", "random", "--vary", "horizon=1,2", "--episodes", "2"]
    assert main(["sweep", "grounded", *args, "--out", str(out)]) == 0
    assert "| good | 1 | 100.0 |" in capsys.readouterr().out
    assert "| random | 2 |" in (out / "sweep.md").read_text()
    page = (out / "sweep.html").read_text()
    assert "plotly" in page and 'src="http' not in page


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--set", "optim.num_steps=2"], "name the stage with --train"),
        (["--vary", "reward.gamma=0.5"], "name the stage with --train"),
        (["--train", "stage1", "--vary", "reward.gama=0.5"], "gama"),
        (["--train", "stage1", "--vary", "reward.gamma=7"], "gamma"),
    ],
)
def test_sweep_command_refuses_before_anything_runs(tmp_path, capsys, argv, words):
    assert main(["sweep", "grounded", "--planner", "oracle", "--out", str(tmp_path / "s"), *argv]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
