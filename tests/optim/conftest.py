"""The optimizers under test, and what their tests do with them.

A test that takes ``every``, ``plain``, ``noisy``, ``quiet`` or ``momentous`` runs once for each optimizer of that kind;
``lab`` builds and runs it.
"""

import functools
import io
import types

import pytest
import torch

from thetadot.optim import (
    Adam,
    AdamW,
    Amos,
    GradientDescent,
    HeavyBall,
    ImplicitHeavyBall,
    Kramers,
    Langevin,
    Nesterov,
    NormalizedDescent,
    Polyak,
    RMSprop,
    SignDescent,
)
from thetadot.testing import Subject, Traits

PLAIN = {
    "GradientDescent": GradientDescent,
    "HeavyBall": HeavyBall,
    "HeavyBall-torch": functools.partial(HeavyBall, convention="torch"),
    "HeavyBall-displacement": functools.partial(HeavyBall, convention="displacement"),
    "HeavyBall-moving": functools.partial(HeavyBall, move_half_step=True),
    "HeavyBall-rest": functools.partial(HeavyBall, start="rest"),
    "Nesterov": Nesterov,
    "Nesterov-half": functools.partial(Nesterov, lookahead=0.5),
    "Nesterov-torch": functools.partial(Nesterov, convention="torch"),
    "Langevin": functools.partial(Langevin, temperature=0.01),
    "Kramers": functools.partial(Kramers, temperature=0.01),
    "Kramers-moving": functools.partial(Kramers, temperature=0.01, move_half_step=True),
    "Adam": Adam,
    "AdamW": AdamW,
    "Adam-amsgrad": functools.partial(Adam, amsgrad=True),
    "RMSprop": RMSprop,
    "RMSprop-clock": functools.partial(RMSprop, clock=True),
    "RMSprop-global": functools.partial(RMSprop, norm="global"),
    "SignDescent": SignDescent,
    "NormalizedDescent": NormalizedDescent,
    "Amos": Amos,
    "Amos-half-life": functools.partial(Amos, kind="decaying", half_life=20),
}
NOISY = ("Langevin", "Kramers", "Kramers-moving")
MOMENTOUS = tuple(name for name in PLAIN if name.startswith(("HeavyBall", "Nesterov", "Kramers")))
MEASURING = ("RMSprop-global", "NormalizedDescent", "Amos", "Amos-half-life")  # sums over the gradient's elements
EVERY = PLAIN | {"ImplicitHeavyBall": ImplicitHeavyBall, "Polyak": functools.partial(Polyak, bound=0.1)}
KINDS = {
    "every": list(EVERY),
    "plain": list(PLAIN),
    "noisy": list(NOISY),
    "quiet": [name for name in EVERY if name not in (*NOISY, "Polyak")],  # Polyak's loss is of all groups together
    "momentous": list(MOMENTOUS),
}
LR = 0.05
SOLVING = ("ImplicitHeavyBall",)  # step(closure) solves an equation
NEEDY = (*SOLVING, "Polyak")  # step() needs a closure


def subject(name):
    """What the laws of thetadot.testing are run on."""
    explicit = name not in SOLVING
    traits = Traits(
        lr=LR,
        closure=name in NEEDY,
        solves=not explicit,
        noisy=name in NOISY,
        momentum=name in KINDS["momentous"] or not explicit,
        differentiable=explicit,
        capturable=explicit,
    )
    return Subject(EVERY[name], traits)


def build(name, params, lr=LR, **options):
    """The optimizer under a fixed key: noise is that of the same seed everywhere."""
    if name in NOISY:
        options.setdefault("generator", torch.Generator().manual_seed(7))
    return EVERY[name](params, lr=lr, **options)


def tensors(dtype=torch.float64, shapes=((3, 2), (4,), ())):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def closure_of(optimizer, params):
    """L = Σ|p-1|²/2 + Σp⁴/4, in terms of the moduli."""

    def closure():
        optimizer.zero_grad()
        loss = sum(((p - 1).abs().square() / 2 + p.abs() ** 4 / 4).sum() for p in params)
        loss.backward()
        return loss

    return closure


def run(optimizer, params, steps=5):
    closure = closure_of(optimizer, params)
    for _ in range(steps):
        optimizer.step(closure)
    return params


def values(params):
    return [p.detach().clone() for p in params]


def assert_equal(some, others):
    assert len(some) == len(others)
    for p, q in zip(some, others, strict=True):
        assert torch.equal(p, q)


def saved(optimizer):
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def pytest_generate_tests(metafunc):
    for kind, names in KINDS.items():
        if kind in metafunc.fixturenames:
            metafunc.parametrize(kind, names)


@pytest.fixture
def lab():
    return types.SimpleNamespace(
        LR=LR,
        MEASURING=MEASURING,
        NOISY=NOISY,
        assert_equal=assert_equal,
        build=build,
        closure_of=closure_of,
        run=run,
        saved=saved,
        subject=subject,
        tensors=tensors,
        values=values,
    )
