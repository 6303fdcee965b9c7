"""Rules of several stages in an optimizer: the same path however they are run, and after a resume."""

import copy

import pytest
import torch

from thetadot.integrators import SRA1, Heun, RungeKutta
from thetadot.integrators.tableaus import RK4
from thetadot.optim import Flow
from thetadot.systems import AdaptiveFlow, Kramers, Langevin

MOTIONS = [
    (AdaptiveFlow(2.0, 0.5), RungeKutta(RK4)),
    (Langevin(0.3), Heun()),
    (Kramers(0.5, 0.3), SRA1()),
]
motions = pytest.mark.parametrize(("system", "rule"), MOTIONS, ids=repr)


def build(system, rule, **options):
    parameters = [torch.full((5,), 1.5), torch.linspace(-1, 1, 3)]
    parameters = [p.to(options.pop("dtype", torch.float64)).requires_grad_() for p in parameters]
    return parameters, Flow(parameters, system, rule, 0.05, generator=torch.Generator().manual_seed(2), **options)


def walk(parameters, flow, steps):
    def closure():
        flow.zero_grad()
        loss = sum(((p * p - 1) ** 2 / 4).sum() for p in parameters)
        loss.backward()
        return loss

    for _ in range(steps):
        flow.step(closure)
    return [p.detach().clone() for p in parameters]


@motions
@pytest.mark.parametrize("averaging", [None, 0.9])
def test_compiled_and_plain_walk_one_path(system, rule, averaging):
    plain, compiled = (
        walk(*build(system, rule, compile=compile, averaging=averaging, weight_decay=0.1), 10)
        for compile in (False, True)  # noqa: A001
    )
    for here, there in zip(plain, compiled, strict=True):
        assert torch.allclose(here, there, rtol=0, atol=1e-12)


@motions
def test_a_resume_goes_on_bit_for_bit(system, rule):
    parameters, flow = build(system, rule)
    walk(parameters, flow, 5)
    others, resumed = build(system, rule)
    with torch.no_grad():
        for p, other in zip(parameters, others, strict=True):
            other.copy_(p)
    resumed.load_state_dict(copy.deepcopy(flow.state_dict()))
    for here, there in zip(walk(parameters, flow, 5), walk(others, resumed, 5), strict=True):
        assert torch.equal(here, there)


@motions
def test_what_stages_hand_on_is_all_that_the_state_has_besides_the_variables(system, rule):
    parameters, flow = build(system, rule)
    flow.init_state()
    before = {name: torch.as_tensor(value).shape for name, value in flow.state[parameters[0]].items()}
    assert set(before) == {*system.variables, *rule.between(system)}
    walk(parameters, flow, 1)
    assert {name: torch.as_tensor(value).shape for name, value in flow.state[parameters[0]].items()} == before
