"""Small random Qwen3-VL models and batches of groups, for the shared-prefix tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import torch

IMAGE, IMAGE_START, IMAGE_END = 5, 7, 8


def small_model(
    *, hidden=64, layers=2, heads=2, kv_heads=1, vocab=96, vision_hidden=64, vision_layers=2, attention="eager", seed=0
):
    """A Qwen3-VL of random start with TRL's fused head, in training mode."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
    from trl.trainer.utils import add_fused_lm_head

    text = {
        "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": 3 * hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": 64,
        "max_position_embeddings": 32768, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [12, 10, 10],
                            "mrope_interleaved": True},
    }  # fmt: skip
    vision = {
        "depth": vision_layers, "hidden_size": vision_hidden, "intermediate_size": 4 * vision_hidden,
        "num_heads": vision_hidden // 64, "patch_size": 16, "temporal_patch_size": 2, "spatial_merge_size": 2,
        "out_hidden_size": hidden, "num_position_embeddings": 1024,
        "deepstack_visual_indexes": list(range(vision_layers - 1)),
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(
            text_config=text, vision_config=vision, image_token_id=IMAGE, video_token_id=6,
            vision_start_token_id=IMAGE_START, vision_end_token_id=IMAGE_END, tie_word_embeddings=True, dtype="float32",
        ))  # fmt: skip
        # Weights of random start are so small that attention is nearly flat; larger ones let an error in it show.
        for layer in model.model.language_model.layers:
            for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
                projection.weight.data.mul_(4)
    model.set_attn_implementation(attention)
    add_fused_lm_head(model, temperature=0.8, outputs=("log_probs", "entropy"))
    return model.train()


@dataclass
class GroupBatch:
    """Rows of several groups, as TRL pads them, and the images of each group."""

    prompt_ids: torch.Tensor
    prompt_mask: torch.Tensor
    completion_ids: torch.Tensor
    completion_mask: torch.Tensor
    keys: list[int]
    """For each row, its group."""
    images: list[list[tuple[torch.Tensor, tuple[int, int, int]]]]
    """For each group, (patches, grid) of its images."""

    def _images_of(self, groups):
        return [image for group in groups for image in self.images[group]]

    @property
    def pixels_of_rows(self):
        """Patches of all rows' images, or None."""
        images = self._images_of(self.keys)
        return torch.cat([patches for patches, _ in images]) if images else None

    @property
    def grids_of_rows(self):
        """Grids of all rows' images."""
        grids = [grid for _, grid in self._images_of(self.keys)]
        return torch.tensor(grids, device=self.prompt_ids.device)

    @property
    def num_images_of_rows(self):
        """Images of each row."""
        return [len(self.images[key]) for key in self.keys]

    def group_images(self):
        """(patches, grids) of each group's images once, in order of first appearance; (None, None) without images."""
        images = self._images_of(dict.fromkeys(self.keys))
        if not images:
            return None, None
        grids = torch.tensor([grid for _, grid in images], device=self.prompt_ids.device)
        return torch.cat([patches for patches, _ in images]), grids


def group_batch(prompts, completions, *, vocab=96, keys=None, seed=0):
    """A batch of random tokens.

    Args:
        prompts: for each group (text tokens, [(grid height, grid width) of each image]).
        completions: the length of each row's completion.
        vocab: tokens are drawn from 10 up to here.
        keys: each row's group; left out, groups are neighbours of equal size.
        seed: of tokens and pixels.
    """
    generator = torch.Generator().manual_seed(seed)

    def tokens(number):
        return torch.randint(10, vocab, (number,), generator=generator)

    keys = keys or [row * len(prompts) // len(completions) for row in range(len(completions))]
    ids, images = [], []
    for num_text, grids in prompts:
        pieces = [tokens(num_text // 2)]
        for height, width in grids:
            run = torch.full((height * width // 4,), IMAGE)
            pieces += [torch.tensor([IMAGE_START]), run, torch.tensor([IMAGE_END]), tokens(2)]
        ids.append(torch.cat([*pieces, tokens(num_text - num_text // 2)]))
        images.append([
            (torch.randn(height * width, 3 * 2 * 16 * 16, generator=generator), (1, height, width))
            for height, width in grids
        ])
    longest = max(len(piece) for piece in ids)
    prompt_ids = torch.zeros(len(keys), longest, dtype=torch.long)
    prompt_mask = torch.zeros_like(prompt_ids)
    for row, key in enumerate(keys):
        prompt_ids[row, longest - len(ids[key]) :] = ids[key]
        prompt_mask[row, longest - len(ids[key]) :] = 1
    completion_ids = torch.zeros(len(keys), max(completions), dtype=torch.long)
    completion_mask = torch.zeros_like(completion_ids)
    for row, length in enumerate(completions):
        completion_ids[row, :length] = tokens(length)
        completion_mask[row, :length] = 1
    return GroupBatch(prompt_ids, prompt_mask, completion_ids, completion_mask, keys, images)


def shared_log_probs(model, batch):
    """(log-probabilities, entropies) [R, C] of a batch by the shared-prefix path; `model` may be wrapped by peft."""
    from training.shared_prefix import groups_of, pack_rows, packed_log_probs, prompt_positions

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    groups = groups_of(batch.keys)
    first = [rows[0] for rows in groups]
    pixels, grids = batch.group_images()
    positions = prompt_positions(base, batch.prompt_ids[first], batch.prompt_mask[first], grids)
    packed = pack_rows(
        batch.prompt_ids, batch.prompt_mask, batch.completion_ids, batch.completion_mask, groups, positions
    )
    order = torch.tensor(packed.rows, device=batch.prompt_ids.device).argsort()
    return tuple(scores[order] for scores in packed_log_probs(model, packed, pixels, grids))
