"""Narrow parameters in closed form: 300 steps of 1e-4 from 1 end at .970, or nowhere."""

import pytest
import torch

from thetadot.core.rng import words
from thetadot.core.rounding import stochastic
from thetadot.optim import GradientDescent, HeavyBall

NARROW = (torch.bfloat16, torch.float16)
BUILD = {
    "GradientDescent": lambda params, **options: GradientDescent(params, 1e-4, **options),
    "HeavyBall": lambda params, **options: HeavyBall(params, 1e-4, 0.0, **options),
}


def after_300_steps(name, dtype, low_precision, elements=4096):
    p = torch.ones(elements, dtype=dtype, requires_grad=True)
    optimizer = BUILD[name]([p], low_precision=low_precision)
    p.grad = torch.ones_like(p)
    for _ in range(300):
        optimizer.step()
    return p.detach().double()


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("low_precision", ["stochastic", "kahan"])
def test_three_hundred_steps_of_1e_4_are_three_hundredths(name, dtype, low_precision):
    p = after_300_steps(name, dtype, low_precision)
    assert float(p.mean()) == pytest.approx(0.970, abs=0.002)
    assert float((p - 0.970).abs().max()) < (0.002 if low_precision == "kahan" else 0.07)


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("dtype", NARROW)  # half the distance below 1 is 2⁻⁹ = .0020 and 2⁻¹² = .00024
def test_to_the_nearest_they_are_nothing(name, dtype):
    assert (after_300_steps(name, dtype, "none") == 1.0).all()


def test_what_float16_resolves_moves_without_help():
    """Below 2⁻² half its distance is 2⁻¹⁴ = 6e-5, and steps of 1e-4 are rounded to 2⁻¹³ = 1.2e-4."""
    p = torch.full((4,), 0.24, dtype=torch.float16, requires_grad=True)
    optimizer = GradientDescent([p], 1e-4, low_precision="none")
    p.grad = torch.ones_like(p)
    for _ in range(300):
        optimizer.step()
    assert (p < 0.24 - 300 * 1e-4 + 0.01).all()


# Stochastic rounding.


VALUES = (1.0 + 2.0**-13, 0.1, -3.3, 7e4, 2.0**-20 * 1.37, -(2.0**-15) * 1.1)


@pytest.mark.parametrize(
    ("dtype", "value"), [(dtype, value) for dtype in NARROW for value in VALUES if abs(value) < torch.finfo(dtype).max]
)
def test_rounding_is_right_in_the_mean(dtype, value):
    """Monte Carlo: within five standard errors of the mean, and only ever to the two neighbours."""
    x = torch.full((200_000,), value)
    rounded = stochastic(x, dtype, words(x, key=5)).double()
    neighbours = rounded.unique()
    assert len(neighbours) <= 2
    error = float(rounded.std()) / 200_000**0.5
    assert abs(float(rounded.mean()) - float(x[0])) <= 5 * error + 2.0**-24 * abs(value)
    assert float(neighbours[0]) <= float(x[0]) <= float(neighbours[-1])


@pytest.mark.parametrize("dtype", NARROW)
def test_what_the_dtype_holds_stays(dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50_000, generator=generator).to(dtype)
    x = torch.cat(
        (x, torch.tensor([0.0, -0.0, 1.0, torch.finfo(dtype).max, torch.finfo(dtype).smallest_normal], dtype=dtype))
    )
    assert torch.equal(stochastic(x.float(), dtype, words(x, key=1)), x)


@pytest.mark.parametrize("dtype", NARROW)
def test_infinities_and_nan_stay(dtype):
    x = torch.tensor([float("inf"), -float("inf"), float("nan")] * 1000)
    rounded = stochastic(x, dtype, words(x, key=2))
    assert torch.equal(torch.isnan(rounded), torch.isnan(x))
    assert torch.equal(rounded[~torch.isnan(x)].float(), x[~torch.isnan(x)])


@pytest.mark.parametrize("dtype", NARROW)
def test_every_nan_stays_nan(dtype):
    """Whatever its bits: a carry must not turn it into an infinity or a number."""
    bits = torch.tensor([0x7F800001, 0x7F80FFFF, 0x7FFFFFFF, 0x7FC00000, -1, -0x7FFFFF], dtype=torch.int32).repeat(500)
    x = bits.view(torch.float32)
    assert torch.isnan(x).all()
    assert torch.isnan(stochastic(x, dtype, words(x, key=3))).all()


def test_rounding_consumes_no_random_numbers():
    before = torch.get_rng_state()
    after_300_steps("HeavyBall", torch.bfloat16, "stochastic", 8)
    assert torch.equal(torch.get_rng_state(), before)
