"""Stochastic rounding as a temperature: its closed form against ensembles of narrow samplers."""

import pytest
import torch

from thetadot.errors import InadmissibleValue
from thetadot.optim import HeavyBall, Kramers, Langevin, rounding_temperature

CENTRE = 1.5  # its neighbours in bfloat16 are 2⁻⁷ away, as far as samples go here


def sampled(optimizer, p, steps=500, burn_in=200):
    """h⟨θ²⟩ about the centre, at h = 1, over chains and every tenth step."""
    squares = []
    for i in range(steps):
        p.grad = (p.detach().float() - CENTRE).to(p.dtype)
        optimizer.step()
        if i >= burn_in and i % 10 == 0:
            squares.append(float((p.detach().float() - CENTRE).square().mean()))
    return sum(squares) / len(squares)


@pytest.mark.parametrize(
    ("build", "own"),
    [
        (lambda p, **o: Langevin([p], 0.05, 1e-4, **o), 1e-4 / (1 - 0.05 / 2)),
        (lambda p, **o: Langevin([p], 0.3, 1e-3, **o), 1e-3 / (1 - 0.3 / 2)),
        (lambda p, **o: Kramers([p], 0.05, 0.9, temperature=1e-4, **o), 1e-4),
        (lambda p, **o: Kramers([p], 0.3, 0.5, temperature=1e-4, **o), 1e-4),
    ],
)
def test_a_sampler_in_bfloat16_is_as_hot_as_is_said(build, own):
    """4,000 chains × 30 readings: a standard error of 2% at most; five are granted."""
    torch.manual_seed(0)
    p = torch.full((4000,), CENTRE, dtype=torch.bfloat16, requires_grad=True)
    optimizer = build(p, low_precision="stochastic")
    expected = own + rounding_temperature(optimizer, curvature=1.0)
    assert expected > 1.01 * own
    assert sampled(optimizer, p) == pytest.approx(expected, rel=0.1)


def test_by_default_samplers_are_compensated_and_others_rounded_at_random():
    p = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    assert Langevin([p], 0.1, 0.0).options.low_precision == "kahan"
    assert Kramers([p], 0.1, temperature=1.0).options.low_precision == "kahan"
    assert HeavyBall([p], 0.1).options.low_precision == "stochastic"
    assert Langevin([p], 0.1, 1.0, low_precision="none").options.low_precision == "none"


def test_what_is_not_rounded_at_random_adds_nothing():
    narrow, wide = torch.ones(3, dtype=torch.bfloat16, requires_grad=True), torch.ones(3, requires_grad=True)
    assert rounding_temperature(Langevin([narrow], 0.1, 1.0)) == 0.0
    assert rounding_temperature(Langevin([wide], 0.1, 1.0, low_precision="stochastic")) == 0.0


@pytest.mark.parametrize(
    ("build", "curvature", "said"),
    [
        (lambda p: HeavyBall([p], 0.1), 0.0, "HeavyBall samples at no temperature"),
        (lambda p: Langevin([p], 0.1, 1.0, low_precision="none"), 0.0, "rounds to the nearest"),
        (lambda p: Langevin([p], 0.0, 1.0, low_precision="stochastic"), 0.0, "lr=0 takes no step"),
        (lambda p: Langevin([p], 0.1, 1.0, low_precision="stochastic"), 20.0, "beyond the stability limit 20"),
        (lambda p: Langevin([p], 0.1, 1.0, low_precision="stochastic"), -1.0, "curvature=-1 is negative"),
    ],
)
def test_what_has_no_such_temperature_is_refused(build, curvature, said):
    p = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    with pytest.raises(InadmissibleValue, match=said):
        rounding_temperature(build(p), curvature=curvature)
