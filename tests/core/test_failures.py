"""What engines call at every step says what it could not take; what fits, or is a caller's own, is raised as it is."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from thetadot.core.failures import answering, explained
from thetadot.errors import InadmissibleValue
from thetadot.integrators import Euler, EulerMaruyama, Heun, Leapfrog, RungeKutta, SemiImplicitEuler, Splitting
from thetadot.optim import Adam, Amos, GradientDescent, HeavyBall, Kramers, Nesterov, NormalizedDescent, Polyak, RMSprop
from thetadot.systems import ODE, DampedNewton, GradientFlow, InvertedPendulum, Langevin, PolyakFlow, WGANDiv
from thetadot.systems import Kramers as KramersFlow

ONE = torch.ones(2)
STATE = {"position": ONE, "velocity": ONE}
SYSTEMS = {
    "gradient": GradientFlow(),
    "langevin": Langevin(0.1),
    "newton": DampedNewton(1.0),
    "kramers": KramersFlow(1.0, 0.1),
}
NONSENSE = [None, "a", b"x", object(), math, int, (), [1, "a"], np.array("a"), 10**400, lambda: None]


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
@pytest.mark.parametrize("bad", NONSENSE, ids=lambda x: repr(x)[:12])
def test_a_system_says_which_argument_is_of_no_use(system, bad):
    with pytest.raises(InadmissibleValue, match="step"):
        system.increment("position", STATE, ONE, bad)


@pytest.mark.parametrize("rule", [Euler(), Leapfrog(), Heun(), RungeKutta(), SemiImplicitEuler(), Splitting("BAOA")])
def test_a_rule_says_so_of_its_state(rule):
    scales = rule.prepare(DampedNewton(1.0), 0.1)
    for bad in ("a", 3, None, [ONE], {"position": "a", "velocity": ONE}):
        with pytest.raises(InadmissibleValue, match="state"):
            rule.advance(scales, bad, ONE, lambda: ONE)
    with pytest.raises(InadmissibleValue, match="'velocity'"):
        rule.advance(scales, {"position": ONE}, ONE, lambda: ONE)
    with pytest.raises(InadmissibleValue, match="one shape"):
        rule.advance(scales, STATE, torch.ones(3), lambda: ONE)


def test_noise_that_is_needed_and_not_given_is_asked_for():
    rule = EulerMaruyama()
    with pytest.raises(InadmissibleValue, match="draw=None"):
        rule.advance(rule.prepare(Langevin(0.1), 0.1), STATE, ONE, None)


def test_fractions_and_numpys_numbers_are_numbers():
    rule = Leapfrog()
    assert rule.momentum(Fraction(1, 2)) == rule.momentum(0.5) == rule.momentum(np.float32(0.5))
    assert rule.damping(Fraction(1, 2)) == rule.damping(0.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: PolyakFlow(10**400),
        lambda: WGANDiv().value(1e300),
        lambda: WGANDiv().value(10**400),
        lambda: InvertedPendulum(1.0, 1.0).stiffness(math.inf),
        lambda: HeavyBall([ONE.clone().requires_grad_()], lr=10**400),
        lambda: Adam([ONE.clone().requires_grad_()], betas=(10**400, 0.9)),
    ],
)
def test_numbers_beyond_floating_point_are_refused(call):
    with pytest.raises(InadmissibleValue):
        call()


@pytest.mark.parametrize(
    "kind", [GradientDescent, HeavyBall, Nesterov, Adam, RMSprop, Amos, NormalizedDescent, Polyak, Kramers]
)
@pytest.mark.parametrize("bad", [None, 3, "lr", [], {}, {"lr": 0.1}, {"params": []}, {"lr": "a", "params": []}])
def test_a_group_without_its_words_is_none(kind, bad):
    options = {"temperature": 0.1} if kind is Kramers else {}
    optimizer = kind([ONE.clone().requires_grad_()], lr=0.1, **options)
    for method in (optimizer.reading, optimizer.check):
        if method == optimizer.reading and bad == {"lr": 0.1} and kind in (NormalizedDescent, Polyak):
            assert math.isnan(method(bad).limit) or method(bad).limit > 0  # lr is all that their reading needs
            continue
        with pytest.raises(InadmissibleValue):
            method(bad)


def test_what_a_users_function_raises_is_the_users():
    def drift(position):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        ODE(drift).increment("position", STATE, ONE, 0.1)


def test_what_fits_and_fails_all_the_same_is_raised_as_it_is():
    @answering
    def full(tensor: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        full(ONE)


def test_what_is_traced_is_not_asked():
    @explained
    class Branching:
        def halved(self, x: float) -> float:
            return x / 2 if x else x

    def step(x):
        return Branching().halved(x)

    with pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(step)
