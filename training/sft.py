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

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.errors import InputError
from training.checkpoint import load_model_and_processor, save_planner_settings
from training.config import SftConfig
from training.cpu import speed_up_on_cpu
from training.datasets.simulator import load_trajectories
from training.reading import Lesson, load_screens, plan_lessons
from training.samples import Sample, build_samples
from training.sft_batches import SftRecord, build_sft_records, corpus_of, plan_batches
from training.tiny import build_model, build_processor, count_parameters, save_checkpoint

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
    from training.sft_trainer import build_trainer

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
        attach_reading_head(model, config.optim.seed)
    records = _records(config, samples, processor)
    if config.text_warmup_steps and not any(record.sample.thought for record in records):
        raise InputError("config field 'text_warmup_steps': no sample has a thought to be told: set it to 0")
    print(f"{len(records)} samples, {num_parameters / 1e6:.1f} M parameters", flush=True)
    validation = _validation_records(config, processor)
    trainer, stopper = build_trainer(config, run, model, processor, *_plan_phases(config, records), validation)
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
