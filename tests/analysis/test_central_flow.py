"""Central flows against the runs whose average they are, and against valleys with closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thetadot.analysis import central_flow
from thetadot.analysis.complementarity import complementary
from thetadot.errors import InadmissibleValue

DRIVE = 0.01


def valley(w):
    """Curvature 1 + y² across a floor that falls along y."""
    return 0.5 * (1.0 + w[1] ** 2) * w[0] ** 2 - DRIVE * w[1]


def descended(loss, start, *, lr, steps, momentum=0.0):
    w, v, points = start.clone(), torch.zeros_like(start), []
    for _ in range(steps):
        points.append(w)
        v = momentum * v - lr * torch.func.grad(loss)(w)
        w = w + v
    return torch.stack(points)


@pytest.mark.slow
@pytest.mark.parametrize(("lr", "momentum"), [(1.0, 0.0), (0.5, 0.0), (1.6, 0.6)])
def test_in_a_valley_the_oscillation_holds_the_curvature_at_the_limit(lr, momentum):
    limit = 2 * (1 + momentum) / lr
    y = math.sqrt(limit - 1)
    flow = central_flow(valley, torch.tensor([0.0, 0.9 * y], dtype=torch.float64), lr=lr, momentum=momentum, steps=80)
    assert flow.limit == pytest.approx(limit)
    assert float(flow.sharpness[-1]) == pytest.approx(limit, rel=1e-6)
    assert float(flow.variance[-1]) == pytest.approx(DRIVE / y, rel=1e-6)  # y·X = DRIVE holds y still
    assert float(flow.mean_loss[-1] - flow.loss[-1]) == pytest.approx(0.5 * limit * DRIVE / y, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("lr", "momentum"), [(1.0, 0.0), (1.0, 0.3)])
def test_the_flow_is_the_average_of_the_run_in_a_valley(lr, momentum):
    y = math.sqrt(2 * (1 + momentum) / lr - 1)
    drive, stiff = 0.01, 0.2  # the floor holds y as well, else the swings grow and decay for ever

    def held(w):
        return 0.5 * (1.0 + w[1] ** 2) * w[0] ** 2 + 0.5 * stiff * (w[1] - y - drive / stiff) ** 2

    start = torch.tensor([0.9 * math.sqrt(drive / y), y], dtype=torch.float64)
    run = descended(held, start, lr=lr, momentum=momentum, steps=400)[200:]
    flow = central_flow(held, start, lr=lr, momentum=momentum, steps=40)
    assert float(run[:, 0].square().mean()) == pytest.approx(float(flow.variance[-1]), rel=0.05)
    assert float(run[:, 1].mean()) == pytest.approx(float(flow.points[-1, 1]), rel=0.02)
    losses = torch.stack([held(w) for w in run])
    assert float(losses.mean()) == pytest.approx(float(flow.mean_loss[-1]), rel=0.02)


@pytest.mark.slow
def test_below_the_limit_it_is_the_gradient_flow():
    def bowl(w):
        return 0.5 * (w[0] ** 2 + 0.2 * w[1] ** 2)

    flow = central_flow(bowl, torch.ones(2, dtype=torch.float64), lr=0.1, steps=50, substeps=200)
    time = 0.1 * torch.arange(51, dtype=torch.float64)
    exact = torch.stack([torch.exp(-time), torch.exp(-0.2 * time)], dim=1)
    assert torch.allclose(flow.points, exact, rtol=2e-3)
    assert not flow.variance.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(0, 10**6))
def test_a_complementary_matrix_keeps_its_three_conditions(count, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, count, 6))
    vectors = vectors + vectors.transpose(1, 0, 2)
    a = rng.normal(size=(count, count))
    a = a + a.T
    response = -np.einsum("ijd,kld->ijkl", vectors, vectors)
    x = complementary(a, response)
    s = a + np.einsum("ijkl,kl->ij", response, x)
    size = 1 + np.abs(a).max()
    assert np.linalg.eigvalsh(x).min() >= -1e-9 * size
    if np.linalg.eigvalsh(s).max() <= 1e-4 * size:  # where R can hold A at all
        assert abs(np.sum(x * s)) <= 1e-3 * size * (1 + np.abs(x).max())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lr": -1.0}, "lr=-1"),
        ({"lr": 1.0, "momentum": 1.0}, "momentum=1"),
        ({"lr": 1.0, "beta2": 1.5}, "beta2=1.5"),
        ({"lr": 1.0, "beta2": 0.9, "momentum": 0.5}, "stands beside beta2"),
        ({"lr": math.nan}, "lr=nan"),
    ],
)
def test_numbers_out_of_range_are_refused(given, says):
    with pytest.raises(InadmissibleValue, match=says.replace("(", r"\(")):
        central_flow(valley, torch.zeros(2), steps=3, **given)


def test_rmsprop_on_a_parabola_swings_by_half_its_step():
    flow = central_flow(
        lambda w: 1.5 * w[0] ** 2, torch.tensor([0.3], dtype=torch.float64), lr=0.02, beta2=0.9, eps=1e-12, steps=120
    )
    assert float(flow.variance[-1]) == pytest.approx(0.01**2, rel=0.02)  # |x| = lr/2 goes to -lr/2 and back
    assert float(flow.sharpness[-1]) == pytest.approx(flow.limit, rel=1e-3)
