"""Batch sharpness against dense matrices, and the model as it was."""

import pytest
import torch
from torch import nn

from thetadot.errors import InadmissibleValue
from thetadot.probes import Objective, batch_sharpness


def batches(count, size, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x, y = torch.randn(count, size, 3, dtype=torch.float64), torch.randn(count, size, 1, dtype=torch.float64)
    return model, x, y, [Objective(model, lambda k=k: ((model(x[k]) - y[k]) ** 2).mean()) for k in range(count)]


def dense(model, x, y):
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def loss(w):
        parts = torch.split(w, [shape.numel() for shape in shapes])
        weights = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return ((torch.func.functional_call(model, weights, x) - y) ** 2).mean()

    return torch.func.grad(loss)(flat), torch.autograd.functional.hessian(loss, flat)


def test_it_is_the_mean_of_the_curvatures_along_the_batches_own_gradients():
    model, x, y, objectives = batches(5, 4)
    before = [p.clone() for p in model.parameters()]
    found = batch_sharpness(objectives)
    exact = [float(g @ h @ g / (g @ g)) for g, h in (dense(model, x[k], y[k]) for k in range(5))]
    assert found.batches == pytest.approx(exact, rel=1e-9)
    assert found.value == pytest.approx(sum(exact) / 5)
    assert found.low < found.value < found.high
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_batch_without_a_gradient_is_left_out_and_none_at_all_is_refused():
    model, _, _, objectives = batches(2, 4)
    flat = Objective(model, lambda: sum((0.0 * p).sum() for p in model.parameters()))
    assert len(batch_sharpness([*objectives, flat]).batches) == 2
    with pytest.raises(InadmissibleValue, match="no mini-batch has a gradient"):
        batch_sharpness([flat])
    with pytest.raises(InadmissibleValue, match="no objective"):
        batch_sharpness([])
