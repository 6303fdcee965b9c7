"""Strong orders: one Brownian path, ever finer steps; and that the limit is the solution meant."""

import math

import pytest
import torch
from shared.brownian import Brownian, slope

from thetadot.errors import IncompatiblePair
from thetadot.integrators import SRA1, EulerMaruyama, Heun, Leapfrog, LookAhead, Milstein, Splitting
from thetadot.systems import SDE, Kramers, Langevin

PATHS, COUNTS, FINE = 400, (16, 32, 64, 128, 256), 1024
ONES = torch.ones(PATHS, 1, dtype=torch.float64)
DRIFT, VOLATILITY, POWER = 0.3, 0.6, 0.5


@pytest.fixture(scope="module")
def path():
    return Brownian(ONES, 1.0, FINE, key=3)


def rms(x):
    return float(x.square().mean().sqrt())


# dx = μx dt + σx dW, and dx = -p² sin x cos³ x dt + p cos² x dW: in Itô's sense, with x as a function of W.
PROBLEMS = {
    "growth": (
        SDE(lambda x: DRIFT * x, lambda x: VOLATILITY * x),
        lambda w, t: torch.exp((DRIFT - VOLATILITY**2 / 2) * t + VOLATILITY * w),
    ),
    "tangent": (
        SDE(
            lambda x: -(POWER**2) * torch.sin(x) * torch.cos(x) ** 3,
            lambda x: POWER * torch.cos(x) ** 2,
        ),
        lambda w, t: torch.atan(POWER * w + math.tan(1.0)),
    ),
}


def meant(system, rule):
    """The same solution, written in the calculus that the rule is for."""
    return system.in_stratonovich() if isinstance(rule, Heun) else system


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("rule", [EulerMaruyama(), Milstein(), Heun()], ids=repr)
def test_the_declared_strong_order_for_diagonal_noise_is_the_measured_one(rule, name, path):
    system, solution = PROBLEMS[name]
    exact = solution(path.end, 1.0)
    errors = [
        rms(path.walk(rule, meant(system, rule), {"position": ONES}, count)["position"] - exact) for count in COUNTS
    ]
    assert abs(slope([1 / count for count in COUNTS], errors) - rule.diagonal_order.strong) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("rule", [EulerMaruyama(), Milstein(), Heun()], ids=repr)
def test_the_limit_is_the_solution_of_the_calculus_and_not_of_the_other(rule, name, path):
    system, solution = PROBLEMS[name]
    found = path.walk(rule, meant(system, rule), {"position": ONES}, FINE)["position"]
    other = path.walk(Heun(), SDE(system.f, system.g, calculus="stratonovich"), {"position": ONES}, FINE)["position"]
    exact = solution(path.end, 1.0)
    assert rms(found - exact) < 0.02
    assert rms(other - exact) > 3 * rms(found - exact)


def test_growth_in_stratonovichs_sense_keeps_the_ordinary_rules(path):
    """The same field read as Stratonovich's is exp(μt + σW): by Heun, and by Milstein once written in Itô's sense."""
    system = SDE(lambda x: DRIFT * x, lambda x: VOLATILITY * x, calculus="stratonovich")
    exact = torch.exp(DRIFT + VOLATILITY * path.end)
    for rule, written in ((Heun(), system), (Milstein(), system.in_ito()), (Milstein(), system.in_ito().in_ito())):
        assert rms(path.walk(rule, written, {"position": ONES}, FINE)["position"] - exact) < 0.003
    for rule, other in ((Milstein(), "ito"), (EulerMaruyama(), "ito")):
        with pytest.raises(IncompatiblePair, match=f"converges to the {other} solution"):
            rule.prepare(system, 0.1)


@pytest.mark.parametrize("timed", [False, True])
def test_there_and_back_between_the_calculi_is_the_drift_itself(timed):
    f = (lambda t, x: t * x) if timed else (lambda x: 2.0 * x)
    g = (lambda t, x: t * torch.sin(x)) if timed else torch.sin
    x = torch.linspace(-2, 2, 8, dtype=torch.float64).view(4, 2)
    arguments = (2.0, x) if timed else (x,)
    system = SDE(f, g)
    other = system.in_stratonovich()
    scale = 4.0 if timed else 1.0
    assert torch.allclose(other.f(*arguments), 2.0 * x - 0.5 * scale * torch.sin(x) * torch.cos(x), atol=1e-14)
    assert torch.allclose(other.in_ito().f(*arguments), 2.0 * x, atol=1e-14)
    assert SDE(f, 1.0).in_stratonovich().f is f


ADDITIVE = [EulerMaruyama(), Milstein(), Heun(), SRA1()]


@pytest.mark.parametrize("rule", ADDITIVE, ids=repr)
def test_pure_brownian_motion_is_w_to_rounding(rule, path):
    found = path.walk(rule, SDE(lambda x: 0 * x, 1.0), {"position": 0 * ONES}, 64)["position"]
    assert torch.allclose(found, path.end, rtol=0, atol=1e-14)


def double_well(x):
    return x * (x * x - 1)


@pytest.mark.parametrize("rule", ADDITIVE, ids=repr)
def test_the_declared_strong_order_for_additive_noise_is_the_measured_one(rule, path):
    system, state = Langevin(0.3), {"position": 0.5 * ONES}
    exact = path.walk(SRA1(), system, state, FINE, double_well)["position"]
    counts = COUNTS[:4]
    errors = [rms(path.walk(rule, system, state, n, double_well)["position"] - exact) for n in counts]
    assert abs(slope([1 / n for n in counts], errors) - rule.additive_order.strong) < 0.15


def test_sra1_takes_a_drift_that_depends_on_time(path):
    """dx = -x + sin 5t dt + dW, whose path is the noiseless one plus a linear functional of W."""
    system = SDE(lambda t, x: -x * x * x + torch.sin(torch.as_tensor(5.0 * t, dtype=x.dtype)), 0.7)
    state = {"position": ONES, "time": 0.0}
    exact = path.walk(SRA1(), system, state, FINE)["position"]
    counts = COUNTS[:4]
    errors = [rms(path.walk(SRA1(), system, state, n)["position"] - exact) for n in counts]
    assert abs(slope([1 / n for n in counts], errors) - 1.5) < 0.2


# Underdamped problems: unit mass, L = u·f and T = u.
UNDERDAMPED = {
    "harmonic": (Kramers(2.0, 0.5), lambda x: 2 * 0.5 * x),
    "double well": (Kramers(0.8, 0.2), lambda x: 0.2 * 4 * x * (x * x - 1)),
}


@pytest.mark.parametrize("name", UNDERDAMPED)
@pytest.mark.parametrize(
    "rule",
    [EulerMaruyama(), Heun(), SRA1(), Leapfrog(), LookAhead(lookahead=1.0), Splitting("BAOAB"), Splitting("OBA")],
    ids=repr,
)
def test_the_declared_strong_order_for_kramers_is_the_measured_one(rule, name, path):
    system, gradient = UNDERDAMPED[name]
    start = {
        "position": 0 * ONES,
        "velocity": 0 * ONES,
    }  # no force acts: staggered velocities begin alike
    exact = path.walk(SRA1(), system, start, FINE, gradient)["position"]
    counts = COUNTS[:4]
    errors = [rms(path.walk(rule, system, start, n, gradient)["position"] - exact) for n in counts]
    found = slope([1 / n for n in counts], errors)
    # the position is not shaken itself: there SRA1 gains half an order
    assert abs(found - (2.0 if rule == SRA1() else rule.additive_order.strong)) < 0.15


def test_sra1_refuses_noise_that_depends_on_the_state():
    with pytest.raises(IncompatiblePair, match=r"SRA1 is for additive noise, .* Use EulerMaruyama, Milstein or Heun"):
        SRA1().prepare(PROBLEMS["growth"][0], 0.1)
