"""Tables of evaluation records: seeds are pooled by episodes, and what is missing is said."""

from __future__ import annotations

import json

import pytest

from executors.errors import InputError
from training.benchmarks.tables import forecast_table, level_share, read_records, success_table
from training.cli import main


def _record(name="sft", seed=0, rate=0.5, split="test", **more):
    return {
        "name": name, "split": split, "mode": "anticipatory", "seed": seed, "num_episodes": 10, "num_errors": 1,
        "mean_steps": 4.0, "parse_failure_rate": 0.1,
        "by_level": {
            "1": {"success_rate": rate, "num_episodes": 4},
            "2": {"success_rate": rate, "num_episodes": 4},
            "3": {"success_rate": 0.0, "num_episodes": 2},
        },
        **more,
    }  # fmt: skip


def test_levels_one_and_two_are_pooled_and_level_three_stands_apart():
    row = success_table([_record(rate=0.5), _record(seed=1, rate=1.0)]).splitlines()[2]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:4] == ["sft", "anticipatory", "test", "75.0"]
    assert cells[5:] == ["50.0 / 100.0", "0.0", "60.0", "20", "2", "4.0"]


def test_level_that_no_episode_has_counts_nothing():
    assert level_share(_record(), ["4"]).num_episodes == 0


def test_planners_and_splits_have_a_row_each_in_order():
    rows = success_table([_record(), _record(name="stage1"), _record(split="val")]).splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["sft", "stage1", "sft"]


def test_forecast_accuracy_is_weighted_by_the_number_of_states():
    one = _record(forecast_accuracy={"1": {"accuracy": 1.0, "num": 30}, "2": {"accuracy": 0.5, "num": 10}})
    two = _record(seed=1, forecast_accuracy={"1": {"accuracy": 0.0, "num": 10}})
    row = forecast_table([one, two, _record(name="none")]).splitlines()[2:]
    assert row == ["| sft | anticipatory | test | 75.0 | 50.0 | 10.0 |"]


@pytest.mark.parametrize(("line", "problem"), [("{", "line 2: not a JSON"), ("{}", "line 2: field 'by_level'")])
def test_broken_line_is_named(tmp_path, line, problem):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(_record()) + "\n" + line + "\n")
    with pytest.raises(InputError, match=problem):
        read_records(path)


def test_compare_prints_the_tables_of_a_file_that_is_complete(tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(_record()) + "\n")
    assert main(["compare", "simulator", "--out", str(path)]) == 0
    assert "| sft | anticipatory | test | 50.0 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--planner", "sft"], "NAME=PLANNER"),
        (["--modes", "lazy"], "lazy"),
        (["--seeds", "a"], "seeds"),
        (["--splits", "moon"], "moon"),
    ],
)
def test_wrong_option_gives_one_sentence_and_exit_code_2(tmp_path, capsys, options, problem):
    assert main(["compare", "simulator", "--out", str(tmp_path / "r.jsonl"), *options]) == 2
    error = capsys.readouterr().err
    assert problem in error and "Traceback" not in error
