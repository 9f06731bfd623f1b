"""Whole training steps: our trainer's losses and gradient norms against those of TRL's own trainer, from one seed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import linear
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionPatchEmbed

from tests.training.grpo_helpers import FORECAST, stage1_config, tiny_checkpoint, tiny_samples
from tests.training.stock_trl import StockTrainer
from training.checkpoint import load_model_and_processor
from training.run_folder import RunFolder


class LetterReward:
    """Distinct letters of a reply: what random replies differ in."""

    __name__ = "letters"
    metric_names = frozenset()

    def __init__(self):
        self.scores = []

    def __call__(self, *, completions, **columns):
        self.scores = [{"reward": len(set(c[0]["content"])) / 10} for c in completions]
        return [score["reward"] for score in self.scores]


def train_series(
    tmp_path, name, *, is_stock, grpo, optim, changes=None, checkpoint=None, adapters=None, dtype="float32"
):
    """(loss, grad_norm) of each step and the trainer."""
    from training.grpo import PlannerGRPOTrainer, grpo_arguments

    checkpoint = checkpoint or tiny_checkpoint()
    config = stage1_config(checkpoint, grpo={"drop_zero_variance": False, **grpo}, optim=optim)
    run = RunFolder.create(tmp_path / name, stage="stage1", config=config, command=[], seed=0)
    torch.manual_seed(0)
    model, processor = load_model_and_processor(checkpoint, dtype=dtype, device="cpu")
    if config.grpo.freeze_vision:
        model.model.visual.requires_grad_(False)
    args = grpo_arguments(config.grpo, config.optim, run, model)
    for key, value in {"save_strategy": "no", **(changes or {})}.items():
        setattr(args, key, value)
    shared = {
        "model": model, "args": args, "processing_class": processor, "samples": tiny_samples(), "forecast": FORECAST,
        "reward": LetterReward(), "peft_config": adapters,
    }  # fmt: skip
    trainer = StockTrainer(**shared) if is_stock else PlannerGRPOTrainer(grpo=config.grpo, run=run, **shared)
    trainer.train()
    return [(row["loss"], row["grad_norm"]) for row in trainer.state.log_history if "grad_norm" in row], trainer


def _assert_same_series(tmp_path, steps, tolerance=1e-5, **settings):
    settings["optim"] = {"num_steps": steps, "batch_size": 8, "accumulation": 1, **settings.get("optim", {})}
    settings["grpo"] = {"group_size": 4, "updates_per_batch": 1, **settings.get("grpo", {})}
    stock, _ = train_series(tmp_path, "stock", is_stock=True, **settings)
    ours, trainer = train_series(tmp_path, "ours", is_stock=False, **settings)
    assert len(stock) == len(ours) == steps
    assert sum(norm for _, norm in stock) > 0
    for step, (theirs, mine) in enumerate(zip(stock, ours, strict=True)):
        assert mine[0] == pytest.approx(theirs[0], rel=tolerance, abs=1e-6), f"loss of step {step + 1}"
        assert mine[1] == pytest.approx(theirs[1], rel=tolerance, abs=1e-6), f"grad_norm of step {step + 1}"
    return trainer


@pytest.mark.slow
def test_fifty_steps_are_those_of_trl(tmp_path, monkeypatch):
    """In float64, where rounding cannot grow over the steps until another token is sampled."""

    def embed(self, patches_PD):  # torch's convolutions are slow in float64
        return linear(patches_PD.to(self.proj.weight.dtype), self.proj.weight.view(self.embed_dim, -1), self.proj.bias)

    monkeypatch.setattr(Qwen3VLVisionPatchEmbed, "forward", embed)
    trainer = _assert_same_series(
        tmp_path, 50, dtype="float64", optim={"learning_rate": 1e-4, "batch_size": 4},
        grpo={"kl_coef": 0.05, "group_size": 2, "max_completion_tokens": 8},
    )  # fmt: skip
    assert trainer.state.log_history[-2]["tokens_saved"] > 0


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"])
def test_every_loss_is_that_of_trl(tmp_path, loss_type):
    grpo = {"loss_type": loss_type, "updates_per_batch": 2, "kl_coef": 0.05}
    _assert_same_series(tmp_path, 2, grpo=grpo, optim={"learning_rate": 1e-3})


@pytest.mark.parametrize(
    "settings",
    [
        {"optim": {"batch_size": 4, "accumulation": 2}},
        {"optim": {"gradient_checkpointing": True}},
        {"grpo": {"freeze_vision": True}},
        {"grpo": {"share_prefix": False}},
        {"changes": {"importance_sampling_level": "sequence", "top_entropy_quantile": 0.5, "entropy_coef": 0.01}},
        {"changes": {"mask_truncated_completions": True}},
    ],
    ids=["accumulation", "checkpointing", "frozen vision", "not shared", "entropy", "truncated masked"],
)
def test_settings_change_nothing_but_the_time(tmp_path, settings):
    settings["grpo"] = {"updates_per_batch": 2, "kl_coef": 0.05, **settings.get("grpo", {})}
    settings["optim"] = {"learning_rate": 1e-3, **settings.get("optim", {})}
    _assert_same_series(tmp_path, 2, **settings)


def test_adapters_train_as_in_trl(tmp_path):
    peft = pytest.importorskip("peft", reason="LoRA needs the peft package")
    torch.manual_seed(5)
    adapters = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"])
    grpo = {"updates_per_batch": 2, "kl_coef": 0.05}
    _assert_same_series(tmp_path, 2, grpo=grpo, optim={"learning_rate": 1e-2}, adapters=adapters)


@pytest.mark.slow
def test_two_processes_give_the_series_of_trl(tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*launch, "-m", "tests.training.grpo_processes", str(tmp_path), str(tiny_checkpoint())],
        cwd=Path(__file__).resolve().parents[2], env=environment, check=True,
    )  # fmt: skip
    series = json.loads((tmp_path / "series.json").read_text())
    assert series["processes"] == 2 and sum(norm for _, norm in series["stock"]) > 0
    for theirs, mine in zip(series["stock"], series["ours"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6)
