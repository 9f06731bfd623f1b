"""A forecast that nobody waits for any more ends, with a real model."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from tests.training.planner_helpers import easy_task, make_request, oracle_planner, tiny_checkpoint
from training.interrupt import ForecastStopped, stoppable
from training.planner import TransformersPlanner


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> TransformersPlanner:
    """Random weights that may babble for hours."""
    planner = TransformersPlanner(tiny_checkpoint(tmp_path_factory.mktemp("tiny")), max_new_tokens=100_000)
    planner._eos = frozenset()
    return planner


def test_a_model_gives_up_within_a_second_of_being_told(planner: TransformersPlanner) -> None:
    told, ended = threading.Event(), threading.Event()

    def work() -> None:
        with pytest.raises(ForecastStopped), stoppable(planner, told.is_set):
            planner.forecast([make_request()])
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    assert not ended.is_set()
    started = time.monotonic()
    told.set()
    assert ended.wait(10)
    assert time.monotonic() - started < 1
    thread.join()


def test_afterwards_the_model_is_as_before(planner: TransformersPlanner) -> None:
    planner.max_new_tokens = 12
    before = planner.forecast([make_request()])
    with pytest.raises(ForecastStopped), stoppable(planner, lambda: True):
        planner.forecast([make_request()])
    with stoppable(planner, lambda: False):
        assert planner.forecast([make_request()]) == before
    assert all(not module._forward_pre_hooks for module in planner.model.modules())


def test_a_planner_without_a_model_is_left_alone() -> None:
    task = easy_task()
    planner, request = oracle_planner([task]), replace(make_request(), goal=task.goal)
    before = planner.forecast([request])
    with stoppable(planner, lambda: True):
        assert planner.forecast([request]) == before
