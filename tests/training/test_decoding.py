"""Drafted replies are the greedy ones, whatever the drafts, with fewer passes through the model."""

import pytest
import torch

from tests.training.planner_helpers import make_request, tiny_checkpoint
from training.decoding import decode, draft_after
from training.planner import TransformersPlanner

LIMIT = 40


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    """A tiny planner with a random head of its own: one tied to the embeddings repeats a token, in all rows alike."""
    planner = TransformersPlanner(tiny_checkpoint(tmp_path_factory.mktemp("tiny")), device="cpu")
    head = torch.randn(planner.model.lm_head.weight.shape, generator=torch.Generator().manual_seed(2))
    planner.model.lm_head.weight = torch.nn.Parameter(head)
    return planner


@pytest.fixture(scope="module")
def inputs(planner):
    requests = [make_request(seed=seed) for seed in range(3)]
    images = [request.observation.load_image() for request in requests]
    prompts = [planner._prompt(request) for request in requests]
    return planner.processor(text=prompts, images=images, padding=True, return_tensors="pt")


def _decode(planner, inputs, previous=None, *, limit=LIMIT, eos=frozenset(), num_draft_tokens=8):
    passes = []
    hook = planner.model.register_forward_pre_hook(lambda *_: passes.append(1))
    try:
        with torch.inference_mode():
            replies = decode(
                planner.model, inputs, planner._pick,
                eos=eos, limit=limit, previous=previous, num_draft_tokens=num_draft_tokens,
            )  # fmt: skip
    finally:
        hook.remove()
    return replies, len(passes)


def _spoilt(reply, every):
    """The reply with every n-th token replaced by another."""
    return [token if place % every else token + 1 for place, token in enumerate(reply)]


def test_greedy_replies_stay_whatever_drafts_them(planner, inputs):
    plain, num_passes = _decode(planner, inputs)
    assert num_passes == LIMIT and all(len(reply) == LIMIT for reply in plain)
    for previous, fewer in [
        (plain, True),
        ([_spoilt(reply, 5) for reply in plain], False),
        ([plain[0], [], _spoilt(plain[2], 7)], False),
        ([plain[1], plain[2], plain[0]], False),
        ([reply[:7] for reply in plain], False),
        ([[], [], []], False),
    ]:
        drafted, drafted_passes = _decode(planner, inputs, previous)
        assert drafted == plain
        assert drafted_passes < num_passes / 4 if fewer else drafted_passes <= num_passes


@pytest.mark.parametrize("num_draft_tokens", [1, 3, 50])
def test_the_number_of_drafted_tokens_changes_nothing(planner, inputs, num_draft_tokens):
    plain, _ = _decode(planner, inputs)
    assert _decode(planner, inputs, plain, num_draft_tokens=num_draft_tokens)[0] == plain


@pytest.mark.parametrize("limit", [1, 2, 13])
def test_replies_end_at_the_limit(planner, inputs, limit):
    plain, _ = _decode(planner, inputs)
    assert _decode(planner, inputs, plain, limit=limit)[0] == [reply[:limit] for reply in plain]


def test_rows_end_on_their_own_at_the_end_token(planner, inputs):
    plain, _ = _decode(planner, inputs)
    assert len(set(map(tuple, plain))) == 3
    eos = frozenset(max(reply, key=reply.index) for reply in (plain[0], plain[2]))  # the latest of two rows to appear
    ended = [next((i for i, token in enumerate(reply) if token in eos), LIMIT) for reply in plain]
    expected = [reply[:end] for reply, end in zip(plain, ended, strict=True)]
    assert len(set(ended)) == 3
    assert _decode(planner, inputs, eos=eos)[0] == expected
    assert _decode(planner, inputs, plain, eos=eos)[0] == expected


def test_drafts_are_what_followed_the_longest_match():
    assert draft_after([1, 2, 3], [2, 3, 9, 1, 2, 3, 7, 8], 2) == [7, 8]
    assert draft_after([5, 2, 3], [2, 3, 9, 2, 3, 8], 9) == [9, 2, 3, 8]
    assert draft_after([3], [3, 4], 2) == [] and draft_after([], [3, 4], 2) == []
    assert draft_after([1, 2], [1, 2], 4) == [] and draft_after([1, 2], [1, 2, 3], 0) == []
