"""Whole GRPO steps (generate, score, update): TRL's own trainer, and ours.

    python tests/benchmarks/train_step.py [--json] [--settings tiny screenshots] [--pairs 5] [--steps 2]

Settings: "tiny" is Stage 1 of the tiny preset (256x448 pixels, 4 prompts, 160 tokens of reply); "screenshots" is the
same planner on screens of 1280x704 pixels with replies of 48 tokens, 2 prompts, one at a time in the update (the stock
trainer takes more than 24 GB for both at once). The planner has random weights and the reward counts distinct letters,
so that every group has a signal. Both trainers start from the same weights and seed, in turns; a step is timed from its
begin to its end, the optimiser's included. Bar: a ratio of 2 for "screenshots".
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

from executors.geometry import ImageSize  # noqa: E402
from tests.benchmarks.pairs import timed_pairs, told  # noqa: E402
from tests.training.stock_trl import StockTrainer  # noqa: E402
from tests.training.test_grpo_against_trl import LetterReward  # noqa: E402
from training.config import DataConfig  # noqa: E402
from training.cpu import speed_up_on_cpu  # noqa: E402
from training.datasets.simulator import load_trajectories  # noqa: E402
from training.grpo import PlannerGRPOTrainer, grpo_arguments  # noqa: E402
from training.presets import get_preset  # noqa: E402
from training.run_callback import quiet_libraries  # noqa: E402
from training.run_folder import RunFolder  # noqa: E402
from training.samples import Sample, build_samples, decode_png, encode_png  # noqa: E402
from training.sft_batches import corpus_of  # noqa: E402
from training.tiny import build_model, build_processor, save_checkpoint  # noqa: E402

BAR_RATIO = 2.0
SCREEN_PX = (1280, 704)
PRESET = get_preset("tiny")


def _tiny_setting():
    return PRESET.stage1, {}


def _screenshot_setting():
    grpo = replace(PRESET.stage1.grpo, max_completion_tokens=48)
    optim = replace(PRESET.stage1.optim, batch_size=8, accumulation=2)
    return replace(PRESET.stage1, grpo=grpo, optim=optim), {"size_px": SCREEN_PX}


SETTINGS = {"tiny": _tiny_setting, "screenshots": _screenshot_setting}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="optimiser steps of one turn")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its default")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    quiet_libraries()
    result = {"benchmark": "train_step", "threads": torch.get_num_threads(), "load_average": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.settings:
            result[name] = _measure(Path(folder), name, args)
    if "screenshots" in result:
        result["bar_reached"] = result["screenshots"]["ratio_wall"] >= BAR_RATIO
    told(result, args.json)


def _measure(folder: Path, name: str, args: argparse.Namespace) -> dict:
    config, screen = SETTINGS[name]()
    config = replace(config, optim=replace(config.optim, num_steps=args.steps, save_every=10**6))
    forecast = PRESET.sft.forecast
    samples = list(build_samples(load_trajectories(DataConfig(num_episodes=6)), forecast))
    samples = [_enlarged(sample, **screen) for sample in samples]
    processor = build_processor(corpus_of(samples, forecast), PRESET.sft.tiny.vocab_size)
    processor.image_processor.size = {"shortest_edge": 64 * 64, "longest_edge": 2048 * 2048}
    checkpoint = folder / name
    save_checkpoint(checkpoint, build_model(PRESET.sft.tiny, processor, 0), processor)
    clocks: dict[str, list[dict[str, float]]] = {"stock": [], "ours": []}

    def turn(kind: str) -> None:
        clocks[kind] += _train(checkpoint, samples, forecast, config, folder, is_stock=kind == "stock")

    result = timed_pairs(functools.partial(turn, "stock"), functools.partial(turn, "ours"), args.pairs)
    steps = {kind: _per_step(rows) for kind, rows in clocks.items()}
    # What building the trainers takes is in the pairs' times; the steps alone are what is asked for.
    result |= _ratios_of_steps(clocks, args.steps)
    return {**result, "steps_per_turn": args.steps, "stock_step": steps["stock"], "our_step": steps["ours"]}


def _ratios_of_steps(clocks: dict[str, list[dict[str, float]]], num_steps: int) -> dict[str, float | list[float]]:
    import statistics

    result: dict[str, float | list[float]] = {}
    for clock in ("wall", "cpu"):
        turns = {
            kind: [sum(row[clock] for row in rows[i : i + num_steps]) for i in range(0, len(rows), num_steps)]
            for kind, rows in clocks.items()
        }
        ratios = [stock / ours for stock, ours in zip(turns["stock"], turns["ours"], strict=True)]
        result[f"ratios_{clock}"] = [round(ratio, 3) for ratio in ratios]
        result[f"ratio_{clock}"] = round(statistics.median(ratios), 3)
        for kind, seconds in turns.items():
            result[f"{kind}_{clock}_seconds"] = round(statistics.median(seconds), 3)
    return result


def _per_step(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over all steps: the split of the time, and the tokens of the update."""
    names = [name for name in rows[-1] if "seconds" in name or "tokens" in name]
    return {name: round(sum(row[name] for row in rows) / len(rows), 3) for name in names}


class _Clock(TrainerCallback):
    """Wall and CPU seconds of each step, and what the trainer logged of it."""

    def __init__(self):
        self.rows: list[dict[str, float]] = []

    def on_step_begin(self, args, state, control, **kwargs):
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def on_step_end(self, args, state, control, **kwargs):
        self.rows.append({"wall": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu})

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "train_runtime" not in logs:
            self.rows[-1] |= {key: value for key, value in logs.items() if isinstance(value, float | int)}


def _train(checkpoint, samples, forecast, config, folder, *, is_stock):
    from training.checkpoint import load_model_and_processor

    model, processor = load_model_and_processor(checkpoint, dtype="float32")
    speed_up_on_cpu(model)
    config = replace(config, model=str(checkpoint))
    place = Path(tempfile.mkdtemp(dir=folder)) / "run"
    run = RunFolder.create(place, stage="stage1", config=config, command=[], seed=0)
    arguments = grpo_arguments(config.grpo, config.optim, run, model)
    arguments.save_strategy = "no"
    clock = _Clock()
    shared = {
        "model": model, "args": arguments, "processing_class": processor, "samples": samples, "forecast": forecast,
        "reward": LetterReward(), "callbacks": [clock],
    }  # fmt: skip
    trainer = StockTrainer(**shared) if is_stock else PlannerGRPOTrainer(grpo=config.grpo, run=run, **shared)
    if is_stock:
        from transformers import PrinterCallback

        trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.rows


def _enlarged(sample: Sample, size_px: tuple[int, int] | None = None) -> Sample:
    if size_px is None:
        return sample
    image = decode_png(sample.png).resize(size_px)
    observation = replace(sample.observation, image_size=ImageSize(*size_px))
    return replace(sample, png=encode_png(image), observation=observation)


if __name__ == "__main__":
    main()
