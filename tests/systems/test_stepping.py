"""Every named system under the house's own integrators: their orders, measured against another's solver."""

import math
from dataclasses import FrozenInstanceError

import pytest
import torch
from shared.motion import end

from thetadot.analysis import phase_space, step_of
from thetadot.errors import IncompatiblePair
from thetadot.integrators import Euler, EulerMaruyama, Leapfrog, RungeKutta, SemiImplicitEuler, Splitting
from thetadot.integrators.tableaus import RK4
from thetadot.potentials import Harmonic, Quartic2d
from thetadot.systems import Competition, DiracGAN, InvertedPendulum, Jacobi, SimSiam, WGANDiv

SYSTEMS = {
    "dirac-gan": (DiracGAN(), (0.8, -0.5, 0.6, 0.9)),
    "min-max": (DiracGAN("min-max", decay=0.2), (0.8, -0.5, 0.6, 0.9)),
    "wgan": (DiracGAN("wgan"), (0.8, -0.5, 0.6, 0.9)),
    "gp": (DiracGAN("linear", penalty="gp", centre=1.0), (0.8, -0.5, 0.6, 0.9)),
    "qp": (DiracGAN("linear", penalty="qp", weight=0.5), (0.8, -0.5, 0.6, 0.9)),
    "wgan-div": (WGANDiv(0.1, 4.0), (0.8, 0.5)),
    "simsiam": (SimSiam(), (0.5, 0.6)),
    "competition": (Competition((1.0, 0.8), (1.5, 1.0), (0.3, 0.2)), (0.3, 0.6)),
    "jacobi": (Jacobi(Quartic2d(), 3.0), (0.3, 0.2, 0.4, 0.5, 0.0, 0.0)),
}


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize(("rule", "order", "counts"), [(Euler(), 1, (200, 400)), (RungeKutta(RK4), 4, (10, 20))])
def test_its_paths_are_of_the_integrators_order(name, rule, order, counts):
    system, start = SYSTEMS[name]
    exact = torch.from_numpy(end(system, start, 1.0, rtol=1e-12))
    errors = []
    for count in counts:
        advance = step_of(system, rule, step=1 / count)
        x = torch.tensor([start], dtype=torch.float64)
        for _ in range(count):
            x = advance(x)
        errors.append(float((x[0] - exact).norm()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("name", SYSTEMS)
def test_paths_do_not_know_of_one_another_and_keep_their_dtype(name):
    system, start = SYSTEMS[name]
    for rule in (Euler(), SemiImplicitEuler(), EulerMaruyama(), RungeKutta(RK4)):
        advance = step_of(system, rule, step=0.01)
        many = torch.tensor([start, start], dtype=torch.float32) * torch.tensor([[1.0], [0.9]])
        together = advance(many)
        assert together.dtype == torch.float32
        assert torch.allclose(together[1:], advance(many[1:]), atol=1e-7)
        assert not torch.equal(together, many)


@pytest.mark.parametrize("name", SYSTEMS)
def test_rules_that_need_a_friction_refuse_it(name):
    for rule in (Leapfrog(), Splitting("BAOAB")):
        with pytest.raises(IncompatiblePair, match=r"steps a velocity against friction|has none"):
            rule.prepare(SYSTEMS[name][0], 0.1)


def test_time_runs_along_in_every_stage():
    """The shaken pendulum, linear, by RK4 against Floquet's matrix."""
    from thetadot.analysis import floquet

    pendulum = InvertedPendulum(frequency=7.0, height=0.1, linear=True)
    exact = floquet(pendulum.matrix, pendulum.period).monodromy
    errors = []
    for count in (20, 40):
        rule = RungeKutta(RK4)
        scales = rule.prepare(pendulum, pendulum.period / count)
        state = {"position": torch.ones(1, 1).double(), "velocity": torch.zeros(1, 1).double(), "time": 0.0}
        for _ in range(count):
            for stage in range(rule.stages):
                state = rule.advance(scales, state, torch.zeros(1, 1).double(), None, stage)
        errors.append(abs(state["position"].item() - exact[0, 0].item()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.3)


def test_systems_are_frozen_and_hashable():
    for system, _ in SYSTEMS.values():
        assert phase_space(system).names[0] == "position"
        with pytest.raises(FrozenInstanceError):
            system.power = 2.0
    assert DiracGAN() == DiracGAN("non-saturating")
    assert len({DiracGAN(), DiracGAN(), WGANDiv(), Harmonic()}) == 3
