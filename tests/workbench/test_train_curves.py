"""Columns of metrics, buckets of points, and which charts there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.train_curves import CHARTS, MAX_POINTS, OTHER, RunColumns, bucketed, chart_plan


def columns_of(**metrics: list) -> dict[str, list]:
    """Columns as the reader gives them, with steps from 1 and a minute between two of them."""
    steps = range(1, len(next(iter(metrics.values()))) + 1)
    return {"step": list(steps), "time": [60.0 * step for step in steps], **metrics}


def test_a_metric_that_appears_late_keeps_its_steps() -> None:
    columns = RunColumns()
    columns.extend(columns_of(loss=[3.0, 2.0]))
    columns.extend({"step": [3], "time": [180.0], "loss": [1.0], "eval_score": [0.5]})
    assert columns.series("eval_score") == {"x": [3.0], "y": [0.5]}
    assert columns.series("loss")["x"] == [1.0, 2.0, 3.0]


def test_missing_null_and_text_values_are_left_out_of_the_curve() -> None:
    columns = RunColumns()
    columns.extend(columns_of(kl=[None, 0.5, "many", float("inf"), 10**400]))
    assert columns.series("kl") == {"x": [2.0], "y": [0.5]}
    assert columns.metrics() == ["kl"]


def test_nothing_new_changes_nothing() -> None:
    columns = RunColumns()
    columns.extend({})
    columns.extend({"step": [], "loss": []})
    assert len(columns) == 0 and columns.metrics() == [] and columns.series("loss") == {"x": [], "y": []}


def test_minutes_count_from_the_first_row() -> None:
    columns = RunColumns()
    columns.extend(columns_of(loss=[3.0, 2.0]))
    assert columns.series("loss", axis="minutes")["x"] == [0.0, 1.0]


def test_only_new_rows_are_sent_to_who_has_the_others() -> None:
    columns = RunColumns()
    columns.extend(columns_of(loss=list(range(10))))
    assert columns.series("loss", after=8) == {"x": [9.0, 10.0], "y": [8.0, 9.0]}
    assert columns.series("loss", after=10) == {"x": [], "y": []}


def test_a_zoomed_range_is_fine_again_and_has_its_neighbours() -> None:
    columns = RunColumns()
    columns.extend(columns_of(loss=list(range(5000))))
    assert len(columns.series("loss")["x"]) == MAX_POINTS
    assert columns.series("loss", between=(10, 12)) == {"x": [9.0, 10, 11, 12, 13], "y": [8.0, 9, 10, 11, 12]}
    assert columns.series("loss", between=(90_000, 99_000)) == {"x": [1.0], "y": [0.0]}


def test_a_spike_stays_in_the_band() -> None:
    y = np.zeros(10_000)
    y[4321] = 99.0
    found = bucketed(np.arange(10_000.0), y, 100)
    assert max(found["high"]) == 99.0 and max(found["y"]) == pytest.approx(0.99)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200), st.integers(1, 50))
def test_buckets_hold_every_value_once(values: list[float], max_points: int) -> None:
    y = np.array(values)
    found = bucketed(np.arange(len(y), dtype=float), y, max_points)
    assert len(found["x"]) <= max_points or len(y) <= max_points
    assert found["x"][-1] == len(y) - 1
    low, high = found.get("low", found["y"]), found.get("high", found["y"])
    assert min(low) == pytest.approx(y.min(), rel=1e-6, abs=1e-9)
    assert max(high) == pytest.approx(y.max(), rel=1e-6, abs=1e-9)


def test_every_metric_of_a_stage_has_a_chart_and_an_unknown_one_its_own() -> None:
    plan = chart_plan(["reward", "sim_10", "sim_9", "kl", "made_up"])
    assert [chart["key"] for chart in plan] == ["reward", "sim", "kl", "made_up"]
    assert plan[1]["metrics"] == ["sim_9", "sim_10"]
    assert plan[-1]["section"] == OTHER


def test_chart_keys_are_unique() -> None:
    assert len({chart.key for chart in CHARTS}) == len(CHARTS)


def test_what_the_trainers_write_about_time_tokens_and_lessons_has_charts_of_its_own() -> None:
    parts = [f"{part}_seconds" for part in ("step", "encode", "generate", "reward", "log_prob", "update")]
    written = [*parts, "tokens_computed", "tokens_saved", "groups_dropped", "reading/letter_accuracy"]
    plan = {chart["key"]: chart["metrics"] for chart in chart_plan(written)}
    assert set(plan) == {"time", "shared", "dropped", "reading"}
    assert set(plan["time"]) == set(parts) and plan["shared"] == ["tokens_computed", "tokens_saved"]
