"""Which prompts a GRPO run sees, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler

from training.config import ForecastConfig
from training.samples import Sample


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
    """A dataset of "prompt" (messages without pixels) and "sample" (index), built row by row when read."""

    def transform(rows: dict[str, list[int]]) -> dict[str, list[Any]]:
        return {"prompt": [samples[index].messages(forecast) for index in rows["sample"]], "sample": rows["sample"]}

    dataset = Dataset.from_dict({"sample": list(range(len(samples)))})
    dataset.set_transform(transform)
    return dataset
