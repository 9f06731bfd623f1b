"""What a forecast would have earned in Stage 1, where the right continuation from its screen is known."""

from __future__ import annotations

from collections.abc import Sequence

from executors.trajectory import Step
from training.config import RewardConfig
from training.forecast import Forecast, ForecastStep
from training.rewards import TrajectoryReward, trajectory_reward


def reference_reward(forecast: Forecast, reference: Sequence[Step], horizon: int | None) -> TrajectoryReward | None:
    """Stage 1's reward of a forecast with the default weights; None where no reference is known.

    Args:
        forecast: what was forecast.
        reference: the right continuation from the same screen.
        horizon: T; None takes the longer of the two.
    """
    if not reference:
        return None
    steps = [ForecastStep(action=step.action, instruction=step.instruction) for step in reference]
    return trajectory_reward(forecast, steps, RewardConfig(), horizon or max(len(steps), len(forecast.steps)))
