"""From steps to marks: which of them may honestly be drawn on the screen that is seen now.

Only the first forecast step is about this screen. The later ones are about screens that do not exist yet; of those,
the ones whose words the tool agent finds on this very screen are drawn as well, and say so. A past step is drawn only
where the thing it acted on still stands in the same place. All others stay off the image.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from executors.actions import Action
from executors.errors import ExecutorError
from executors.geometry import PointNorm
from executors.tool_agents import Grounding, ToolAgent
from executors.trajectory import Element, Observation, Step
from training.forecast import Forecast, ForecastStep, without_points
from workbench.screen_marks import Kind, Mark, Outcome, Place, first_place, takes_place


def forecast_marks(
    forecast: Forecast,
    observation: Observation,
    tool_agent: ToolAgent,
    *,
    pinned: Collection[int] = (),
    is_editable: bool = False,
) -> tuple[Mark, ...]:
    """One mark for each forecast step, numbered from 1.

    Args:
        forecast: what the planner said; its steps may be fewer than asked for.
        observation: the screen the forecast was made on.
        tool_agent: the agent that will ground the first step; asked about later ones by their words alone.
        pinned: numbers of the steps whose points a person set; those are shown as they are.
        is_editable: whether a person may move the marks.
    """
    return tuple(
        replace(_forecast_mark(number, step, observation, tool_agent, number in pinned), is_editable=is_editable)
        for number, step in enumerate(forecast.steps, start=1)
    )


def _forecast_mark(
    number: int, step: ForecastStep, observation: Observation, tool_agent: ToolAgent, is_pinned: bool
) -> Mark:
    if is_pinned:
        place = Place.HERE if number == 1 else Place.PLACED
        return Mark(number=number, kind=Kind.FORECAST, action=step.action, instruction=step.instruction, place=place)
    if number == 1:
        return _first_mark(step, observation, tool_agent)
    action, place, _ = _found_here(step, observation, tool_agent, Place.LATER)
    return Mark(number=number, kind=Kind.FORECAST, action=action, instruction=step.instruction, place=place)


def _first_mark(step: ForecastStep, observation: Observation, tool_agent: ToolAgent) -> Mark:
    grounding = _ground(step.action, step.instruction, observation, tool_agent)
    action = grounding.action or step.action
    place = first_place(action)
    if place is Place.NOWHERE and action.type == "type":
        action = replace(action, point=_focused_point(observation))  # it goes into the focused field, so it shows there
        place = first_place(action)
    return Mark(number=1, kind=Kind.FORECAST, action=action, instruction=step.instruction, place=place,
                reason=grounding.reason or "")


def _focused_point(observation: Observation) -> PointNorm | None:
    focused = [element for element in observation.elements if element.is_focused]
    return focused[0].box.center if len(focused) == 1 else None


def _found_here(
    step: ForecastStep, observation: Observation, tool_agent: ToolAgent, otherwise: Place
) -> tuple[Action, Place, str]:
    """The step grounded on this screen by its words, its place, and why it was not found.

    Points a model gave for another screen mean nothing here, so they are not used.
    """
    action = without_points(step.action)
    if not takes_place(action):
        return action, Place.NOWHERE, ""
    grounding = _ground(action, step.instruction, observation, tool_agent)
    if grounding.action is not None:
        return grounding.action, Place.VISIBLE, ""
    return action, otherwise, grounding.reason or ""


def _ground(action: Action, instruction: str, observation: Observation, tool_agent: ToolAgent) -> Grounding:
    try:
        return tool_agent.ground(observation, action, instruction)
    except ExecutorError as error:
        return Grounding(action=None, reason=str(error))


def taken_mark(
    number: int, kind: Kind, action: Action, instruction: str, *, outcome: Outcome = Outcome.UNKNOWN,
    is_editable: bool = False,
) -> Mark:
    """The mark of a step that was executed or recorded on its own screen."""
    return Mark(
        number=number, kind=kind, action=action, instruction=instruction, place=first_place(action), outcome=outcome,
        is_editable=is_editable,
    )


def recorded_mark(number: int, step: Step, *, is_editable: bool = False) -> Mark:
    """The mark of a trajectory's step; `is_editable` when a person may move its points."""
    return taken_mark(number, Kind.RECORDED, step.action, step.instruction, is_editable=is_editable)


def past_mark(number: int, step: Step, observation: Observation, *, outcome: Outcome = Outcome.UNKNOWN) -> Mark:
    """The mark of a step that was executed on an earlier screen, as it is seen from this one.

    Args:
        number: the step's number in the episode.
        step: the step with the screen it was executed on.
        observation: the screen that is shown now.
        outcome: how it compared with what was forecast.
    """
    points = [p for p in (step.action.point, step.action.start_point, step.action.end_point) if p is not None]
    stands = bool(points) and all(_still_there(point, step.observation, observation) for point in points)
    return Mark(
        number=number, kind=Kind.EXECUTED, action=step.action, instruction=step.instruction, outcome=outcome,
        place=Place.VISIBLE if stands else Place.PAST,
    )


def _still_there(point: PointNorm, before: Observation, now: Observation) -> bool:
    """Whether the smallest element around the point stands on both screens: same role, words and box."""
    around = [element for element in before.elements if element.box.contains(point)]
    if not around:
        return False
    target = _identity(min(around, key=_area))
    return any(_identity(element) == target for element in now.elements)


def _identity(element: Element) -> tuple[object, ...]:
    return element.role, element.text, element.box


def _area(element: Element) -> float:
    return (element.box.right - element.box.left) * (element.box.bottom - element.box.top)


def earlier_mark(
    number: int,
    lookahead: int,
    step: ForecastStep,
    observation: Observation,
    tool_agent: ToolAgent,
    *,
    outcome: Outcome = Outcome.UNKNOWN,
) -> Mark:
    """The mark of an earlier forecast of a step, laid over the screen on which that step's time has come.

    Args:
        number: the step's number in the episode.
        lookahead: how many steps before it was forecast; at least 1.
        step: what was forecast; its words are grounded on the screen shown.
        observation: the screen that is shown.
        tool_agent: finds its target; a forecast whose target is not there goes to the tray.
        outcome: whether it came true.
    """
    action, place, reason = _found_here(step, observation, tool_agent, Place.NOT_FOUND)
    return Mark(
        number=number, kind=Kind.EARLIER, lookahead=lookahead, action=action, instruction=step.instruction,
        place=place, reason=reason, outcome=outcome,
    )
