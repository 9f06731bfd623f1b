"""TRL's GRPOTrainer for forecasts of what is seen on a screenshot.

Added to TRL 1.16:

1. Groups without a signal leave the loss: all rewards equal (`GrpoConfig.drop_zero_variance`), or fewer than two
   completions scored. So does a completion whose reward is None. Their tokens are masked, their KL included, and the
   loss is normalised by what is left: dapo, cispo and vespo by the tokens kept, bnpo by those of the forward pass, the
   others by the completions kept. Their rows skip the forward and backward pass. A batch in which nothing is left gives
   a loss of zero. (TRL and the paper keep such groups: advantage 0, but the KL and the normaliser count them.) By
   option, other prompts take their places (training.refill).
2. The completions of a prompt share one encoding of it, forward and backward (training.shared_prefix): in the policy
   update, in the old and the reference log-probabilities, and when completions are sampled. The language head sees
   completion tokens only. Where a model or a setting does not allow that, TRL's own path is taken and the reason is
   printed. Groups stay together when a batch is shuffled and split.
3. Each distinct screenshot is preprocessed once and kept between batches (training.prompt_encoder); its pixels go to
   the device once per forward pass. A frozen vision tower sees each screenshot once, its features are kept instead.
4. Old and reference log-probabilities are computed after the rewards, for the completions that count; before them, for
   all, with vLLM, with adapters and with split weights.
5. The prompts' order is a function of seed and position alone, so a resumed run sees the prompts that it would have
   seen, in any epoch.
6. With vLLM in the same process, runs of image tokens are collapsed to one before sampling: vLLM expands them itself,
   and TRL 1.16 hands over the expanded ones (trl issue 6294).
7. Image and video tokens are never sampled, with vLLM either: one would break the next forward pass.

Legend: B completions of a batch, G completions of a prompt, P prompt tokens, C completion tokens.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch.utils.data import Sampler
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from training.config import ForecastConfig, GrpoConfig, OptimConfig
from training.frozen_vision import accept_features, tower_features
from training.prompt_encoder import EncodedImage, EncodedPrompt, PromptEncoder, image_inputs
from training.prompt_stream import PromptStream, prompt_dataset
from training.refill import other_prompts, refill
from training.run_callback import run_arguments
from training.run_folder import RunFolder
from training.samples import Sample
from training.shared_prefix import (
    can_pack_rows,
    chunk_groups,
    enable_shared_prefix,
    generate_shared,
    groups_of,
    pack_rows,
    packed_log_probs,
    prompt_positions,
    why_not_shared,
)

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
_OWN_METRICS = frozenset({"zero_variance_share", "groups_dropped"})
_MEAN_OVER_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
"""Loss types that TRL divides by the number of completions."""


class CompletionReward(Protocol):
    """What the trainer needs of a reward function beyond calling it."""

    scores: list[dict[str, Any]]
    """One record per completion of the last call: "text", "reward" (None when not scored) and the parts."""

    def __call__(self, **columns: Any) -> list[float | None]:
        """The rewards of a batch, in TRL's calling convention."""
        ...


def grpo_arguments(grpo: GrpoConfig, optim: OptimConfig, run: RunFolder, model: Any) -> GRPOConfig:
    """TRL's arguments of the config."""
    return GRPOConfig(
        **run_arguments(optim, run),
        max_steps=optim.num_steps,
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
        warmup_steps=round(optim.warmup_ratio * optim.num_steps),
        lr_scheduler_type="constant_with_warmup" if optim.schedule == "constant" else optim.schedule,
        save_steps=math.ceil(optim.save_every / grpo.updates_per_batch) * grpo.updates_per_batch,
        log_completions=False,
        log_multimodal=False,
        generation_kwargs=_never_sampled(model, grpo),
        use_vllm=grpo.use_vllm,
        vllm_mode="server" if grpo.vllm_server else "colocate",
        vllm_server_base_url=grpo.vllm_server or None,
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
        self._encoder = PromptEncoder(
            self.processing_class, samples, forecast, max_cache_bytes=grpo.screenshot_cache_mb * 2**20
        )
        self._prompts: list[EncodedPrompt] = []  # of the generation batch, one for each group
        self._row_prompts: list[int] = []  # for each row of the pass under way, its index among them
        self._is_sampling_batch = False
        self._seconds: dict[str, float] = defaultdict(float)
        self._tokens: dict[str, int] = defaultdict(int)
        if grpo.freeze_vision:
            self._base_model(self.model).model.visual.requires_grad_(False)
        self._shares_prefix = grpo.share_prefix and self._share_prefix()

    def _base_model(self, model: Any) -> Any:
        """The transformers model inside wrappers and adapters."""
        model = self.accelerator.unwrap_model(model)
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    def _share_prefix(self) -> bool:
        """Prepares the models for shared prompts; False, with a printed reason, where that would not be exact."""
        models = [self._base_model(model) for model in (self.model, self.ref_model) if model is not None]
        reason = next((reason for model in models if (reason := why_not_shared(model))), None)
        if self.aux_loss_enabled:
            reason = "the load-balancing loss of experts counts every token"
        if reason is not None:
            print(f"prompts are not shared between completions, TRL's own path is taken: {reason}", flush=True)
            return False
        for model in models:
            enable_shared_prefix(model)
        if self._grpo.freeze_vision and not self.may_be_sharded:
            tower = models[0].model.visual
            for model in models:
                accept_features(model.model.visual)
            self._encoder.transform = partial(self._tower_features, tower)
        return True

    @property
    def may_be_sharded(self) -> bool:
        """Whether every process must take part in each pass, and a part of the model cannot run by itself."""
        return self.is_fsdp_enabled or self.is_deepspeed_enabled

    def _tower_features(self, tower: Any, image: EncodedImage) -> EncodedImage:
        with self.accelerator.autocast():
            return tower_features(tower, image)

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

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """TRL's, but groups stay together: they are shuffled, and split into forward passes, as wholes."""
        if not self.model.training:
            return super()._prepare_inputs(generation_batch)
        passes = self.args.steps_per_generation
        if self._step % (passes * self.num_iterations) == 0 or self._buffered_inputs is None:
            output = self._generate_and_score_completions(generation_batch)
            order = torch.randperm(output["prompt_index"].size(0)).tolist()  # TRL's draw, so sampling goes on equally
            groups = groups_of(output["prompt_index"][order].tolist())
            rows = torch.tensor([order[place] for group in groups for place in group])
            chunks = rows.to(output["prompt_index"].device).chunk(passes)
            self._buffered_inputs = [select_rows(output, chunk) for chunk in chunks]
        return self._buffered_inputs[self._step % passes]

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[Any, Any, Any]:
        """Token ids of each row; the images are kept from TRL, which would preprocess and copy them for each row."""
        return [self._prompts[index].ids for index in self._row_prompts], None, {}

    def _generate_single_turn(self, prompt_ids: Any, images: Any, fields: Any, *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        if self.use_vllm:
            loaded = [self._samples[index].load_image() for index in self._group_samples]
            images = [None if (image := loaded[index]) is None else [image] for index in self._row_prompts]
            if self.vllm_mode == "colocate":
                pad = self._base_model(self.model).config.image_token_id
                prompt_ids = [collapse_runs(ids, pad) for ids in prompt_ids]
            images = images if any(images) else None
            result = super()._generate_single_turn(prompt_ids, images, fields, *args, **kwargs)
        elif self._shares_prefix:
            model = self.accelerator.unwrap_model(self.model)
            values, grids = image_inputs(self._prompts, self.accelerator.device)
            model.generate = partial(generate_shared, model, model.generate, values, grids, self.num_generations)
            try:
                result = super()._generate_single_turn(prompt_ids, None, {}, *args, **kwargs)
            finally:
                del model.generate
        else:
            result = super()._generate_single_turn(prompt_ids, None, self._row_images(prompt_ids), *args, **kwargs)
        self._count_seconds("generate_seconds", start)
        return result

    def _row_images(self, ids: Sequence[Sequence[int]]) -> dict[str, Any]:
        """The images of all rows as TRL's own path takes them, each prompt's as often as it has rows."""
        values, grids = image_inputs([self._prompts[index] for index in self._row_prompts], self.accelerator.device)
        if values is None:
            return {}
        pad = self._base_model(self.model).config.image_token_id
        types = [[int(token == pad) for token in row] for row in ids]
        return {"pixel_values": values, "image_grid_thw": grids, "mm_token_type_ids": types}

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        rewards = super()._calculate_rewards(*args, **kwargs)
        self._count_seconds("reward_seconds", start)
        return rewards

    def _count_seconds(self, name: str, start: float) -> None:
        self._seconds[name] += time.perf_counter() - start

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self._sample_batch(inputs)
        num_groups = len(inputs) // self.num_generations
        for number in range(self._grpo.refill_rounds):
            if self._sum_over_processes(num_groups - _num_with_signal(batch, self.num_generations)) == 0:
                break
            key = f"{self.args.seed}/{self.state.global_step}/{number}/{self.accelerator.process_index}"
            others = other_prompts(len(self._samples), num_groups, key)
            rows = [self.train_dataset[index] for index in others for _ in range(self.num_generations)]
            more = self._sample_batch(rows)
            batch = refill(batch, more, self.num_generations, self.processing_class.tokenizer.pad_token_id)
        keep_B = batch.pop("keep")
        self._prompts = batch.pop("prompts")
        dropped = self._sum_over_processes(num_groups - _num_with_signal({"keep": keep_B}, self.num_generations))
        self._metrics["train"]["groups_dropped"].append(dropped)
        batch["tool_mask"] = batch["completion_mask"] * keep_B[:, None]  # TRL's loss mask, apart from attention
        batch["num_items_in_batch"] = self.accelerator.gather(batch["tool_mask"].sum()).sum()
        num_kept = self._sum_over_processes(int(keep_B.sum()))
        batch["row_scale"] = self._sum_over_processes(len(keep_B)) / max(1, num_kept)
        self._fill_log_probs(batch, keep_B)
        return batch

    def _sum_over_processes(self, count: int) -> int:
        return int(self.accelerator.gather(torch.tensor([count], device=self.accelerator.device)).sum())

    def _sample_batch(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Completions and rewards of the rows, with "keep", "prompts" and "prompt_index", see training.refill."""
        size = self.num_generations
        start = time.perf_counter()
        self._group_samples = [row["sample"] for row in inputs[::size]]
        encoded = {index: self._encoder.encode(index) for index in dict.fromkeys(self._group_samples)}
        self._count_seconds("encode_seconds", start)
        self._prompts = [encoded[index] for index in self._group_samples]
        self._row_prompts = [row // size for row in range(len(inputs))]
        self._is_sampling_batch = True
        try:
            batch = super()._generate_and_score_completions(inputs)
        finally:
            self._is_sampling_batch = False
        rewards_B = [score["reward"] for score in self._reward.scores]
        keep_B, share = signal_mask(rewards_B, size, self._grpo.drop_zero_variance)
        self._metrics["train"]["zero_variance_share"].append(share)
        self._write_rollouts(inputs, batch["advantages"].tolist())
        device = batch["completion_mask"].device
        batch["keep"] = torch.tensor(keep_B, device=device)
        batch["prompt_index"] = torch.tensor(self._row_prompts, device=device)
        return {**batch, "prompts": self._prompts}

    @property
    def _postponed(self) -> dict[str, Any]:
        """The models whose log-probabilities wait for the rewards, by the names of TRL's batch."""
        has_adapter_reference = self.ref_model is None and self.beta != 0
        if self.use_vllm or has_adapter_reference or self.may_be_sharded:  # vLLM's correction reads them before
            return {}
        return {"old_per_token_logps": self.model, "ref_per_token_logps": self.ref_model}

    def _fill_log_probs(self, output: dict[str, Any], keep_B: torch.Tensor) -> None:
        """Log-probabilities of the completions that count; those of the others stay 0 and are not read."""
        start = time.perf_counter()
        for name, model in self._postponed.items():
            if name not in output or not keep_B.any():
                continue
            rows = select_rows(output, keep_B.nonzero()[:, 0])
            self._row_prompts = rows["prompt_index"].tolist()
            ids = torch.cat([rows["prompt_ids"], rows["completion_ids"]], dim=1)
            mask = torch.cat([rows["prompt_mask"], rows["completion_mask"]], dim=1)
            with torch.no_grad():
                output[name][keep_B], _, _ = self._get_per_token_logps_and_entropies(
                    model, ids, mask, rows["completion_ids"].size(1), self.args.per_device_train_batch_size
                )
        self._count_seconds("log_prob_seconds", start)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Log-probabilities and entropies of the completion tokens, [rows, C]; each prompt is encoded once."""
        if self._is_sampling_batch and any(model is other for other in self._postponed.values()):
            return input_ids.new_zeros(len(input_ids), logits_to_keep, dtype=torch.float32), None, None
        prompt_ids, completion_ids = input_ids.split([input_ids.size(1) - logits_to_keep, logits_to_keep], dim=1)
        prompt_mask, completion_mask = attention_mask.split([prompt_ids.size(1), logits_to_keep], dim=1)
        base = self._base_model(model)
        can_pack = can_pack_rows(prompt_ids, completion_mask, base.config.image_token_id)
        if not self._shares_prefix or not can_pack:
            images = self._row_images(input_ids.tolist())
            if images:
                images["mm_token_type_ids"] = torch.tensor(images["mm_token_type_ids"], device=input_ids.device)
                images["num_images"] = [len(self._prompts[index].images) for index in self._row_prompts]
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss,
                **images,
            )  # fmt: skip
        rows, logps, entropies = [], [], []
        for groups in chunk_groups(groups_of(self._row_prompts), batch_size or len(input_ids)):
            first = [group[0] for group in groups]
            values, grids = image_inputs([self._prompts[self._row_prompts[row]] for row in first], input_ids.device)
            positions = prompt_positions(base, prompt_ids[first], prompt_mask[first], grids)
            packed = pack_rows(prompt_ids, prompt_mask, completion_ids, completion_mask, groups, positions)
            with self.accelerator.autocast():
                scores = packed_log_probs(model, packed, values, grids)
            rows += packed.rows
            logps.append(scores[0])
            entropies.append(scores[1])
            if torch.is_grad_enabled():
                self._tokens["tokens_computed"] += packed.layout.num_tokens
                self._tokens["tokens_saved"] += len(packed.rows) * input_ids.size(1) - packed.layout.num_tokens
        order = torch.tensor(rows, device=input_ids.device).argsort()
        return torch.cat(logps)[order], torch.cat(entropies)[order] if compute_entropy else None, None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        num_rows = inputs["tool_mask"].size(0)
        kept = inputs["tool_mask"].any(dim=1).nonzero()[:, 0]
        num_kept = len(kept)
        if num_kept == 0:  # one row gives a loss of zero, and takes part in what other processes wait for
            inputs = select_rows(inputs, kept.new_zeros(1))
            inputs.pop("old_per_token_logps", None)
            if "ref_per_token_logps" in inputs:  # was not computed; with this the masked KL stays finite
                inputs["ref_per_token_logps"] = torch.full_like(inputs["ref_per_token_logps"], -1e4)
        elif num_kept < num_rows:
            inputs = select_rows(inputs, kept)
        self._row_prompts = inputs["prompt_index"].tolist()
        loss = super()._compute_loss(model, inputs)
        if num_kept == 0:
            for name in ("kl", "entropy", "clip_ratio/region_mean"):
                if self._metrics["train"][name]:
                    self._metrics["train"][name][-1] = math.nan  # measured on nothing; the log leaves it out
        elif self.loss_type in _MEAN_OVER_ROWS:  # TRL divides by the rows of this pass
            loss = loss * inputs["row_scale"] * (num_kept / num_rows)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs under our names, and the epoch as passes over the prompts."""
        found = self._metrics["train"]
        kept = {name: found[theirs] for theirs, name in _METRIC_NAMES.items() if theirs in found}
        for name, values in found.items():
            if name in self._reward_metric_names or name in _OWN_METRICS:
                kept[name] = values
        if "step_seconds" in kept:
            self._seconds["update_seconds"] = kept["step_seconds"][-1] - sum(self._seconds.values())
        for counts in (self._seconds, self._tokens):
            kept.update({name: [value] for name, value in counts.items()})
            counts.clear()
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


def _num_with_signal(batch: dict[str, Any], group_size: int) -> int:
    return int(batch["keep"].view(-1, group_size).any(dim=1).sum())


def collapse_runs(ids: Sequence[int], pad: int) -> list[int]:
    """The ids with each run of the pad token replaced by a single one.

    >>> collapse_runs([1, 9, 9, 9, 2, 9, 3], 9)
    [1, 9, 2, 9, 3]
    """
    return [token for i, token in enumerate(ids) if token != pad or i == 0 or ids[i - 1] != pad]


def select_rows(inputs: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """The batch with only these rows, in this order; what is no tensor of rows stays.

    Args:
        inputs: tensors of the batch by name; "prompt_index" has one entry for each row.
        rows: indices of rows.
    """
    num_rows = inputs["prompt_index"].size(0)
    return {
        name: value[rows] if isinstance(value, torch.Tensor) and value.ndim and value.size(0) == num_rows else value
        for name, value in inputs.items()
    }
