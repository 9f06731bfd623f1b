"""The SFT warm start: recorded thoughts and forecasts are imitated.

How this differs from the paper:

1. The paper starts Stage 1 from a pretrained Qwen3-VL-8B-Thinking and has no SFT. A planner of a few million random
   weights has no forecasts to reward, so it is taught to read screens and to write plans first.
2. For the same reason there may be a text warm-up (`text_warmup_steps`): the screen is described in words instead of
   shown, and only the plan has a loss. Then there may be reading lessons for the vision tower alone (training.reading).
   Then the screenshot comes, and thought (the description) and plan have a loss. All are one run of one trainer with
   one count of steps; only batches, loss and learning rate change.
3. The thoughts are the recorded ones, descriptions of the screen in the embedded world; the paper's planner thinks
   freely. For a pretrained checkpoint the thought may be empty.
4. A share of the samples asks for one step only (`reactive_share`), so that the reactive planner which forecasts are
   compared with is the same model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.errors import InputError
from training.checkpoint import load_model_and_processor, save_planner_settings
from training.config import SftConfig
from training.cpu import speed_up_on_cpu
from training.datasets.simulator import load_trajectories
from training.forecast import parse_forecast
from training.reading import Lesson, load_screens, plan_lessons
from training.samples import Sample, build_samples
from training.sft_batches import Collator, SftRecord, build_sft_records, corpus_of, plan_batches
from training.tiny import build_model, build_processor, count_parameters, save_checkpoint
from training.trackers import tracker_arguments

if TYPE_CHECKING:
    from training.run_folder import RunFolder

_NUM_WHITENING = 100
"""Screenshots, about, on which the patch embedding of a planner of random start is whitened."""


def run_sft(config: SftConfig, run: RunFolder, resume: bool = False) -> Path:
    """Trains as configured and returns the folder of the result, `final/` of the run.

    Args:
        config: the whole setting.
        run: where metrics, checkpoints and the result go; call this inside its `session`.
        resume: go on from the run's last whole checkpoint, if it has one.

    Raises:
        InputError: no samples, or a text warm-up without recorded thoughts.
        RunStopped: a stop was asked for; the last step is saved.
    """
    import torch

    from training.reading_head import attach_reading_head, detach_reading_head
    from training.run_callback import quiet_libraries
    from training.run_folder import RunStopped

    quiet_libraries()
    if config.optim.num_threads:
        torch.set_num_threads(config.optim.num_threads)
    checkpoint = run.last_checkpoint() if resume else None
    samples = list(build_samples(load_trajectories(config.data), config.forecast, max_pixels=config.data.max_pixels))
    if not samples:
        raise InputError(f"config field 'data': split {config.data.split!r} has no samples: give another file or split")
    model, processor = _start_model(config, samples, checkpoint)
    speed_up_on_cpu(model)
    num_parameters = count_parameters(model)
    if config.reading_steps:
        attach_reading_head(model)
    records = _records(config, samples, processor)
    if config.text_warmup_steps and not any(record.sample.thought for record in records):
        raise InputError("config field 'text_warmup_steps': no sample has a thought to be told: set it to 0")
    print(f"{len(records)} samples, {num_parameters / 1e6:.1f} M parameters", flush=True)
    trainer, stopper = _build_trainer(config, run, model, processor, records, _validation_records(config, processor))
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if stopper.stop_reason is not None:
        raise RunStopped(stopper.stop_reason)
    detach_reading_head(model)
    save_checkpoint(run.final_path, model, processor)
    save_planner_settings(run.final_path, config.forecast)
    return run.final_path


def _start_model(config: SftConfig, samples: Sequence[Sample], checkpoint: Path | None) -> tuple[Any, Any]:
    dtype = "float32" if config.optim.precision == "float32" else "auto"
    if checkpoint is not None:
        return load_model_and_processor(checkpoint, dtype=dtype)
    if config.model:
        return load_model_and_processor(config.model, dtype=dtype)
    processor = build_processor(corpus_of(samples, config.forecast), config.tiny.vocab_size)
    stride = max(1, len(samples) // _NUM_WHITENING)
    seen = [image for sample in samples[::stride] if (image := sample.load_image()) is not None]
    return build_model(config.tiny, processor, config.optim.seed, seen), processor


def _records(config: SftConfig, samples: Sequence[Sample], processor: Any) -> list[SftRecord]:
    return list(build_sft_records(
        samples, config.forecast, processor, reactive_share=config.reactive_share, seed=config.optim.seed
    ))


def _validation_records(config: SftConfig, processor: Any) -> list[SftRecord]:
    """A few samples of the split "val", without mistakes and pop-ups; none when the file has none."""
    if not config.eval_samples:
        return []
    data = replace(config.data, split="val", num_episodes=config.eval_samples, mistake_rate=0.0, interruption_rate=0.0)
    samples = list(build_samples(load_trajectories(data), config.forecast, max_pixels=data.max_pixels))
    stride = max(1, len(samples) // config.eval_samples)
    return _records(replace(config, reactive_share=0.0), samples[::stride][: config.eval_samples], processor)


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


def _plan_phases(
    config: SftConfig, records: list[SftRecord]
) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """(the collator's rows of all phases, the batches of row numbers in the order of training)."""
    optim = config.optim
    text_batches = plan_batches(
        records,
        batch_size=max(1, config.text_warmup_batch_size // optim.accumulation),
        num_batches=config.text_warmup_steps * optim.accumulation,
        seed=optim.seed,
        mix_sizes=True,
    )
    image_batches = plan_batches(
        records, batch_size=optim.batch_size, num_batches=optim.num_steps * optim.accumulation, seed=optim.seed
    )
    lessons = _lessons(config)
    size = max(1, config.reading_batch_size // optim.accumulation)
    reading_batches = [list(range(start, start + size)) for start in range(0, len(lessons), size)]
    rows: list[dict[str, Any]] = []
    batches: list[list[int]] = []
    for kind, planned in (
        ([{"record": record, "is_text": True} for record in records], text_batches),
        ([{"lesson": lesson} for lesson in lessons], reading_batches),
        ([{"record": record, "is_text": False} for record in records], image_batches),
    ):
        batches += [[len(rows) + i for i in batch] for batch in planned]
        rows += kind
    return rows, batches


def _lessons(config: SftConfig) -> list[Lesson]:
    if not config.reading_steps:
        return []
    if config.data.path:
        raise InputError("config field 'reading_steps': a trajectory file does not say where letters are: set it to 0")
    size = max(1, config.reading_batch_size // config.optim.accumulation)
    screens = list(load_screens(config.data))
    num_lessons = size * config.reading_steps * config.optim.accumulation
    return list(plan_lessons(screens, num_lessons=num_lessons, seed=config.optim.seed))


def _build_trainer(
    config: SftConfig, run: RunFolder, model: Any, processor: Any, records: list[SftRecord], validation: list[SftRecord]
) -> tuple[Any, Any]:
    """(the trainer, its run callback)."""
    import torch
    from datasets import Dataset
    from torch.optim.lr_scheduler import LambdaLR
    from torch.utils.data import DataLoader
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig as TrlSftConfig
    from trl import SFTTrainer

    from training.muon import MuonAdamW
    from training.reading_head import read
    from training.run_callback import RunCallback

    optim = config.optim
    has_gpu = torch.cuda.is_available()
    total = sum(length for length, _ in phases_of(config))
    first_image_step = total - optim.num_steps
    collator = Collator(processor)
    rows, batches = _plan_phases(config, records)

    class Trainer(SFTTrainer):
        """TRL's trainer with the planned batches and a schedule that starts anew in each phase."""

        def get_train_dataloader(self) -> Any:
            loader = DataLoader(rows, batch_sampler=batches, collate_fn=collator)
            return self.accelerator.prepare(loader)

        def create_optimizer(self, *args: Any) -> Any:
            if optim.optimizer == "muon" and self.optimizer is None:
                betas = (self.args.adam_beta1, self.args.adam_beta2)
                self.optimizer = MuonAdamW(
                    self.model, lr=optim.learning_rate, betas=betas, weight_decay=optim.weight_decay
                )
            return super().create_optimizer(*args)

        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            if "glyphs" not in inputs:
                return super().compute_loss(model, inputs, *args, **kwargs)
            with torch.autocast(model.device.type, torch.bfloat16, enabled=optim.precision == "bfloat16"):
                loss, scores = read(model, inputs)
            for name, value in scores.items():
                self._metrics["train"][f"reading/{name}"].append(value)
            return loss / optim.accumulation

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            if self.lr_scheduler is None:
                self.lr_scheduler = LambdaLR(optimizer or self.optimizer, lambda s: learning_rate_factor(s, config))
            return self.lr_scheduler

    class Validate(TrainerCallback):
        """Ends the reading lessons in time, and adds the validation scores to the metrics of the step."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if config.reading_steps and state.global_step == first_image_step:
                model.reading_head.settle(model.model.visual.merger.linear_fc2)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            step = state.global_step
            is_due = step > first_image_step and (step % config.eval_every == 0 or step == total)
            if validation and is_due:
                for name, value in validate(trainer.model, processor, validation, collator, config).items():
                    trainer._metrics["train"][name].append(value)

    args = TrlSftConfig(
        output_dir=str(run.checkpoints_path),
        max_steps=total,
        per_device_train_batch_size=optim.batch_size,
        gradient_accumulation_steps=optim.accumulation,
        learning_rate=optim.learning_rate,
        weight_decay=optim.weight_decay,
        max_grad_norm=optim.max_grad_norm,
        adam_beta2=0.98 if not config.model else 0.999,
        bf16=optim.precision == "bfloat16",
        gradient_checkpointing=optim.gradient_checkpointing,
        save_steps=optim.save_every,
        logging_steps=1,
        save_total_limit=None,
        **tracker_arguments(optim, run),
        seed=optim.seed,
        use_cpu=not has_gpu,
        dataloader_pin_memory=has_gpu,
        remove_unused_columns=False,
        disable_tqdm=True,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    stopper = RunCallback(
        run,
        keep_checkpoints=optim.keep_checkpoints,
        on_checkpoint=partial(save_planner_settings, config=config.forecast),
        evaluate=(lambda: validate(trainer.model, processor, validation, collator, config)) if validation else None,
    )
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_dict({"row": list(range(len(rows)))}),  # only for TRL's checks
        processing_class=processor,
        data_collator=collator,
        callbacks=[Validate(), stopper],
    )
    trainer.remove_callback(PrinterCallback)  # the run callback prints
    counts = [row["num_tokens"] for row in run.metrics() if "num_tokens" in row]
    trainer._total_train_tokens = int(counts[-1]) if counts else 0  # TRL does not keep it in its checkpoints
    return trainer, stopper


def validate(
    model: Any, processor: Any, records: Sequence[SftRecord], collator: Collator, config: SftConfig
) -> dict[str, float]:
    """Shares of validation samples whose greedy reply is right: "val/..." scores, each 0..1.

    `first_step_accuracy`: the first step's action and instruction equal the reference's (other right steps count as
    wrong); `operation_accuracy`: its action type does; `thought_accuracy`: mean `words_in_order` of the thought;
    `parse_rate`: the whole reply follows the grammar.
    """
    import torch

    sums: Counter[str] = Counter()
    was_training = model.training
    model.eval()
    longest = max(len(record.completion_ids) for record in records) + 8
    for start in range(0, len(records), config.optim.batch_size):
        part = records[start : start + config.optim.batch_size]
        images = [image for record in part if (image := record.sample.load_image()) is not None]
        inputs = collator.prompts([record.prompt_ids for record in part], images)
        inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        with torch.no_grad():
            out = model.generate(**inputs, max_new_tokens=longest, do_sample=False)
        replies = processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for record, reply in zip(part, replies, strict=True):
            sums.update(_score(reply, record, config))
    model.train(was_training)
    return {f"val/{name}": value / len(records) for name, value in sums.items()}


def _score(reply: str, record: SftRecord, config: SftConfig) -> dict[str, float]:
    size = record.sample.observation.image_size
    forecast = parse_forecast(reply, horizon=config.forecast.horizon, family=config.forecast.family, image=size)
    first = forecast.first
    return {
        "first_step_accuracy": float(first == record.steps[0]),
        "operation_accuracy": float(first is not None and first.action.type == record.steps[0].action.type),
        "thought_accuracy": words_in_order(forecast.thought, record.sample.thought),
        "parse_rate": float(forecast.ok),
    }


def words_in_order(thought: str, reference: str) -> float:
    """Share of the reference's words that the thought says in the same order, 0..1; punctuation does not count.

    Right words in the wrong order or place are not counted twice; 1 for a reference without words.

    >>> words_in_order("Notes : Ocean , Tiger", "Notes : Tiger , Ocean , River")
    0.5
    """
    said, told = ([w for w in text.split() if any(map(str.isalnum, w))] for text in (thought, reference))
    if not told:
        return 1.0
    blocks = SequenceMatcher(None, told, said, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(told)
