"""Adaptive steps, compiled: the eager engine's motion, and numbers that depend on nothing but the path."""

import math

import pytest
import torch

from thetadot.errors import Diverged, InadmissibleValue, IncompatiblePair, NotConverged
from thetadot.fusion.compiler import compiler
from thetadot.integrators import BogackiShampine, Controller, DormandPrince
from thetadot.integrators.adaptive import Embedded
from thetadot.integrators.tableaus import HEUN
from thetadot.potentials import DoubleWell
from thetadot.simulation import Save, simulate
from thetadot.simulation import controlled as controlled_
from thetadot.simulation.controlled import Marched
from thetadot.systems import ODE, DampedNewton, GradientFlow, Problem

pytestmark = pytest.mark.skipif(not compiler(), reason="no compiler")


class HeunEuler(Embedded):
    """A pair that hands no slope over."""

    tableau = HEUN


def lorenz(x):
    a, b, c = x.unbind(-1)
    return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)


def pendulum(t, x):
    return torch.stack([x[:, 1], -torch.sin(x[:, 0]) + 0.3 * torch.cos(t[:, 0])], -1)


def stiff_or_not(x):
    """The faster the farther out: paths take steps of their own."""
    return torch.stack([-x[:, 0] * x[:, 1].exp(), 0.1 * x[:, 0].cos()], -1)


MOTIONS = {
    "Lorenz": (ODE(lorenz), 3),
    "time and elementary functions": (ODE(pendulum), 2),
    "rates that differ": (ODE(stiff_or_not), 2),
    "a gradient": (Problem(GradientFlow(), DoubleWell()), 1),
    "a gradient, a velocity": (Problem(DampedNewton(0.2), DoubleWell()), 2),
}
RULES = {
    "Dormand-Prince": DormandPrince(),
    "Bogacki-Shampine": BogackiShampine(1e-5, 1e-8),
    "Heun-Euler": HeunEuler(1e-4, 1e-6),
    "three gains": DormandPrince(controller=Controller(0.1, 0.5, 0.05), first_step=1e-3),
}


def points(paths, dim, dtype=torch.float64):
    return torch.randn(paths, dim, generator=torch.Generator().manual_seed(3), dtype=dtype)


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("rule", RULES)
def test_it_is_the_motion_of_torchs_operations_and_takes_its_steps(motion, rule):
    system, dim = MOTIONS[motion]
    runs = [
        simulate(system, RULES[rule], points(21, dim), time=1.0, save=[0.3, 1.0], compile=compile_)
        for compile_ in (True, False)
    ]
    kernel, plain = runs
    assert (kernel.engine, plain.engine) == ("compiled", "plain")
    assert torch.allclose(kernel.states, plain.states, rtol=1e-9, atol=1e-9)
    for name in ("accepted", "rejected"):  # where an error is 1 to rounding, one of them may try once more
        assert (kernel.counts[name] - plain.counts[name]).abs().max() <= 1
    for name in kernel.variables:
        assert torch.allclose(kernel.variables[name], plain.variables[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("motion", MOTIONS)
def test_a_path_is_the_same_to_the_bit_whatever_is_beside_it_and_on_any_threads(motion, dtype):
    system, dim = MOTIONS[motion]
    start = points(301, dim, dtype)
    rule = DormandPrince(1e-4, 1e-6)
    whole = simulate(system, rule, start, time=1.0)
    assert whole.engine == "compiled"
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        threaded = simulate(system, rule, start, time=1.0)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(threaded.final, whole.final)
    for rows in (slice(0, 1), slice(7, 12), slice(100, 301)):
        alone = simulate(system, rule, start[rows], time=1.0)
        assert torch.equal(alone.final, whole.final[rows])
        assert torch.equal(alone.counts["accepted"], whole.counts["accepted"][rows])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_cut_where_it_is_saved_goes_on_to_the_bit(rule, dtype):
    start, times = points(37, 2, dtype), [0.25, 0.5, 0.75, 2.0]
    system, rule = ODE(pendulum), RULES[rule]
    whole = simulate(system, rule, start, time=2.0, save=times)
    for place, cut in enumerate(times[:-1]):
        half = simulate(system, rule, start, time=cut, save=times[: place + 1])
        rest = simulate(system, rule, half, time=2.0 - cut, save=[t - cut for t in times[place + 1 :]])
        assert torch.equal(rest.final, whole.final)
        assert all(torch.equal(rest.counts[name], whole.counts[name]) for name in whole.counts)


def test_it_comes_back_to_python_without_a_trace(monkeypatch):
    """A few steps a call or all at once: the same numbers; what is interrupted stands where all paths have met."""
    start = points(40, 3)
    whole = simulate(ODE(lorenz), DormandPrince(), start, time=2.0, save=[0.5, 2.0])
    monkeypatch.setattr("thetadot.simulation.controlled._TRIES", 0)
    monkeypatch.setattr("thetadot.simulation.controlled._LEAST", 3)
    pieces = simulate(ODE(lorenz), DormandPrince(), start, time=2.0, save=[0.5, 2.0])
    assert torch.equal(whole.states, pieces.states)
    calls, own = [], Marched._try

    def interrupted(*given):
        calls.append(1)
        if len(calls) > 20:
            raise KeyboardInterrupt
        own(*given)

    monkeypatch.setattr(Marched, "_try", interrupted)
    with pytest.raises(KeyboardInterrupt) as told:
        simulate(ODE(lorenz), DormandPrince(), start, time=2.0, save=[0.5, 2.0])
    last = told.value.last
    monkeypatch.setattr(Marched, "_try", own)
    assert last.end.time == 0.5
    assert torch.equal(last.final, whole.states[0])
    assert torch.equal(simulate(ODE(lorenz), DormandPrince(), last, time=1.5).final, whole.final)


def test_an_error_is_of_order_of_its_tolerance():
    """ẋ = -x·cos t keeps to e^(-sin t)."""
    for tolerance in (1e-4, 1e-7, 1e-10):
        found = simulate(
            ODE(lambda t, x: -x * torch.cos(t)), DormandPrince(tolerance, tolerance), points(5, 1), time=6.0
        )
        exact = points(5, 1) * math.exp(-math.sin(6.0))
        assert torch.allclose(found.final, exact, rtol=0, atol=30 * tolerance)


def test_constants_that_a_drift_holds_are_those_of_the_call():
    for rate in (1.0, 2.0):
        found = simulate(ODE(lambda x, rate=rate: -rate * x), DormandPrince(1e-10, 1e-12), points(3, 1), time=1.0)
        assert torch.allclose(found.final, points(3, 1) * math.exp(-rate), rtol=1e-8)


def test_a_kernel_is_kept_by_what_its_drift_asks_for(monkeypatch):
    """A second call traces nothing; an attribute, a weight, a global that has changed is another drift."""
    traced, own = [], controlled_.traced_slopes
    monkeypatch.setattr(controlled_, "traced_slopes", lambda *given: traced.append(1) or own(*given))

    class Spring:
        rate = 1.25

    layer = torch.nn.Linear(2, 2, bias=False).double()
    torch.nn.init.eye_(layer.weight)
    for field, change, faster in (
        (lambda x: -Spring.rate * x, lambda: setattr(Spring, "rate", 2.5), (1.25, 2.5)),
        (lambda x: -layer(x), lambda: layer.weight.data.mul_(3.0), (1.0, 3.0)),
    ):
        for rate in faster:
            for again in (0, 1):
                before = len(traced)
                found = simulate(ODE(field), DormandPrince(1e-10, 1e-12), points(3, 2), time=1.0)
                assert found.engine == "compiled"
                assert torch.allclose(found.final, points(3, 2) * math.exp(-rate), rtol=1e-8)
                assert not again or len(traced) == before
            change()


def test_what_cannot_be_taken_apart_is_simulated_as_it_is_and_says_why():
    coupled = ODE(lambda x: x.mean(0) - x)
    found = simulate(coupled, DormandPrince(), points(4, 2), time=1.0)
    assert found.engine == "plain"
    assert "paths see each other" in found.remark
    with pytest.raises(IncompatiblePair, match=r"the drift cannot be compiled: paths see each other"):
        simulate(coupled, DormandPrince(), points(4, 2), time=1.0, compile=True)
    with pytest.raises(InadmissibleValue, match="compile='yes' is unknown"):
        simulate(coupled, DormandPrince(), points(4, 2), time=1.0, compile="yes")
    held = simulate(ODE(lambda x: x / len(x)), DormandPrince(), points(5, 1), time=1.0)
    assert held.engine == "staged"


def test_paths_arrive_though_one_ends_on_the_way():
    """ẋ = x² from 2 ends at 1/2; what was saved before is kept."""
    start = torch.tensor([[0.1], [2.0], [-1.0]], dtype=torch.float64)
    with pytest.raises(Diverged, match=r"path 1 gets no further than time 0\.5") as told:
        simulate(ODE(lambda x: x * x), DormandPrince(), start, time=3.0, save=[0.4, 3.0])
    assert told.value.last.times.tolist() == [0.4]
    assert torch.allclose(told.value.last.final, start / (1 - 0.4 * start), rtol=1e-5)


def test_the_bound_of_steps_is_met_exactly_across_saves():
    whole = simulate(ODE(lorenz), DormandPrince(), points(9, 3), time=2.0, save=20)
    tried = int((whole.counts["accepted"] + whole.counts["rejected"]).max())
    assert torch.equal(
        simulate(ODE(lorenz), DormandPrince(most_steps=tried), points(9, 3), time=2.0, save=20).final, whole.final
    )
    with pytest.raises(NotConverged, match=f"has tried most_steps={tried - 1} steps") as told:
        simulate(ODE(lorenz), DormandPrince(most_steps=tried - 1), points(9, 3), time=2.0, save=20)
    assert 0 < len(told.value.last.times) < 21


def test_statistics_see_the_states_that_would_be_saved():
    def mean(_, variables):
        return variables["position"].mean(0)

    start = points(6, 3)
    found = simulate(
        ODE(lorenz), DormandPrince(), start, time=1.0, save={"all": Save(count=4), "mean": Save(mean, count=4)}
    )
    assert torch.equal(found["mean"].values, found["all"].values.mean(1))


# Steps compiled, the drift torch's.


def learned():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)).double()
    return ODE(lambda t, x: net(torch.cat([torch.cumprod(x, -1), t.to(x)], -1)))


def by_path(x):
    """Each with a rate of its own."""
    return -torch.linspace(0.5, 30.0, len(x), dtype=x.dtype)[:, None] * x


STAGED = {"parameters by path": ODE(by_path), "learned, with time": learned()}


@pytest.mark.parametrize("motion", STAGED)
@pytest.mark.parametrize("rule", RULES)
def test_staged_steps_are_those_of_torchs_operations(motion, rule):
    start = points(19, 2)
    staged = simulate(STAGED[motion], RULES[rule], start, time=2.0, save=[0.5, 2.0])
    plain = simulate(STAGED[motion], RULES[rule], start, time=2.0, save=[0.5, 2.0], compile=False)
    assert (staged.engine, plain.engine) == ("staged", "plain")
    assert torch.allclose(staged.states, plain.states, rtol=1e-9, atol=1e-9)
    for name in ("accepted", "rejected"):
        assert (staged.counts[name] - plain.counts[name]).abs().max() <= 1


@pytest.mark.parametrize("motion", STAGED)
@pytest.mark.parametrize("rule", RULES)
def test_staged_steps_that_are_cut_go_on_to_the_bit(motion, rule):
    """Also by half a step: what was handed out before is left as it was."""
    system, rule, start = STAGED[motion], RULES[rule], points(11, 2)
    whole = simulate(system, rule, start, time=2.0, save=[0.25, 0.5, 2.0])
    half = simulate(system, rule, start, time=0.5, save=[0.25, 0.5])
    kept = {name: value.clone() for name, value in half.end.memory.items()}
    rest = simulate(system, rule, half, time=1.5)
    assert torch.equal(half.states, whole.states[:2])
    assert torch.equal(rest.final, whole.final)
    assert all(torch.equal(rest.counts[name], whole.counts[name]) for name in whole.counts)
    assert all(torch.equal(half.end.memory[name], value) for name, value in kept.items())


def test_staged_steps_keep_to_float32_and_to_bounds():
    start = points(5, 2, torch.float32)
    run = simulate(STAGED["parameters by path"], DormandPrince(1e-4, 1e-6), start, time=1.0)
    assert run.final.dtype == torch.float32
    with pytest.raises(NotConverged, match="most_steps=4 steps"):
        simulate(STAGED["parameters by path"], DormandPrince(1e-6, 1e-9, most_steps=4), start, time=9.0)
    with pytest.raises(Diverged, match=r"path 1 gets no further than time 0\.5"):
        simulate(
            ODE(lambda x: x * x + 0 * x.mean()), DormandPrince(), points(1, 1).new_tensor([[0.1], [2.0]]), time=3.0
        )


def test_what_is_interrupted_before_the_first_time_stands_at_the_start():
    calls = []

    def field(x):
        calls.append(1)
        if len(calls) > 400:
            raise KeyboardInterrupt
        return torch.cumprod(torch.sin(10 * x), -1)

    start = points(3, 2)
    with pytest.raises(KeyboardInterrupt) as told:
        simulate(ODE(field), DormandPrince(), start, time=50.0)
    assert told.value.last.engine == "staged"
    assert told.value.last.end.time == 0
    assert torch.equal(told.value.last.end.state["position"], start)


# Paths that see each other take their steps together.


@pytest.mark.parametrize("rule", RULES)
def test_coupled_paths_keep_one_clock(rule):
    """Springs between all: the middle stays, the rest relaxes at rate 4. Apart, they would be off by a step."""
    start = points(9, 2) * torch.linspace(0.1, 30.0, 9, dtype=torch.float64)[:, None]
    run = simulate(ODE(lambda x: 4.0 * (x.mean(0) - x)), RULES[rule], start, time=1.0, save=[0.3, 1.0])
    middle = start.mean(0)
    for time, state in zip(run.times.tolist(), run.states, strict=True):
        exact = middle + (start - middle) * math.exp(-4.0 * time)
        assert torch.allclose(state, exact, rtol=0, atol=300 * RULES[rule].rtol)
    assert len(set(run.counts["accepted"].tolist())) == 1
    half = simulate(ODE(lambda x: 4.0 * (x.mean(0) - x)), RULES[rule], start, time=0.3)
    rest = simulate(ODE(lambda x: 4.0 * (x.mean(0) - x)), RULES[rule], half, time=0.7)
    assert torch.equal(rest.final, run.final)
