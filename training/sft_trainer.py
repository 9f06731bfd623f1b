"""TRL's SFT trainer for the phases of the warm start: their batches, losses, learning rates and validation."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig as TrlSftConfig
from trl import SFTTrainer as TrlSftTrainer

from training.checkpoint import save_planner_settings
from training.config import SftConfig
from training.muon import MuonAdamW
from training.reading_head import read
from training.run_callback import RunCallback, run_arguments
from training.sft_batches import Collator, SftRecord
from training.sft_validation import validate

if TYPE_CHECKING:
    from training.run_folder import RunFolder


def phases_of(config: SftConfig) -> list[tuple[int, float]]:
    """(optimiser steps, peak learning rate) of text warm-up, reading lessons and image phase, in order."""
    return [
        (config.text_warmup_steps, config.text_warmup_learning_rate),
        (config.reading_steps, config.reading_learning_rate),
        (config.optim.num_steps, config.optim.learning_rate),
    ]


def learning_rate_factor(step: int, config: SftConfig) -> float:
    """Learning rate of an optimiser step divided by `optim.learning_rate`; each phase warms up and decays by itself.

    Args:
        step: from 0, counted through all phases.
        config: gives phases, peaks, warm-up share and schedule.

    >>> learning_rate_factor(5, SftConfig())
    1.0
    """
    optim, position = config.optim, step
    for length, peak in phases_of(config):  # noqa: B007
        if position < length:
            break
        position -= length
    else:
        position = length
    factor = peak / optim.learning_rate
    warmup = round(length * optim.warmup_ratio)
    if position < warmup:
        return factor * (position + 1) / (warmup + 1)
    done = (position - warmup) / max(1, length - warmup)
    if optim.schedule == "cosine":
        return factor * max(0.02, 0.5 * (1 + math.cos(math.pi * done)))
    return factor * (max(0.02, 1 - done) if optim.schedule == "linear" else 1.0)


class SftTrainer(TrlSftTrainer):
    """TRL's trainer with the planned batches and a schedule that starts anew in each phase."""

    def __init__(
        self,
        config: SftConfig,
        rows: list[dict[str, Any]],
        batches: list[list[int]],
        validation: list[SftRecord],
        **kwargs: Any,
    ) -> None:
        """See `build_trainer`; the rest is what TRL's trainer takes."""
        self._config, self._rows, self._batches, self._validation = config, rows, batches, validation
        super().__init__(train_dataset=Dataset.from_dict({"row": list(range(len(rows)))}), **kwargs)  # for TRL's checks

    def get_train_dataloader(self) -> Any:
        """The planned batches."""
        loader = DataLoader(self._rows, batch_sampler=self._batches, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)

    def create_optimizer(self, *args: Any) -> Any:
        """Muon where it is asked for."""
        optim = self._config.optim
        if optim.optimizer == "muon" and self.optimizer is None:
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            self.optimizer = MuonAdamW(self.model, lr=optim.learning_rate, betas=betas, weight_decay=optim.weight_decay)
        return super().create_optimizer(*args)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The learning rate of each phase."""
        if self.lr_scheduler is None:
            config = self._config
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, lambda step: learning_rate_factor(step, config))
        return self.lr_scheduler

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss of a reading lesson, or TRL's."""
        if "glyphs" not in inputs:
            return super().compute_loss(model, inputs, *args, **kwargs)
        optim = self._config.optim
        with torch.autocast(model.device.type, torch.bfloat16, enabled=optim.precision == "bfloat16"):
            loss, scores = read(model, inputs)
        for name, value in scores.items():
            self.add_metric(f"reading/{name}", value)
        return loss / optim.accumulation

    def validate(self) -> dict[str, float]:
        """The present model's scores on the validation samples; empty where there are none."""
        if not self._validation:
            return {}
        return validate(self.model, self.processing_class, self._validation, self.data_collator, self._config)

    def add_metric(self, name: str, value: float) -> None:
        """Adds a value to the metrics of the present step."""
        self._metrics["train"][name].append(value)


class _Phases(TrainerCallback):
    """Ends the reading lessons in time, and adds the validation scores to the metrics of the step."""

    def __init__(self, trainer: SftTrainer, config: SftConfig) -> None:
        self._trainer, self._config = trainer, config
        self._last_step = config.num_steps
        self._first_image_step = self._last_step - config.optim.num_steps

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
        if self._config.reading_steps and state.global_step == self._first_image_step:
            model.reading_head.settle(model.model.visual.merger.linear_fc2)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        if step > self._first_image_step and (step % self._config.eval_every == 0 or step == self._last_step):
            for name, value in self._trainer.validate().items():
                self._trainer.add_metric(name, value)


def build_trainer(
    config: SftConfig,
    run: RunFolder,
    model: Any,
    processor: Any,
    rows: list[dict[str, Any]],
    batches: list[list[int]],
    validation: list[SftRecord],
) -> tuple[SftTrainer, RunCallback]:
    """The trainer and its run callback, which knows in the end why training stopped.

    Args:
        config: the whole setting.
        run: where metrics and checkpoints go.
        model: with a reading head where there are reading lessons.
        processor: the model's.
        rows: what the collator takes, of all phases.
        batches: numbers of rows, in the order of training.
        validation: samples whose greedy replies are scored; none leaves scores out.
    """
    optim = config.optim
    args = TrlSftConfig(
        **run_arguments(optim, run),
        max_steps=config.num_steps,
        adam_beta2=0.98 if not config.model else 0.999,
        save_steps=optim.save_every,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = SftTrainer(
        config, rows, batches, validation,
        model=model, args=args, processing_class=processor, data_collator=Collator(processor),
    )  # fmt: skip
    stopper = RunCallback(
        run,
        keep_checkpoints=optim.keep_checkpoints,
        on_checkpoint=partial(save_planner_settings, config=config.forecast),
        evaluate=trainer.validate,
    )
    trainer.add_callback(_Phases(trainer, config))
    trainer.add_callback(stopper)
    trainer.remove_callback(PrinterCallback)  # the run callback prints
    counts = [row["num_tokens"] for row in run.metrics() if "num_tokens" in row]
    trainer._total_train_tokens = int(counts[-1]) if counts else 0  # TRL does not keep it in its checkpoints
    return trainer, stopper
