"""Mechanics as geometry: the geodesic of Jacobi's metric is Newton's path."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from shared.motion import end

from thetadot.analysis import field_of
from thetadot.errors import InadmissibleValue
from thetadot.integrators import Euler
from thetadot.potentials import DoubleWell, Harmonic, Quartic2d
from thetadot.systems import DampedNewton, Jacobi, Problem

NAMES = ("position", "velocity", "clock")


def geodesic_at(system, position, direction, time):
    """(position, length) where the clock says ``time``."""
    state = system.start(*(torch.tensor([x], dtype=torch.float64) for x in (position, direction)))
    start = torch.cat([state[name] for name in NAMES], -1)[0].numpy()
    field, dim = field_of(system), len(position)

    def slope(_, y):
        return field(torch.from_numpy(y.copy()).unsqueeze(0))[0].numpy()

    def arrived(_, y):
        return y[2 * dim] - time

    arrived.terminal = True
    solved = solve_ivp(slope, (0, 100), start, method="DOP853", rtol=1e-12, atol=1e-13, events=arrived)
    return solved.y_events[0][0], solved.t_events[0][0]


def newton_at(potential, energy, position, direction, time):
    kinetic = energy - float(potential(torch.tensor(position, dtype=torch.float64)))
    velocity = math.sqrt(2 * kinetic) * np.array(direction) / math.hypot(*direction)
    return end(Problem(DampedNewton(0.0), potential), [*position, *velocity], time, rtol=1e-12)


def test_the_example():
    """U = (x²+4y²)/2, E = 3, from (0.5, 0.2) at the angle 0.7, t = 1."""
    potential, heading = Harmonic((1.0, 4.0)), (math.cos(0.7), math.sin(0.7))
    geodesic, length = geodesic_at(Jacobi(potential, 3.0), (0.5, 0.2), heading, 1.0)
    newton = newton_at(potential, 3.0, (0.5, 0.2), heading, 1.0)
    assert geodesic[:2] == pytest.approx([1.79180856, 0.60926224], abs=5e-9)
    assert newton[:2] == pytest.approx(geodesic[:2], abs=1e-9)
    assert length == pytest.approx(1.8314871699, abs=1e-9)


@settings(max_examples=12)
@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(0, 2 * math.pi), st.floats(0.0, 0.4))
def test_for_any_start_above_the_saddles(x, y, angle, coupling):
    potential = Quartic2d(coupling=coupling)
    # so high that none of them reaches a turning point, where the metric ends
    system, heading = Jacobi(potential, 40.0), (math.cos(angle), math.sin(angle))
    geodesic, _ = geodesic_at(system, (x, y), heading, 0.2)
    newton = newton_at(potential, 40.0, (x, y), heading, 0.2)
    assert geodesic[:2] == pytest.approx(newton[:2], abs=1e-8)
    # dx/ds and dx/dt point the same way: dx/dt = √2 (E-U) dx/ds
    room = 40.0 - float(potential(torch.from_numpy(newton[:2].copy())))
    assert math.sqrt(2) * room * geodesic[2:4] == pytest.approx(newton[2:], abs=1e-7)


def test_the_speed_of_a_geodesic_is_one():
    """W|x'|² stays 1."""
    potential = Harmonic((1.0, 4.0))
    (x, y, u, v, *_), _ = geodesic_at(Jacobi(potential, 3.0), (0.5, 0.2), (1.0, 1.0), 0.7)
    room = 3.0 - float(potential(torch.tensor([x, y])))
    assert room * (u * u + v * v) == pytest.approx(1.0, abs=1e-10)


def test_where_the_potential_is_flat_geodesics_are_straight():
    free = Jacobi(lambda x: 0.0 * x.sum(-1), energy=2.0)
    reached, length = geodesic_at(free, (0.0, 0.0), (3.0, 4.0), 1.5)
    assert reached[:2] == pytest.approx([1.5 * 2 * 0.6, 1.5 * 2 * 0.8], abs=1e-10)  # speed √(2E) = 2
    assert length == pytest.approx(math.sqrt(2) * 2.0 * 1.5, abs=1e-10)


def test_a_start_below_the_potential_is_refused_and_named():
    system = Jacobi(DoubleWell(), energy=0.1)
    starts = torch.tensor([[1.0], [0.0]])
    with pytest.raises(InadmissibleValue, match=r"energy=0.1 is not above the potential, 0.25, where path 1 begins"):
        system.start(starts, torch.ones(2, 1))
    with pytest.raises(InadmissibleValue, match="direction of length 0 points nowhere"):
        system.start(torch.ones(1, 1), torch.zeros(1, 1))
    with pytest.raises(InadmissibleValue, match="energy=inf is not finite"):
        Jacobi(DoubleWell(), energy=math.inf)


def test_beyond_a_turning_point_it_is_not_a_number():
    """In one dimension the ball turns round at U = E; the geodesic has ended there."""
    system = Jacobi(DoubleWell(), energy=0.1)
    state = system.start(torch.tensor([[1.0]]), torch.tensor([[1.0]]))
    scales = Euler().prepare(system, 0.02)
    for _ in range(100):
        state = Euler().advance(scales, state, torch.zeros(1, 1), None)
    assert not bool(state["position"].isfinite().any())
