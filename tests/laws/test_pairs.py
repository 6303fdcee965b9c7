"""The whole product of systems and integrators: a pair steps, or says in one sentence that it cannot."""

from itertools import product

import pytest
import torch

from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators import (
    SRA1,
    Euler,
    EulerMaruyama,
    Heun,
    ImplicitMidpoint,
    Leapfrog,
    LookAhead,
    Milstein,
    RungeKutta,
    SemiImplicitEuler,
    Splitting,
)
from thetadot.integrators.tableaus import DORMAND_PRINCE, HEUN, RK4
from thetadot.optim import Adam, Flow, GradientDescent, HeavyBall, Langevin, RMSprop, SignDescent
from thetadot.optim import Amos as AmosOptimizer
from thetadot.systems import (
    AdaptiveFlow,
    Amos,
    DampedNewton,
    ErrorControlledFlow,
    GradientFlow,
    NormalizedFlow,
    PolyakFlow,
    ScheduledAmos,
    SignFlow,
)
from thetadot.systems import Kramers as KramersDynamics
from thetadot.systems import Langevin as LangevinDynamics
from thetadot.systems.base import PerStep

SYSTEMS = [
    GradientFlow(),
    LangevinDynamics(0.0),
    LangevinDynamics(0.3),
    DampedNewton(0.0),
    DampedNewton(0.5),
    DampedNewton(PerStep(0.1)),
    KramersDynamics(0.5, 0.0),
    KramersDynamics(0.5, 0.3),
    KramersDynamics(PerStep(0.1), 0.3),
    AdaptiveFlow(PerStep(0.1), PerStep(0.001)),
    AdaptiveFlow(2.0, 0.5),
    AdaptiveFlow(2.0, 0.5, amsgrad=True),
    ErrorControlledFlow(PerStep(0.1), eps=1.0),  # an explicit first step is ∇L/ε
    ErrorControlledFlow(0.5, eps=1.0, norm="global"),
    ErrorControlledFlow(0.5, eps=1.0, clock=True),
    SignFlow(),
    NormalizedFlow(),
    PolyakFlow(),
    PolyakFlow(floor=-0.1, bound=0.5),
    Amos(PerStep(0.1)),
    ScheduledAmos(0.5, PerStep(0.1)),
    ScheduledAmos(PerStep(0.01), 0.5, kind="decaying", q=2.0),
]
INTEGRATORS = [
    Euler(),
    EulerMaruyama(),
    SemiImplicitEuler(),
    Leapfrog(),
    LookAhead(lookahead=0.5),
    LookAhead(lookahead=1.0),
    ImplicitMidpoint(),
    *map(RungeKutta, (HEUN, RK4, DORMAND_PRINCE)),
    Heun(),
    Milstein(),
    SRA1(),
    *map(Splitting, ("BAOAB", "BAOA", "OBA", "OBABO", "BABOBAB", "BAB")),
]
MECHANICAL = (Leapfrog, LookAhead, ImplicitMidpoint, Splitting)


def steps(system, integrator):
    """Which pairs have a meaning, told without asking the library."""
    has_velocity = isinstance(system, DampedNewton | KramersDynamics)
    noise = getattr(system, "temperature", 0.0) > 0
    if isinstance(integrator, MECHANICAL):
        frictionless = isinstance(system, DampedNewton) and system.friction == 0.0
        letters = integrator.word if isinstance(integrator, Splitting) else "O"
        return has_velocity and ("O" in letters or frictionless)
    return isinstance(integrator, EulerMaruyama | Heun | Milstein | SRA1) or not noise


@pytest.mark.parametrize(("system", "integrator"), list(product(SYSTEMS, INTEGRATORS)), ids=repr)
def test_a_pair_steps_or_is_refused(system, integrator):
    p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    generator = torch.Generator().manual_seed(1)
    if not steps(system, integrator):
        with pytest.raises(IncompatiblePair) as raised:
            Flow([p], system, integrator, 0.1, generator=generator)
        message = str(raised.value)
        assert type(system).__name__ in message
        assert type(integrator).__name__ in message
        assert "Use " in message or "Put " in message
        return
    flow = Flow([p], system, integrator, 0.1, generator=generator)

    def closure():
        flow.zero_grad()
        loss = (p * p).sum() / 2
        loss.backward()
        return loss

    first = float(closure().detach())
    for _ in range(40):
        flow.step(closure)
    assert torch.isfinite(p).all()
    if getattr(system, "temperature", 0.0) == 0:
        assert float(closure().detach()) < first


@pytest.mark.parametrize(
    ("build", "stranger"),
    [
        (lambda p: GradientDescent(p, 0.1, momentum=0.9), "momentum"),
        (lambda p: Langevin(p, 0.1, temperature=1.0, friction=0.5), "friction"),
        (lambda p: HeavyBall(p, 0.1, nesterov=True), "nesterov"),
        (lambda p: HeavyBall(p, 0.1, temperature=1.0), "temperature"),
        (lambda p: HeavyBall(p, 0.1, momentun=0.9), "momentun"),
        (lambda p: Adam(p, 0.1, momentum=0.9), "momentum"),
        (lambda p: RMSprop(p, 0.1, centered=True), "centered"),
        (lambda p: SignDescent(p, 0.1, betas=(0.9, 0.99)), "betas"),
        (lambda p: AmosOptimizer([{"params": p, "floor": 0.1}], 0.1), "floor"),
        (lambda p: GradientDescent([{"params": p, "momentum": 0.9}], 0.1), "momentum"),
        (lambda p: HeavyBall([{"params": p, "betas": (0.9, 0.99)}], 0.1), "betas"),
    ],
)
def test_a_word_that_means_nothing_here_is_refused(build, stranger):
    with pytest.raises(IncompatiblePair, match=f"has no {stranger}. It takes lr, "):
        build([torch.ones(1, requires_grad=True)])


@pytest.mark.parametrize("integrator", [Euler(), EulerMaruyama(), SemiImplicitEuler()])
def test_only_a_velocity_can_start_at_rest(integrator):
    with pytest.raises(IncompatiblePair, match="start='rest' is a velocity's"):
        Flow([torch.ones(1, requires_grad=True)], GradientFlow(), integrator, 0.1, start="rest")


def test_eulers_first_step_of_the_adaptive_flow_is_the_limit_of_its_memories():
    """At time 0 both memories are empty; m/w -> ∇L and v/u -> ∇L², so that the first step is a sign step."""
    p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    flow = Flow([p], AdaptiveFlow(PerStep(0.1), PerStep(0.01), eps=0.0), Euler(), 0.1)
    p.grad = p.detach().clone()
    flow.step()
    assert p.tolist() == pytest.approx([0.9, -1.9])


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_systems_refuse_numbers_out_of_range(bad):
    for build, name in (
        (lambda: LangevinDynamics(bad), "temperature"),
        (lambda: KramersDynamics(0.5, bad), "temperature"),
        (lambda: KramersDynamics(bad, 0.5), "friction"),
        (lambda: DampedNewton(bad), "friction"),
        (lambda: AdaptiveFlow(bad, 1.0), "mean_rate"),
        (lambda: AdaptiveFlow(1.0, bad), "square_rate"),
        (lambda: AdaptiveFlow(1.0, 1.0, eps=bad), "eps"),
        (lambda: ErrorControlledFlow(bad), "square_rate"),
        (lambda: ErrorControlledFlow(1.0, eps=bad), "eps"),
        (lambda: Amos(bad), "square_rate"),
        (lambda: ScheduledAmos(bad, 1.0), "approach_rate"),
        (lambda: ScheduledAmos(1.0, bad), "square_rate"),
    ):
        with pytest.raises(InadmissibleValue, match=f"{name}={bad:g} is negative or not finite. Pass {name} >= 0."):
            build()


def test_a_system_without_motion_is_refused():
    with pytest.raises(InadmissibleValue, match="Pass a system"):
        Flow([torch.ones(1, requires_grad=True)], None, Euler(), 0.1)
