"""A compiled step by torch.compile: one trace for a whole schedule, equal to the plain step; and what breaks it.

Three representatives: the rule with a momentum, the one with numbers of its own, the one with noise. The last is
traced and functionalized, not compiled: its cipher takes the compiler minutes.
"""

import functools
import warnings

import pytest
import torch
from torch import nn

from thetadot.optim import Adam, HeavyBall, Kramers
from thetadot.testing import Subject, Traits
from thetadot.testing.compare import distance
from thetadot.testing.laws.compilation import SHAPES, compiled_and_eager


@pytest.fixture(autouse=True)
def _quiet():
    """dynamo imports what torch has deprecated, and looks at the grad of what is no leaf."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "The .grad attribute", UserWarning)
        yield
    torch._dynamo.reset()


REPRESENTATIVES = {
    "HeavyBall": (HeavyBall, Traits(momentum=True), "inductor"),
    "Adam": (Adam, Traits(), "inductor"),
    "Kramers": (
        functools.partial(Kramers, temperature=0.01),
        Traits(momentum=True, noisy=True),
        "aot_eager",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_a_compiled_step_is_traced_once_and_is_the_plain_step(name):
    build, traits, backend = REPRESENTATIVES[name]
    shapes = ((4,),) if traits.noisy else SHAPES  # every tensor traces the cipher again
    compiled, plain = compiled_and_eager(Subject(build, traits), backend, shapes)
    # torch's own root of float32 is off by a unit in the last place, ours is not
    assert distance(compiled, plain) < (1e-7 if traits.noisy else 1e-12)


def test_a_step_assigns_nothing_to_the_optimizer(lab, plain, monkeypatch):
    """dynamo of torch 2.9 traces no such assignment; what a first step settles lies in objects of its own."""
    params = lab.tensors()
    optimizer = lab.build(plain, params)
    before = lab.values(params)

    def refuse(self, name, value):
        raise AssertionError(name)

    monkeypatch.setattr(type(optimizer), "__setattr__", refuse)
    lab.run(optimizer, params)
    assert all(not torch.equal(p, old) for p, old in zip(params, before, strict=True))


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def batch():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16, 4, generator=generator, dtype=torch.float64)
    return x, x.sum(1, keepdim=True)


def training_step(net, optimizer):
    def step(x, y):
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        return loss.detach()

    return step


def traces(step, optimizer, schedule, steps=4):
    """Graphs that dynamo made in the first two calls, and in the rest."""
    counters, counts = torch._dynamo.utils.counters, []
    counters.clear()
    for n in range(steps):
        schedule(n, optimizer.param_groups[0])
        step(*batch())
        counts.append(counters["stats"]["unique_graphs"])
    return counts


def in_tensors(n, group):
    group["lr"].fill_(0.1 / (n + 1))
    group["momentum"].fill_(0.9 - 0.1 * n)


@pytest.mark.slow
def test_a_compiled_training_step_never_compiles_again():
    """Forward, backward and step in one function, lr and momentum scheduled in tensors."""
    runs = []
    for compiled in (True, False):
        net = model()
        lr, momentum = (torch.tensor(value, dtype=torch.float64) for value in (0.1, 0.9))
        optimizer = HeavyBall(net.parameters(), lr, momentum, capturable=True)
        optimizer.init_state()
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        step = training_step(net, optimizer)
        if compiled:
            counts = traces(torch.compile(step, backend="aot_eager"), optimizer, in_tensors)
            assert counts == counts[:1] * 4
        else:
            traces(step, optimizer, in_tensors)
        runs.append([p.detach() for p in net.parameters()])
    assert distance(*runs) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "ahead", "again"),
    [
        ({"capturable": True}, True, 0),
        ({"capturable": True}, False, 1),  # the first step, which allocates state, is another trace
        ({}, True, 1),  # the rule's own numbers become tensors in the first step
    ],
)
def test_what_costs_a_second_trace(options, ahead, again):
    net = model()
    optimizer = Adam(net.parameters(), torch.tensor(0.01, dtype=torch.float64), **options)
    if ahead:
        optimizer.init_state()
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    step = torch.compile(lambda x, y: optimizer.step(), backend="eager")
    counts = traces(step, optimizer, lambda n, group: group["lr"].fill_(0.01 / (n + 1)))
    assert [count - counts[0] for count in counts] == [0, again, again, again]


@pytest.mark.slow
def test_an_lr_that_is_a_number_is_traced_anew():
    """A number is part of the trace; dynamo gives up specializing on it after the second value."""
    net = model()
    optimizer = HeavyBall(net.parameters(), 0.1, capturable=True)
    optimizer.init_state()
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    step = torch.compile(lambda x, y: optimizer.step(), backend="eager")

    def by_number(n, group):
        group["lr"] = 0.1 / (n + 1)

    counts = traces(step, optimizer, by_number)
    assert counts[1] > counts[0]
