"""A tiny random planner, its data, and a Stage 1 run whose rewards differ; also run as a program, to be killed."""

from __future__ import annotations

import signal
import sys
import tempfile
from functools import cache
from pathlib import Path

from training.config import DataConfig, ForecastConfig, GrpoConfig, OptimConfig, Stage1Config, TinyModelConfig
from training.run_folder import RunFolder

FORECAST = ForecastConfig(prompt_style="compact", horizon=3, history_length=2)
DATA = DataConfig(num_episodes=3, mistake_rate=0.0, interruption_rate=0.0)
TINY = TinyModelConfig(
    hidden_size=64, num_layers=2, num_heads=1, vision_hidden_size=64, vision_layers=2, vocab_size=400
)


@cache
def tiny_samples():
    """Samples of three recorded episodes."""
    from training.datasets.simulator import load_trajectories
    from training.samples import build_samples

    return list(build_samples(load_trajectories(DATA), FORECAST))


@cache
def tiny_checkpoint() -> Path:
    """A checkpoint with random weights, built once per process."""
    from training.checkpoint import save_planner_settings
    from training.run_callback import quiet_libraries
    from training.sft_batches import corpus_of
    from training.tiny import build_model, build_processor, save_checkpoint

    quiet_libraries()
    folder = Path(tempfile.mkdtemp(prefix="tiny_planner_"))
    processor = build_processor(corpus_of(tiny_samples(), FORECAST), TINY.vocab_size)
    save_checkpoint(folder, build_model(TINY, processor, 0), processor)
    save_planner_settings(folder, FORECAST)
    return folder


def stage1_config(model: Path, *, grpo: dict | None = None, optim: dict | None = None) -> Stage1Config:
    """Two prompts with two completions per optimiser step, two passes over each batch."""
    return Stage1Config(
        model=str(model),
        data=DATA,
        grpo=GrpoConfig(**{"group_size": 2, "max_completion_tokens": 12, "updates_per_batch": 2, **(grpo or {})}),
        optim=OptimConfig(**{
            "num_steps": 8, "batch_size": 2, "accumulation": 2, "learning_rate": 1e-3, "save_every": 2,
            "num_threads": 1, **(optim or {}),
        }),
    )  # fmt: skip


def reward_variety(monkey) -> None:
    """Random replies all fail to parse; rewards the number of distinct letters so that groups have a signal."""
    from training import stages

    class VarietyReward(stages.TrajectoryRewardFunction):
        def __call__(self, *, completions, **columns):
            super().__call__(completions=completions, **columns)
            for score, completion in zip(self.scores, completions, strict=True):
                score["reward"] = len(set(completion[0]["content"])) / 10
            return [score["reward"] for score in self.scores]

    monkey(stages, "TrajectoryRewardFunction", VarietyReward)


def main(model: str, out: str) -> None:
    """Trains in a new run folder and waits after five steps; the test kills this process there."""
    from training.stages import run_stage1

    class PausingRun(RunFolder):
        def log_metrics(self, step, epoch, values):
            super().log_metrics(step, epoch, values)
            if step == 5:
                signal.pause()

    reward_variety(setattr)
    config = stage1_config(Path(model))
    run = PausingRun.create(out, stage="stage1", config=config, command=[], seed=0)
    with run.session():
        run_stage1(config, run)


if __name__ == "__main__":
    main(*sys.argv[1:])
