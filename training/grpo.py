"""TRL's GRPOTrainer for forecasts of what is seen on a screenshot.

Added to TRL 1.16:

1. Groups without a signal leave the loss: all rewards equal (`GrpoConfig.drop_zero_variance`), or fewer than two
   completions scored. So does a completion whose reward is None. Their tokens are masked, their KL included, and the
   loss is normalised by what is left: dapo by the tokens kept, bnpo by those of the forward pass, grpo and dr_grpo by
   the completions kept. Their rows skip the forward and backward pass. A batch in which nothing is left gives a loss
   of zero. (TRL and the paper keep such groups: advantage 0, but the KL and the normaliser count them.)
2. Each distinct screenshot of a batch is preprocessed once and goes through the vision tower once, not G times.
3. The prompts' order is a function of seed and position alone, so a resumed run sees the prompts that it would have
   seen, in any epoch.
4. With vLLM in the same process, runs of image tokens are collapsed to one before sampling: vLLM expands them itself,
   and TRL 1.16 hands over the expanded ones (trl issue 6294).

Legend: B completions of a batch, G completions of a prompt, C completion tokens.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import BatchFeature, PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from training.config import ForecastConfig, GrpoConfig, OptimConfig
from training.run_folder import RunFolder
from training.samples import Sample
from training.trackers import tracker_arguments

_METRIC_NAMES = {
    "reward": "reward",
    "reward_std": "reward_std",
    "kl": "kl",
    "entropy": "entropy",
    "step_time": "step_seconds",
    "completions/mean_length": "completion_tokens",
    "completions/clipped_ratio": "truncated_share",
    "clip_ratio/region_mean": "clip_share",
    "sampling/sampling_logp_difference/mean": "sampling_logp_difference",
}
"""TRL's name -> ours; TRL's other metrics are left out."""


class CompletionReward(Protocol):
    """What the trainer needs of a reward function beyond calling it."""

    scores: list[dict[str, Any]]
    """One record per completion of the last call: "text", "reward" (None when not scored) and the parts."""

    def __call__(self, **columns: Any) -> list[float | None]:
        """The rewards of a batch, in TRL's calling convention."""
        ...


class PromptStream(Sampler[int]):
    """Indices of prompts for a whole run, each G times in a row, each batch of prompts once per optimiser pass.

    One permutation of all prompts follows another; prompts of one batch may come from two of them.
    """

    def __init__(
        self, num_samples: int, *, group_size: int, prompts: int, passes: int, batches: int, seed: int
    ) -> None:
        """`prompts` per generation batch, `passes` forward passes over one batch, `batches` in the whole run."""
        self.num_samples, self.group_size, self.prompts = num_samples, group_size, prompts
        self.passes, self.batches, self.seed = passes, batches, seed

    def __len__(self) -> int:
        return self.batches * self.passes * self.prompts * self.group_size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        waiting: list[int] = []
        for _ in range(self.batches):
            while len(waiting) < self.prompts:
                waiting += torch.randperm(self.num_samples, generator=generator).tolist()
            batch, waiting = waiting[: self.prompts], waiting[self.prompts :]
            for _ in range(self.passes):
                for index in batch:
                    yield from [index] * self.group_size


def prompt_dataset(samples: Sequence[Sample], forecast: ForecastConfig) -> Dataset:
    """A dataset of "prompt" (messages), "images" (list of PIL) and "sample" (index), built row by row when read."""

    @lru_cache(maxsize=64)
    def load_image(index: int) -> Any:
        return samples[index].load_image()

    def transform(rows: dict[str, list[int]]) -> dict[str, list[Any]]:
        images = [load_image(index) for index in rows["sample"]]
        return {
            "prompt": [samples[index].messages(forecast) for index in rows["sample"]],
            "images": [[] if image is None else [image] for image in images],
            "sample": rows["sample"],
        }

    dataset = Dataset.from_dict({"sample": list(range(len(samples)))})
    dataset.set_transform(transform)
    return dataset


def grpo_arguments(grpo: GrpoConfig, optim: OptimConfig, run: RunFolder, model: Any) -> GRPOConfig:
    """TRL's arguments of the config."""
    has_gpu = torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(run.checkpoints_path),
        max_steps=optim.num_steps,
        per_device_train_batch_size=optim.batch_size,
        gradient_accumulation_steps=optim.accumulation,
        steps_per_generation=optim.accumulation,
        num_generations=grpo.group_size,
        num_iterations=grpo.updates_per_batch,
        max_completion_length=grpo.max_completion_tokens,
        temperature=grpo.temperature,
        beta=grpo.kl_coef,
        epsilon=grpo.clip_low,
        epsilon_high=grpo.clip_high,
        loss_type=grpo.loss_type,
        scale_rewards="group",
        learning_rate=optim.learning_rate,
        warmup_steps=round(optim.warmup_ratio * optim.num_steps),
        lr_scheduler_type="constant_with_warmup" if optim.schedule == "constant" else optim.schedule,
        weight_decay=optim.weight_decay,
        max_grad_norm=optim.max_grad_norm,
        bf16=optim.precision == "bfloat16",
        gradient_checkpointing=optim.gradient_checkpointing,
        save_steps=math.ceil(optim.save_every / grpo.updates_per_batch) * grpo.updates_per_batch,
        save_total_limit=None,
        logging_steps=1,
        log_completions=False,
        log_multimodal=False,
        **tracker_arguments(optim, run),
        disable_tqdm=True,
        seed=optim.seed,
        use_cpu=not has_gpu,
        dataloader_pin_memory=has_gpu,
        remove_unused_columns=False,
        generation_kwargs=_never_sampled(model, grpo),
        use_vllm=grpo.use_vllm,
        vllm_mode="colocate",
        vllm_importance_sampling_mode="token_truncate",  # sequence modes mask nearly all long completions
        vllm_max_model_length=grpo.max_completion_tokens + 8192,
    )


def _never_sampled(model: Any, grpo: GrpoConfig) -> dict[str, Any]:
    """Generation settings under which no image or video token is sampled: one would crash the forward pass."""
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    ids = [value for name in names if (value := getattr(model.config, name, None)) is not None]
    if grpo.use_vllm:
        return {"logit_bias": {token: -100.0 for token in ids}}
    return {"suppress_tokens": ids}


class PlannerGRPOTrainer(GRPOTrainer):
    """GRPOTrainer with the additions listed at the top of this module."""

    def __init__(
        self,
        *,
        samples: Sequence[Sample],
        forecast: ForecastConfig,
        grpo: GrpoConfig,
        reward: CompletionReward,
        run: RunFolder,
        **kwargs: Any,
    ) -> None:
        """The keyword arguments of GRPOTrainer besides dataset and rewards, and where rollouts are written."""
        self._samples, self._grpo, self._reward, self._run = samples, grpo, reward, run
        super().__init__(reward_funcs=[reward], train_dataset=prompt_dataset(samples, forecast), **kwargs)
        self.remove_callback(PrinterCallback)
        if grpo.freeze_vision:
            _vision_tower(self.model).requires_grad_(False)
        for model in (self.model, self.ref_model):
            if model is not None:
                share_vision(_vision_tower(self.accelerator.unwrap_model(model)))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """No model card per checkpoint; the run folder tells more."""

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        args = self.args
        windows = math.ceil(args.max_steps * args.gradient_accumulation_steps / args.steps_per_generation)
        return PromptStream(
            len(self._samples),
            group_size=self.num_generations,
            prompts=args.generation_batch_size // self.num_generations,
            passes=self.num_iterations * args.steps_per_generation,
            batches=math.ceil(windows / self.num_iterations),
            seed=args.seed,
        )

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[Any, Any, Any]:
        prompt_ids, images, fields = super()._tokenize_prompts(prompts)
        if images is not None:  # TRL says None for a prompt without a screenshot, which the processor refuses
            images = [row or [] for row in images]
        return prompt_ids, images, fields

    def _generate_single_turn(self, prompt_ids: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
        if self.use_vllm and self.vllm_mode == "colocate" and images is not None:
            pad = self.model.config.image_token_id
            prompt_ids = [collapse_runs(ids, pad) for ids in prompt_ids]
        return super()._generate_single_turn(prompt_ids, images, *args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        with _preprocessed_once(self.processing_class.image_processor):
            output = super()._generate_and_score_completions(inputs)
        rewards_B = [score["reward"] for score in self._reward.scores]
        keep_B, share = signal_mask(rewards_B, self.num_generations, self._grpo.drop_zero_variance)
        self._metrics["train"]["zero_variance_share"].append(share)
        self._write_rollouts(inputs, output["advantages"].tolist())
        keep = torch.tensor(keep_B, device=output["completion_mask"].device)
        output["tool_mask"] = output["completion_mask"] * keep[:, None]  # TRL's loss mask, apart from attention
        gathered = self.accelerator.gather(
            torch.stack([output["tool_mask"].sum(), keep.sum(), torch.tensor(len(keep_B), device=keep.device)])
        ).view(-1, 3).sum(dim=0)
        output["num_items_in_batch"] = gathered[0]
        output["row_scale"] = gathered[2] / gathered[1].clamp(min=1)
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        num_rows = inputs["tool_mask"].size(0)
        kept_B = inputs["tool_mask"].any(dim=1)
        num_kept = int(kept_B.sum())
        if num_kept == 0:
            inputs = select_rows(inputs, torch.arange(num_rows, device=kept_B.device) < 1)  # the cheapest zero loss
        elif num_kept < num_rows:
            inputs = select_rows(inputs, kept_B)
        loss = super()._compute_loss(model, inputs)
        if num_kept == 0:
            for name in ("kl", "entropy", "clip_ratio/region_mean"):
                if self._metrics["train"][name]:
                    self._metrics["train"][name][-1] = math.nan  # measured on nothing; the log leaves it out
        elif self.loss_type in ("grpo", "dr_grpo"):  # TRL divides by the rows of this pass
            loss = loss * inputs["row_scale"] * (num_kept / num_rows)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs under our names, and the epoch as passes over the prompts."""
        found = self._metrics["train"]
        kept = {name: found[theirs] for theirs, name in _METRIC_NAMES.items() if theirs in found}
        for name, values in found.items():
            if name in self._reward_metric_names or name == "zero_variance_share":
                kept[name] = values
        found.clear()
        found.update(kept)
        per_step = self.args.generation_batch_size / self.num_generations / self.num_iterations
        logs["epoch"] = self.state.global_step * per_step / len(self._samples)
        super().log(logs, start_time)

    @property
    def _reward_metric_names(self) -> frozenset[str]:
        return getattr(self._reward, "metric_names", frozenset())

    def _write_rollouts(self, inputs: Sequence[dict[str, Any]], advantages: Sequence[float]) -> None:
        if not self.accelerator.is_main_process:
            return
        size = self.num_generations
        rows = []
        for start in range(0, min(len(inputs), size * self._grpo.logged_prompts), size):
            sample = self._samples[inputs[start]["sample"]]
            completions = [
                {**score, "advantage": round(advantage, 6)}
                for score, advantage in zip(
                    self._reward.scores[start : start + size], advantages[start : start + size], strict=True
                )
            ]
            rows.append({
                "step": self.state.global_step + 1,
                "id": sample.id,
                "goal": sample.goal,
                "reference": [step.to_json() for step in sample.steps],
                **self._run.keep_screen(sample.load_image(), sample.observation.elements),
                "completions": completions,
            })
        self._run.log_rollouts(rows)


def signal_mask(
    rewards_B: Sequence[float | None], group_size: int, drop_zero_variance: bool
) -> tuple[list[bool], float]:
    """(whether each completion counts in the loss, share of groups without a signal).

    A completion without a reward never counts. A group has no signal when fewer than two of its completions have a
    reward or all of them are equal; the former never counts, the latter only without `drop_zero_variance`.

    >>> signal_mask([1.0, 0.0, 0.5, 0.5, 1.0, None], 2, True)
    ([True, True, False, False, False, False], 0.6666666666666666)
    """
    keep: list[bool] = []
    num_flat = 0
    for start in range(0, len(rewards_B), group_size):
        group = rewards_B[start : start + group_size]
        scored = [reward for reward in group if reward is not None]
        is_flat = len(scored) < 2 or max(scored) - min(scored) < 1e-8
        num_flat += is_flat
        counts = len(scored) >= 2 and not (is_flat and drop_zero_variance)
        keep += [counts and reward is not None for reward in group]
    return keep, num_flat / max(1, math.ceil(len(rewards_B) / group_size))


def collapse_runs(ids: Sequence[int], pad: int) -> list[int]:
    """The ids with each run of the pad token replaced by a single one.

    >>> collapse_runs([1, 9, 9, 9, 2, 9, 3], 9)
    [1, 9, 2, 9, 3]
    """
    return [token for i, token in enumerate(ids) if token != pad or i == 0 or ids[i - 1] != pad]


def select_rows(inputs: dict[str, Any], rows_B: torch.Tensor) -> dict[str, Any]:
    """The batch with only the rows where `rows_B` is true; images go with their rows."""
    num_rows = rows_B.size(0)
    chosen: dict[str, Any] = {}
    num_images = inputs.get("num_images")
    grid = inputs.get("image_grid_thw")
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor) and value.ndim > 0 and name not in ("pixel_values", "image_grid_thw"):
            chosen[name] = value[rows_B] if value.size(0) == num_rows else value
        elif isinstance(value, list):
            chosen[name] = [item for item, is_kept in zip(value, rows_B.tolist(), strict=True) if is_kept]
        else:
            chosen[name] = value
    if grid is not None and num_images is not None:
        counts = torch.tensor(num_images, device=rows_B.device)
        images = rows_B.repeat_interleave(counts)
        chosen["image_grid_thw"] = grid[images]
        patches = images.repeat_interleave(grid.prod(dim=-1))
        chosen["pixel_values"] = inputs["pixel_values"][patches]
    return chosen


def _vision_tower(model: Any) -> Any:
    return (model.get_base_model() if hasattr(model, "get_base_model") else model).model.visual


def share_vision(visual: Any) -> None:
    """Makes a Qwen-VL vision tower encode equal images of a call once; outputs and gradients stay those of all.

    G completions of one prompt carry the same screenshot G times. Images are compared by their pixels.
    """
    encode = visual.forward

    def forward(hidden_states: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        lengths = grid_thw.prod(dim=-1).tolist()
        first, source = _first_of_equal(hidden_states.split(lengths), grid_thw.tolist())
        if len(first) == len(lengths):
            return encode(hidden_states, grid_thw=grid_thw, **kwargs)
        pieces = hidden_states.split(lengths)
        out = encode(torch.cat([pieces[i] for i in first]), grid_thw=grid_thw[first], **kwargs)
        unique = [lengths[i] for i in first]
        merged = [length // visual.spatial_merge_size**2 for length in unique]
        out.last_hidden_state = _repeat(out.last_hidden_state, unique, source)
        out.pooler_output = _repeat(out.pooler_output, merged, source)
        if out.deepstack_features is not None:
            out.deepstack_features = [_repeat(feature, merged, source) for feature in out.deepstack_features]
        return out

    visual.forward = forward


def _first_of_equal(pieces: Sequence[torch.Tensor], grids: Sequence[list[int]]) -> tuple[list[int], list[int]]:
    """(indices of the distinct images, for each image the position of its equal among those)."""
    first: list[int] = []
    source: list[int] = []
    for i, piece in enumerate(pieces):
        for position, j in enumerate(first):
            if grids[i] == grids[j] and torch.equal(piece, pieces[j]):
                source.append(position)
                break
        else:
            source.append(len(first))
            first.append(i)
    return first, source


def _repeat(features: torch.Tensor, lengths: Sequence[int], source: Sequence[int]) -> torch.Tensor:
    pieces = features.split(list(lengths))
    return torch.cat([pieces[position] for position in source])


@contextlib.contextmanager
def _preprocessed_once(image_processor: Any) -> Iterator[None]:
    """Inside, a Qwen image processor works on each distinct image once; TRL passes each G times, twice."""
    preprocess: Callable[..., Any] = image_processor.preprocess
    done: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}

    def preprocess_once(images: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        flat = [image for item in images for image in (item if isinstance(item, (list, tuple)) else [item])]
        keys = [(image.size, image.tobytes()) for image in flat]
        fresh = {key: image for key, image in zip(keys, flat, strict=True) if key not in done}
        if fresh:
            out = preprocess(list(fresh.values()), *args, **{**kwargs, "return_tensors": "pt"})
            pieces = out["pixel_values"].split(out["image_grid_thw"].prod(dim=-1).tolist())
            done.update(zip(fresh, zip(pieces, out["image_grid_thw"], strict=True), strict=True))
        pixels = torch.cat([done[key][0] for key in keys])
        return BatchFeature({"pixel_values": pixels, "image_grid_thw": torch.stack([done[key][1] for key in keys])})

    image_processor.preprocess = preprocess_once
    try:
        yield
    finally:
        del image_processor.preprocess
