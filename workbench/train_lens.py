"""The rollout lens: the G forecasts of one prompt, what each was worth, and why.

A completion's text is read and judged again by the very functions the trainer used (`training.forecast`,
`training.rewards`), so the explanation cannot differ from the rule; where the result differs from what the trainer
recorded, that is said. First steps are drawn where the recorded grounding, the model's own points, or the tool agent
(asked again on the recorded element tree) put them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from executors.actions import Action
from executors.errors import WorkbenchError
from executors.geometry import ImageSize
from executors.tool_agents import get_tool_agent
from executors.trajectory import Observation
from training.checkpoint import read_planner_settings
from training.config import ForecastConfig, RewardConfig
from training.config_reading import from_dict
from training.forecast import Forecast, ForecastStep, parse_forecast
from training.rewards import TrajectoryReward, trajectory_reward
from workbench.forecast_marks import forecast_marks
from workbench.runs.reader import RolloutGroup
from workbench.screen import Kind, Mark, first_place

DEFAULT_AGENT = "elements"
"""Grounds what is drawn of Stage 1, which itself asks no agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LensSettings:
    """What is needed of a run's config to read its completions again."""

    stage: str
    forecast: ForecastConfig
    reward: RewardConfig | None = None
    tool_agent: str = DEFAULT_AGENT

    @classmethod
    def of_run(cls, stage: str, config: Mapping[str, Any], folder: Path) -> LensSettings:
        """The settings of a run; the forecast's are those that the trainer wrote into the run folder.

        Raises:
            InputError, CheckpointError: the folder was written by another version.
        """
        reward = config.get("reward")
        return cls(
            stage=stage,
            forecast=read_planner_settings(folder) or ForecastConfig(),
            reward=None if reward is None else from_dict(RewardConfig, reward, "reward."),
            tool_agent=str(config.get("tool_agent", DEFAULT_AGENT)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One completion: its number from 1, what it says, and what it was worth.

    `tone` is "best" or "worst" where the group's rewards differ. `parts` is the reward computed again (Stage 1);
    `is_as_recorded` is False when that is not what the trainer wrote.
    """

    number: int
    forecast: Forecast
    reward: float | None
    advantage: float | None
    tone: str = ""
    parts: TrajectoryReward | None = None
    is_as_recorded: bool = True
    grounding: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The rewards of a group: how many were scored, and their mean, standard deviation, least and greatest."""

    num_scored: int
    mean: float
    deviation: float
    least: float
    greatest: float

    @property
    def is_flat(self) -> bool:
        """Whether all rewards are equal, so that the group teaches nothing."""
        return self.greatest == self.least


def spread_of(rewards: Sequence[float | None]) -> Spread | None:
    """The spread of those that were scored; None when none was.

    >>> spread_of([1.0, None, 0.0])
    Spread(num_scored=2, mean=0.5, deviation=0.5, least=0.0, greatest=1.0)
    """
    known = [reward for reward in rewards if reward is not None]
    if not known:
        return None
    return Spread(
        num_scored=len(known), mean=statistics.fmean(known), deviation=statistics.pstdev(known), least=min(known),
        greatest=max(known),
    )


def judge_group(group: RolloutGroup, settings: LensSettings) -> list[Judged]:
    """All completions of a group, read and judged again, in the order they were sampled."""
    spread = spread_of([_number(record.get("reward")) for record in group.completions])
    reference = reference_steps(group)
    size = image_size(group)
    judged = []
    for number, record in enumerate(group.completions, start=1):
        forecast = parse_forecast(
            str(record.get("text", "")), horizon=settings.forecast.horizon, family=settings.forecast.family, image=size
        )
        reward, parts = _number(record.get("reward")), None
        if settings.reward is not None:
            parts = trajectory_reward(forecast, reference, settings.reward, settings.forecast.horizon)
        judged.append(
            Judged(
                number=number,
                forecast=forecast,
                reward=reward,
                advantage=_number(record.get("advantage")),
                tone=_tone(reward, spread),
                parts=parts,
                is_as_recorded=parts is None or reward is None or abs(parts.total - reward) < 1e-4,
                grounding=record["grounding"] if isinstance(record.get("grounding"), Mapping) else None,
            )
        )
    return judged


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _tone(reward: float | None, spread: Spread | None) -> str:
    if reward is None or spread is None or spread.is_flat:
        return ""
    return "best" if reward == spread.greatest else "worst" if reward == spread.least else ""


def reference_steps(group: RolloutGroup) -> tuple[ForecastStep, ...]:
    """The recorded continuation; what cannot be read ends it."""
    steps = []
    for record in group.reference:
        try:
            steps.append(ForecastStep.from_json(record))
        except (WorkbenchError, KeyError, TypeError):
            break
    return tuple(steps)


def image_size(group: RolloutGroup) -> ImageSize | None:
    """The screenshot's size; None where there is no screenshot."""
    return None if group.image_size is None else ImageSize(*group.image_size)


# ---------------------------------------------------------------- marks


def group_marks(group: RolloutGroup, judged: Sequence[Judged], settings: LensSettings) -> list[Mark]:
    """One mark for each completion's first step, numbered as the completions; broken replies have none."""
    observation = observation_of(group)
    marks = []
    for one in judged:
        first = one.forecast.first
        if first is None:
            continue
        recorded = recorded_action(one)
        if recorded is not None:
            mark = Mark(number=one.number, kind=Kind.FORECAST, action=recorded, instruction=first.instruction,
                        place=first_place(recorded))
        else:
            mark = _first_mark(one, observation, settings)
        marks.append(mark)
    return marks


def completion_marks(group: RolloutGroup, one: Judged, settings: LensSettings) -> list[Mark]:
    """All steps of one completion, numbered from 1, the first as `group_marks` places it."""
    marks = _marks(one.forecast, observation_of(group), settings)
    recorded = recorded_action(one)
    if marks and recorded is not None:
        marks[0] = Mark(number=1, kind=Kind.FORECAST, action=recorded, instruction=marks[0].instruction,
                        place=first_place(recorded))
    return marks


def reference_mark(group: RolloutGroup, settings: LensSettings) -> Mark | None:
    """The first recorded step, placed like a forecast's; None without a reference."""
    steps = reference_steps(group)[:1]
    if not steps:
        return None
    (mark,) = _marks(Forecast(steps=steps), observation_of(group), settings)
    return Mark(number=1, kind=Kind.RECORDED, action=mark.action, instruction=mark.instruction, place=mark.place,
                reason=mark.reason)


def recorded_action(one: Judged) -> Action | None:
    """What the tool agent made of the first step in Stage 2; None where it was not asked or found nothing."""
    record = None if one.grounding is None else one.grounding.get("action")
    try:
        return None if record is None else Action.from_json(record)
    except (WorkbenchError, KeyError, TypeError):
        return None


def _first_mark(one: Judged, observation: Observation, settings: LensSettings) -> Mark:
    (mark,) = _marks(Forecast(steps=one.forecast.steps[:1]), observation, settings)
    return Mark(number=one.number, kind=mark.kind, action=mark.action, instruction=mark.instruction, place=mark.place,
                reason=mark.reason)


def _marks(forecast: Forecast, observation: Observation, settings: LensSettings) -> list[Mark]:
    return list(forecast_marks(forecast, observation, get_tool_agent(settings.tool_agent)))


def observation_of(group: RolloutGroup) -> Observation:
    """What the prompt showed; without a kept element tree only its size is known."""
    observation = group.observation or Observation(image_size=image_size(group))
    return replace(observation, image_path=group.screen)
