"""A second call does what the function does then: whatever a step hangs on is asked for again."""

import copy
import random

import numpy as np
import pytest
import torch

from thetadot.fusion.compiler import compiler
from thetadot.fusion.components import components
from thetadot.fusion.recording import Recorder, recorded
from thetadot.integrators import Euler, EulerMaruyama, Heun, Splitting
from thetadot.potentials import DoubleWell
from thetadot.simulation import asked, simulate
from thetadot.systems import ODE, SDE, Kramers, Problem

START = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(6, 2)
STEPS, STEP = 4, 0.25
SCALE = 1.0
ENGINES = ["plain", "in place", *(["compiled"] if compiler() else [])]


def hand(f, x=START, steps=STEPS):
    for _ in range(steps):
        x = x + STEP * f(x)
    return x.detach()


def ours(f, x=START, engine=None):
    return simulate(ODE(f), Euler(), x, time=STEPS * STEP, step=STEP, engine=engine)


class Spring:
    def __init__(self):
        self.rate, self.deep = 1.0, {"rates": [1.0, torch.ones(2, dtype=torch.float64)]}

    def __call__(self, x):
        return -self.rate * self.deep["rates"][0] * x * self.deep["rates"][1]

    def pull(self, x):
        return -self.rate * x


def changes():
    """A function, and what changes what it does without it becoming another one."""
    rate = 1.0

    def closure(x):
        return -rate * x

    def turn_closure():
        nonlocal rate
        rate = 1.0 + 2**-20

    yield "a captured float, by little", closure, turn_closure

    def of_global(x):
        return -SCALE * x

    def turn_global():
        globals()["SCALE"] = 3.0 if SCALE == 1.0 else 1.0

    yield "a global", of_global, turn_global

    def defaulted(x, rate=1.0):
        return -rate * x

    yield "a default argument", defaulted, lambda: setattr(defaulted, "__defaults__", (2.0,))
    spring = Spring()
    yield "an attribute", spring, lambda: setattr(spring, "rate", 3.0)
    deep = Spring()
    yield "a number in a list in a mapping", deep, lambda: deep.deep["rates"].__setitem__(0, 3.0)
    wide = Spring()
    yield "a held tensor, in place", wide, lambda: wide.deep["rates"][1].mul_(2.0)
    method = Spring()
    yield "an attribute behind a method", method.pull, lambda: setattr(method, "rate", 0.0)
    layer = torch.nn.Linear(2, 2).double()
    yield "a weight", layer, lambda: layer.weight.data.add_(0.5)
    act = torch.nn.Sequential(torch.nn.Linear(2, 2).double(), torch.nn.Tanh())
    yield "a part of a network", act, lambda: act.__setitem__(1, torch.nn.Sigmoid())
    buffered = torch.nn.Module()
    buffered.register_buffer("shift", torch.zeros(2, dtype=torch.float64))
    yield "a buffer", lambda x: buffered.shift - x, lambda: buffered.shift.fill_(0.3)
    drop = torch.nn.Dropout(1.0).eval()
    yield "a mode", drop, drop.train
    table = np.array([1.0, 2.0])
    yield "an array", lambda x: x * torch.from_numpy(table), lambda: table.__setitem__(0, -1.0)
    turned = {"on": False}
    yield "a branch", lambda x: torch.sin(x) if turned["on"] else torch.cos(x), lambda: turned.update(on=True)
    yield "zero's sign", lambda x: 1.0 / (0.0 * rate * x + (-0.0 if turned["on"] else 0.0) + 2.0), turn_closure


@pytest.mark.parametrize("engine", [None, *ENGINES])
@pytest.mark.parametrize("case", [name for name, _, _ in changes()])
def test_what_has_changed_between_two_calls_takes_effect(case, engine):
    function, change = next((f, c) for name, f, c in changes() if name == case)
    for turn in (lambda: None, lambda: None, change):
        turn()
        found = ours(function, engine=engine).final
        assert torch.allclose(found, hand(function), rtol=0, atol=1e-14)


def test_the_number_of_paths_is_no_number():
    """x/len(x) asks for x/37 of 37 paths, and so does x/37 of any."""
    shared = {"paths": True}

    def f(x):
        return x / (len(x) if shared["paths"] else 37)

    for paths in (True, False, True):
        shared["paths"] = paths
        assert torch.allclose(ours(f).final, hand(f), rtol=0, atol=1e-15)


def test_an_equal_step_is_traced_once(monkeypatch):
    asked.forget()
    calls = []

    def counted(*given):
        calls.append(1)
        return components(*given)

    monkeypatch.setattr("thetadot.simulation.engines.components", counted)
    for _ in range(3):
        simulate(SDE(lambda x: x - x**3, 0.5), EulerMaruyama(), torch.zeros(10, 1), time=1.0, step=0.1)
    assert len(calls) == 1
    simulate(SDE(lambda x: x - x**3, 0.25), EulerMaruyama(), torch.zeros(10, 1), time=1.0, step=0.1)
    assert len(calls) == 2


NETWORKS = {
    "plain": lambda: torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2)),
    "dropout": lambda: torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2)),
    "batch norm": lambda: torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2)),
    "layer norm": lambda: torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.LayerNorm(8), torch.nn.GELU(),
                                              torch.nn.Linear(8, 2)),
    "spectral norm": lambda: torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("engine", [None, "plain"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", NETWORKS)
def test_a_learned_drift_is_the_loop_by_hand_and_leaves_the_same_module(case, dtype, engine):
    torch.manual_seed(0)
    network = NETWORKS[case]().to(dtype)
    beside = copy.deepcopy(network)
    x = START.to(dtype)
    torch.manual_seed(1)
    wanted = hand(beside, x)
    drawn = torch.get_rng_state()
    torch.manual_seed(1)
    found = ours(network, x, engine)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.allclose(found.final, wanted, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-14)
    for (name, own), other in zip(network.state_dict().items(), beside.state_dict().values(), strict=True):
        assert torch.allclose(own, other), name


def test_a_module_that_is_moved_to_another_dtype_is_asked_again():
    network = NETWORKS["plain"]()
    assert torch.allclose(ours(network, START.float()).final, hand(network, START.float()), atol=1e-6)
    network.double()
    assert torch.allclose(ours(network).final, hand(network), rtol=0, atol=1e-14)
    with pytest.raises(RuntimeError, match="dtype"):
        ours(network, START.float())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("case", ["plain", "elementary"])
def test_under_no_grad_and_inference_mode_it_is_the_same(mode, inside, case):
    own = NETWORKS["plain"]().double() if case == "plain" else torch.sin
    wanted = hand(own)
    if inside:
        found = ours(mode()(lambda x: own(x))).final  # noqa: PLW0108 - modules are not decorated
    else:
        with mode():
            found = ours(own).final
    assert torch.allclose(found, wanted, rtol=0, atol=1e-14)


def test_a_drift_that_takes_gradients_itself_may():
    def f(x):
        x = x.detach().requires_grad_()
        return -torch.autograd.grad((x**4).sum(), x)[0]

    assert torch.allclose(ours(f).final, hand(f), rtol=0, atol=1e-14)


def _numpys():
    return np.random.get_state()[1].tolist()  # noqa: NPY002 - the global one


def test_asking_leaves_every_generator_as_it_was():
    own = torch.Generator().manual_seed(4)
    states = (random.getstate(), _numpys(), torch.get_rng_state(), own.get_state())

    def noisy():
        random.random(), np.random.rand()  # noqa: NPY002 - the global one
        return torch.rand(3) + torch.rand(3, generator=own)

    recorded(noisy)
    assert random.getstate() == states[0]
    assert _numpys() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert torch.equal(own.get_state(), states[3])


def test_asking_writes_to_nothing_that_is_held():
    held = torch.zeros(3)
    with Recorder() as recorder:
        for _ in range(2):
            held.add_(1.0)
        seen = held * 1.0
    assert torch.equal(held, torch.zeros(3))
    assert torch.equal(seen, torch.full((3,), 2.0))
    assert "writes to" in recorder.recording.hindrance


@pytest.mark.parametrize(
    ("motion", "rule"),
    [
        (Problem(Kramers(1.0, 0.5), DoubleWell()), Splitting("BAOAB")),
        (Problem(Kramers(1.0, 0.5), lambda x: (x**4).sum(-1)), Splitting("BAOAB")),
        (SDE(lambda t, x: torch.cos(t) * x, lambda t, x: 0.1 * x, "stratonovich"), Heun()),
    ],
    ids=["its own gradient", "autograd", "time"],
)
def test_a_second_call_is_the_first_again(motion, rule):
    first, second = (simulate(motion, rule, START, time=1.0, step=0.1, key=2) for _ in range(2))
    assert torch.equal(first.final, second.final)


def test_coupled_drifts_are_simulated_on_whole_tensors_and_it_is_said():
    matrix = torch.eye(30)
    run = simulate(ODE(lambda x: -(x @ matrix)), Euler(), torch.ones(5, 30), time=1.0, step=0.25)
    assert run.engine == "plain"
    assert "on whole tensors take less time" in run.remark
    assert torch.allclose(run.final, torch.full((5, 30), 0.75**4))
    alone = simulate(ODE(lambda x: -x), Euler(), torch.ones(5, 1), time=1.0, step=0.25)
    assert (alone.engine, alone.remark) == ("in place", "")
    named = simulate(ODE(lambda x: -x), Euler(), torch.ones(5, 1), time=1.0, step=0.25, engine="plain")
    assert (named.engine, named.remark) == ("plain", "")


@pytest.mark.parametrize("read", [lambda x: float(x.sum()), lambda x: bool((x < 9).all()), lambda x: x.sum().item()])
def test_a_drift_that_reads_a_value_is_asked_and_said_to(read):
    def drift(x):
        return -x if read(x) < 9 else x

    run = simulate(ODE(drift), Euler(), torch.ones(3, 2), time=0.2, step=0.1)
    assert "reads a value" in run.remark
