"""The rewards of Stage 1 and Stage 2 in the calling forms of EasyR1 and verl.

Both hand a reward a reply and a text called ground truth, nothing else that can be relied on: EasyR1 passes no prompt,
no screenshot and no other column. So `pack` puts what our rewards need into that text. Needs neither torch nor
transformers, whose versions here do not go with EasyR1's.

Sources: EasyR1 b44b311, verl/workers/reward/function.py; verl 0.9.1, verl/utils/reward_score and
custom_reward_function of its trainer config.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from executors.errors import ExecutorError, InputError
from executors.geometry import ImageSize
from executors.tool_agents import ElementTreeAgent, get_tool_agent
from executors.trajectory import step_from_json, step_to_json
from training.config import ForecastConfig, RewardConfig, Stage1Config, Stage2Config
from training.config_reading import from_dict, to_dict
from training.forecast import Forecast, ForecastStep, parse_forecast
from training.rewards import grounded_reward, trajectory_reward
from training.samples import Sample


def pack(sample: Sample, config: Stage1Config | Stage2Config, forecast: ForecastConfig) -> str:
    """The ground truth of a sample as JSON.

    Raises:
        InputError: Stage 2 with a tool agent that looks at the screenshot, which neither framework hands over.
    """
    size = sample.observation.image_size
    record: dict[str, Any] = {
        "horizon": forecast.horizon,
        "family": forecast.family,
        "image_size": None if size is None else [size.width_px, size.height_px],
    }
    if isinstance(config, Stage1Config):
        record |= {"reward": to_dict(config.reward), "reference": [step.to_json() for step in sample.steps]}
    else:
        if not isinstance(get_tool_agent(config.tool_agent), ElementTreeAgent):
            raise InputError(
                f"config field 'tool_agent': {config.tool_agent!r} needs the screenshot, which EasyR1 and verl do not "
                "hand to a reward: export with tool_agent=elements, or train this stage here"
            )
        record |= {
            "tool_agent": config.tool_agent,
            "point_tolerance": config.point_tolerance,
            "answer_match": config.answer_match,
            "first_step": step_to_json(sample.first_step, None),
        }
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def score(reply: str, ground_truth: str) -> dict[str, float]:
    """"overall", the reward that `training.stages` gives the same reply, and parts of it that may be logged.

    Two things differ. A tool agent that fails makes the overall reward 0 here, for neither framework takes a completion
    out of its group; "agent_failed" says so. Tool calls are compared by name and arguments, never carried out.
    """
    truth = json.loads(ground_truth)
    size = truth["image_size"]
    forecast = parse_forecast(
        reply, horizon=truth["horizon"], family=truth["family"], image=None if size is None else ImageSize(*size)
    )
    scores = _stage1(forecast, truth) if "reference" in truth else _stage2(forecast, ground_truth)
    return {**scores, "parse_ok": float(forecast.ok), "forecast_steps": float(len(forecast.steps))}


def _stage1(forecast: Forecast, truth: Mapping[str, Any]) -> dict[str, float]:
    reference = [ForecastStep.from_json(step) for step in truth["reference"]]
    result = trajectory_reward(forecast, reference, from_dict(RewardConfig, truth["reward"]), truth["horizon"])
    return {"overall": result.total, "first_step": result.steps[0].sim if result.steps else 0.0}


def _stage2(forecast: Forecast, ground_truth: str) -> dict[str, float]:
    truth, agent, step = _unpacked(ground_truth)
    result = None
    if forecast.first is not None:
        try:
            result = agent.ground(step.observation, forecast.first.action, forecast.first.instruction)
        except ExecutorError as error:
            result = error
    reward = grounded_reward(result, step, truth["point_tolerance"], truth.get("answer_match", "exact"))
    return {"overall": reward or 0.0, "agent_failed": float(reward is None)}


@lru_cache(maxsize=256)
def _unpacked(ground_truth: str) -> tuple[dict[str, Any], Any, Any]:
    """(the record, its tool agent, its first step); the completions of a group ask for the same."""
    truth = json.loads(ground_truth)
    return truth, get_tool_agent(truth["tool_agent"]), step_from_json(truth["first_step"], Path())


def easyr1_scores(reward_inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """EasyR1's batch form: one mapping with "response" and "ground_truth" for each completion -> its scores."""
    return [score(row["response"], row["ground_truth"]) for row in reward_inputs]


def verl_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None, **_: Any
) -> dict[str, float]:
    """verl's form: one completion -> its scores, the reward as "score"."""
    scores = score(solution_str, ground_truth)
    return {"score": scores.pop("overall"), **scores}
