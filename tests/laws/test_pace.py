"""Every adaptive motion ends: it arrives, or says how far it came, why it looks so, and what helps."""

import math

import pytest
import torch

from thetadot.errors import Diverged, InadmissibleValue, NotConverged
from thetadot.fusion.compiler import compiler
from thetadot.integrators import BogackiShampine, DormandPrince, controlled
from thetadot.integrators import pace as looking
from thetadot.integrators.pace import look
from thetadot.simulation import simulate
from thetadot.systems import ODE

DOUBLE = torch.float64
ENGINES = [False, *([True] if compiler() else [])]


def row(*numbers):
    return torch.tensor([numbers], dtype=DOUBLE)


def van_der_pol(mu):
    return lambda x: torch.stack([x[:, 1], mu * (1 - x[:, 0] ** 2) * x[:, 1] - x[:, 0]], -1)


def sliding(x):
    """Dry friction on a spring: it comes to rest, where its drift jumps."""
    return torch.stack([x[:, 1], -x[:, 0] - 3 * torch.sign(x[:, 1])], -1)


NEVER = {
    "slides along a jump": (lambda x: -torch.sign(x), row(1.2345), 3e4, "not smooth"),
    "slides in the plane": (sliding, row(1.0, 1.0), 30.0, "not smooth"),
    "slides along a step in space": (lambda x: torch.where(x < 1, 1.0, -1.0), row(0.0), 1e5, "not smooth"),
    "stiff van der Pol": (van_der_pol(1e4), row(2.0, 0.0), 3e4, "stiff"),
    "stiff line": (lambda x: -1e12 * (x - 1), row(2.0), 1e3, "stiff"),
    "stiff by one of three": (
        lambda x: torch.stack([x[:, 1], -x[:, 0], -1e9 * x[:, 2] + x[:, 0]], -1), row(1.0, 0.0, 1.0), 1e5, "stiff"
    ),
    "a time beyond all": (lambda x: torch.stack([x[:, 1], -x[:, 0]], -1), row(1.0, 0.0), 1e300, ""),
}  # fmt: skip


@pytest.fixture
def soon(monkeypatch):
    """A look after fewer steps, so that the tests are quick."""
    monkeypatch.setattr(looking, "WINDOW", 256)
    monkeypatch.setattr("thetadot.integrators.controlling.WINDOW", 256)
    monkeypatch.setattr("thetadot.simulation.controlled._TRIES", 1 << 12)


@pytest.mark.slow
@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("compile_", ENGINES)
@pytest.mark.parametrize("rule", [DormandPrince(), BogackiShampine(1e-6, 1e-9)], ids=["DP", "BS"])
@pytest.mark.parametrize("name", NEVER)
def test_what_would_never_arrive_says_why(name, rule, compile_):
    field, start, time, said = NEVER[name]
    with pytest.raises(NotConverged) as told:
        simulate(ODE(field), rule, start, time=time, compile=compile_)
    message = str(told.value)
    assert "path 0 is at time" in message, message
    assert "more at this pace" in message
    assert f"it looks {said}" in message if said else "it looks" not in message, message
    assert "most_steps=" in message
    assert told.value.state["position"].isfinite().all()


@pytest.mark.parametrize("compile_", ENGINES)
@pytest.mark.parametrize(
    ("field", "start", "said"),
    [
        (lambda x: x * x, row(1.0), r"further than time 1\.0000"),
        (torch.exp, row(0.0), r"further than time 1\.0000"),
        (lambda x: 1 + x * x, row(0.0), r"further than time 1\.5707"),
        (lambda x: -torch.sqrt(x), row(1.0), r"further than time 2\.0000"),
        (lambda x: torch.where(x < 1, 1.0, torch.nan), row(0.0), "further than time 1"),
        (lambda x: torch.where(x < 1, 1.0, torch.inf), row(0.0), "further than time 1"),
    ],
    ids=["x²", "eˣ", "1 + x²", "root", "nan", "inf"],
)
def test_a_motion_that_ends_says_when(field, start, said, compile_):
    with pytest.raises(Diverged, match=said):
        simulate(ODE(field), DormandPrince(), start, time=30.0, compile=compile_)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("compile_", ENGINES)
def test_a_tolerance_below_the_last_digit_ends_and_is_named(compile_):
    for rtol, atol in ((0.0, 1e-300), (0.0, 5e-324), (1e-30, 1e-200)):
        with pytest.raises((Diverged, NotConverged), match="below its own rounding"):
            simulate(ODE(lambda x: -x), DormandPrince(rtol, atol), row(1.0), time=3.0, compile=compile_)


@pytest.mark.parametrize("compile_", ENGINES)
def test_a_drift_that_is_nan_at_the_start_is_refused(compile_):
    with pytest.raises(InadmissibleValue, match="drift of ODE is not finite on path 0"):
        simulate(ODE(lambda x: x * math.nan), DormandPrince(), row(1.0), time=1.0, compile=compile_)


@pytest.mark.slow
@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("compile_", ENGINES)
@pytest.mark.parametrize(
    ("field", "start", "time"),
    [
        (lambda x: torch.stack([x[:, 1], -x[:, 0]], -1), row(1.0, 0.0), 300.0),
        (van_der_pol(30.0), row(2.0, 0.0), 60.0),  # mildly stiff, with jumps in which a step is tiny
        (lambda x: torch.stack([x[:, 1], -x[:, 0] - torch.sign(x[:, 0])], -1), row(1.0, 0.0), 60.0),  # crosses jumps
        (lambda x: -1e3 * (x - 1), row(2.0), 1.0),
    ],
    ids=["long", "van der Pol", "crossings", "stiff and short"],
)
def test_a_long_motion_that_arrives_is_let_go_on(field, start, time, compile_):
    found = simulate(ODE(field), DormandPrince(1e-6, 1e-6), start, time=time, compile=compile_)
    assert int(found.counts["accepted"]) > 256


def test_a_bound_of_ones_own_is_the_only_one():
    with pytest.raises(NotConverged, match=r"most_steps=6000 steps .* it looks not smooth.* tolerances, or a smo"):
        simulate(ODE(lambda x: -torch.sign(x)), DormandPrince(most_steps=6000), row(1e-3), time=3.0)


def test_times_that_cannot_be_met_are_refused():
    for times in ([math.inf], [math.nan], [1.0, math.inf]):
        with pytest.raises(InadmissibleValue, match="not finite"):
            controlled(DormandPrince(), ODE(lambda x: -x), None, {"position": row(1.0)}, 0.0, times)


def test_random_drifts_and_smooth_ones_are_told_apart():
    place, scale = torch.ones(2, dtype=DOUBLE), torch.full((2,), 1e-9, dtype=DOUBLE)
    torch.manual_seed(0)
    assert look(lambda x: x + torch.randn_like(x), place, 1e-5, scale).said.startswith("random")
    assert look(lambda x: torch.stack([x[1], -x[0]]), place, 0.3, scale).said == ""
    assert look(lambda x: -x, place, 0.1, scale).said == ""
    assert look(lambda x: -x, place, 3.0, scale).said.startswith("stiff")
