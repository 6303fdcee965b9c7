"""Implicit regularization (T5): the slow root of heavy ball, and the mean over all orders of an epoch's batches."""

import itertools
import math

import pytest
import torch

from thetadot.errors import InadmissibleValue
from thetadot.probes import gradient_term, noise_coefficient, noise_term


@pytest.mark.parametrize(("beta", "known"), [(0.0, 0.500), (0.5, 3.004), (0.9, 95.2)])
def test_the_gradient_term_is_the_second_order_of_the_slow_root(beta, known):
    """On hθ²/2 the modified curvature is h(1 + 2c·αh); the slow root decays by exp(-αh̃/(1-β)) a step."""

    def coefficient(x):
        trace = 1.0 + beta - x
        root = (trace + math.sqrt(trace * trace - 4.0 * beta)) / 2.0
        return (-math.log(root) * (1.0 - beta) / x - 1.0) / x

    h = 2.0
    expected = gradient_term(1.0, beta, h * h) / (h * h / 2.0)  # 2c
    assert coefficient(1e-5) == pytest.approx(expected, rel=3e-3)
    assert expected == pytest.approx(known, rel=3e-3)


def batches(m, d=2, seed=0):
    """Curvatures and centres of m quadratic batch losses ½(θ-cₖ)ᵀHₖ(θ-cₖ)."""
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(m, d, d, generator=generator, dtype=torch.float64)
    return roots @ roots.mT + torch.eye(d, dtype=torch.float64), torch.randn(
        m, d, generator=generator, dtype=torch.float64
    )


def resting_point(curvatures, centres, rate, beta, orders):
    """Where heavy ball rests in the mean, at the ends of epochs whose order is drawn anew from ``orders``.

    Exact: an epoch is affine in (θ, v), and independent orders average its matrix.
    """
    d = centres.shape[1]
    eye = torch.eye(d, dtype=torch.float64)
    steps = []
    for h, c in zip(curvatures, centres, strict=True):
        matrix = torch.cat([torch.cat([eye - rate * h, beta * eye], 1), torch.cat([-rate * h, beta * eye], 1)])
        steps.append((matrix, rate * torch.cat([h @ c, h @ c])))
    mean, shift = torch.zeros(2 * d, 2 * d, dtype=torch.float64), torch.zeros(2 * d, dtype=torch.float64)
    for order in orders:
        matrix, offset = torch.eye(2 * d, dtype=torch.float64), torch.zeros(2 * d, dtype=torch.float64)
        for k in order:
            matrix, offset = steps[k][0] @ matrix, steps[k][0] @ offset + steps[k][1]
        mean, shift = mean + matrix / len(orders), shift + offset / len(orders)
    return torch.linalg.solve(torch.eye(2 * d, dtype=torch.float64) - mean, shift)[:d]


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_the_mean_over_all_orders_rests_where_the_loss_with_the_noise_term_is_least(beta, m):
    """There ∇L is zero, so that the gradient term moves nothing and the noise term all: δ = -αC H⁻¹∇V."""
    curvatures, centres = batches(m)
    whole = curvatures.mean(0)
    least = torch.linalg.solve(whole, (curvatures @ centres[..., None]).mean(0)[:, 0])
    theta = least.clone().requires_grad_()
    own = (curvatures @ (theta - centres)[..., None])[..., 0]
    variance = ((own - own.mean(0)) ** 2).sum(1).mean()
    (slope,) = torch.autograd.grad(variance, theta)
    rate = 1e-4 * (1.0 - beta)
    orders = list(itertools.permutations(range(m)))
    moved = (resting_point(curvatures, centres, rate, beta, orders) - least) / rate
    expected = -noise_coefficient(beta, m) * torch.linalg.solve(whole, slope)
    assert float(expected.norm()) > 1e-2
    torch.testing.assert_close(moved, expected, rtol=2e-2, atol=1e-4)
    drawn = list(itertools.product(range(m), repeat=m))  # independent draws: no term
    still = (resting_point(curvatures, centres, rate, beta, drawn) - least) / rate
    assert float(still.norm()) < 1e-2 * float(expected.norm())


def test_many_batches_have_the_simple_coefficient_and_momentum_needs_many():
    assert noise_coefficient(0.9, 10**6) == pytest.approx(2.5, rel=1e-4)
    assert noise_coefficient(0.9) == pytest.approx(2.5)
    assert noise_coefficient(0.9, 2) == pytest.approx(0.25)  # what was pushed a step ago has not moved on yet
    assert noise_term(0.1, 0.9, 40.0, 4.0, batches=10) == pytest.approx(noise_coefficient(0.9, 10) * 0.1 * 10.0 * 0.9)


def test_the_variance_between_reshuffled_batches_is_that_of_one_sample_divided():
    """V = trΣ/B·(1-1/m), mean over all cuts of 6 numbers into 3 pairs; trΣ unbiased."""
    x = torch.tensor([1.0, 4.0, 2.0, 8.0, 5.0, 7.0], dtype=torch.float64)
    cuts = [x[list(order)].reshape(3, 2).mean(1).var(correction=0) for order in itertools.permutations(range(6))]
    assert float(torch.stack(cuts).mean()) == pytest.approx(float(x.var()) / 2 * (1 - 1 / 3))


def test_what_is_out_of_range_is_refused():
    with pytest.raises(InadmissibleValue, match="momentum=1"):
        gradient_term(0.1, 1.0, 1.0)
    with pytest.raises(InadmissibleValue, match="batches=1 is below 2"):
        noise_coefficient(0.0, 1)
    with pytest.raises(InadmissibleValue, match="rate=-1"):
        noise_term(-1.0, 0.0, 1.0, 1.0)
