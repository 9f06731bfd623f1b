"""A tool agent at a server is asked once for each forecast, and never for drawing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from executors.actions import Action
from executors.errors import ExecutorError, InputError
from executors.geometry import ImageSize, PointNorm
from executors.tool_agents import ElementTreeAgent, Grounding
from executors.trajectory import Observation
from training.forecast import Forecast, ForecastStep
from workbench.forecast_marks import forecast_marks
from workbench.kept_groundings import KeptGroundings, acting_agent, drawing_agent
from workbench.screen_marks import Place

IMAGE = PIL.Image.new("RGB", (40, 30), (9, 9, 9))
SEEN = Observation(image=IMAGE, image_size=ImageSize(40, 30))
CLICK = Action(type="click")
FORECAST = Forecast(steps=tuple(ForecastStep(action=CLICK, instruction=words) for words in ("one", "two")))


class Counting:
    """Finds everything in one place, or fails."""

    name = "counting"

    def __init__(self, *, fails: bool = False) -> None:
        self.num_asked, self.fails = 0, fails

    def ground(self, observation: Observation, action: Action, instruction: str) -> Grounding:
        self.num_asked += 1
        if self.fails:
            raise ExecutorError("ground", "the server gives no reply")
        return Grounding(action=replace(action, point=PointNorm(0.25, 0.5)))


def test_pages_draw_what_was_found_without_asking_again(tmp_path: Path) -> None:
    agent = Counting()
    kept = KeptGroundings(agent)
    forecast_marks(FORECAST, SEEN, kept)
    assert agent.num_asked == 2
    IMAGE.save(tmp_path / "screen.png")
    stored = Observation(image_path=tmp_path / "screen.png", image_size=SEEN.image_size)  # the same screen, stored
    for seen in (SEEN, stored):
        marks = forecast_marks(FORECAST, seen, kept.drawing)
        assert [mark.place for mark in marks] == [Place.HERE, Place.VISIBLE]
    assert agent.num_asked == 2


def test_what_was_never_asked_is_not_drawn_and_says_so() -> None:
    agent = Counting()
    mark = forecast_marks(FORECAST, SEEN, KeptGroundings(agent).drawing)[0]
    assert agent.num_asked == 0 and mark.action.point is None
    assert "was not asked where this is" in mark.reason


def test_failure_is_kept_for_drawing_and_asked_anew_for_acting() -> None:
    agent = Counting(fails=True)
    kept = KeptGroundings(agent)
    for _ in range(2):
        with pytest.raises(ExecutorError, match="no reply"):
            kept.ground(SEEN, CLICK, "one")
    assert "no reply" in forecast_marks(FORECAST, SEEN, kept.drawing)[0].reason
    assert agent.num_asked == 2


def test_agent_in_this_process_is_asked_as_often_as_is_drawn() -> None:
    assert isinstance(drawing_agent("elements"), ElementTreeAgent)
    spec = "gta1@http://localhost:1/v1"
    assert acting_agent(spec) is acting_agent(spec) and drawing_agent(spec) is acting_agent(spec).drawing
    with pytest.raises(InputError, match="unknown"):
        acting_agent("toaster")
