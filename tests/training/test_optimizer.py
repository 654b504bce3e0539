"""AdamW over tables: PyTorch's where every row is touched, and nothing at rows that are not."""

import pytest
import torch
from torch import nn

from lstm_deploy.training.optimizer import TableAdamW, clip_gradients

SETTINGS = {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.3, "eps": 1e-3}


def _model(sparse):
    torch.manual_seed(0)
    return nn.ModuleList([nn.Embedding(6, 3, sparse=sparse), nn.EmbeddingBag(6, 3, mode="sum", sparse=sparse)])


def _backward(model, ids):
    model.zero_grad()
    word, bag = model
    ((word(ids) + bag(ids[:, None])).sin() * torch.arange(1, 4)).sum().backward()


def test_with_every_row_touched_it_is_adamw():
    ours, theirs = _model(True), _model(False)
    mine, reference = TableAdamW(ours.parameters(), **SETTINGS), torch.optim.AdamW(theirs.parameters(), **SETTINGS)
    for turn in range(5):
        ids = torch.arange(12).roll(turn) % 6
        for model, optimizer in ((ours, mine), (theirs, reference)):
            _backward(model, ids)
            clip_gradients(list(model.parameters()), 1e9)
            optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_rows_that_are_not_looked_up_stay_and_states_are_kept():
    model = _model(True)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = TableAdamW(model.parameters(), **SETTINGS)
    _backward(model, torch.tensor([1, 4, 1]))
    clip_gradients(list(model.parameters()), 5)
    optimizer.step()
    for old, new in zip(before, model.parameters(), strict=True):
        moved = (old != new).any(1)
        assert moved.tolist() == [False, True, False, False, True, False]
    state = optimizer.state_dict()["state"][0]
    assert state.keys() == {"step", "exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_clipping_is_torchs_with_sparse_gradients_too(limit):
    sparse, dense = _model(True), _model(False)
    for model in (sparse, dense):
        _backward(model, torch.tensor([2, 2, 5]))
    clip_gradients(list(sparse.parameters()), limit)
    nn.utils.clip_grad_norm_(dense.parameters(), limit)
    for one, other in zip(sparse.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(one.grad.to_dense(), other.grad)
