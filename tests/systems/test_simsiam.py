"""SimSiam's toy: three flows, each with a conserved quantity that says where it ends."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shared.motion import end

from thetadot.analysis import field_of
from thetadot.errors import InadmissibleValue
from thetadot.systems import SimSiam

KEPT = ("stop", "full", "second")
numbers = st.floats(-2.0, 2.0)


def pair(encoder, predictor):
    return torch.tensor([encoder], dtype=torch.float64), torch.tensor([predictor], dtype=torch.float64)


@pytest.mark.parametrize(
    ("kept", "predictor", "encoder", "left", "collapses"),
    [
        ("stop", 0.6, 0.1, (0.8062257748, 1.0), False),
        ("full", 0.6, 0.1, (0.0, 0.6127016654), True),
        ("second", 0.6, 0.1, (0.0, 0.605), True),
        ("stop", 1.5, 0.3, (0.0, math.sqrt(2.16)), True),
        ("stop", -0.5, 0.2, (0.0, -math.sqrt(0.21)), True),
        ("stop", 1.1, 0.8, (0.655744, 1.0), False),
        ("full", 0.9, 0.5, (0.489898, 1.0), False),
        ("full", 1.3, 0.5, (0.4, 1.0), False),
        ("second", 0.9, 0.8, (math.sqrt(0.44), 1.0), False),
    ],
)
def test_where_it_ends(kept, predictor, encoder, left, collapses):
    system = SimSiam(kept)
    limit = system.limit(*pair(encoder, predictor))
    assert [float(x) for x in limit] == pytest.approx(left, abs=5e-7)
    assert bool(system.collapses(*pair(encoder, predictor))) == collapses
    assert end(system, (encoder, predictor), 400.0) == pytest.approx(left, abs=5e-7)


@given(st.sampled_from(KEPT), numbers, numbers)
def test_its_quantity_is_conserved(kept, encoder, predictor):
    system = SimSiam(kept)
    theta, phi = (x.requires_grad_() for x in pair(encoder, predictor))
    slopes = torch.autograd.grad(system.invariant(theta, phi).sum(), (theta, phi))
    velocity = field_of(system)(torch.stack((theta, phi), -1))[0].detach()
    assert float(slopes[0] * velocity[0] + slopes[1] * velocity[1]) == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=15)
@given(st.sampled_from(KEPT), numbers, numbers)
def test_the_predicted_end_is_the_end(kept, encoder, predictor):
    assume(abs(encoder) > 0.05)
    system = SimSiam(kept)
    theta, phi = pair(encoder, predictor)
    level = float(system.invariant(theta, phi))
    boundary = {"stop": (0.0, 1.0), "full": (0.0,), "second": (1.0,)}[kept]
    assume(all(abs(level - value) > 0.1 for value in boundary))  # there it ends as slowly as a power of time
    limit = [float(x) for x in system.limit(theta, phi)]
    assert end(system, (encoder, predictor), 300.0, rtol=1e-8) == pytest.approx(limit, abs=1e-5)


def test_on_the_boundary_it_collapses_like_one_over_time():
    """φ₀ = -|θ₀|: φ = -1/t in the end, to the origin, which the strict inequality would miss."""
    system = SimSiam("stop")
    assert bool(system.collapses(*pair(0.5, -0.5)))
    reached = end(system, (0.5, -0.5), 1000.0)
    assert reached == pytest.approx([1e-3, -1e-3], rel=0.02)


def test_an_encoder_at_zero_stays_there():
    for kept in KEPT:
        system = SimSiam(kept)
        assert bool(system.collapses(*pair(0.0, 0.3)))
        assert [float(x) for x in system.limit(*pair(0.0, 0.3))] == pytest.approx([0.0, 0.3])


def test_full_is_the_gradient_flow_of_its_loss_and_the_parts_add_up():
    theta, phi = (torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    loss = 0.5 * ((phi * theta - theta) ** 2).sum()
    slopes = torch.autograd.grad(loss, (theta, phi))
    state = {"position": theta.detach(), "predictor": phi.detach()}
    drift = {kept: SimSiam(kept).drift("position", state) for kept in KEPT}
    assert np.allclose(drift["full"], -slopes[0])
    assert np.allclose(SimSiam().drift("predictor", state), -slopes[1])
    assert np.allclose(drift["stop"] + drift["second"], drift["full"])


def test_an_unknown_part_is_refused():
    with pytest.raises(InadmissibleValue, match="kept='both' is unknown"):
        SimSiam("both")
