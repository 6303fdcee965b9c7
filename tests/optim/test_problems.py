"""Optimizers of a problem: the force is the potential's, the law the one that is posed, contradictions are errors."""

import pytest
import torch

from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators import Euler, EulerMaruyama, Leapfrog, RungeKutta
from thetadot.integrators.tableaus import RK4
from thetadot.optim import Adam, Flow, GradientDescent, HeavyBall, ImplicitHeavyBall, Kramers, Langevin, Polyak
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import DampedNewton, GradientFlow, Problem
from thetadot.systems import Kramers as KramersDynamics
from thetadot.systems import Langevin as LangevinDynamics

WELL = Problem(GradientFlow(), DoubleWell())


def start():
    return torch.tensor([[0.3], [-1.7]], dtype=torch.float64, requires_grad=True)


QUIET = {
    "GradientDescent": lambda p, **o: GradientDescent([p], 0.1, **o),
    "HeavyBall": lambda p, **o: HeavyBall([p], 0.05, **o),
    "ImplicitHeavyBall": lambda p, **o: ImplicitHeavyBall([p], 0.1, 0.5, **o),
    "Adam": lambda p, **o: Adam([p], 0.05, **o),
    "Polyak": lambda p, **o: Polyak([p], 0.05, bound=10.0, **o),
    "RungeKutta": lambda p, **o: Flow([p], GradientFlow(), RungeKutta(RK4), 0.2, **o),
}


@pytest.mark.parametrize("name", QUIET)
def test_a_step_without_backward_is_the_step_with_one(name):
    p, q = start(), start()
    posed, by_hand = QUIET[name](p, problem=WELL), QUIET[name](q)

    def closure():
        by_hand.zero_grad()
        loss = WELL.potential(q).sum()
        loss.backward()
        return loss

    for _ in range(5):
        loss = by_hand.step(closure).detach()
        assert float(posed.step()) == pytest.approx(float(loss), rel=1e-12)
        assert torch.allclose(p, q, rtol=1e-12, atol=1e-12)
    assert loss < WELL.potential(start().detach()).sum()


def test_a_loss_without_a_gradient_of_its_own_is_differentiated():
    p = start()
    optimizer = Flow([p], Problem(GradientFlow(), lambda x: (x**4).sum(-1)), Euler(), 0.01)
    expected = p.detach() - 0.04 * p.detach() ** 3
    optimizer.step()
    assert torch.allclose(p, expected, rtol=1e-14)


def test_a_posed_temperature_is_sampled():
    """20,000 paths in a harmonic well: variance T/(h(1 - αh/2)), standard error 1%; four are granted."""
    torch.manual_seed(0)
    problem = Problem(LangevinDynamics(0.1), Harmonic(1.0))
    for build in (lambda p: Flow([p], problem, EulerMaruyama(), 0.1), lambda p: Langevin([p], 0.1, problem=problem)):
        p = torch.zeros(20_000, 1, requires_grad=True)
        optimizer = build(p)
        for _ in range(60):
            optimizer.step()
        assert float(p.detach().var()) == pytest.approx(0.1 / (1 - 0.05), rel=0.04)


def test_step_and_friction_of_the_problem_are_taken_by_from_physical():
    problem = Problem(KramersDynamics(1.0, 0.1), Harmonic())
    optimizer = Kramers.from_physical([start()], step=0.1, friction=1.0, problem=problem)
    assert optimizer.param_groups[0]["temperature"] == 0.1
    optimizer.step()


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (
            lambda p: HeavyBall([p], 0.1, problem=Problem(LangevinDynamics(0.1), DoubleWell())),
            IncompatiblePair,
            "temperature 0.1, and HeavyBall adds no noise. Use Langevin or Kramers",
        ),
        (
            lambda p: Flow([p], Problem(LangevinDynamics(0.1), DoubleWell()), Leapfrog(), 0.1),
            IncompatiblePair,
            "Leapfrog steps a velocity",
        ),
        (
            lambda p: Langevin([p], 0.1, 0.2, problem=Problem(LangevinDynamics(0.1), DoubleWell())),
            InadmissibleValue,
            "temperature=0.2 differs from the problem's 0.1",
        ),
        (
            lambda p: HeavyBall([p], 0.1, problem=Problem(DampedNewton(0.1), DoubleWell())),
            InadmissibleValue,
            "differs from the problem's 0.1. from_physical",
        ),
        (
            lambda p: GradientDescent([p], 0.1, problem=DoubleWell()),
            InadmissibleValue,
            r"Pass thetadot.systems.Problem",
        ),
        (lambda p: Langevin([p], 0.1), InadmissibleValue, "temperature is missing"),
        (
            lambda p: GradientDescent([torch.ones((), requires_grad=True)], 0.1, problem=WELL),
            InadmissibleValue,
            r"shape \(\) is no position",
        ),
        (
            lambda p: GradientDescent([p], 0.1, problem=WELL, differentiable=True),
            IncompatiblePair,
            "Leave problem= out",
        ),
    ],
)
def test_what_contradicts_the_problem_is_refused(build, error, said):
    with pytest.raises(error, match=said):
        build(start())


def test_a_closure_beside_a_potential_is_refused():
    optimizer = GradientDescent([start()], 0.1, problem=WELL)
    with pytest.raises(InadmissibleValue, match="comes from its problem's potential"):
        optimizer.step(lambda: None)


# What a temperature decides besides: weight decay is part of the loss that is sampled.


@pytest.mark.parametrize(
    "build",
    [
        lambda p, **o: Langevin([p], 0.02, 1.0, **o),
        lambda p, **o: Kramers([p], 0.3, 0.7, temperature=1.0, **o),
        lambda p, **o: Flow([p], LangevinDynamics(1.0), EulerMaruyama(), 0.02, **o),
    ],
)
def test_weight_decay_of_a_sampler_is_a_quadratic_added_to_the_loss(build):
    """h = wd = 1: variance T/2, up to 1/(1-αh/2) for Euler-Maruyama; 40,000 chains, error .7%; four granted."""
    torch.manual_seed(0)
    p = torch.zeros(40_000, requires_grad=True)
    optimizer = build(p, weight_decay=1.0)
    for _ in range(200):
        p.grad = p.detach().clone()
        optimizer.step()
    euler = 1.0 if "momentum" in optimizer.param_groups[0] else 1 / (1 - 0.02)
    assert float(p.detach().var()) == pytest.approx(0.5 * euler, rel=0.03)
    assert optimizer.param_groups[0]["weight_decay_mode"] == "l2"


def test_all_others_keep_decoupled_decay():
    for build in (GradientDescent, HeavyBall, Adam):
        wanted = "l2" if build is Adam else "decoupled"
        assert build([start()], 0.1).param_groups[0]["weight_decay_mode"] == wanted
    assert (
        Langevin([start()], 0.1, 1.0, weight_decay_mode="decoupled").param_groups[0]["weight_decay_mode"] == "decoupled"
    )
