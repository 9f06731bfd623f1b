"""A run folder as a callback of transformers' trainers: metrics, progress, stopping, whole checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from executors.errors import WorkbenchError
from training.config import OptimConfig
from training.run_folder import RunFolder
from training.trackers import tracker_arguments

_LINE_KEYS = ("loss", "reward", "kl", "grad_norm", "step_seconds")


def run_arguments(optim: OptimConfig, run: RunFolder) -> dict[str, Any]:
    """What every trainer of a run folder is told: where it writes, how it optimises, and what `RunCallback` needs."""
    has_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(run.checkpoints_path),
        "per_device_train_batch_size": optim.batch_size,
        "gradient_accumulation_steps": optim.accumulation,
        "learning_rate": optim.learning_rate,
        "weight_decay": optim.weight_decay,
        "max_grad_norm": optim.max_grad_norm,
        "bf16": optim.precision == "bfloat16",
        "gradient_checkpointing": optim.gradient_checkpointing,
        "save_total_limit": None,
        "logging_steps": 1,
        **tracker_arguments(optim, run),
        "disable_tqdm": True,
        "seed": optim.seed,
        "use_cpu": not has_gpu,
        "dataloader_pin_memory": has_gpu,
        "remove_unused_columns": False,
    }


class RunCallback(TrainerCallback):
    """Writes every logged step to the run folder, prints one line of it, and stops when asked.

    The trainer's arguments must hold `run_arguments`. Old checkpoints are removed here, after the new one has been
    marked whole, so that a kill at any moment leaves one.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        keep_checkpoints: int,
        window: int = 1,
        on_checkpoint: Callable[[Path], None] | None = None,
        evaluate: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        """Follows one trainer.

        Args:
            run: the folder that is written.
            keep_checkpoints: the newest ones that stay.
            window: optimiser steps that share one batch of completions; a stop waits for the end of one.
            on_checkpoint: writes what a checkpoint needs besides the trainer's files.
            evaluate: scores of the model as it is, by name; only the first process is asked. None for no evaluation.
        """
        self.run = run
        self.keep_checkpoints = keep_checkpoints
        self.window = window
        self.on_checkpoint = on_checkpoint
        self.evaluate = evaluate
        self._saves_on_request = False
        self.stop_reason: str | None = None
        """Why training stopped before its last step; None when it did not."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tells the heartbeat where training starts."""
        self.run.set_progress(state.global_step, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Advances the heartbeat and does what was asked through the run folder, a stop and a save through the trainer.

        A save waits, as a stop does, for the end of a window: a checkpoint inside of one loses its completions.
        """
        step = state.global_step
        self.run.set_progress(step, state.max_steps)
        asked = _of_first_process(args, {name: self.run.is_asked(name) for name in ("save", "evaluate")})
        reason = _of_first_process(args, self.run.stop_reason())
        if asked["evaluate"] and state.is_world_process_zero:
            self._evaluate(step, state.epoch or 0.0)
        if step % self.window:
            return
        if reason is not None and step < state.max_steps:
            self.stop_reason = reason
            control.should_save = True
            control.should_training_stop = True
        self._saves_on_request = asked["save"]
        if asked["save"]:
            control.should_save = True

    def _evaluate(self, step: int, epoch: float) -> None:
        reason = "there are no samples to evaluate on"
        try:
            scores = {name: _number(value) for name, value in self.evaluate().items()} if self.evaluate else {}
        except WorkbenchError as error:  # a screenshot of the split "val" is gone: no reason to end the training
            scores, reason = {}, str(error)
        if not scores:
            self.run.confirm("evaluate", "not evaluated", step, reason=reason)
            return
        self.run.log_metrics(step, round(epoch, 6), scores)
        self.run.confirm("evaluate", "evaluated", step, scores=scores)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        print(f"step {step} evaluated  {shown}", flush=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """One line of metrics per step; the summary that a trainer logs at its end is left out."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        values = {key: _number(value) for key, value in logs.items() if key not in ("epoch", "step")}
        step = state.global_step
        self.run.log_metrics(step, round(float(logs.get("epoch", state.epoch or 0.0)), 6), values)
        shown = "  ".join(f"{key} {values[key]:.4g}" for key in _LINE_KEYS if isinstance(values.get(key), float))
        print(f"step {step}/{state.max_steps}  {shown}", flush=True)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Marks the new checkpoint as whole, then removes the oldest."""
        if args.world_size > 1:  # every process writes its own random state into the checkpoint
            from accelerate import PartialState

            PartialState().wait_for_everyone()
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():
            if self.on_checkpoint is not None:
                self.on_checkpoint(folder)
            self.run.mark_checkpoint(folder)
            self.run.prune_checkpoints(self.keep_checkpoints)
            if self._saves_on_request:
                self.run.confirm("save", "saved", state.global_step, checkpoint=folder.name)
                self._saves_on_request = False
            if self.stop_reason is not None:
                self.run.confirm("stop", "stopped", state.global_step, checkpoint=folder.name)


def _of_first_process(args: Any, value: Any) -> Any:
    """The first process's value in all processes: requests come at any time, and all must act after the same step."""
    if args.world_size == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value], from_process=0)[0]


def _number(value: Any) -> Any:
    """Numbers as floats, which also takes them out of numpy and torch; text stays."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def quiet_libraries() -> None:
    """Silences progress bars and advice of the libraries that nobody at the command line can act on."""
    import logging
    import warnings

    import datasets
    import transformers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("trl").setLevel(logging.ERROR)
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(torch|transformers|trl|accelerate)\b")
