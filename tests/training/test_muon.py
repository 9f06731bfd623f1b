"""Muon and AdamW as one optimizer: which weights go where, one learning rate, and a state that is taken up again."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from training.muon import MuonAdamW


def net() -> torch.nn.Sequential:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
    net.add_module("embedding", torch.nn.Embedding(3, 4))
    return net


def optimizer_of(model: torch.nn.Module) -> MuonAdamW:
    return MuonAdamW(model, lr=1e-2, betas=(0.9, 0.98), weight_decay=0.0)


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, num_steps: int, start: int = 0) -> float:
    loss = torch.zeros(())
    for step in range(start, start + num_steps):
        x = torch.randn(32, 6, generator=torch.Generator().manual_seed(step))
        loss = ((model[2](model[1](model[0](x))) - x[:, :4]) ** 2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


def test_matrices_go_to_muon_and_all_the_rest_to_adamw() -> None:
    model = net()
    muon, adamw = optimizer_of(model).param_groups
    assert {id(p) for p in muon["params"]} == {id(model[0].weight), id(model[2].weight)}
    assert {id(p) for p in adamw["params"]} == {id(model[0].bias), id(model[2].bias), id(model.embedding.weight)}


def test_it_learns_and_leaves_weights_without_gradient_alone() -> None:
    model = net()
    embedding = model.embedding.weight.detach().clone()
    optimizer = optimizer_of(model)
    first = train(model, optimizer, 1)
    assert train(model, optimizer, 150, start=1) < 0.2 * first
    assert torch.equal(model.embedding.weight, embedding)


def test_a_scheduler_moves_both_learning_rates() -> None:
    model = net()
    optimizer = optimizer_of(model)
    scheduler = LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    train(model, optimizer, 1)
    scheduler.step()
    before = [p.detach().clone() for p in model.parameters()]
    train(model, optimizer, 3, start=1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_saved_state_goes_on_as_if_uninterrupted() -> None:
    model = net()
    optimizer = optimizer_of(model)
    train(model, optimizer, 5)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = deepcopy(optimizer.state_dict())
    again = net()
    again.load_state_dict(weights)
    other = optimizer_of(again)
    other.load_state_dict(state)
    LambdaLR(other, lambda step: 1.0)
    assert train(model, optimizer, 5, start=5) == pytest.approx(train(again, other, 5, start=5), rel=1e-6)
    assert all(torch.allclose(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
