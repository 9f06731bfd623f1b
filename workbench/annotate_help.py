"""Help from models for who annotates: a planner's forecast from a step, and a tool agent that finds a step's target.

Nothing is written here: what is proposed becomes a `Change` only when a person accepts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from executors.actions import Action
from executors.errors import ExecutorError, InputError
from executors.tool_agents import ElementTreeAgent
from executors.trajectory import Observation
from training.forecast import Forecast, ForecastStep, without_points
from training.planner import Planner, PlanRequest
from training.prompts import HistoryItem
from training.samples import spaces_of
from workbench.annotate.document import Change, Document
from workbench.annotate_edit import replace_step
from workbench.asking import ask
from workbench.forecast_marks import forecast_marks
from workbench.screen_marks import Mark, takes_place

_AGENT = ElementTreeAgent()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A planner's forecast from a step: the step's key, the forecast's steps from that one on, and whose it is."""

    key: str
    steps: tuple[ForecastStep, ...]
    planner: str

    def marks(self, observation: Observation) -> list[Mark]:
        """The steps as marks on the screen that they were forecast from."""
        return list(forecast_marks(Forecast(steps=self.steps), observation, _AGENT))


def propose(document: Document, key: str, get_planner: Callable[[], Planner]) -> Proposal:
    """The forecast of a planner that knows the goal, the steps before and the step's screen.

    Raises:
        InputError: the planner gave no plan that can be read.
        MissingFileError: the screenshot is gone.
        ExecutorError: the planner failed.
        WorkbenchError: the planner cannot be loaded.
    """
    planner = get_planner()
    place = document.place(key)
    seen = document.steps[place].step.observation
    if seen.image_path is not None:
        seen = replace(seen, image=seen.load_image())
    request = PlanRequest(
        goal=document.goal, history=tuple(HistoryItem.of_step(step.step) for step in document.steps[:place]),
        observation=seen, spaces=spaces_of(document.platform),
    )
    forecast = ask(planner, request, lambda: False)
    if isinstance(forecast, ExecutorError):
        raise forecast
    if forecast is None or not forecast.steps:
        reason = forecast.reason if forecast is not None else "it was stopped"
        raise InputError(f"planner {planner.name} gave no plan that can be read ({reason}): ask another planner")
    return Proposal(key, forecast.steps, planner.name)


def accept(document: Document, proposal: Proposal, number: int) -> Change:
    """The change that puts forecast step `number` (from 1) in place of the step that it stands for.

    Its place is looked up by its words on that step's own screen. Where it is not found, the first step keeps the
    planner's own point, and a later one has none, because a planner has not seen its screen.

    Raises:
        InputError: there is no such forecast step, or no step that it stands for.
    """
    place = document.place(proposal.key) + number - 1
    if not 1 <= number <= len(proposal.steps) or place >= len(document.steps):
        raise InputError(f"forecast step {number} stands for no step of this trajectory: choose another")
    step, own = proposal.steps[number - 1], document.steps[place]
    action = step.action if number == 1 else without_points(step.action)
    found = _found(own.step.observation, action, step.instruction)
    return replace_step(document, own.key, found or action, step.instruction, "forecast accepted")


def ground(document: Document, key: str) -> Change:
    """The step with its points where a tool agent finds its words among the screen's elements.

    Raises:
        InputError: the action needs no point, the screen has no elements, or the words fit none or several.
    """
    step = document.step(key).step
    if not takes_place(step.action):
        raise InputError(f"{step.action.type} points at nothing: there is no place to look for")
    if not step.observation.elements:
        raise InputError("this screen was recorded without its elements: set the point on the screenshot")
    result = _AGENT.ground(step.observation, without_points(step.action), step.instruction)
    if result.action is None:
        raise InputError(f"the instruction names nothing on this screen ({result.reason}): write what stands there")
    return replace_step(document, key, result.action, None, "place found by its words")


def _found(seen: Observation, action: Action, instruction: str) -> Action | None:
    if not takes_place(action) or not seen.elements:
        return None
    try:
        return _AGENT.ground(seen, without_points(action), instruction).action
    except ExecutorError:  # an agent that fails here only leaves the place to the person
        return None
