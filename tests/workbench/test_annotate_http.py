"""Annotators at a real server over HTTP, killed in between; the long form is tests/benchmarks/annotators.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.annotators import Annotator, State, check, run
from tests.workbench.annotate.makers import way
from workbench.annotate.drafts import Drafts
from workbench.annotate.store import AnnotationStore


@pytest.mark.slow
def test_no_edit_is_lost_and_no_lease_stuck_when_the_server_is_killed(tmp_path: Path) -> None:
    found = run(6, 8.0, tmp_path, num_trajectories=24)
    assert found["problems"] == []
    assert found["edits"] > 20 and found["submissions"] > 2 and found["stale edits"] > 0, found


def test_the_check_sees_an_edit_that_is_missing(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path)
    project = store.add_project("load")
    id = store.add(project, way(), why="made")
    keys = Drafts(store).open(id, "ann").document.keys
    one = Annotator("ann", 1, project.id, False, 0)
    one.drafts[id] = (1, [State(keys)], 0)
    assert check(store, project.id, [one]) == []
    one.drafts[id] = (1, [State(keys, {keys[0]: "never stored"})], 0)
    one.submitted = [(id, State(keys[1:]))]
    assert len(check(store, project.id, [one])) == 2
