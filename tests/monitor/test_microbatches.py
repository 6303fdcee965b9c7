"""Noise from passes of an accumulated step: whatever multiple of the gradient the step sees."""

import pytest
import torch
from torch import nn

from thetadot.monitor.layers import Layout
from thetadot.monitor.microbatches import MicroBatches

K, B = 4, 8
X = torch.randn(K * B, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randn(K * B, 1, generator=torch.Generator().manual_seed(1))


def passes(scale=1.0, clip=None, split=K):
    """Σ|k·gᵢ|² and |G|² of a step whose loss is scaled before, and unscaled or clipped after, the passes."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    micro = MicroBatches(model, Layout(model, optimizer), ranks=1)
    micro.arm()
    rows = []
    for x, y in zip(X.chunk(split), Y.chunk(split), strict=True):
        (scale * ((model(x) - y) ** 2).mean() / split).backward()
        gradients = torch.autograd.grad(((model(x) - y) ** 2).mean(), model.parameters())  # no pass of the step
        rows.append(torch.cat([g.reshape(-1) for g in gradients]))
    for p in model.parameters():
        p.grad.div_(scale)
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    return micro.after(), torch.stack(rows)


def test_squares_are_those_of_the_passes():
    (count, row), gradients = passes()
    assert count == K
    assert float(row[:-1].sum()) == pytest.approx(float(gradients.square().sum()), rel=1e-5)
    assert float(row[-1]) == pytest.approx(float(gradients.mean(0).square().sum()), rel=1e-5)


@pytest.mark.parametrize(("scale", "clip"), [(65536.0, None), (1.0, 0.01), (1024.0, 0.01)])
def test_a_scaled_or_clipped_step_has_the_same_ratio(scale, clip):
    (_, plain), gradients = passes()
    (_, seen), _ = passes(scale, clip)
    factor = 1.0 if clip is None else (clip / float(gradients.mean(0).norm())) ** 2
    torch.testing.assert_close(seen, plain * factor, rtol=1e-4, atol=1e-9)


def test_one_pass_says_nothing():
    found, _ = passes(split=1)
    assert found is None
