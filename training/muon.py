"""Muon for the matrices of a model and AdamW for the rest, as one optimizer.

A planner of random weights learns to read in about half as many steps as with AdamW alone (RESULTS.md). Muon's steps
are scaled to the size of AdamW's, so both follow one learning rate.

Source: https://kellerjordan.github.io/posts/muon/ and torch.optim.Muon; "match_rms_adamw" is Moonlight's scaling (arXiv
2502.16982).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class MuonAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` and `torch.optim.AdamW` behind one list of parameter groups."""

    def __init__(self, model: torch.nn.Module, *, lr: float, betas: tuple[float, float], weight_decay: float) -> None:
        """All parameters of `model` that learn: Muon for two-dimensional ones, without embeddings and reading head."""
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        is_matrix = [p.ndim == 2 and "embed" not in name and "reading_head" not in name for name, p in named]
        matrices = [p for (_, p), yes in zip(named, is_matrix, strict=True) if yes]
        others = [p for (_, p), yes in zip(named, is_matrix, strict=True) if not yes]
        self._parts = (
            torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=lr, betas=betas, weight_decay=weight_decay),
        )
        super().__init__([group for part in self._parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of both; parameters without a gradient stay as they are."""
        loss = None if closure is None else closure()
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both, in order."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what `state_dict` gave."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups[:] = [group for part in self._parts for group in part.param_groups]
