"""Groups without a signal replaced by groups of further prompts, as DAPO's dynamic sampling does (arXiv 2503.14476)."""

from __future__ import annotations

import random
from typing import Any

import torch
import torch.nn.functional as F


def other_prompts(num_samples: int, num_prompts: int, key: str) -> list[int]:
    """Indices of prompts to refill with: a function of the key alone, without repetition while there are enough.

    >>> sorted(other_prompts(3, 3, "seed 0, step 7"))
    [0, 1, 2]
    """
    rng = random.Random(f"refill/{key}")
    if num_prompts <= num_samples:
        return rng.sample(range(num_samples), num_prompts)
    return rng.choices(range(num_samples), k=num_prompts)


def refill(batch: dict[str, Any], more: dict[str, Any], group_size: int, pad_token: int) -> dict[str, Any]:
    """The batch with groups of `more` in the place of its groups without a signal, as far as there are any.

    Args:
        batch: tensors with one row for each completion, groups as neighbours: "keep" (whether it counts in the loss),
            "prompt_index" (its prompt among the list "prompts"), what starts with "prompt_" padded on the left,
            other matrices on the right. What is no tensor of rows stays as it is here.
        more: the same of further prompts.
        group_size: G, completions of a prompt.
        pad_token: what ids are padded with.
    """
    dead = _groups(batch, group_size, with_signal=False)
    alive = _groups(more, group_size, with_signal=True)
    num_rows = len(batch["keep"])
    rows = torch.arange(num_rows, device=batch["keep"].device)
    for target, source in zip(dead, alive, strict=False):
        start = target * group_size
        rows[start : start + group_size] = num_rows + source * group_size + torch.arange(group_size).to(rows)
    if not dead or not alive:
        return batch
    more = {**more, "prompt_index": more["prompt_index"] + len(batch["prompts"])}
    joined = {"prompts": batch["prompts"] + more["prompts"]}
    for name, value in batch.items():
        if isinstance(value, torch.Tensor) and value.ndim and len(value) == num_rows:
            joined[name] = torch.cat(_equally_wide(name, value, more[name], pad_token))[rows]
    return {**batch, **joined}


def _groups(batch: dict[str, Any], group_size: int, *, with_signal: bool) -> list[int]:
    has_signal = batch["keep"].view(-1, group_size).any(dim=1)
    return (has_signal == with_signal).nonzero()[:, 0].tolist()


def _equally_wide(name: str, one: torch.Tensor, two: torch.Tensor, pad_token: int) -> tuple[torch.Tensor, torch.Tensor]:
    if one.ndim == 1:
        return one, two
    width = max(one.size(1), two.size(1))
    value = pad_token if name.endswith("_ids") else 0
    padded = []
    for matrix in (one, two):
        missing = width - matrix.size(1)
        padded.append(F.pad(matrix, (missing, 0) if name.startswith("prompt_") else (0, missing), value=value))
    return padded[0], padded[1]
