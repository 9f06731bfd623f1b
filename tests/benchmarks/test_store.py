"""The store's benchmark fills a store, asks every question and tells the truth about its bars."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import store as benchmark


def test_the_small_form_asks_every_question(tmp_path: Path) -> None:
    told = benchmark.measure(60, 4, 3, tmp_path)
    assert (told["num_trajectories"], told["num_steps"]) == (60, 240)
    assert all(0 < row["median_ms"] <= row["p95_ms"] for row in told["questions"].values())
    assert json.loads(json.dumps(told)) == told


def test_the_bar_is_on_the_95th_percentile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert benchmark._p95([float(n) for n in range(1, 101)]) == 95.0
    assert benchmark._p95([3.0]) == 3.0
    monkeypatch.setattr(benchmark, "BARS_MS", {"search": 1e-6, "open": 1e9})
    assert not benchmark.measure(5, 2, 1, tmp_path)["is_bar_met"]


def test_what_is_measured_finds_what_it_asks_for(tmp_path: Path) -> None:
    store = benchmark.AnnotationStore(tmp_path)
    project = store.add_project("p")
    ids = benchmark.fill(store, project, 30, 3)
    assert store.search(project, "customer").total == store.search(project).total == 30
    assert store.search(project, "c17").rows[0].id == ids[17]
    assert len(store.load(ids[17]).steps) == 3
