"""A frozen vision tower sees each screenshot once: from then on its features take the place of the patches."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from training.prompt_encoder import EncodedImage


def tower_features(visual: Any, image: EncodedImage) -> EncodedImage:
    """The image with the tower's features instead of patches, on the CPU.

    They are [image tokens, width x (1 + number of deepstack layers)]: what enters the language model, then what is
    added after its first layers.
    """
    device = next(visual.parameters()).device
    with torch.no_grad():
        out = visual(image.values.to(device, visual.dtype), grid_thw=image.grid.to(device))
    features = torch.cat([out.pooler_output, *(out.deepstack_features or ())], dim=-1)
    return EncodedImage(features.cpu(), image.grid)


def accept_features(visual: Any) -> None:
    """Makes a Qwen3-VL vision tower pass on what `tower_features` made; patches are encoded as before.

    The two are told apart by their number: there are merge x merge patches to one image token.
    """
    encode = visual.forward
    width = visual.config.out_hidden_size

    def forward(hidden_states: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        if hidden_states.size(0) == int(grid_thw.prod(dim=-1).sum()):
            return encode(hidden_states, grid_thw=grid_thw, **kwargs)
        pooled, *deepstack = hidden_states.split(width, dim=-1)
        return BaseModelOutputWithDeepstackFeatures(pooler_output=pooled, deepstack_features=deepstack)

    visual.forward = forward
