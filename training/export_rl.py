"""A stage's data and reward for those who train it with EasyR1 or verl on Ray.

The folder holds train.parquet and val.parquet (prompts, screenshots as PNG bytes, ground truth), reward.py in the
framework's form, and its settings: config.yaml for EasyR1, overrides.txt (Hydra) for verl. Sources: see
training.external_reward.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from executors.errors import InputError, OutputError, WorkbenchError
from training.checkpoint import read_planner_settings, resolve_checkpoint
from training.config import ForecastConfig, Stage1Config, Stage2Config
from training.datasets.simulator import load_trajectories
from training.external_reward import pack
from training.rewards import has_target
from training.samples import Sample, build_samples, encode_png

FRAMEWORKS = ("easyr1", "verl")
_VAL_EPISODES = 64
_ROWS_AT_ONCE = 256
_REWARD = '''"""{title}

Needs this project on the Python path (`pip install --no-deps tracer1-workbench`, or PYTHONPATH), none of its packages.
"""

from training.external_reward import {function} as compute_score  # noqa: F401
{constants}'''


@dataclass(frozen=True, slots=True)
class Exported:
    """How many rows a split has, and how many samples were left out for want of a screenshot or of a recorded point."""

    num_rows: int
    num_left_out: int


def export_stage(
    framework: str, stage: str, config: Stage1Config | Stage2Config, out: Path
) -> dict[str, Exported]:
    """Writes the folder and returns what each split holds; "val" is missing where there are no such trajectories.

    Args:
        framework: "easyr1" or "verl".
        stage: "stage1" or "stage2", for names.
        config: the stage's settings; its `model` may be a hub id, nothing of it is loaded.
        out: is made; files of an earlier export in it are replaced.

    Raises:
        MissingFileError: the model is neither a folder here nor a hub id.
        InputError: an unknown framework, no samples, or a setting that the framework cannot follow.
        OutputError: the folder cannot be written.
    """
    if framework not in FRAMEWORKS:
        raise InputError(f"framework {framework!r} is unknown: choose one of {', '.join(FRAMEWORKS)}")
    resolve_checkpoint(config.model)  # a folder that is not here has no settings to ask by
    forecast = config.forecast or read_planner_settings(config.model) or ForecastConfig()
    val = replace(config.data, split="val", num_episodes=min(config.data.num_episodes, _VAL_EPISODES),
                  mistake_rate=0.0, interruption_rate=0.0)  # fmt: skip
    try:
        out.mkdir(parents=True, exist_ok=True)
        report = {}
        for name, data in (("train", config.data), ("val", val)):
            samples = build_samples(load_trajectories(data), forecast, max_pixels=data.max_pixels)
            rows = _rows(framework, stage, samples, config, forecast)
            report[name] = _write_parquet(out / f"{name}.parquet", rows)
        if not report["train"].num_rows:
            raise InputError(f"config field 'data': split {config.data.split!r} has no samples that can be exported")
        if not report["val"].num_rows:
            (out / "val.parquet").unlink()
            del report["val"]
        (out / "reward.py").write_text(_reward_module(framework, stage), encoding="utf-8")
        name, text = _settings(framework, stage, config, out, has_val="val" in report)
        (out / name).write_text(text, encoding="utf-8")
    except WorkbenchError:
        raise  # one that is also an OSError says itself what is wrong
    except OSError as error:
        raise OutputError(f"cannot write {out} ({error.strerror or error}): give another folder") from None
    return report


def _rows(
    framework: str, stage: str, samples: Iterator[Sample], config: Stage1Config | Stage2Config, forecast: ForecastConfig
) -> Iterator[dict[str, Any] | None]:
    """One row for each sample, None for one that is left out."""
    for number, sample in enumerate(samples):
        yield row_of(framework, stage, sample, config, forecast, number)


def row_of(
    framework: str, stage: str, sample: Sample, config: Stage1Config | Stage2Config, forecast: ForecastConfig,
    number: int,
) -> dict[str, Any] | None:
    """The row of a sample in a framework's form; None where it has no screenshot or, in Stage 2, no recorded point.

    Args:
        framework: one of `FRAMEWORKS`.
        stage: "stage1" or "stage2".
        sample: its screenshot is loaded.
        config: the stage's settings, for its reward.
        forecast: horizon, history and prompt.
        number: the sample's place in its file, from 0.
    """
    image = sample.load_image()
    if image is None or (stage == "stage2" and not has_target(sample.first_step)):
        return None
    [message] = sample.messages(forecast)
    prompt = "".join("<image>" if part["type"] == "image" else part["text"] for part in message["content"])
    images, truth = [{"bytes": encode_png(image), "path": None}], pack(sample, config, forecast)
    if framework == "easyr1":
        return {"id": sample.id, "problem": prompt, "answer": truth, "images": images}
    return {
        "data_source": f"tracer1_{stage}",
        "prompt": [{"role": "user", "content": prompt}],
        "images": images,
        "ability": "gui",
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {"index": number, "id": sample.id},
    }


def _write_parquet(path: Path, rows: Iterator[dict[str, Any] | None]) -> Exported:
    """Writes row groups as they come, so memory stays bounded; a file without rows is written too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    num_rows = num_lost = 0
    writer: Any = None
    part: list[dict[str, Any]] = []

    def flush() -> None:
        nonlocal writer
        table = pa.Table.from_pylist(part)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
        part.clear()

    try:
        for row in rows:
            if row is None:
                num_lost += 1
                continue
            num_rows += 1
            part.append(row)
            if len(part) == _ROWS_AT_ONCE:
                flush()
        if part or writer is None:
            flush()
    finally:
        if writer is not None:
            writer.close()
    return Exported(num_rows, num_lost)


def _reward_module(framework: str, stage: str) -> str:
    title = f"Reward of TraceR1's {stage} in {framework}'s form."
    if framework == "verl":
        return _REWARD.format(title=title, function="verl_score", constants="")
    constants = f'\nREWARD_NAME = "tracer1_{stage}"\nREWARD_TYPE = "batch"\n'
    return _REWARD.format(title=title, function="easyr1_scores", constants=constants)


def _settings(
    framework: str, stage: str, config: Stage1Config | Stage2Config, out: Path, *, has_val: bool
) -> tuple[str, str]:
    """(name, text) of the settings file: ours in the framework's words, the rest at the framework's defaults."""
    import yaml

    grpo, optim, folder = config.grpo, config.optim, out.resolve()
    val = str(folder / ("val.parquet" if has_val else "train.parquet"))
    prompts = optim.batch_size * optim.accumulation // grpo.group_size
    if framework == "easyr1":
        settings = {
            "data": {
                "train_files": str(folder / "train.parquet"), "val_files": val, "prompt_key": "problem",
                "answer_key": "answer", "image_key": "images", "format_prompt": None, "rollout_batch_size": prompts,
                "max_response_length": grpo.max_completion_tokens, "seed": optim.seed,
            },
            "algorithm": {
                "adv_estimator": "grpo", "disable_kl": grpo.kl_coef == 0, "use_kl_loss": True,
                "kl_penalty": "low_var_kl", "kl_coef": grpo.kl_coef, "online_filtering": grpo.drop_zero_variance,
            },
            "worker": {
                "actor": {
                    "global_batch_size": prompts, "clip_ratio_low": grpo.clip_low, "clip_ratio_high": grpo.clip_high,
                    "max_grad_norm": optim.max_grad_norm, "ppo_epochs": grpo.updates_per_batch,
                    "model": {"model_path": config.model, "freeze_vision_tower": grpo.freeze_vision},
                    "optim": {"lr": optim.learning_rate, "weight_decay": optim.weight_decay},
                },
                "rollout": {"n": grpo.group_size, "temperature": grpo.temperature},
                "reward": {"reward_function": f"{folder / 'reward.py'}:compute_score"},
            },
            "trainer": {"project_name": "tracer1", "experiment_name": stage, "max_steps": optim.num_steps},
        }  # fmt: skip
        return "config.yaml", yaml.safe_dump(settings, sort_keys=False)
    overrides = {
        "algorithm.adv_estimator": "grpo",
        "data.train_files": str(folder / "train.parquet"),
        "data.val_files": val,
        "data.image_key": "images",
        "data.train_batch_size": prompts,
        "data.max_response_length": grpo.max_completion_tokens,
        "actor_rollout_ref.model.path": config.model,
        "actor_rollout_ref.actor.optim.lr": optim.learning_rate,
        "actor_rollout_ref.actor.ppo_mini_batch_size": prompts,
        "actor_rollout_ref.actor.ppo_epochs": grpo.updates_per_batch,
        "actor_rollout_ref.actor.clip_ratio_low": grpo.clip_low,
        "actor_rollout_ref.actor.clip_ratio_high": grpo.clip_high,
        "actor_rollout_ref.actor.use_kl_loss": str(grpo.kl_coef > 0).lower(),
        "actor_rollout_ref.actor.kl_loss_coef": grpo.kl_coef,
        "actor_rollout_ref.rollout.n": grpo.group_size,
        "actor_rollout_ref.rollout.temperature": grpo.temperature,
        "custom_reward_function.path": str(folder / "reward.py"),
        "custom_reward_function.name": "compute_score",
        "trainer.project_name": "tracer1",
        "trainer.experiment_name": stage,
        "trainer.total_training_steps": optim.num_steps,
    }
    return "overrides.txt", "".join(f"{key}={json.dumps(value)}\n" for key, value in overrides.items())
