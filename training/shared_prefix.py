"""The policy's forward pass when several completions share one prompt: image and prompt once, not G times.

The rows of a batch become one packed sequence. Of each prompt it holds the tokens but the last, then, for each of its
completions, the prompt's last token and the completion's tokens but the last: exactly the positions whose next token
is scored. No padding is left.

    prompt  a b c, completions  d e  and  f g h    ->    a b | c d | c f g      scored: d e | f g h

Every layer sees the packed sequence as it would any other; only attention knows its parts (`PrefixLayout`): a prompt's
tokens look at themselves, a completion's tokens at their prompt and at themselves. Keys and values of a prompt are read
by all of its completions, so gradients flow back into one encoding of it. Positions (M-RoPE) are those of the unpacked
rows. Log-probabilities and gradients equal those of the unpacked rows up to rounding, and gradient checkpointing,
autocast, LoRA, and wrappers such as DDP work as ever: it is one call of the model's own forward.

Legend: R rows (completions), P prompt tokens, C completion tokens, N packed tokens, S scored tokens, H heads,
K key-value heads, D head size, 3 the axes of M-RoPE.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen3_vl.modeling_qwen3_vl import eager_attention_forward

_BASES = ("eager", "sdpa")
_PREFIX = "shared_prefix_"
_QUERY_BLOCK = 384
"""Prompt tokens whose written-out attention is computed at once; smaller blocks skip more of the masked half."""


@dataclass(frozen=True, slots=True)
class PrefixSpan:
    """Where one prompt and its completions lie in the packed sequence: [start, end) of each, in tokens."""

    prompt: tuple[int, int]
    completions: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PrefixLayout:
    """Where all prompts and completions of a packed sequence lie; they follow one another without a gap."""

    spans: tuple[PrefixSpan, ...]

    @property
    def num_tokens(self) -> int:
        """N, tokens of the packed sequence."""
        last = self.spans[-1]
        return last.completions[-1][1] if last.completions else last.prompt[1]

    @property
    def scored(self) -> list[tuple[int, int]]:
        """[start, end) of the scored tokens of each prompt, in order; prompts without completions have none."""
        return [(span.completions[0][0], span.completions[-1][1]) for span in self.spans if span.completions]


@dataclass(frozen=True, slots=True)
class PackedRows:
    """A batch as one packed sequence, and what brings its scores back into rows."""

    layout: PrefixLayout
    input_ids_1N: torch.Tensor
    position_ids_31N: torch.Tensor
    labels_1S: torch.Tensor
    rows: tuple[int, ...]
    """The batch's rows in packed order."""
    is_scored_RC: torch.Tensor
    """Which tokens of those rows are scored."""

    def to_rows(self, values_1S: torch.Tensor) -> torch.Tensor:
        """Scores of the packed sequence as [R, C], in the order of `rows`; 0 where nothing is scored."""
        return values_1S.new_zeros(self.is_scored_RC.shape).masked_scatter(self.is_scored_RC, values_1S[0])


def pack_rows(
    prompt_ids_RP: torch.Tensor,
    prompt_mask_RP: torch.Tensor,
    completion_ids_RC: torch.Tensor,
    completion_mask_RC: torch.Tensor,
    groups: Sequence[Sequence[int]],
    positions_3GP: torch.Tensor,
) -> PackedRows:
    """The batch as one packed sequence.

    Args:
        prompt_ids_RP: prompts, padded on the left.
        prompt_mask_RP: 1 at their tokens; each has one at least.
        completion_ids_RC: completions, padded on the right.
        completion_mask_RC: 1 at the scored tokens, which come first in a row; a row may have none.
        groups: the rows of each prompt; rows in none are left out.
        positions_3GP: M-RoPE positions of each group's prompt, padded as the prompts are.
    """
    lengths = completion_mask_RC.sum(dim=1).tolist()
    steps_C = torch.arange(completion_ids_RC.size(1), device=completion_ids_RC.device)
    ids, positions, labels, spans = [], [], [], []
    at = 0
    for index, rows in enumerate(groups):
        is_prompt_P = prompt_mask_RP[rows[0]].bool()
        prompt = prompt_ids_RP[rows[0]][is_prompt_P]
        position_3P = positions_3GP[:, index][:, is_prompt_P]
        ids.append(prompt[:-1])
        positions.append(position_3P[:, :-1])
        start, at = at, at + len(prompt) - 1
        prompt_end = at
        completions = []
        for row in rows:
            if lengths[row] == 0:
                continue
            tokens = completion_ids_RC[row, : lengths[row]]
            ids += [prompt[-1:], tokens[:-1]]
            positions.append(position_3P[:, -1:] + steps_C[: lengths[row]])
            labels.append(tokens)
            completions.append((at, at + lengths[row]))
            at += lengths[row]
        spans.append(PrefixSpan((start, prompt_end), tuple(completions)))
    order = tuple(row for rows in groups for row in rows)
    return PackedRows(
        layout=PrefixLayout(tuple(spans)),
        input_ids_1N=torch.cat(ids)[None],
        position_ids_31N=torch.cat(positions, dim=1)[:, None],
        labels_1S=torch.cat(labels)[None],
        rows=order,
        is_scored_RC=completion_mask_RC[list(order)].bool(),
    )


def why_not_shared(model: Any) -> str | None:
    """Why a model's rows cannot be packed exactly; None when they can.

    Args:
        model: a transformers model without wrappers; its adapters may be in place.
    """
    if model.config.model_type != "qwen3_vl":
        return f"models of type {model.config.model_type!r} are not known to it, only qwen3_vl"
    attention = model.config.text_config._attn_implementation.removeprefix(_PREFIX)
    if attention not in _BASES:
        return f"attention {attention!r} is not one of {', '.join(_BASES)}"
    if model.config.text_config.attention_dropout or any(
        isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules()
    ):
        return "dropout would differ between a prompt's copies"
    return None


def can_pack_rows(prompt_ids_RP: torch.Tensor, completion_mask_RC: torch.Tensor, image_token: int) -> bool:
    """Whether a batch has the form that `pack_rows` takes.

    That is: some token is scored, the scored tokens of each row come first, no prompt ends in an image.
    """
    starts_late = (completion_mask_RC[:, 1:] > completion_mask_RC[:, :-1]).any()
    return bool(completion_mask_RC.any() & ~starts_late & (prompt_ids_RP[:, -1] != image_token).all())


def enable_shared_prefix(model: Any) -> None:
    """Lets a Qwen3-VL take packed rows (`shared_prefix=layout`); other calls of it stay as they are.

    Args:
        model: a model for which `why_not_shared` is None, without wrappers.
    """
    text = model.config.text_config
    if text._attn_implementation.startswith(_PREFIX):
        return
    base = text._attn_implementation
    name = _PREFIX + base
    AttentionInterface.register(name, _attention_over(base))
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    text._attn_implementation = name
    model.model.language_model.config._attn_implementation = name
    model.model.register_forward_hook(_keep_scored, with_kwargs=True)


def packed_log_probs(
    model: Any, packed: PackedRows, pixels: torch.Tensor | None, grids: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probabilities and entropies [R, C] of the scored tokens, 0 elsewhere; entropies None where not computed.

    Args:
        model: a model with TRL's fused head (`add_fused_lm_head`) and `enable_shared_prefix`; wrappers are fine.
        packed: at least one token is scored.
        pixels: patches of the images of all groups in order; None without images.
        grids: their [images, 3] sizes.
    """
    images = {} if pixels is None else {"pixel_values": pixels, "image_grid_thw": grids}
    out = model(
        input_ids=packed.input_ids_1N,
        # Attention reads the layout; four dimensions keep transformers from building a mask of N x N.
        attention_mask=packed.input_ids_1N.new_zeros(1, 1, 1, 1),
        position_ids=packed.position_ids_31N,
        shift_labels=packed.labels_1S,
        shared_prefix=packed.layout,
        fused_lm_head=True,
        **images,
    )
    return packed.to_rows(out.log_probs), None if out.entropy is None else packed.to_rows(out.entropy)


def _keep_scored(_module: Any, _args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """After the backbone: only the states that score a token go on to the head."""
    layout = kwargs.get("shared_prefix")
    if layout is not None:
        states = output.last_hidden_state
        output.last_hidden_state = torch.cat([states[:, start:end] for start, end in layout.scored], dim=1)
    return output


def _attention_over(base: str) -> Callable[..., Any]:
    """An attention function for transformers: packed rows by their layout, anything else as `base` does it."""
    usual = ALL_ATTENTION_FUNCTIONS.get_interface(base, eager_attention_forward)
    over_blocks = _written_out if base == "eager" else _fused

    def attention(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, *, scaling: float, **kwargs: Any
    ) -> Any:
        layout = kwargs.pop("shared_prefix", None)
        if layout is None:
            return usual(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        if torch.is_autocast_enabled(query.device.type):
            dtype = torch.get_autocast_dtype(query.device.type)
            query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
        return over_blocks(query, key, value, layout, scaling).transpose(1, 2), None

    return attention


def _written_out(query: Any, key: Any, value: Any, layout: PrefixLayout, scaling: float) -> torch.Tensor:
    """Attention [1, H, N, D] as matrix products: the fastest backward pass on a CPU."""
    num_heads, num_tokens, size = query.shape[1:]
    num_kv = key.size(1)
    query = (query * scaling).reshape(num_kv, num_heads // num_kv, num_tokens, size)
    blocks = []
    for span in layout.spans:
        start, end = span.prompt
        for first in range(start, end, _QUERY_BLOCK):
            last = min(first + _QUERY_BLOCK, end)
            blocks.append(_CausalBlock.apply(query[:, :, first:last], key[0, :, start:last], value[0, :, start:last]))
        for first, last in span.completions:
            keys, values = (
                torch.cat([states[0, :, start:end], states[0, :, first:last]], dim=1) for states in (key, value)
            )
            blocks.append(_CausalBlock.apply(query[:, :, first:last], keys, values))
    return torch.cat(blocks, dim=2).reshape(1, num_heads, num_tokens, size)


class _CausalBlock(torch.autograd.Function):
    """Attention of the last n of m tokens to themselves and all before them.

    query [K, H/K, n, D], already scaled; key and value [K, m, D]; out [K, H/K, n, D].
    """

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        num_kv, per_kv, n, size = query.shape
        flat = query.reshape(num_kv, per_kv * n, size)
        with torch.autocast(query.device.type, enabled=False):
            scores = torch.bmm(flat, key.transpose(1, 2)).view(num_kv, per_kv, n, -1)
            scores[..., -n:] += torch.full((n, n), -torch.inf, dtype=query.dtype, device=query.device).triu_(1)
            weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype).view(num_kv, per_kv * n, -1)
            out = torch.bmm(weights, value)
        ctx.save_for_backward(flat, key, value, weights)
        return out.view(query.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        flat, key, value, weights = ctx.saved_tensors
        grad_flat = grad.reshape(flat.shape)
        with torch.autocast(grad.device.type, enabled=False):
            grad_value = torch.bmm(weights.transpose(1, 2), grad_flat)
            grad_weights = torch.bmm(grad_flat, value.transpose(1, 2))
            grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            grad_key = torch.bmm(grad_scores.transpose(1, 2), flat)
            grad_query = torch.bmm(grad_scores, key)
        return grad_query.view(grad.shape), grad_key, grad_value


def _fused(query: Any, key: Any, value: Any, layout: PrefixLayout, scaling: float) -> torch.Tensor:
    """Attention [1, H, N, D] by torch's fused kernels, which keep no scores: for GPUs."""
    repeats = query.size(1) // key.size(1)
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    blocks = []
    for span in layout.spans:
        start, end = span.prompt
        if end > start:
            parts = (states[:, :, start:end] for states in (query, key, value))
            blocks.append(F.scaled_dot_product_attention(*parts, is_causal=True, scale=scaling))
        for first, last in span.completions:
            keys, values = (
                torch.cat([states[:, :, start:end], states[:, :, first:last]], dim=2) for states in (key, value)
            )
            mask = causal_lower_right(last - first, keys.size(2))
            own = query[:, :, first:last]
            blocks.append(F.scaled_dot_product_attention(own, keys, values, attn_mask=mask, scale=scaling))
    return torch.cat(blocks, dim=2)


def prompt_positions(
    model: Any, ids_GP: torch.Tensor, mask_GP: torch.Tensor, grids: torch.Tensor | None
) -> torch.Tensor:
    """M-RoPE positions [3, G, P] of prompts padded on the left; `grids` are their images' sizes in order."""
    types_GP = (ids_GP == model.config.image_token_id).int()
    return model.model.get_rope_index(ids_GP, types_GP, image_grid_thw=grids, attention_mask=mask_GP)[0]


def generate_shared(
    model: Any,
    generate: Callable[..., torch.Tensor],
    pixels: torch.Tensor | None,
    grids: torch.Tensor | None,
    group_size: int,
    *,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    **kwargs: Any,
) -> torch.Tensor:
    """What `generate` returns for rows of which each `group_size` share a prompt, which is read once.

    Args:
        model: a Qwen3-VL, with adapters or without.
        generate: its own `generate`; goes on from the prompts' keys and values.
        pixels: patches of the images of all groups in order; None without images.
        grids: their [images, 3] sizes.
        group_size: G, neighbouring rows with one prompt.
        input_ids: prompts [groups x G, P], padded on the left.
        attention_mask: 1 at their tokens, of which each has two at least.
        kwargs: further arguments of `generate`.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    ids, mask = input_ids[::group_size, :-1], attention_mask[::group_size, :-1]
    inputs = {} if pixels is None else {"pixel_values": pixels, "image_grid_thw": grids}
    positions = prompt_positions(base, input_ids[::group_size], attention_mask[::group_size], grids)
    inputs |= {"input_ids": ids, "attention_mask": mask, "position_ids": positions[:, :, :-1]}
    out = model(**inputs, use_cache=True, logits_to_keep=1)
    out.past_key_values.batch_repeat_interleave(group_size)
    # The model adds these to the places of tokens it generates; rows of text alone have 0.
    num_tokens = attention_mask[::group_size].sum(dim=1)
    base.model.rope_deltas = (positions[0, :, -1] + 1 - num_tokens).repeat_interleave(group_size)[:, None]
    return generate(
        input_ids=input_ids, attention_mask=attention_mask, past_key_values=out.past_key_values, **kwargs
    )


def groups_of(keys_R: Sequence[int]) -> list[list[int]]:
    """The rows of equal key, in order of first appearance.

    >>> groups_of([4, 4, 7, 4])
    [[0, 1, 3], [2]]
    """
    groups: dict[int, list[int]] = {}
    for row, key in enumerate(keys_R):
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def chunk_groups(groups: Sequence[Sequence[int]], max_rows: int) -> list[list[Sequence[int]]]:
    """Neighbouring groups gathered up to `max_rows` rows; a larger group stands alone.

    >>> chunk_groups([[0, 1], [2, 3], [4, 5, 6, 7, 8]], 4)
    [[[0, 1], [2, 3]], [[4, 5, 6, 7, 8]]]
    """
    chunks: list[list[Sequence[int]]] = []
    for group in groups:
        if chunks and sum(len(g) for g in itertools.chain(chunks[-1], [group])) <= max_rows:
            chunks[-1].append(group)
        else:
            chunks.append([group])
    return chunks
