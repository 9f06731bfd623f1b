"""Named pipelines: the settings of SFT, Stage 1 and Stage 2 that belong together.

The planners of tiny and smoke are trained from nothing on the embedded world; their values are ours, chosen on two CPU
cores. The presets of Qwen3-VL start with Stage 1 from the paper's pretrained planner; their values follow the public
recipes named below, and they were never run by us: give them a trajectory file (`--set data.path=FILE`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from executors.errors import InputError
from training.config import (
    DataConfig,
    ForecastConfig,
    GrpoConfig,
    LoraConfig,
    OptimConfig,
    SftConfig,
    Stage1Config,
    Stage2Config,
    TinyModelConfig,
)
from training.config_reading import override, parse_overrides

FROM_STAGE_BEFORE = "(the stage before)"
"""Stands for the start checkpoint of Stage 1 and 2, which the pipeline fills in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineConfig:
    """The stages in order; `model` of the later ones is filled in by the pipeline. Without SFT Stage 1 is the first."""

    sft: SftConfig | None
    stage1: Stage1Config
    stage2: Stage2Config
    sft_again: SftConfig | None = None
    """A second SFT, from the first one's result."""


def tiny(seed: int) -> PipelineConfig:
    """A planner of 7.6 million parameters that is meant to ship with the project, see RESULTS.md."""
    data = DataConfig(num_episodes=2400, seed=seed)
    rl_data = replace(data, num_episodes=800)
    rl_optim = OptimConfig(  # after SFT most groups' rewards are all equal: of 16 prompts a step about 2 teach anything
        num_steps=30, batch_size=128, learning_rate=1e-5, schedule="linear", precision="bfloat16", save_every=15,
        seed=seed,
    )  # fmt: skip
    # At temperature 1 most groups that differ do so by one stray sample, and learning from those harms (RESULTS.md).
    grpo = GrpoConfig(group_size=8, max_completion_tokens=160, temperature=0.6)
    sft = SftConfig(
        data=data,
        forecast=ForecastConfig(prompt_style="compact"),
        optim=OptimConfig(
            num_steps=1100, batch_size=16, learning_rate=8e-4, warmup_ratio=0.04, schedule="cosine",
            optimizer="muon", precision="bfloat16", save_every=100, seed=seed,
        ),
        text_warmup_steps=250,
        text_warmup_batch_size=48,
        reading_steps=2400,
        reading_batch_size=12,
        eval_every=100,
        eval_samples=32,
    )  # fmt: skip
    return PipelineConfig(
        sft=sft,
        sft_again=replace(
            sft,
            model=FROM_STAGE_BEFORE,
            data=replace(data, num_episodes=3000, seed=seed + 1000),
            optim=replace(sft.optim, num_steps=1400, learning_rate=6e-4, seed=seed + 1000),
            text_warmup_steps=0,
            reading_steps=1300,
        ),
        stage1=Stage1Config(model=FROM_STAGE_BEFORE, data=replace(rl_data, seed=seed + 1), grpo=grpo, optim=rl_optim),
        stage2=Stage2Config(model=FROM_STAGE_BEFORE, data=replace(rl_data, seed=seed + 2), grpo=grpo, optim=rl_optim),
    )


def smoke(seed: int) -> PipelineConfig:
    """Every part once, in a minute or two; the planner learns next to nothing."""
    data = DataConfig(num_episodes=24, seed=seed)
    optim = OptimConfig(num_steps=4, batch_size=8, learning_rate=1e-5, save_every=2, seed=seed)
    grpo = GrpoConfig(group_size=4, max_completion_tokens=48)
    return PipelineConfig(
        sft=SftConfig(
            tiny=TinyModelConfig(
                hidden_size=64, num_layers=2, num_heads=1, vision_hidden_size=64, vision_layers=2, vocab_size=600
            ),
            data=data,
            forecast=ForecastConfig(prompt_style="compact", horizon=3, history_length=3),
            optim=replace(optim, num_steps=30, learning_rate=3e-3, save_every=15, optimizer="muon"),
            text_warmup_steps=30,
            reading_steps=4,
            reading_batch_size=4,
            text_warmup_batch_size=16,
            text_warmup_learning_rate=3e-3,
            eval_samples=8,
            eval_every=30,
        ),
        stage1=Stage1Config(model=FROM_STAGE_BEFORE, data=data, grpo=grpo, optim=optim),
        stage2=Stage2Config(model=FROM_STAGE_BEFORE, data=data, grpo=grpo, optim=optim),
    )


def qwen3_vl_8b(seed: int) -> PipelineConfig:
    """The paper's planner with all weights trained, in float32: about 210 GiB, so a GPU of 288 GB.

    Several GPUs each hold a whole copy and multiply the batch. Learning rate, clip and KL are EasyR1's defaults, group
    and reply length those of GUI-Libra, screenshots as large as GUI-R1's, the horizon the paper's best.
    """
    optim = OptimConfig(
        num_steps=500, batch_size=8, accumulation=4, learning_rate=1e-6, precision="bfloat16",
        gradient_checkpointing=True, save_every=25, seed=seed,
    )  # fmt: skip
    grpo = GrpoConfig(group_size=8, max_completion_tokens=1500, freeze_vision=True)
    forecast = ForecastConfig(horizon=10, family="qwen3-vl")
    data = DataConfig(max_pixels=1_258_291, seed=seed)
    return PipelineConfig(
        sft=None,
        stage1=Stage1Config(model="Qwen/Qwen3-VL-8B-Thinking", data=data, forecast=forecast, grpo=grpo, optim=optim),
        stage2=Stage2Config(model=FROM_STAGE_BEFORE, data=data, forecast=forecast, grpo=grpo, optim=optim),
    )


def qwen3_vl_8b_lora(seed: int) -> PipelineConfig:
    """`qwen3_vl_8b` with adapters of rank 64 on the language layers: about 50 GiB, so a GPU of 80 GB.

    The learning rate is ten times that of all weights, as adapters need (ours).
    """
    full = qwen3_vl_8b(seed)
    lora = LoraConfig(rank=64)
    optim = replace(full.stage1.optim, learning_rate=1e-5)
    return PipelineConfig(
        sft=None,
        stage1=replace(full.stage1, lora=lora, optim=optim),
        stage2=replace(full.stage2, lora=lora, optim=optim),
    )


def qwen3_vl_8b_executor_32b(seed: int) -> PipelineConfig:
    """`qwen3_vl_8b` with Qwen3-VL-32B-Thinking as the frozen tool agent of Stage 2, one of the paper's.

    Serve it first with vLLM on GPUs of its own, at port 8000 of this machine; the planner's GPUs hold no part of it.
    """
    full = qwen3_vl_8b(seed)
    return replace(full, stage2=replace(full.stage2, tool_agent="qwen3-vl@http://127.0.0.1:8000/v1"))


PRESETS: dict[str, Callable[[int], PipelineConfig]] = {
    "tiny": tiny,
    "smoke": smoke,
    "qwen3-vl-8b": qwen3_vl_8b,
    "qwen3-vl-8b-lora": qwen3_vl_8b_lora,
    "qwen3-vl-8b-executor-32b": qwen3_vl_8b_executor_32b,
}


def get_preset(name: str, seed: int = 0, overrides: Iterable[str] = ()) -> PipelineConfig:
    """The preset of this name with its seed.

    Args:
        name: a key of `PRESETS`.
        seed: of everything.
        overrides: "key=value" each. A key that begins with a stage, such as stage1.optim.num_steps, sets that stage's;
            any other, such as data.path, sets that of every stage.

    Raises:
        InputError: the name is unknown; a key or a value is not allowed, see `from_dict`.
    """
    if name not in PRESETS:
        raise InputError(f"preset {name!r} is unknown: choose one of {', '.join(PRESETS)}")
    stages = PRESETS[name](seed)
    given = parse_overrides(overrides)
    parts = {part.name: getattr(stages, part.name) for part in fields(stages)}
    here = [part for part, config in parts.items() if config is not None]
    for part in parts:
        if part not in here and any(key.startswith(f"{part}.") for key in given):
            raise InputError(f"preset {name} has no stage {part}: it has {', '.join(here)}")
    changed = {part: _overridden(part, parts[part], given, [*parts]) for part in here}
    return replace(stages, **changed)


def _overridden(part: str, config: Any, given: dict[str, Any], parts: list[str]) -> Any:
    """A stage's config with the values that are given for it or for every stage."""
    mine = {}
    for key, value in given.items():
        owner, _, rest = key.partition(".")
        if owner == part:
            mine[rest] = value
        elif owner not in parts:
            mine[key] = value
    if "model" in mine and config.model == FROM_STAGE_BEFORE:
        raise InputError(f"stage {part} starts from the stage before: set the model of the first stage alone")
    try:
        return override(config, mine)
    except InputError as error:
        raise InputError(f"stage {part}: {error}") from None
