"""Replies token by token, or several at a time where the previous reply tells what comes next.

Consecutive forecasts overlap: a new plan is mostly the tail of the last one. So the previous reply drafts the next
(prompt lookup, https://github.com/apoorvumang/prompt-lookup-decoding): after the last tokens of the reply, those that
followed the same tokens in the previous reply are proposed, and one forward pass checks them all. Only tokens that the
model would have picked itself are taken, so a greedy reply stays as it is.

Legend: B rows that are still written, T tokens fed in one pass, L tokens seen so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

_LONGEST_MATCH, _SHORTEST_MATCH = 6, 2


def draft_after(reply: Sequence[int], previous: Sequence[int], num_tokens: int) -> list[int]:
    """Up to `num_tokens` tokens that followed the reply's last tokens in the previous reply; [] without a match.

    The longest match of 2 to 6 tokens counts, of equally long ones the first.

    >>> draft_after([7, 1, 2], [1, 2, 3, 4, 5], 2)
    [3, 4]
    >>> draft_after([7, 2], [1, 2, 3, 4, 5], 2)
    []
    """
    for length in range(min(_LONGEST_MATCH, len(reply)), _SHORTEST_MATCH - 1, -1):
        tail = list(reply[-length:])
        for start in range(len(previous) - length):
            if list(previous[start : start + length]) == tail:
                return list(previous[start + length : start + length + num_tokens])
    return []


def decode(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    pick: Callable[[torch.Tensor], torch.Tensor],
    *,
    eos: Collection[int],
    limit: int,
    previous: Sequence[Sequence[int]] | None = None,
    num_draft_tokens: int = 8,
) -> list[list[int]]:
    """Token ids of each row's reply, without the end token; rows leave the batch when they end.

    Args:
        model: a Qwen3-VL.
        inputs: what its processor gave, padded on the left, on the model's device.
        pick: tokens [B, T] of logits [B, T, V].
        eos: tokens that end a reply.
        limit: most tokens of a reply.
        previous: for each row the reply that drafts it, [] for none; only with a `pick` that is greedy.
        num_draft_tokens: most tokens proposed at once.
    """
    mask_BL = inputs["attention_mask"]
    next_B1 = mask_BL.sum(-1, keepdim=True)  # the text position of the token to come
    inputs = dict(inputs)
    if "pixel_values" not in inputs:  # a model that has seen images before keeps their offsets: give our own
        positions_BL = (mask_BL.cumsum(-1) - 1).clamp_min(0)
        inputs["position_ids"] = positions_BL[None].expand(3, -1, -1)
    out = model(**inputs, use_cache=True, logits_to_keep=1)
    if "pixel_values" in inputs:
        next_B1 = next_B1 + model.model.rope_deltas.to(next_B1.device).reshape(-1, 1)
    replies: list[list[int]] = [[] for _ in range(len(mask_BL))]
    rows = list(range(len(mask_BL)))
    drafts: list[list[int]] = [[] for _ in rows]
    while True:
        picked = pick(out.logits).tolist()
        alive, num_taken = [], []
        for place, row in enumerate(rows):
            taken = _accepted(picked[place], drafts[place])
            ended = next((i for i, token in enumerate(taken) if token in eos), None)
            replies[row] += taken[:ended][: limit - len(replies[row])]
            if ended is None and len(replies[row]) < limit:
                alive.append(place)
                num_taken.append(len(taken))
        if not alive:
            return replies
        cache, num_fed = out.past_key_values, len(picked[0])
        if len(alive) < len(rows):
            keep_B = torch.tensor(alive, device=mask_BL.device)
            cache.batch_select_indices(keep_B)
            mask_BL, next_B1 = mask_BL[keep_B], next_B1[keep_B]
            rows = [rows[place] for place in alive]
        # Of the tokens fed, a row keeps as many as it took; what no row keeps leaves the cache, other rows mask it.
        taken_B1 = torch.tensor(num_taken, device=mask_BL.device)[:, None]
        surplus = num_fed - max(num_taken)
        if num_fed > 1:
            mask_BL[:, -num_fed:] = torch.arange(num_fed, device=mask_BL.device) < taken_B1
            next_B1 = next_B1 + taken_B1 - num_fed
        if surplus:
            cache.crop(-surplus)
            mask_BL = mask_BL[:, :-surplus]
        drafts = [draft_after(replies[row], previous[row], num_draft_tokens) if previous else [] for row in rows]
        width = max(map(len, drafts))
        drafts = [draft + [0] * (width - len(draft)) for draft in drafts]  # what pads is checked like any proposal
        fed_BT = torch.tensor([[replies[row][-1], *d] for row, d in zip(rows, drafts, strict=True)])
        fed_BT = fed_BT.to(mask_BL.device)
        steps_T = torch.arange(width + 1, device=mask_BL.device)
        mask_BL = torch.cat([mask_BL, mask_BL.new_ones(fed_BT.shape)], dim=-1)
        out = model(
            input_ids=fed_BT,
            attention_mask=mask_BL,
            position_ids=(next_B1 + steps_T)[None].expand(3, -1, -1),
            past_key_values=cache,
            use_cache=True,
        )
        next_B1 = next_B1 + width + 1


def _accepted(picked: Sequence[int], draft: Sequence[int]) -> list[int]:
    """The picked tokens up to the first at which the draft was wrong, that one included."""
    for place, token in enumerate(draft):
        if token != picked[place]:
            return list(picked[: place + 1])
    return list(picked)
