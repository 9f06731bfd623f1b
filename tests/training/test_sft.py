"""The SFT warm start: token records, batches, learning rate, and a real run of a very small planner."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from executors.errors import InputError
from executors.trajectory import write_trajectories
from training.checkpoint import load_model_and_processor, read_planner_settings
from training.config import DataConfig, ForecastConfig, OptimConfig, SftConfig, TinyModelConfig
from training.datasets.simulator import load_trajectories
from training.forecast import format_plan, parse_forecast
from training.run_folder import RunFolder
from training.samples import build_samples
from training.sft import run_sft
from training.sft_batches import IGNORED, Collator, build_sft_records, corpus_of, is_reactive, plan_batches
from training.sft_trainer import learning_rate_factor
from training.sft_validation import validate
from training.tiny import build_model, build_processor

FORECAST = ForecastConfig(prompt_style="compact", horizon=3, history_length=2)
TINY = TinyModelConfig(
    hidden_size=64, num_layers=1, num_heads=1, vision_hidden_size=64, vision_layers=1, vocab_size=600
)
CONFIG = SftConfig(
    tiny=TINY,
    data=DataConfig(num_episodes=4, mistake_rate=0.0),
    forecast=FORECAST,
    optim=OptimConfig(
        num_steps=3, batch_size=2, learning_rate=1e-3, save_every=2, num_threads=1, schedule="cosine", optimizer="muon"
    ),
    text_warmup_steps=2,
    text_warmup_batch_size=4,
    reading_steps=1,
    reading_batch_size=4,
    eval_samples=2,
    eval_every=3,
)


@cache
def parts() -> tuple[list[Any], Any]:
    """(samples, processor) of four recorded episodes."""
    samples = list(build_samples(load_trajectories(CONFIG.data), FORECAST))
    return samples, build_processor(corpus_of(samples, FORECAST), TINY.vocab_size)


@cache
def records() -> list[Any]:
    samples, processor = parts()
    return list(build_sft_records(samples, FORECAST, processor))


def test_completion_is_thought_and_plan_inside_the_open_think_mark() -> None:
    _, processor = parts()
    for record in records():
        reply = processor.decode(record.completion_ids)
        assert reply.endswith("<|im_end|>") and processor.decode(record.prompt_ids).endswith("<think>\n")
        forecast = parse_forecast(reply.removesuffix("<|im_end|>"), horizon=FORECAST.horizon)
        assert forecast.ok and forecast.steps == record.sample.steps and forecast.thought == record.sample.thought


def test_told_prompt_has_the_thought_and_no_image() -> None:
    _, processor = parts()
    record = records()[0]
    told = processor.decode(record.told_ids)
    assert processor.image_token_id in record.prompt_ids and processor.image_token_id not in record.told_ids
    assert told.endswith(f"<think>\n{record.sample.thought}\n</think>\n")
    assert processor.decode(record.plan_ids) == format_plan(record.steps) + "<|im_end|>"


def test_reactive_samples_ask_for_and_answer_with_one_step() -> None:
    samples, processor = parts()
    for record in build_sft_records(samples, FORECAST, processor, reactive_share=1.0):
        assert len(record.steps) == 1 and "Steps: 1<|im_end|>" in processor.decode(record.prompt_ids)


def test_reactive_share_holds_on_average_and_is_fixed_by_the_seed() -> None:
    samples = [replace(parts()[0][0], id=f"t/{i}") for i in range(400)]
    chosen = [is_reactive(s, 0.25, 1) for s in samples]
    assert 60 <= sum(chosen) <= 140 and chosen == [is_reactive(s, 0.25, 1) for s in samples]
    assert chosen != [is_reactive(s, 0.25, 2) for s in samples]


def test_a_template_without_open_think_mark_gets_the_plan_alone_or_a_whole_thought() -> None:
    samples, processor = parts()
    instruct = build_processor(corpus_of(samples, FORECAST), TINY.vocab_size)
    instruct.chat_template = processor.chat_template.replace("assistant\\n<think>\\n' }}", "assistant\\n' }}")
    silent, thinking = replace(samples[0], thought=""), samples[0]
    replies = [instruct.decode(r.completion_ids) for r in build_sft_records([silent, thinking], FORECAST, instruct)]
    assert replies[0].startswith("1. ") and replies[1].startswith(f"<think>\n{thinking.thought}\n</think>\n1. ")


@pytest.mark.parametrize("mix_sizes", [False, True])
def test_batches_cover_an_epoch_without_repeats_and_share_a_screen_size(mix_sizes: bool) -> None:
    plan = plan_batches(records(), batch_size=2, num_batches=6, seed=3, mix_sizes=mix_sizes)
    assert plan == plan_batches(records(), batch_size=2, num_batches=6, seed=3, mix_sizes=mix_sizes)
    assert plan != plan_batches(records(), batch_size=2, num_batches=6, seed=4, mix_sizes=mix_sizes)
    assert max(Counter(i for batch in plan for i in batch).values()) == 1
    if not mix_sizes:
        sizes = [{records()[i].sample.observation.image_size for i in batch} for batch in plan]
        assert all(len(s) == 1 for s in sizes)


@given(batch_size=st.integers(1, 40), num_batches=st.integers(0, 30))
def test_batches_are_always_full(batch_size: int, num_batches: int) -> None:
    plan = plan_batches(records()[:5], batch_size=batch_size, num_batches=num_batches, seed=0)
    assert [len(batch) for batch in plan] == [batch_size] * num_batches


def test_batches_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="no training samples"):
        plan_batches([], batch_size=2, num_batches=1, seed=0)


def test_collator_gives_the_processors_own_tensors_and_loss_on_the_completion_only() -> None:
    _, processor = parts()
    record = records()[0]
    batch = Collator(processor)([{"record": record, "is_text": False}])
    prompt = processor.apply_chat_template(record.sample.messages(FORECAST), add_generation_prompt=True, tokenize=False)
    own = processor(text=[prompt], images=[record.sample.load_image()], return_tensors="pt")
    width = own["input_ids"].shape[1]
    for name in ("input_ids", "mm_token_type_ids", "attention_mask"):
        assert batch[name][:, :width].equal(own[name]), name
    assert batch["pixel_values"].equal(own["pixel_values"]) and batch["image_grid_thw"].equal(own["image_grid_thw"])
    assert (batch["labels"][0, :width] == IGNORED).all()
    assert tuple(batch["labels"][0, width:].tolist()) == record.completion_ids


def test_collator_pads_on_the_left_and_text_rows_have_no_image() -> None:
    _, processor = parts()
    rows = sorted(records(), key=lambda r: len(r.told_ids) + len(r.plan_ids))
    short, long = rows[0], rows[-1]
    batch = Collator(processor)([{"record": r, "is_text": True} for r in (short, long)])
    padded = batch["input_ids"].shape[1] - len(short.told_ids) - len(short.plan_ids)
    assert padded > 0 and "pixel_values" not in batch
    assert batch["attention_mask"][0].tolist() == [0] * padded + [1] * (batch["input_ids"].shape[1] - padded)
    assert (batch["labels"] != IGNORED).sum() == len(short.plan_ids) + len(long.plan_ids)


def test_learning_rate_rises_and_falls_in_each_phase() -> None:
    optim = OptimConfig(num_steps=20, learning_rate=1e-3, schedule="cosine", warmup_ratio=0.25)
    config = SftConfig(optim=optim, text_warmup_steps=20, text_warmup_learning_rate=2e-3)
    factors = [learning_rate_factor(step, config) for step in range(40)]
    assert max(factors[:20]) == 2.0 and max(factors[20:]) == 1.0
    for phase in (factors[:20], factors[20:]):
        top = phase.index(max(phase))
        assert top == 5 and phase[: top + 1] == sorted(phase[: top + 1]) and phase[top:] == sorted(phase[top:])[::-1]


def test_validation_scores_lie_between_zero_and_one() -> None:
    _, processor = parts()
    model = build_model(TINY, processor, seed=0).train()
    scores = validate(model, processor, records()[:2], Collator(processor), CONFIG)
    names = ("first_step_accuracy", "operation_accuracy", "thought_accuracy", "parse_rate")
    assert set(scores) == {f"val/{name}" for name in names}
    assert all(0 <= value <= 1 for value in scores.values()) and model.training


def train(folder: Path, config: SftConfig = CONFIG, resume: bool = False) -> RunFolder:
    command = ["tracer1"]
    run = RunFolder.resume(folder, command=command) if resume else RunFolder.create(
        folder, stage="sft", config=config, command=command, seed=0
    )
    with run.session():
        run_sft(config, run, resume)
    return run


def test_run_trains_all_phases_and_saves_a_planner(tmp_path: Path) -> None:
    run = train(tmp_path / "run")
    assert run.status().state == "finished"
    rows = run.metrics()
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6] and all(0 < row["loss"] < 20 for row in rows)
    assert [("val/first_step_accuracy" in row) for row in rows] == [False, False, False, False, False, True]
    model, processor = load_model_and_processor(run.final_path, device="cpu")
    assert model.config.model_type == "qwen3_vl" and processor.tokenizer.padding_side == "left"
    assert read_planner_settings(run.final_path) == FORECAST


@pytest.mark.parametrize("stop_at", [1, 3, 5], ids=["in the text phase", "after the lessons", "in the image phase"])
def test_stopped_run_goes_on_to_the_same_losses(tmp_path: Path, stop_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, eval_samples=0)
    whole = train(tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "stop_reason", lambda run: "asked to stop" if run._step >= stop_at else None)
        stopped = train(tmp_path / "parts", config)
    assert stopped.status().state == "stopped" and len(stopped.metrics()) == stop_at
    resumed = train(tmp_path / "parts", config, resume=True)
    for before, after in zip(whole.metrics(), resumed.metrics(), strict=True):
        assert after["loss"] == pytest.approx(before["loss"], rel=1e-4)
        assert after["grad_norm"] == pytest.approx(before["grad_norm"], rel=1e-3)
        assert (after.get("num_tokens"), after["epoch"]) == (before.get("num_tokens"), before["epoch"])


def test_the_configs_seed_alone_decides_a_run(tmp_path: Path) -> None:
    """The reading head once started from whatever torch's generator happened to hold."""
    series = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        run = train(tmp_path / str(seed), replace(CONFIG, eval_samples=0))
        series.append([(row["loss"], row["grad_norm"]) for row in run.metrics()])
    assert series[0] == series[1]


def test_training_starts_from_a_given_checkpoint(tmp_path: Path) -> None:
    first = train(tmp_path / "first", replace(CONFIG, eval_samples=0))
    optim = replace(CONFIG.optim, num_steps=1, learning_rate=1e-6)
    again = replace(
        CONFIG, model=str(first.final_path), text_warmup_steps=0, reading_steps=0, eval_samples=0, optim=optim
    )
    second = train(tmp_path / "second", again)
    assert second.metrics()[0]["loss"] < first.metrics()[3]["loss"] + 0.5


def test_reading_lessons_from_a_trajectory_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trajectories.jsonl"
    write_trajectories(path, list(load_trajectories(CONFIG.data)))
    with pytest.raises(InputError, match="reading_steps"):
        train(tmp_path / "run", replace(CONFIG, data=replace(CONFIG.data, path=str(path))))


def test_text_warmup_without_thoughts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = [replace(sample, thought="") for sample in parts()[0]]
    monkeypatch.setattr("training.sft.build_samples", lambda *args, **kwargs: iter(silent))
    with pytest.raises(InputError, match="text_warmup_steps"):
        train(tmp_path / "run")


def test_split_without_samples_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match="data"):
        train(tmp_path / "run", replace(CONFIG, data=DataConfig(path=str(tmp_path / "empty.jsonl"))))
