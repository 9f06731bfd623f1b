"""Shared prompts against TRL's own path: log-probabilities, entropies, gradients."""

from functools import partial

import pytest
import torch

from tests.training.shared_prefix_helpers import group_batch, shared_log_probs, small_model
from tests.training.stock_trl import stock_log_probs
from training.shared_prefix import can_pack_rows, enable_shared_prefix, why_not_shared

ONE_IMAGE = [(12, [(4, 6)]), (12, [(4, 6)])]
BATCHES = {
    "equal lengths": (ONE_IMAGE, [6, 6, 6, 6]),
    "ragged prompts and completions": ([(9, [(4, 6)]), (31, [(8, 4)])], [1, 7, 3, 12]),
    "several images in a prompt": ([(9, [(4, 6), (2, 2), (6, 4)]), (5, [(4, 4)])], [5, 2, 6, 4]),
    "a prompt without an image": ([(9, []), (14, [(4, 6)])], [5, 2, 6, 4]),
    "no image at all": ([(9, []), (14, [])], [5, 2, 6, 4]),
    "one completion": ([(9, [(4, 6)])], [5]),
    "a completion of which nothing counts": (ONE_IMAGE, [4, 0, 3, 5]),
    "a prompt of which nothing counts": (ONE_IMAGE, [0, 0, 3, 5]),
    "a prompt longer than a block of attention": ([(30, [(40, 48)])], [5, 9]),
}


def _scores_and_gradients(compute, model, batch):
    """Log-probabilities, entropies, and the gradients of a loss that weighs every one of them differently."""
    model.zero_grad()
    logps, entropies = compute(model, batch)
    weights = torch.randn(logps.shape, generator=torch.Generator().manual_seed(3))
    ((logps * weights).sum() + 0.3 * (entropies * weights.flip(0)).sum()).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return logps.detach(), entropies.detach(), gradients


def _relative(ours, stock):
    return float((ours - stock).norm() / stock.norm().clamp(min=1e-20))


def _assert_equal(ours, stock, tolerance=1e-5):
    assert _relative(ours[0], stock[0]) < tolerance
    assert _relative(ours[1], stock[1]) < tolerance
    assert set(ours[2]) == set(stock[2]) and ours[2]
    total = torch.cat([gradient.flatten() for gradient in stock[2].values()])
    assert _relative(torch.cat([ours[2][name].flatten() for name in stock[2]]), total) < tolerance
    for name, gradient in stock[2].items():
        assert (ours[2][name] - gradient).norm() < tolerance * max(float(gradient.norm()), float(total.norm()) / 10), (
            name
        )


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("case", BATCHES)
def test_scores_and_gradients_are_those_of_trl(case, attention):
    prompts, completions = BATCHES[case]
    batch = group_batch(prompts, completions)
    model = small_model(attention=attention)
    stock = _scores_and_gradients(stock_log_probs, model, batch)
    enable_shared_prefix(model)
    assert torch.equal(stock[0] != 0, batch.completion_mask.bool())
    _assert_equal(_scores_and_gradients(shared_log_probs, model, batch), stock)


def test_rows_of_a_group_need_not_be_neighbours():
    batch = group_batch(ONE_IMAGE, [6, 3, 5, 2, 4], keys=[1, 0, 1, 1, 0])
    model = small_model()
    stock = _scores_and_gradients(stock_log_probs, model, batch)
    enable_shared_prefix(model)
    _assert_equal(_scores_and_gradients(shared_log_probs, model, batch), stock)


def test_a_call_without_a_layout_stays_as_it_was():
    batch = group_batch(*BATCHES["ragged prompts and completions"])
    model = small_model(attention="sdpa")
    before = stock_log_probs(model, batch)
    enable_shared_prefix(model)
    enable_shared_prefix(model)
    after = stock_log_probs(model, batch)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(reentrant):
    batch = group_batch(*BATCHES["several images in a prompt"])
    model = small_model()
    stock = _scores_and_gradients(stock_log_probs, model, batch)
    enable_shared_prefix(model)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:
        model.enable_input_require_grads()
    ours = _scores_and_gradients(shared_log_probs, model, batch)
    if reentrant:  # reentrant checkpoints give the patch embedding no gradient, in TRL's path as in ours
        stock = _scores_and_gradients(stock_log_probs, model, batch)
    _assert_equal(ours, stock)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_in_bfloat16_the_difference_is_that_of_its_rounding(attention):
    batch = group_batch(*BATCHES["ragged prompts and completions"])
    model = small_model(attention=attention)
    exact = _scores_and_gradients(stock_log_probs, model, batch)
    autocast = partial(torch.autocast, "cpu", dtype=torch.bfloat16)
    stock = _scores_and_gradients(partial(stock_log_probs, autocast=autocast), model, batch)
    enable_shared_prefix(model)

    def shared(model, batch):
        with autocast():
            return shared_log_probs(model, batch)

    ours = _scores_and_gradients(shared, model, batch)
    assert ours[0].dtype == stock[0].dtype
    for mine, theirs, true in zip(ours[:2], stock[:2], exact[:2], strict=True):
        assert _relative(mine, true) < 1.5 * _relative(theirs, true) < 0.05
    flat = [torch.cat([scores[2][name].float().flatten() for name in exact[2]]) for scores in (ours, stock, exact)]
    assert _relative(flat[0], flat[2]) < 1.5 * _relative(flat[1], flat[2]) < 0.3


def test_weights_in_bfloat16_work_too():
    batch = group_batch(*BATCHES["ragged prompts and completions"])
    model = small_model().to(torch.bfloat16)
    stock = _scores_and_gradients(stock_log_probs, model, batch)
    enable_shared_prefix(model)
    ours = _scores_and_gradients(shared_log_probs, model, batch)
    assert _relative(ours[0], stock[0]) < 0.02


def test_adapters_get_the_gradients_of_trl():
    peft = pytest.importorskip("peft", reason="LoRA needs the peft package")
    batch = group_batch(*BATCHES["ragged prompts and completions"])
    model = small_model()
    enable_shared_prefix(model)
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    wrapped = peft.get_peft_model(model, lora)
    wrapped.config = model.config
    stock = _scores_and_gradients(stock_log_probs, wrapped, batch)
    assert stock[2] and all("lora" in name for name in stock[2])
    _assert_equal(_scores_and_gradients(shared_log_probs, wrapped, batch), stock)


def test_what_cannot_be_exact_is_refused():
    model = small_model()
    assert why_not_shared(model) is None
    model.model.visual.merger.norm = torch.nn.Dropout(0.1)
    assert "dropout" in why_not_shared(model)
    model = small_model()
    model.config.text_config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2" in why_not_shared(model)
    model.config.model_type = "qwen2_vl"
    assert "qwen2_vl" in why_not_shared(model)


def test_batches_of_another_form_are_not_packed():
    ids, mask = torch.tensor([[11, 12]]), torch.tensor([[1, 1, 0]])
    assert can_pack_rows(ids, mask, 5)
    assert not can_pack_rows(ids, torch.tensor([[0, 1, 1]]), 5)
    assert not can_pack_rows(ids, torch.tensor([[0, 0, 0]]), 5)
    assert not can_pack_rows(torch.tensor([[11, 5]]), mask, 5)
