"""A watch remarks on inputs of another size than layers expect, and the advice is to mend them first."""

import pytest
import torch
from torch import nn

import thetadot

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(2))
Y = X[:, :1]


def watched(x, model):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    loss_fn = nn.MSELoss()
    with thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(x, Y)) as probe:
        for _ in range(2):
            optimizer.zero_grad()
            loss_fn(model(x), Y).backward()
            optimizer.step()
    return {verdict.name: verdict for verdict in probe.verdicts()}


@pytest.mark.parametrize("scale", [100.0, 1e-4])
def test_rows_of_numbers_of_another_size_are_said(scale):
    found = watched(X * scale, nn.Linear(4, 1))
    assert found["inputs"].finding == "badly scaled"
    assert found["advice"].finding == "scale inputs"


@pytest.mark.parametrize(
    ("x", "model"),
    [
        (X, nn.Linear(4, 1)),
        (X * 100, nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))),
        (X * 100, nn.Sequential(nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 1))),
    ],
)
def test_ordinary_sizes_and_models_that_normalize_first_are_not(x, model):
    assert watched(x, model)["inputs"].finding == "unknown"
