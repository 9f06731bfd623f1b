"""The GRPO trainer on a tiny random planner: what counts in the loss, sharing of images, resuming."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch

from executors.errors import MissingFileError
from tests.training.grpo_helpers import FORECAST, reward_variety, stage1_config, tiny_checkpoint, tiny_samples
from training import stages
from training.checkpoint import load_model_and_processor, read_planner_settings
from training.grpo import collapse_runs, select_rows, signal_mask
from training.prompt_encoder import PromptEncoder
from training.prompt_stream import PromptStream, prompt_dataset
from training.run_folder import RunFolder
from training.stages import run_stage1

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("rewards", "drop", "keep", "share"),
    [
        ([1.0, 0.0, 0.0, 0.0], True, [True] * 4, 0.0),
        ([1.0, 1.0, 1.0, 1.0], True, [False] * 4, 1.0),
        ([1.0, 1.0, 1.0, 1.0], False, [True] * 4, 1.0),
        ([1.0, 0.0, None, None], True, [True, True, False, False], 0.0),
        ([1.0, None, None, None], False, [False] * 4, 1.0),
        ([None] * 4, True, [False] * 4, 1.0),
    ],
)
def test_what_counts_in_the_loss(rewards, drop, keep, share):
    assert signal_mask(rewards, 4, drop) == (keep, share)


def test_runs_of_image_tokens_collapse_to_one_each():
    assert collapse_runs([9, 9, 1, 9, 9, 9, 2], 9) == [9, 1, 9, 2]
    assert collapse_runs([], 9) == []


def test_prompt_stream_repeats_groups_and_passes_and_covers_all_prompts():
    stream = PromptStream(5, group_size=2, prompts=2, passes=3, batches=5, seed=1)
    indices = list(stream)
    assert len(indices) == len(stream) == 5 * 3 * 2 * 2
    assert indices == list(stream)
    first = indices[:4]
    assert first[0] == first[1] and first[2] == first[3] and indices[:12] == first * 3
    prompts = [indices[batch * 12 + i] for batch in range(5) for i in (0, 2)]
    assert sorted(prompts[:5]) == sorted(prompts[5:]) == [0, 1, 2, 3, 4]


def test_selected_rows_leave_what_has_no_rows():
    inputs = {
        "completion_ids": torch.arange(6).view(3, 2),
        "prompt_index": torch.tensor([0, 0, 1]),
        "num_items_in_batch": torch.tensor(6),
    }
    chosen = select_rows(inputs, torch.tensor([2, 1]))
    assert chosen["completion_ids"].tolist() == [[4, 5], [2, 3]]
    assert chosen["prompt_index"].tolist() == [1, 0] and chosen["num_items_in_batch"] == 6


def test_dataset_rows_hold_prompt_and_index():
    dataset = prompt_dataset(tiny_samples(), FORECAST)
    row = dataset[1]
    assert row["sample"] == 1 and set(row) == {"sample", "prompt"}
    assert [part["type"] for part in row["prompt"][0]["content"]] == ["image", "text"]


def _train(tmp_path, monkeypatch, name, **changes):
    reward_variety(monkeypatch.setattr)
    config = stage1_config(tiny_checkpoint(), **changes)
    run = RunFolder.create(tmp_path / name, stage="stage1", config=config, command=[], seed=0)
    with run.session():
        run_stage1(config, run)
    return run


def _without_times(rows):
    return [{key: value for key, value in row.items() if key != "time" and "seconds" not in key} for row in rows]


def test_killed_and_resumed_run_has_the_metrics_of_an_uninterrupted_one(tmp_path, monkeypatch):
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.training.grpo_helpers", str(tiny_checkpoint()), str(killed)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
        whole = _train(tmp_path, monkeypatch, "whole")
        metrics = killed / "metrics.jsonl"
        while not metrics.exists() or metrics.read_bytes().count(b"\n") < 5:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    run = RunFolder.open(killed)
    assert run.status().state == "crashed"
    newest = run.last_checkpoint()
    (newest / "optimizer.pt").write_bytes(b"torn")  # as if killed while saving
    assert run.last_checkpoint() not in (None, newest)
    run = RunFolder.resume(killed, command=[])
    assert 0 < len(run.metrics()) < 8
    with run.session():
        run_stage1(stage1_config(tiny_checkpoint()), run, resume=True)
    assert len(whole.metrics()) == 8
    assert _without_times(run.metrics()) == _without_times(whole.metrics())
    assert run.rollouts() == whole.rollouts()
    assert any(row["grad_norm"] > 0 for row in whole.metrics())
    assert read_planner_settings(run.final_path) == FORECAST
    trained, _ = load_model_and_processor(run.final_path, device="cpu")
    expected, _ = load_model_and_processor(whole.final_path, device="cpu")
    start, _ = load_model_and_processor(tiny_checkpoint(), device="cpu")
    weights = [dict(model.named_parameters()) for model in (trained, expected, start)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert any(not torch.equal(value, weights[2][name]) for name, value in weights[0].items())


def test_stop_waits_for_the_end_of_a_batch_and_saves(tmp_path, monkeypatch):
    reward_variety(monkeypatch.setattr)
    config = stage1_config(tiny_checkpoint(), optim={"save_every": 50})
    run = RunFolder.create(tmp_path / "run", stage="stage1", config=config, command=[], seed=0)
    run.request_stop()
    with run.session():
        run_stage1(config, run)
    assert (run.status().state, run.status().reason) == ("stopped", "asked to stop")
    assert [row["step"] for row in run.metrics()] == [1, 2]
    assert run.last_checkpoint().name == "checkpoint-2" and not run.final_path.exists()
    assert read_planner_settings(run.last_checkpoint()) == FORECAST


@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
def test_loss_is_normalised_by_the_completions_that_count(tmp_path, monkeypatch, loss_type):
    """A group without a signal beside one with: the gradient is that of the latter alone."""
    import training.grpo as grpo_module

    small = {"num_steps": 1, "learning_rate": 1e-5}
    shape = {"updates_per_batch": 1, "kl_coef": 0.0, "loss_type": loss_type}

    def half(rewards, size, drop):
        return [True] * size + [False] * (len(rewards) - size), 0.5

    monkeypatch.setattr(grpo_module, "signal_mask", half)
    accumulated = _train(tmp_path, monkeypatch, "two passes", grpo=shape, optim=small)
    large = {**small, "batch_size": 4, "accumulation": 1}
    one_pass = _train(tmp_path, monkeypatch, "one pass", grpo=shape, optim=large)
    norms = [run.metrics()[0]["grad_norm"] for run in (accumulated, one_pass)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3) and norms[0] > 0


def test_refilled_batches_drop_fewer_groups(tmp_path, monkeypatch):
    import training.grpo as grpo_module

    calls = []

    def first_batch_is_flat(rewards, size, drop):
        calls.append(len(rewards))
        is_flat = len(calls) % 2 == 1
        return [not is_flat] * len(rewards), float(is_flat)

    monkeypatch.setattr(grpo_module, "signal_mask", first_batch_is_flat)
    grpo = {"updates_per_batch": 2, "refill_rounds": 3}
    run = _train(tmp_path, monkeypatch, "run", grpo=grpo, optim={"num_steps": 2})
    assert calls == [4, 4]  # one round was enough
    first, second = run.metrics()
    assert first["groups_dropped"] == 0 and first["zero_variance_share"] == 0.5
    assert first["grad_norm"] > 0 and second["grad_norm"] > 0
    assert len(run.rollouts()) == 4


def test_runs_say_what_sharing_saved_and_where_the_time_went(tmp_path, monkeypatch, capsys):
    _, processor = load_model_and_processor(tiny_checkpoint(), device="cpu")
    encoder = PromptEncoder(processor, tiny_samples(), FORECAST, max_cache_bytes=0)
    lengths = sorted(encoder.num_tokens(index) for index in range(len(tiny_samples())))
    limit = lengths[-1] - 1
    run = _train(tmp_path, monkeypatch, "run", optim={"num_steps": 1}, grpo={"max_prompt_tokens": limit})
    (row,) = run.metrics()
    parts = ("encode_seconds", "generate_seconds", "reward_seconds", "log_prob_seconds", "update_seconds")
    assert sum(row[name] for name in parts) == pytest.approx(row["step_seconds"], rel=1e-3)
    assert min(row[name] for name in parts) > 0
    assert row["tokens_computed"] > 0 and row["tokens_saved"] > 0
    assert f"prompts are left out, longer than {limit} tokens" in capsys.readouterr().out


def test_a_batch_without_a_signal_has_no_gradient_and_measures_nothing(tmp_path):
    config = stage1_config(tiny_checkpoint(), optim={"num_steps": 1}, grpo={"updates_per_batch": 1})
    run = RunFolder.create(tmp_path / "run", stage="stage1", config=config, command=[], seed=0)
    with run.session():
        run_stage1(config, run)
    (row,) = run.metrics()
    assert row["reward"] == config.reward.parse_failure and row["parse_failures"] == 1.0
    assert row["grad_norm"] == 0.0 and row["loss"] == 0.0 and row["zero_variance_share"] == 1.0
    assert row["kl"] is None and row["entropy"] is None
    assert math.isclose(row["completion_tokens"], 12, abs_tol=11)


def _advantage(group):
    """The group-relative advantage of each reward, by its formula; 0 where there is none or nothing to compare."""
    scored = numpy.array([reward for reward in group if reward is not None])
    if len(scored) < 2:
        return [0.0] * len(group)
    mean, deviation = scored.mean(), scored.std(ddof=1)
    return [0.0 if reward is None else (reward - mean) / (deviation + 1e-4) for reward in group]


@pytest.mark.parametrize(
    "groups",
    [
        [[1.0, 0.0, None, 0.5], [None] * 4, [1.0, None, None, None], [0.3] * 4],
        [[1.0, 0.0], [0.25, None], [None, None], [2.0, -1.0], [0.1, 0.1], [0.0, 0.0], [-0.5, -0.25], [None, 1.0]],
    ],
    ids=["groups of four", "groups of two"],
)
def test_advantages_are_those_of_the_formula_whatever_is_missing(tmp_path, monkeypatch, groups):
    class GivenRewards(stages.TrajectoryRewardFunction):
        def __call__(self, *, completions, **columns):
            super().__call__(completions=completions, **columns)
            given = [reward for group in groups for reward in group]
            for score, reward in zip(self.scores, given, strict=True):
                score["reward"] = reward
            return given

    monkeypatch.setattr(stages, "TrajectoryRewardFunction", GivenRewards)
    config = stage1_config(
        tiny_checkpoint(), grpo={"group_size": len(groups[0]), "updates_per_batch": 1, "logged_prompts": 100},
        optim={"num_steps": 1, "batch_size": 16, "accumulation": 1},
    )  # fmt: skip
    run = RunFolder.create(tmp_path / "run", stage="stage1", config=config, command=[], seed=0)
    with run.session():
        run_stage1(config, run)
    found = [completion["advantage"] for row in run.rollouts() for completion in row["completions"]]
    assert found == pytest.approx([value for group in groups for value in _advantage(group)], abs=2e-6)
    (row,) = run.metrics()
    scored = [reward for group in groups for reward in group if reward is not None]
    flat = sum(len(set(group) - {None}) < 2 for group in groups)
    assert row["reward"] == pytest.approx(numpy.mean(scored)) and row["grad_norm"] > 0
    assert (row["zero_variance_share"], row["groups_dropped"]) == (flat / len(groups), flat)


def test_an_evaluation_that_fails_does_not_end_the_training(tmp_path, monkeypatch):
    def without_screenshots(*args):
        raise MissingFileError("screenshot a.png does not exist: put it back or import again")

    monkeypatch.setattr(stages, "_evaluate", without_screenshots)
    config = stage1_config(tiny_checkpoint(), optim={"num_steps": 2})
    run = RunFolder.create(tmp_path / "run", stage="stage1", config=config, command=[], seed=0)
    run.request("evaluate")
    with run.session():
        run_stage1(config, run)
    assert run.status().state == "finished" and [row["step"] for row in run.metrics()] == [1, 2]
    (event,) = run.events()
    assert event["event"] == "not evaluated" and "a.png" in event["reason"]


@pytest.mark.parametrize("every", [1, 2], ids=["no screenshots", "some without"])
def test_prompts_without_a_screenshot_train_too(tmp_path, monkeypatch, every):
    def without_pixels(sample):
        blind = replace(sample.observation, image_size=None, image_path=None)
        return replace(sample, png=None, observation=blind)

    samples = [without_pixels(s) if i % every == 0 else s for i, s in enumerate(tiny_samples())]
    monkeypatch.setattr(stages, "build_samples", lambda *args, **kwargs: samples)
    run = _train(tmp_path, monkeypatch, "run", optim={"num_steps": 2, "batch_size": 4})
    assert all(row["grad_norm"] > 0 for row in run.metrics())
