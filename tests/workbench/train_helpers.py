"""Run folders for the tests of the Train tab, written by the trainer's own class."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from executors.simulator import make_task, record_episode
from training.presets import get_preset
from training.rewards import trajectory_reward
from training.run_folder import RunFolder
from training.samples import Sample, build_samples

GOOD = "Home</think>"
ATTACK = '<img src=x onerror="alert(1)">'


def make_run(
    root: Path, name: str = "first", *, stage: str = "stage1", steps: int = 5, seed: int = 0, state: str = "finished",
    groups: list[dict[str, Any]] | None = None,
) -> RunFolder:
    """A run of the smoke preset with metrics of `steps` steps, rollouts and a log."""
    config = getattr(get_preset("smoke", seed), stage)
    if stage != "sft":
        config = replace(config, model="runs/start/final")
    run = RunFolder.create(root / name, stage=stage, config=config, command=["tracer1", "train", stage], seed=seed)
    with (root / name / "log.txt").open("w", encoding="utf-8") as log:
        for step in range(1, steps + 1):
            run.log_metrics(step, step / steps, {"reward": step / steps, "kl": 0.01 * step, "loss": 1.0 / step})
            log.write(f"step {step}/{steps}  reward {step / steps:.3f}\n")
    run.log_rollouts(groups or [])
    run._set_status(state, "")
    return run


def first_sample() -> Sample:
    """The first prompt of a task of the embedded world, with its screenshot and element tree."""
    config = get_preset("smoke").sft.forecast
    return next(iter(build_samples([record_episode(make_task("alarm_on", "train", 0))], config)))


def group_record(sample: Sample, replies: list[str], *, step: int = 1) -> dict[str, Any]:
    """A line of rollouts.jsonl as Stage 1 of the smoke preset would write it, its rewards computed by the rule."""
    from training.forecast import parse_forecast

    stage = get_preset("smoke").stage1
    completions = []
    for reply in replies:
        forecast = parse_forecast(reply, horizon=6)
        result = trajectory_reward(forecast, sample.steps, stage.reward, 6)
        completions.append({
            "text": reply, "reward": round(result.total, 6), "advantage": 0.0, "parse_ok": forecast.ok,
            "reason": forecast.reason, "parts": [part.to_json() for part in result.steps],
        })  # fmt: skip
    return {
        "step": step, "id": sample.id, "goal": sample.goal, "reference": [s.to_json() for s in sample.steps],
        "completions": completions,
    }  # fmt: skip


def reply_of(sample: Sample, num_steps: int) -> str:
    """What a planner that knows the way would say, cut after some steps."""
    lines = [f"{n}. {s.action.type}() | {s.instruction}" for n, s in enumerate(sample.steps[:num_steps], start=1)]
    return GOOD + "\n".join(lines)


def as_lines(records: list[dict[str, Any]]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(record) + "\n" for record in records)
