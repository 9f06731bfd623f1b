"""What the SFT warm start is fed: token records, the order of batches, and the collator.

Lengths are counted in tokens with the image pad expanded. Shapes: B sequences, L tokens, P image patches.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from executors.errors import InputError
from training.config import ForecastConfig
from training.forecast import THINK_END, ForecastStep, format_plan
from training.reading import collate_lessons
from training.samples import Sample

IGNORED = -100
"""Label of tokens without loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SftRecord:
    """One sample as token ids; the image pad stands once in `prompt_ids` and is expanded by the collator.

    `prompt_ids` ends with the generation prompt and `completion_ids` holds thought, plan and the end of the turn.
    `told_ids` is the same prompt without image, with the thought already given; `plan_ids` is what follows. `steps`
    are the reference steps that were asked for.
    """

    sample: Sample
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    told_ids: tuple[int, ...]
    plan_ids: tuple[int, ...]
    steps: tuple[ForecastStep, ...]

    @property
    def length(self) -> int:
        """Tokens of prompt and completion, the image counted as one."""
        return len(self.prompt_ids) + len(self.completion_ids)

    def load_image(self) -> Any:
        """The screenshot as PIL RGB, None when there is none."""
        return self.sample.load_image()


def is_reactive(sample: Sample, share: float, seed: int) -> bool:
    """Whether this sample asks for one step only; `share` of all samples do, always the same ones for a seed."""
    return random.Random(f"{seed}/{sample.id}").random() < share


def build_sft_records(
    samples: Iterable[Sample], forecast: ForecastConfig, processor: Any, *, reactive_share: float = 0.0, seed: int = 0
) -> Iterator[SftRecord]:
    """The token records of the samples, in order.

    Prompt and completion are tokenized apart, as they are when the planner is asked. When the chat template leaves
    `<think>` open the completion starts inside it; when it does not, a thought brings its own `<think>`, and a sample
    without thought has the plan alone.

    Args:
        samples: what `build_samples` gave for the same `forecast`.
        forecast: style, horizon and coordinate frame of the prompts.
        processor: a Qwen3-VL processor.
        reactive_share: share of samples that ask for one step, 0..1.
        seed: which samples those are.
    """
    tokenizer = processor.tokenizer
    for sample in samples:
        horizon = 1 if is_reactive(sample, reactive_share, seed) else forecast.horizon
        steps = sample.steps[:horizon]
        prompt = _render(processor, sample.messages(forecast, horizon=horizon))
        plan = format_plan(steps, family=forecast.family, image=sample.observation.image_size) + tokenizer.eos_token
        thought = _thought_text(prompt, sample.thought)
        unseen = replace(sample, observation=replace(sample.observation, image_size=None))
        told = _render(processor, unseen.messages(forecast, horizon=horizon)) + thought
        yield SftRecord(
            sample=sample,
            prompt_ids=_encode(tokenizer, prompt),
            completion_ids=_encode(tokenizer, thought + plan),
            told_ids=_encode(tokenizer, told),
            plan_ids=_encode(tokenizer, plan),
            steps=steps,
        )


def corpus_of(samples: Iterable[Sample], forecast: ForecastConfig) -> Iterator[str]:
    """The texts that the planner reads and writes, for building a tokenizer."""
    for sample in samples:
        for message in sample.messages(forecast):
            yield from (part["text"] for part in message["content"] if part["type"] == "text")
        yield sample.thought
        yield format_plan(sample.steps, family=forecast.family, image=sample.observation.image_size)


def _render(processor: Any, messages: list[dict[str, Any]]) -> str:
    return processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)


def _thought_text(prompt: str, thought: str) -> str:
    if prompt.rstrip().endswith("<think>"):
        return f"{thought}\n{THINK_END}\n"
    return f"<think>\n{thought}\n{THINK_END}\n" if thought else ""


def _encode(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def plan_batches(
    records: Sequence[SftRecord],
    *,
    batch_size: int,
    num_batches: int,
    seed: int,
    mix_sizes: bool = False,
) -> list[list[int]]:
    """The order of training: `num_batches` lists of record indices.

    Every epoch is shuffled anew. Records of one batch have screenshots of equal size and similar lengths, so little
    is padded; what does not fill a batch is left out of that epoch. When no size has enough records for a batch, the
    batches are filled by going round.

    Args:
        records: what is trained on, at least one.
        batch_size: B, sequences in a batch.
        num_batches: how many batches, at least 0.
        seed: decides the order.
        mix_sizes: screenshots of one batch may differ in size, or are not shown at all.

    Raises:
        InputError: there are no records.
    """
    if not records:
        raise InputError("there are no training samples: give trajectories with steps that may be imitated")
    rng = random.Random(f"batches/{seed}/{mix_sizes}")
    batches: list[list[int]] = []
    while len(batches) < num_batches:
        epoch = _epoch_batches(records, batch_size, rng, mix_sizes)
        if not epoch:
            order = rng.sample(range(len(records)), len(records))
            epoch = [[order[i % len(order)] for i in range(batch_size)]]
        batches += epoch
    return batches[:num_batches]


_SORTED_TOGETHER = 16
"""Batches whose records are sorted by length together: more pads less and shuffles less."""


def _epoch_batches(
    records: Sequence[SftRecord], size: int, rng: random.Random, mix_sizes: bool
) -> list[list[int]]:
    groups: dict[Any, list[int]] = defaultdict(list)
    for index in rng.sample(range(len(records)), len(records)):
        groups[None if mix_sizes else records[index].sample.observation.image_size].append(index)
    batches = []
    for group in groups.values():
        for start in range(0, len(group), size * _SORTED_TOGETHER):
            chunk = sorted(group[start : start + size * _SORTED_TOGETHER], key=lambda i: records[i].length)
            batches += [chunk[i : i + size] for i in range(0, len(chunk) - size + 1, size)]
    rng.shuffle(batches)
    return batches


class Collator:
    """Records -> the tensors of one forward pass, padded on the left.

    Rows are `{"record": SftRecord, "is_text": bool}`: text rows use the told prompt and only the plan has a loss,
    others bring their image and their whole completion has one. Rows `{"lesson": Lesson}` go to `collate_lessons`.
    """

    def __init__(self, processor: Any) -> None:
        """`processor` is a Qwen3-VL processor."""
        self._processor = processor
        self._image_processor = processor.image_processor
        self._image_id = processor.image_token_id
        self._pad_id = processor.tokenizer.pad_token_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """input_ids_BL, attention_mask_BL, labels_BL, and for images mm_token_type_ids_BL, pixel_values_PD, grids."""
        if "lesson" in rows[0]:
            return collate_lessons([row["lesson"] for row in rows], self._processor)
        pairs, images = [], []
        for row in rows:
            record: SftRecord = row["record"]
            if row["is_text"]:
                pairs.append((record.told_ids, record.plan_ids))
            else:
                pairs.append((record.prompt_ids, record.completion_ids))
                images += [image] if (image := record.load_image()) is not None else []
        batch = self.prompts([p for p, _ in pairs], images, [c for _, c in pairs])
        return batch

    def prompts(
        self,
        prompts: Sequence[Sequence[int]],
        images: Sequence[Any],
        completions: Sequence[Sequence[int]] | None = None,
    ) -> dict[str, Any]:
        """The tensors of prompts, with or without completions; labels only with them.

        Args:
            prompts: token ids with one image pad for each image, in the order of `images`.
            images: PIL images.
            completions: token ids with a loss, one sequence for each prompt.
        """
        import torch

        seen = dict(self._image_processor(images=list(images), return_tensors="pt")) if images else {}
        counts = iter((seen["image_grid_thw"].prod(-1) // self._image_processor.merge_size**2).tolist() if seen else [])
        rows, starts = [], []
        for index, prompt in enumerate(prompts):
            ids: list[int] = []
            for token in prompt:
                ids += [token] * next(counts) if token == self._image_id else [token]
            starts.append(len(ids))
            rows.append(ids + list(completions[index] if completions is not None else ()))
        width = max(map(len, rows))
        ids_BL = torch.full((len(rows), width), self._pad_id)
        labels_BL = torch.full((len(rows), width), IGNORED)
        mask_BL = torch.zeros((len(rows), width), dtype=torch.long)
        for index, (ids, start) in enumerate(zip(rows, starts, strict=True)):
            first = width - len(ids)
            ids_BL[index, first:] = torch.tensor(ids)
            mask_BL[index, first:] = 1
            labels_BL[index, first + start :] = ids_BL[index, first + start :]
        batch = {"input_ids": ids_BL, "attention_mask": mask_BL}
        if completions is not None:
            batch["labels"] = labels_BL
        if seen:
            batch["mm_token_type_ids"] = (ids_BL == self._image_id).long()
            batch |= {"pixel_values": seen["pixel_values"], "image_grid_thw": seen["image_grid_thw"]}
        return batch
