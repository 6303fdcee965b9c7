"""B_noise = tr(HΣ)/GᵀHG against linear regression, where H = A, Σ = Aeeᵀ A + (eᵀAe + σ²)A (T1)."""

import math

import pytest
import torch

from thetadot.errors import InadmissibleValue
from thetadot.probes import curvature_noise

D, SIGMA = 20, 1.5
GENERATOR = torch.Generator().manual_seed(3)
SPREAD = torch.linspace(0.2, 3.0, D, dtype=torch.float64)
ERROR = torch.randn(D, generator=GENERATOR, dtype=torch.float64)


def truth(error):
    """(tr(HΣ), GᵀHG)."""
    g = SPREAD * error
    risk = float((SPREAD * error**2).sum() + SIGMA**2)
    square = float((SPREAD * g * g).sum())
    return square + risk * float((SPREAD**2).sum()), square


def micro_batches(error, samples, k, draws, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(draws, k, samples, D, generator=generator, dtype=torch.float64) * SPREAD.sqrt()
    residual = x @ error - SIGMA * torch.randn(draws, k, samples, generator=generator, dtype=torch.float64)
    return (x * residual[..., None]).mean(dim=2)


def hessian(v):
    return SPREAD * v


@pytest.mark.parametrize("probes", [2, 4, 8])
def test_both_parts_are_unbiased_however_few_products_are_made(probes):
    draws = 300
    found = [
        curvature_noise(g, hessian, 4, probes=probes, key=i)
        for i, g in enumerate(micro_batches(ERROR, 4, 8, draws, seed=0))
    ]
    assert {n.products for n in found} == {1 + probes}
    for name, expected in zip(("variance", "square"), truth(ERROR), strict=True):
        values = torch.tensor([getattr(n, name) for n in found], dtype=torch.float64)
        error = float(values.std()) / math.sqrt(draws)
        assert abs(float(values.mean()) - expected) < 4.0 * error < 0.4 * expected


@pytest.mark.parametrize("probes", [2, 4, 8])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_interval_covers_the_truth(scale, probes):
    variance, square = truth(scale * ERROR)
    expected = variance / square
    found = [
        curvature_noise(g, hessian, 32, probes=probes, key=i)
        for i, g in enumerate(micro_batches(scale * ERROR, 32, 8, 150, seed=1))
    ]
    covered = [n.low <= expected <= n.high for n in found]
    assert sum(covered) >= 0.88 * len(found)
    resolved = [n for n in found if n.resolved]
    assert len(resolved) > 0.7 * len(found)
    wide = sorted(n.high / max(n.low, 1e-9) for n in resolved)[len(resolved) // 2]
    assert wide < 12.0 or probes < 8  # few products tell little


def test_in_one_large_measurement_it_is_the_closed_form():
    variance, square = truth(ERROR)
    found = curvature_noise(micro_batches(ERROR, 500, 64, 1, seed=2)[0], hessian, 500, probes=64)
    assert found.scale == pytest.approx(variance / square, rel=0.2)
    assert found.low < variance / square < found.high
    plain = float((SPREAD * ERROR) @ (SPREAD * ERROR))
    assert found.square != pytest.approx(plain, rel=0.2)  # the curvature weighs


def test_with_one_probe_for_each_micro_batch_it_is_exact():
    g = micro_batches(ERROR, 4, 6, 1, seed=3)[0]
    d = g - g.mean(0)
    expected = 4 / 5 * float((d * hessian(d)).sum())
    found = curvature_noise(g, hessian, 4, probes=6)
    assert found.variance == pytest.approx(expected, rel=1e-12)
    assert found.square == pytest.approx(float(g.mean(0) @ hessian(g.mean(0))) - expected / 24, rel=1e-12)


def test_pure_noise_leaves_a_bound():
    found = [curvature_noise(g, hessian, 8, key=i) for i, g in enumerate(micro_batches(0.0 * ERROR, 8, 8, 60, seed=4))]
    assert sum(not n.resolved for n in found) >= 0.85 * len(found)
    assert all((n.scale > 0 and n.high == math.inf) or math.isnan(n.scale) for n in found if not n.resolved)


def test_curvature_of_both_signs_and_none_at_all_give_no_nonsense():
    g = micro_batches(ERROR, 200, 8, 1, seed=5)[0]
    found = curvature_noise(g, lambda v: -SPREAD * v, 8, probes=8)
    other = curvature_noise(g, hessian, 8, probes=8)
    assert found.resolved
    assert found.scale == pytest.approx(other.scale)
    flat = curvature_noise(g, torch.zeros_like, 8)
    assert not flat.resolved
    gone = curvature_noise(g, lambda v: v * math.nan, 8)
    assert not gone.resolved


def test_it_is_a_function_of_its_key():
    g = micro_batches(ERROR, 8, 8, 1, seed=6)[0]
    before = torch.get_rng_state()
    one, two, other = (curvature_noise(g, hessian, 8, key=key) for key in (1, 1, 2))
    assert one == two != other
    assert torch.equal(before, torch.get_rng_state())


def test_too_little_is_refused():
    with pytest.raises(InadmissibleValue, match="gradients of 2 micro-batches are too few"):
        curvature_noise(torch.ones(2, 4), lambda v: v, 1)
    with pytest.raises(InadmissibleValue, match="probes=1 is below 2"):
        curvature_noise(torch.ones(4, 4), lambda v: v, 1, probes=1)
