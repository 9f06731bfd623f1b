"""A run folder as a callback of transformers' trainers: metrics, progress, stopping, whole checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from training.run_folder import RunFolder

_LINE_KEYS = ("loss", "reward", "kl", "grad_norm", "step_seconds")


class RunCallback(TrainerCallback):
    """Writes every logged step to the run folder, prints one line of it, and stops when asked.

    The trainer's arguments must have logging_steps=1, output_dir=run.checkpoints_path and save_total_limit=None:
    old checkpoints are removed here, after the new one has been marked whole, so that a kill at any moment leaves one.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        keep_checkpoints: int,
        window: int = 1,
        on_checkpoint: Callable[[Path], None] | None = None,
    ) -> None:
        """Follows one trainer.

        Args:
            run: the folder that is written.
            keep_checkpoints: the newest ones that stay.
            window: optimiser steps that share one batch of completions; a stop waits for the end of one.
            on_checkpoint: writes what a checkpoint needs besides the trainer's files.
        """
        self.run = run
        self.keep_checkpoints = keep_checkpoints
        self.window = window
        self.on_checkpoint = on_checkpoint
        self.stop_reason: str | None = None
        """Why training stopped before its last step; None when it did not."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tells the heartbeat where training starts."""
        self.run.set_progress(state.global_step, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Advances the heartbeat and looks for a stop request; asks the trainer to save when there is one."""
        self.run.set_progress(state.global_step, state.max_steps)
        reason = self.run.stop_reason()
        if reason is not None and state.global_step < state.max_steps and state.global_step % self.window == 0:
            self.stop_reason = reason
            control.should_save = True
            control.should_training_stop = True

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
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():
            if self.on_checkpoint is not None:
                self.on_checkpoint(folder)
            self.run.mark_checkpoint(folder)
            self.run.prune_checkpoints(self.keep_checkpoints)


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
