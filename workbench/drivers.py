"""What an episode session drives: a simulator episode that can be acted on, or a recording that cannot.

A driver makes forecasts and takes steps; the session keeps what is shown. Planners come as a callable, because they
may still be loading when the first screen is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from executors.actions import Action
from executors.errors import ExecutorError
from executors.simulator import SPLITS, SimulatorExecutor, list_tasks, make_task
from executors.tool_agents import get_tool_agent
from executors.trajectory import Observation, Trajectory
from training.config import ForecastConfig
from training.episode_record import StopReason
from training.forecast import Forecast
from training.plan_act import Episode
from training.planner import Planner, PlanRequest
from training.prompts import HistoryItem
from training.samples import spaces_of
from workbench.episode_session import Frame, Message, Tone
from workbench.forecast_marks import recorded_mark

GetPlanner = Callable[[], Planner]

AHEAD, REACTIVE = "Plan ahead", "One step at a time"
MODES = (AHEAD, REACTIVE)
"""The paper's way, which forecasts T steps each time, and the reactive way, which asks for one."""

MAX_STEPS = 30

TOOL_AGENT = "elements"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What came of an action: the grounded action and its words, what went wrong, and the screen after it.

    `action` is None when there was none to be read; `has_new_screen` says that something was carried out.
    """

    observation: Observation
    action: Action | None
    instruction: str = ""
    fault: str = ""
    has_new_screen: bool = True


def splits() -> tuple[str, ...]:
    """The simulator's splits."""
    return SPLITS


def templates(split: str) -> list[tuple[str, str]]:
    """(label, name) of a split's tasks, easiest first."""
    listed = sorted(list_tasks(split), key=lambda t: t.level)
    return [(f"{t.name.replace('_', ' ')} · level {t.level}", t.name) for t in listed]


class RecordedDriver:
    """A recorded trajectory: every screen can be looked at and forecast on, nothing can be carried out."""

    is_recorded = True
    is_over = False

    def __init__(self, trajectory: Trajectory, get_planner: GetPlanner, mode: str = AHEAD) -> None:
        self.trajectory = trajectory
        self._horizon = 1 if mode == REACTIVE else None
        self.tool_agent = get_tool_agent(TOOL_AGENT)
        self._get_planner = get_planner

    @property
    def goal(self) -> str:
        """The recorded goal."""
        return self.trajectory.goal

    @property
    def subtitle(self) -> str:
        """Where the recording comes from."""
        t = self.trajectory
        parts = ["Recorded", t.source, t.platform, f"outcome: {t.outcome}" if t.outcome else "", t.licence]
        return " · ".join(part for part in parts if part)

    @property
    def greeting(self) -> str:
        """The first message."""
        count = len(self.trajectory.steps)
        return f"A recording of {count} step{'' if count == 1 else 's'}: step through it, or forecast on any screen."

    def start(self) -> list[Frame]:
        """One frame for each recorded step."""
        return [
            Frame(observation=step.observation, taken=recorded_mark(number, step), fault=step.error or "")
            for number, step in enumerate(self.trajectory.steps, start=1)
        ]

    def forecast(self, index: int) -> Forecast:
        """What the planner would do on screen `index`, told the recorded steps before it."""
        steps = self.trajectory.steps
        request = PlanRequest(
            goal=self.trajectory.goal,
            history=tuple(HistoryItem.of_step(step) for step in steps[:index]),
            observation=steps[index].observation,
            spaces=spaces_of(self.trajectory.platform),
            horizon=self._horizon,
        )
        return self._get_planner().forecast([request])[0]

    def close(self) -> None:
        """Nothing to release."""


class SimulatorDriver:
    """A simulator task with a live screen: a `training.plan_act.Episode`, half-step by half-step."""

    is_recorded = False

    def __init__(self, template: str, split: str, seed: int, get_planner: GetPlanner, mode: str = AHEAD) -> None:
        """Makes the task; raises InputError when there is none of this name in the split."""
        self.task = make_task(template, split, seed)
        self.tool_agent = get_tool_agent(TOOL_AGENT)
        self._device = SimulatorExecutor(self.task)
        self._episode = Episode(
            self._device, _LazyPlanner(get_planner), tool_agent=self.tool_agent, max_steps=MAX_STEPS,
            reactive=mode == REACTIVE,
        )

    @property
    def is_over(self) -> bool:
        """Whether the episode has stopped."""
        return self._episode.is_done

    @property
    def goal(self) -> str:
        """The task's goal."""
        return self.task.goal

    @property
    def subtitle(self) -> str:
        """What kind of task it is."""
        t = self.task
        return f"Simulator · {t.form} · {t.split.replace('_', ' ')} · level {t.level} · seed {t.seed}"

    @property
    def greeting(self) -> str:
        """The first message."""
        return "Ready: Forecast looks ahead, Act does one step, Run goes on to the end."

    def start(self) -> list[Frame]:
        """The first screen.

        Raises:
            ExecutorError: at "reset", when the device gave none.
        """
        observation = self._episode.start()
        if observation is None:
            raise ExecutorError("reset", "; ".join(self._episode.errors))
        return [Frame(observation=observation)]

    def forecast(self, index: int) -> Forecast:
        """The planner's forecast on the live screen.

        Raises:
            ExecutorError: at "plan", when the planner gave no reply; the episode has recorded it.
        """
        forecast = self._episode.plan()
        if forecast is None:
            raise ExecutorError("plan", self._episode.errors[-1].removeprefix("plan: "))
        return forecast

    def act(self) -> StepOutcome:
        """Grounds and carries out the forecast's first step."""
        record = self._episode.act()
        first = record.forecast.first if record.forecast else None
        fault = record.error or ("" if record.had_effect or record.action.is_terminal else record.message)
        return StepOutcome(
            observation=self._episode.observation,
            action=record.action or (first.action if first else None),
            instruction=record.instruction,
            fault=fault,
            has_new_screen=record.error is None and not record.action.is_terminal,
        )

    def verdict(self) -> Message:
        """How the episode stands after a step."""
        episode = self._episode
        last = episode.steps[-1] if episode.steps else None
        if not episode.is_done:
            if last is not None and last.error:
                return Message(f"Step {last.number} was not done: {last.error}. Forecast asks again.", Tone.ERROR)
            return Message("Carried out. Act forecasts and goes on; Forecast looks first.")
        if episode.success:
            return Message(f"{_ENDINGS[episode.stop_reason]} The goal is reached.", Tone.SUCCESS)
        return Message(f"{_ENDINGS[episode.stop_reason]} The goal is not reached. Reset starts again.", Tone.ERROR)

    def close(self) -> None:
        """Releases the device."""
        self._device.close()


_ENDINGS = {
    StopReason.FINISHED: "The planner says it is done.",
    StopReason.IMPOSSIBLE: "The planner says it cannot be done.",
    StopReason.MAX_STEPS: f"Stopped after {MAX_STEPS} steps.",
    StopReason.PARSE_FAILURE: "Stopped: the planner's reply holds no readable step.",
    StopReason.NOT_GROUNDED: "Stopped: the planner's steps fit nothing on the screen.",
    StopReason.EXECUTOR_ERROR: "Stopped: the planner or the device failed too often.",
    StopReason.STOPPED: "Stopped.",
}


class _LazyPlanner:
    """A planner that is fetched at its first forecast, so that an episode can be shown while it loads."""

    def __init__(self, get_planner: GetPlanner) -> None:
        self._get = get_planner

    @property
    def name(self) -> str:
        """The planner's name."""
        return self._get().name

    @property
    def config(self) -> ForecastConfig:
        """How the planner is asked."""
        return self._get().config

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        """The planner's forecasts."""
        return self._get().forecast(requests)
