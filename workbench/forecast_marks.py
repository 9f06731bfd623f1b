"""From a forecast to marks: which of its steps may honestly be drawn on the screen that is seen now.

Only the first step is about this screen. The later ones are about screens that do not exist yet; of those, the ones
whose words the tool agent finds on this very screen are drawn as well, and say so. All others stay off the image.
"""

from __future__ import annotations

from executors.actions import Action
from executors.errors import ExecutorError
from executors.tool_agents import Grounding, ToolAgent
from executors.trajectory import Observation, Step
from training.forecast import Forecast, ForecastStep, without_points
from workbench.screen import Kind, Mark, Place, first_place, takes_place


def forecast_marks(forecast: Forecast, observation: Observation, tool_agent: ToolAgent) -> tuple[Mark, ...]:
    """One mark for each forecast step, numbered from 1.

    Args:
        forecast: what the planner said; its steps may be fewer than asked for.
        observation: the screen the forecast was made on.
        tool_agent: the agent that will ground the first step; asked about later ones by their words alone.
    """
    first = [_first_mark(step, observation, tool_agent) for step in forecast.steps[:1]]
    later = enumerate(forecast.steps[1:], start=2)
    return (*first, *(_later_mark(number, step, observation, tool_agent) for number, step in later))


def _first_mark(step: ForecastStep, observation: Observation, tool_agent: ToolAgent) -> Mark:
    grounding = _ground(step.action, step.instruction, observation, tool_agent)
    action = grounding.action or step.action
    return Mark(number=1, kind=Kind.FORECAST, action=action, instruction=step.instruction, place=first_place(action),
                reason=grounding.reason or "")


def _later_mark(number: int, step: ForecastStep, observation: Observation, tool_agent: ToolAgent) -> Mark:
    action = without_points(step.action)  # points a model gave for a later screen mean nothing on this one
    place = Place.NOWHERE
    if takes_place(action):
        found = _ground(action, step.instruction, observation, tool_agent).action
        action, place = (found, Place.VISIBLE) if found is not None else (action, Place.LATER)
    return Mark(number=number, kind=Kind.FORECAST, action=action, instruction=step.instruction, place=place)


def _ground(action: Action, instruction: str, observation: Observation, tool_agent: ToolAgent) -> Grounding:
    try:
        return tool_agent.ground(observation, action, instruction)
    except ExecutorError as error:
        return Grounding(action=None, reason=str(error))


def taken_mark(number: int, kind: Kind, action: Action, instruction: str) -> Mark:
    """The mark of a step that was executed or recorded on its own screen."""
    return Mark(number=number, kind=kind, action=action, instruction=instruction, place=first_place(action))


def recorded_mark(number: int, step: Step) -> Mark:
    """The mark of a trajectory's step."""
    return taken_mark(number, Kind.RECORDED, step.action, step.instruction)
