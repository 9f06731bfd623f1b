"""Asking a planner: its own numbers, one question at a time, and stopping."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import torch

from tests.training.planner_helpers import make_request
from training.config import ForecastConfig
from training.forecast import Forecast
from workbench.asking import ask, shown_messages, with_own_numbers


def test_numbers_of_an_episode_leave_the_shared_planner_as_it_is() -> None:
    planner = SimpleNamespace(config=ForecastConfig(), model="weights")
    other = with_own_numbers(planner, 2, 0)
    assert (other.config.horizon, other.config.history_length, other.model) == (2, 0, "weights")
    assert planner.config == ForecastConfig()
    assert with_own_numbers(planner, None, None) is planner


def test_one_model_answers_one_question_at_a_time_and_who_waits_can_be_stopped() -> None:
    entered, leave, at_once = threading.Event(), threading.Event(), []

    class Planner:
        config, name = ForecastConfig(), "x"

        def __init__(self, model: torch.nn.Module) -> None:
            self.model = model

        def forecast(self, requests: list) -> list[Forecast]:
            at_once.append(1)
            entered.set()
            assert leave.wait(10)
            at_once.pop()
            return [Forecast(steps=())]

    model = torch.nn.Identity()
    first = threading.Thread(target=ask, args=(Planner(model), make_request(), lambda: False))
    first.start()
    assert entered.wait(10)
    started = time.monotonic()
    assert ask(Planner(model), make_request(), lambda: time.monotonic() - started > 0.2) is None
    assert time.monotonic() - started < 2
    assert len(at_once) == 1
    leave.set()
    first.join(10)
    assert ask(Planner(model), make_request(), lambda: False) == Forecast(steps=())


def test_messages_are_shown_with_the_screenshot_named_and_not_sent() -> None:
    planner = SimpleNamespace(config=ForecastConfig())
    (message,) = shown_messages(planner, make_request(), "abc")
    assert message["content"][0] == {"type": "image", "sha256": "abc"}
    assert message["content"][1]["text"] == make_request().messages(planner.config)[0]["content"][1]["text"]
