"""trΣ, |G|² and their ratio against linear regression, where all three are known.

x ~ N(0, A), y = x·w* + σε, e = w - w*:  G = Ae,  trΣ = |Ae|² + (eᵀAe + σ²) tr A.
"""

import math

import pytest
import torch

from thetadot.errors import InadmissibleValue
from thetadot.probes import gradient_noise, noise_from_squares, pooled_noise

D, SIGMA = 20, 1.5
GENERATOR = torch.Generator().manual_seed(3)
SPREAD = torch.linspace(0.2, 3.0, D, dtype=torch.float64)
ERROR = torch.randn(D, generator=GENERATOR, dtype=torch.float64)


def truth(error, spread=SPREAD):
    """(trΣ, |G|²)."""
    square = float(((spread * error) ** 2).sum())
    return square + float((spread * error**2).sum() + SIGMA**2) * float(spread.sum()), square


def micro_batches(error, samples, k, draws, generator, *, spread=SPREAD):
    """(draws, k, D) micro-batch gradients of ½(x·e - σε)²."""
    x = torch.randn(draws, k, samples, D, generator=generator, dtype=torch.float64) * spread.sqrt()
    residual = x @ error - SIGMA * torch.randn(draws, k, samples, generator=generator, dtype=torch.float64)
    return (x * residual[..., None]).mean(dim=2)


def test_both_parts_are_unbiased_and_so_is_the_ratio_of_means_only():
    generator = torch.Generator().manual_seed(0)
    found = [gradient_noise(g, 4) for g in micro_batches(ERROR, 4, 8, 1500, generator)]
    variance, square = truth(ERROR)
    for name, expected in (("variance", variance), ("square", square)):
        values = torch.tensor([getattr(n, name) for n in found], dtype=torch.float64)
        assert abs(float(values.mean()) - expected) < 4.0 * float(values.std()) / math.sqrt(len(found))
        assert float(values.std()) / math.sqrt(len(found)) < 0.05 * expected  # the test can fail
    ratio = sum(n.variance for n in found) / sum(n.square for n in found)
    assert ratio == pytest.approx(variance / square, rel=0.08)


def test_with_isotropic_inputs_the_noise_scale_is_that_of_the_textbook():
    """A = 1: B_simple = (d + 1) + σ²d/|e|²."""
    ones, error = torch.ones(D, dtype=torch.float64), torch.ones(D, dtype=torch.float64)
    variance, square = truth(error, ones)
    assert variance / square == pytest.approx(D + 1 + SIGMA**2 * D / float(error @ error))
    noise = gradient_noise(micro_batches(error, 512, 8, 1, torch.Generator().manual_seed(1), spread=ones)[0], 512)
    assert noise.resolved
    assert noise.scale == pytest.approx(variance / square, rel=0.1)


@pytest.mark.parametrize(("scale", "k", "samples"), [(1.0, 8, 8), (0.5, 8, 8), (0.2, 8, 16), (1.0, 5, 16)])
def test_the_interval_covers_the_truth(scale, k, samples):
    error = scale * ERROR
    variance, square = truth(error)
    expected = variance / square
    found = [
        gradient_noise(g, samples) for g in micro_batches(error, samples, k, 200, torch.Generator().manual_seed(2))
    ]
    covered = [n.low <= expected <= n.high if n.resolved else n.scale <= expected for n in found]
    assert sum(covered) >= 0.85 * len(found)
    assert (
        sum(n.resolved and n.high < 20 * n.low for n in found) > 0.3 * len(found) or scale < 0.3
    )  # not by being vacuous


def test_where_the_gradient_is_pure_noise_a_lower_bound_is_given():
    nothing = torch.zeros(D, dtype=torch.float64)
    found = [gradient_noise(g, 8) for g in micro_batches(nothing, 8, 8, 200, torch.Generator().manual_seed(4))]
    unresolved = [n for n in found if not n.resolved]
    assert len(unresolved) >= 0.9 * len(found)
    assert all(n.low == n.scale == n.high and math.isfinite(n.scale) for n in unresolved)


@pytest.mark.parametrize("scale", [0.1, 0.05, 0.02])
def test_where_it_is_not_resolved_the_truth_lies_above_the_bound(scale):
    found = [gradient_noise(g, 8) for g in micro_batches(scale * ERROR, 8, 8, 100, torch.Generator().manual_seed(5))]
    variance, square = truth(scale * ERROR)
    unresolved = [n for n in found if not n.resolved]
    assert len(unresolved) > 20
    assert sum(n.scale <= variance / square for n in unresolved) >= 0.9 * len(unresolved)


def test_identical_micro_batches_have_no_noise():
    found = gradient_noise(torch.full((5, 3), 0.1), samples=7)
    assert found.resolved
    assert found.variance == pytest.approx(0.0, abs=1e-12)
    assert found.scale == pytest.approx(0.0, abs=1e-10)
    assert all(math.isfinite(value) for value in (found.low, found.high, found.square))
    still = gradient_noise(torch.zeros(4, 3), samples=1)
    assert (still.variance, still.scale) == (0.0, 0.0)


def test_one_micro_batch_that_differs_gives_finite_numbers():
    gradients = torch.ones(6, 3)
    gradients[0] += 0.1
    found = gradient_noise(gradients, samples=2)
    assert all(math.isfinite(value) for value in (found.scale, found.low, found.high))
    assert found.low <= found.scale <= found.high


def test_a_small_noise_does_not_drown_in_the_rounding_of_a_large_gradient():
    generator = torch.Generator().manual_seed(6)
    noise = 1e-3 * torch.randn(8, 50, generator=generator, dtype=torch.float64)
    exact = gradient_noise(100.0 + noise, samples=1)
    single = gradient_noise((100.0 + noise).float(), samples=1)
    assert single.variance == pytest.approx(exact.variance, rel=1e-2)
    half = gradient_noise((1.0 + 0.5 * torch.randn(8, 500, generator=generator)).bfloat16(), samples=1)
    assert half.variance == pytest.approx(125.0, rel=0.1)


def test_it_does_not_depend_on_the_order_or_the_unit():
    generator = torch.Generator().manual_seed(7)
    gradients = micro_batches(ERROR, 8, 8, 1, generator)[0]
    one, other = gradient_noise(gradients, 8), gradient_noise(1e3 * gradients.flip(0), 8)
    assert other.scale == pytest.approx(one.scale, rel=1e-12)
    assert other.variance == pytest.approx(1e6 * one.variance, rel=1e-12)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_fewer_than_three_micro_batches_are_refused(k):
    with pytest.raises(InadmissibleValue, match=f"gradients of {k} micro-batches are too few. Pass at least 3"):
        gradient_noise(torch.ones(k, 4), samples=1)
    with pytest.raises(InadmissibleValue, match="samples=0"):
        gradient_noise(torch.ones(3, 4), samples=0)


def sums(gradients, samples):
    """(trΣ, |G|²) from what accumulation leaves: sums of squares and the mean's square."""
    return noise_from_squares(
        float(gradients.square().sum()), float(gradients.mean(0).square().sum()), len(gradients), samples
    )


@pytest.mark.parametrize("k", [2, 4, 8])
def test_two_batch_sizes_give_the_same_as_all_gradients(k):
    gradients = micro_batches(ERROR, 4, k, 1, torch.Generator().manual_seed(8))[0]
    variance, square = sums(gradients, 4)
    spread = gradients.var(dim=0).sum() * 4
    assert variance == pytest.approx(float(spread), rel=1e-10)
    assert square == pytest.approx(float(gradients.mean(0) @ gradients.mean(0) - spread / (4 * k)), rel=1e-10)
    if k >= 3:
        assert variance == pytest.approx(gradient_noise(gradients, 4).variance, rel=1e-10)


@pytest.mark.parametrize("k", [2, 4])
def test_the_two_batch_sizes_are_unbiased(k):
    draws = 3000
    found = torch.tensor([sums(g, 16) for g in micro_batches(ERROR, 16, k, draws, torch.Generator().manual_seed(9))])
    for values, expected in zip(found.T, truth(ERROR), strict=True):
        error = float(values.std()) / math.sqrt(draws)
        assert abs(float(values.mean()) - expected) < 4.0 * error < 0.2 * expected


def test_parts_by_layer_add_up():
    gradients = micro_batches(ERROR, 4, 4, 1, torch.Generator().manual_seed(10))[0]
    layers = [gradients[:, :7], gradients[:, 7:]]
    squares = torch.stack([layer.square().sum() for layer in layers])
    means = torch.stack([layer.mean(0).square().sum() for layer in layers])
    variance, square = noise_from_squares(squares, means, 4, 4)
    assert (float(variance.sum()), float(square.sum())) == pytest.approx(sums(gradients, 4))


def test_pooled_it_is_the_ratio_of_averages_and_the_average_of_ratios_is_wrong():
    """B_simple = (d+1) + σ²d/|e|² = 17.04 in the mean of |G|² and trΣ; per-step ratios are biased upward."""
    ones = torch.ones(D, dtype=torch.float64)
    error = ERROR / ERROR.norm() * math.sqrt(20.0)
    expected = (D + 1) + SIGMA**2 * D / 20.0
    readings = [sums(g, 4) for g in micro_batches(error, 4, 4, 1500, torch.Generator().manual_seed(11), spread=ones)]
    variances, squares = zip(*readings, strict=True)
    found = pooled_noise(variances, squares)
    assert found.resolved
    assert found.low < expected < found.high
    assert found.scale == pytest.approx(expected, rel=0.04)
    naive = sum(v / s for v, s in readings) / len(readings)
    assert naive > 1.05 * expected
    assert not found.low < naive < found.high


def test_pooling_narrows_the_interval_and_covers_the_truth():
    variance, square = truth(0.5 * ERROR)
    generator = torch.Generator().manual_seed(12)
    widths = {}
    for times in (16, 256):
        found = []
        for _ in range(60):
            parts = [sums(g, 8) for g in micro_batches(0.5 * ERROR, 8, 8, times, generator)]
            found.append(pooled_noise(*zip(*parts, strict=True)))
        covered = [n.low <= variance / square <= n.high if n.resolved else n.scale <= variance / square for n in found]
        assert sum(covered) >= 0.9 * len(found)
        widths[times] = sorted(n.high - n.low for n in found if n.resolved)[len(found) // 4]
    assert widths[256] < 0.5 * widths[16]


def test_pooled_pure_noise_gives_a_lower_bound():
    nothing = torch.zeros(D, dtype=torch.float64)
    parts = [sums(g, 8) for g in micro_batches(nothing, 8, 4, 40, torch.Generator().manual_seed(13))]
    found = pooled_noise(*zip(*parts, strict=True))
    assert not found.resolved
    assert 0 <= found.low == found.scale == found.high < math.inf


def test_one_micro_batch_or_none_is_refused():
    with pytest.raises(InadmissibleValue, match=r"gradients of 1 micro-batches are too few\. Pass at least 2"):
        noise_from_squares(1.0, 1.0, 1, 4)
    with pytest.raises(InadmissibleValue, match="samples=0"):
        noise_from_squares(1.0, 1.0, 2, 0)
