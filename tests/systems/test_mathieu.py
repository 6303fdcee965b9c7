"""The inverted pendulum: when it stands, how it sways, and Mathieu's chart."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import mathieu_a, mathieu_b

from thetadot.analysis import floquet, stability_chart, step_of
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators import Euler, SemiImplicitEuler
from thetadot.systems import InvertedPendulum, mathieu_matrix


def excess(frequency):
    pendulum = InvertedPendulum(frequency=frequency)
    return float(floquet(pendulum.matrix, pendulum.period).trace) - 2.0


def once(a, q):
    a, q = (torch.tensor(value, dtype=torch.float64) for value in (a, q))
    return floquet(lambda time: mathieu_matrix(time, a, q), math.pi)


def test_it_stands_above_the_threshold():
    assert InvertedPendulum(frequency=500.0).threshold == pytest.approx(447.2136, abs=5e-5)
    assert brentq(excess, 440.0, 455.0, xtol=1e-8) == pytest.approx(447.2234, abs=5e-5)


def test_at_500_it_sways_as_averaging_says_nearly():
    pendulum = InvertedPendulum(frequency=500.0)
    period = floquet(pendulum.matrix, pendulum.period)
    assert float(period.trace) == pytest.approx(1.9996052, abs=5e-8)
    assert float(period.exponents.imag.abs().max()) == pytest.approx(1.5811240, abs=5e-8)
    assert math.sqrt(pendulum.slow_square) == pytest.approx(1.5811388, abs=5e-8)
    assert period.error < 1e-11


def test_shaken_too_hard_it_falls_again():
    """Without gravity at q = 0.908046, h/l = 0.4540232."""
    edge = brentq(lambda q: float(once(0.0, q).trace) + 2.0, 0.8, 1.0, xtol=1e-12)
    assert edge == pytest.approx(0.908046, abs=5e-7)
    assert edge / 2 == pytest.approx(0.4540232, abs=5e-8)


@pytest.mark.parametrize("q", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_edges_of_the_tongues_are_mathieus_characteristic_values(q, order):
    """scipy's a_n(q) and b_n(q): tr M = 2(-1)ⁿ there."""
    for value in (mathieu_a(order, q), mathieu_b(order, q)):
        assert float(once(float(value), q).trace) == pytest.approx(2.0 * (-1) ** order, abs=1e-7)


@given(st.floats(0.05, 20.0))
def test_without_drive_the_trace_is_that_of_an_oscillator(a):
    assert float(once(a, 0.0).trace) == pytest.approx(2 * math.cos(math.pi * math.sqrt(a)), abs=1e-9)


@settings(max_examples=10)
@given(st.floats(50.0, 800.0), st.floats(0.001, 0.05), st.floats(0.5, 2.0), st.floats(-10.0, 10.0), st.floats(0, 2.0))
def test_a_pendulum_is_mathieus_equation(frequency, height, length, gravity, friction):
    """Same trace (half a period apart), and det M = e^(-λP)."""
    pendulum = InvertedPendulum(frequency, height, length, gravity)
    assert float(floquet(pendulum.matrix, pendulum.period).trace) == pytest.approx(
        float(once(*pendulum.mathieu).trace), abs=1e-8
    )
    braked = InvertedPendulum(frequency, height, length, gravity, friction)
    determinant = torch.linalg.det(floquet(braked.matrix, braked.period).monodromy)
    assert float(determinant) == pytest.approx(math.exp(-friction * braked.period), rel=1e-10)


def test_the_monodromy_is_a_solvers():
    pendulum = InvertedPendulum(frequency=7.0, height=0.3, friction=0.2, linear=True)

    def slope(time, y):
        state = {"position": torch.tensor(y[:1]), "velocity": torch.tensor(y[1:]), "time": time}
        return [float(pendulum.drift(name, state)) for name in ("position", "velocity")]

    ours = floquet(pendulum.matrix, pendulum.period).monodromy
    for column, start in enumerate(([1.0, 0.0], [0.0, 1.0])):
        solved = solve_ivp(slope, (0, pendulum.period), start, method="DOP853", rtol=1e-12, atol=1e-13)
        assert solved.y[:, -1] == pytest.approx(ours[:, column].tolist(), rel=1e-10)


@pytest.mark.parametrize(("frequency", "stands"), [(400.0, False), (500.0, True)])
def test_stepped_it_stands_or_falls(frequency, stands):
    """The semi-implicit step, time as its third variable, from 0.1 off upright for four slow periods."""
    pendulum = InvertedPendulum(frequency=frequency)
    rule, step = SemiImplicitEuler(), pendulum.period / 40
    scales = rule.prepare(pendulum, step)
    state = {
        "position": torch.full((1, 1), 0.1, dtype=torch.float64),
        "velocity": torch.zeros(1, 1, dtype=torch.float64),
        "time": 0.0,
    }
    most = 0.0
    count = int(4.0 / step)
    for _ in range(count):
        state = rule.advance(scales, state, state["position"], None)
        most = max(most, abs(state["position"].item()))
    assert state["time"] == pytest.approx(count * step)
    assert (most < 0.2) == stands
    assert (most > 1.0) == (not stands)


def test_the_chart():
    chart = stability_chart(
        lambda time, q, a: mathieu_matrix(time, a, q),
        math.pi,
        x=torch.linspace(0.0, 2.0, 9),
        y=torch.linspace(-1.0, 5.0, 13),
        names=("q", "a"),
    )
    assert chart.growth.shape == chart.stable.shape == (13, 9)
    for row, a in enumerate(chart.y.tolist()):
        for column, q in enumerate(chart.x.tolist()):
            if q == 0 and a in (0.0, 1.0, 4.0):  # where tongues begin
                continue
            # the first two stable bands lie between a_0 and b_1, and between a_1 and b_2, the third above a_2
            bands = [(mathieu_a(n, q), mathieu_b(n + 1, q)) for n in range(3)]
            inside = any(low < a < high for low, high in bands)
            assert bool(chart.stable[row, column]) == inside, (a, q)
    assert bool(((chart.growth > 1 + 1e-7) == ~chart.stable).all())


def test_the_chart_can_be_drawn():
    pytest.importorskip("matplotlib")
    line = torch.linspace(0.1, 1.0, 4)
    ax = stability_chart(lambda t, q, a: mathieu_matrix(t, a, q), math.pi, line, line, names=("q", "a")).plot()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("q", "a")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frequency": 0.0}, "frequency=0 is not positive"),
        ({"frequency": 1.0, "length": -1.0}, "length=-1 is not positive"),
        ({"frequency": 1.0, "height": -0.1}, "height=-0.1 is negative"),
        ({"frequency": 1.0, "gravity": math.nan}, "gravity=nan is not finite"),
    ],
)
def test_settings_out_of_range_are_refused(options, said):
    with pytest.raises(InadmissibleValue, match=said):
        InvertedPendulum(**options)


def test_one_map_does_not_step_what_depends_on_time():
    with pytest.raises(IncompatiblePair, match=r"InvertedPendulum depends on time.*analysis\.floquet"):
        step_of(InvertedPendulum(frequency=1.0), Euler(), step=0.1)


def test_without_overthrowing_gravity_there_is_no_threshold():
    assert InvertedPendulum(frequency=1.0, gravity=-1.0).threshold == 0.0
    assert InvertedPendulum(frequency=1.0, height=0.0).threshold == math.inf
