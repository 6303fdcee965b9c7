"""Oracle: the optimizer itself, stepped on a quadratic with second moments frozen, shrinks below its limit alone."""

import math

import pytest
import torch

import thetadot
from thetadot.analysis import stability_limit
from thetadot.core.limits import adaptive_stability_limit
from thetadot.optim import Adam, GradientDescent, HeavyBall, Kramers, Langevin, Nesterov, RMSprop
from thetadot.probes.readings import ADAPTERS, read
from thetadot.probes.readings.unread import REASONS

TINY, LONG = 1e-12, 1e15
"""Gradients so small and averages so long that second moments stay where they are put."""


def adam_state(p, *, largest=False):
    second = {"exp_inf": torch.full_like(p, 0.5)} if largest else {"exp_avg_sq": torch.full_like(p, 0.25)}
    return {"step": torch.tensor(LONG, dtype=torch.float64), "exp_avg": torch.zeros_like(p), **second}


def nadam_state(p):
    return adam_state(p) | {"mu_product": torch.zeros((), dtype=torch.float64)}


FROZEN = {
    torch.optim.SGD: (None, {"momentum": 0.9}),
    torch.optim.ASGD: (None, {"lambd": 0.5, "t0": LONG, "alpha": 0.0}),
    torch.optim.Adam: (adam_state, {"betas": (0.9, 1 - TINY)}),
    torch.optim.AdamW: (adam_state, {"betas": (0.9, 1 - TINY)}),
    torch.optim.NAdam: (nadam_state, {"betas": (0.9, 1 - TINY)}),
    torch.optim.RAdam: (adam_state, {"betas": (0.9, 1 - TINY)}),
    torch.optim.Adamax: (lambda p: adam_state(p, largest=True), {"betas": (0.9, 1 - TINY)}),
    torch.optim.SparseAdam: (adam_state, {"betas": (0.9, 1 - TINY)}),
    torch.optim.RMSprop: (
        lambda p: {
            "step": torch.tensor(LONG), "square_avg": torch.full_like(p, 0.25), "momentum_buffer": torch.zeros_like(p)
        },
        {"momentum": 0.9, "alpha": 1 - TINY},
    ),
    torch.optim.Adagrad: (lambda p: {"step": torch.tensor(7.0), "sum": torch.full_like(p, 0.25)}, {}),
    torch.optim.Adadelta: (
        lambda p: {
            "step": torch.tensor(7.0), "square_avg": torch.full_like(p, 0.25), "acc_delta": torch.full_like(p, 0.09)
        },
        {"rho": 1 - TINY},
    ),
    torch.optim.Adafactor: (
        lambda p: {"step": torch.tensor(LONG), "variance": torch.full_like(p, 0.25)},
        {"eps": (1e-30, 1e-3)},
    ),
}  # fmt: skip
OPTIONS = {
    torch.optim.SGD: [
        {"nesterov": True}, {"weight_decay": 0.7}, {"dampening": 0.5}, {"nesterov": True, "weight_decay": 0.7}
    ],
    torch.optim.ASGD: [{"weight_decay": 0.3}],
    torch.optim.SparseAdam: [{}],
    torch.optim.NAdam: [{"weight_decay": 0.7}, {"weight_decay": 0.7, "decoupled_weight_decay": True}],
    torch.optim.RAdam: [{"weight_decay": 0.7}, {"weight_decay": 0.7, "decoupled_weight_decay": True}],
    torch.optim.Adam: [{"weight_decay": 0.7}, {"weight_decay": 0.7, "decoupled_weight_decay": True}],
}  # fmt: skip
CASES = [(kind, more) for kind in FROZEN for more in ({}, *OPTIONS.get(kind, [{"weight_decay": 0.7}]))]


def factor(optimizer, p, curvature, steps=400):
    """By how much |θ| grows over the second half of the steps on hθ²/2."""
    sizes = []
    for _ in range(steps):
        slope = curvature * p.detach()
        p.grad = slope.to_sparse() if isinstance(optimizer, torch.optim.SparseAdam) else slope
        optimizer.step()
        sizes.append(float(p.detach().abs().max()))
    return max(sizes[-20:]) / max(sizes[steps // 2 : steps // 2 + 20])


def frozen(kind, more, lr=0.5):
    state, given = FROZEN[kind]
    p = torch.full((1,), 1e-200, dtype=torch.float64, requires_grad=True)
    optimizer = kind([p], lr=lr, **(given | more))
    if state is not None:
        optimizer.state[p].update(state(p.detach()))
    return optimizer, p


@pytest.mark.parametrize(("kind", "more"), CASES, ids=lambda x: getattr(x, "__name__", str(x)))
def test_torchs_own_are_stable_up_to_their_limit(kind, more):
    growths = []
    for share in (0.97, 1.03):
        optimizer, p = frozen(kind, more)
        reading = read(optimizer, optimizer.param_groups[0])
        scale = 1.0 if reading.preconditioner is None else float(reading.preconditioner[p])
        growths.append(factor(optimizer, p, share * reading.limit * scale))
    assert growths[0] < 1 < growths[1], growths


@pytest.mark.parametrize("kind", [k for k in vars(torch.optim).values() if isinstance(k, type)])
def test_every_class_of_torch_is_read_or_says_by_name_why_not(kind):
    if kind is torch.optim.Optimizer:
        return
    assert kind in dict(ADAPTERS)
    assert (kind in FROZEN) != (kind in REASONS)
    if kind in REASONS:
        p = torch.zeros(2, 2, requires_grad=True)
        optimizer = kind([p], lr=0.1)
        reading = read(optimizer, optimizer.param_groups[0])
        assert all(why.startswith(kind.__name__) for why in reading.lacks.values())
        assert "limit" in reading.lacks


OURS = [
    (GradientDescent, {}),
    (HeavyBall, {"momentum": 0.9}),
    (HeavyBall, {"momentum": 0.5, "convention": "displacement"}),
    (Nesterov, {"momentum": 0.9}),
    (Langevin, {"temperature": 0.0}),
    (Kramers, {"momentum": 0.9, "temperature": 0.0}),
]


@pytest.mark.parametrize("mode", ["decoupled", "l2"])
@pytest.mark.parametrize("lr", [0.2, 1.0])
@pytest.mark.parametrize(("kind", "more"), OURS, ids=lambda x: getattr(x, "__name__", str(x)))
def test_ours_are_stable_up_to_their_limit_with_either_decay(kind, more, lr, mode):
    growths = []
    for share in (0.97, 1.03):
        p = torch.full((1,), 1.0, dtype=torch.float64, requires_grad=True)
        optimizer = kind([p], lr=lr, weight_decay=0.5, weight_decay_mode=mode, **more)
        limit = optimizer.reading(optimizer.param_groups[0]).limit
        assert read(optimizer, optimizer.param_groups[0]).limit == limit
        growths.append(factor(optimizer, p, share * limit))
    assert growths[0] < 1 < growths[1], growths


def test_at_lr_one_and_decay_a_half():
    def limit(kind, **more):
        p = torch.zeros(1, requires_grad=True)
        optimizer = kind([p], lr=1.0, weight_decay=0.5, **more)
        return optimizer.reading(optimizer.param_groups[0]).limit

    assert limit(GradientDescent) == pytest.approx(1.5)
    assert limit(HeavyBall, momentum=0.9) == pytest.approx(2.85)
    assert limit(Nesterov, momentum=0.9) == pytest.approx(1.0178571)
    assert stability_limit(0.9, decay=0.5) == pytest.approx(2.85)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, Adam])
def test_adamw_at_lr_a_tenth_and_decay_one(kind):
    p = torch.zeros(1, requires_grad=True)
    mode = {} if kind is torch.optim.AdamW else {"weight_decay_mode": "decoupled"}
    optimizer = kind([p], lr=0.1, weight_decay=1.0, **mode)
    assert read(optimizer, optimizer.param_groups[0]).limit == pytest.approx(361.0)
    assert adaptive_stability_limit(0.9, decay=0.1) / 0.1 == pytest.approx(361.0)


@pytest.mark.parametrize("kind", [Adam, RMSprop])
def test_coupled_decay_behind_a_preconditioner_takes_its_largest_share(kind):
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    bare, decayed = (kind([p], lr=0.1, weight_decay=w, weight_decay_mode="l2") for w in (0.0, 0.2))
    p.grad = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    decayed.step()
    reading = decayed.reading(decayed.param_groups[0])
    free = bare.reading(bare.param_groups[0]).limit
    assert reading.limit == pytest.approx(free - 0.2 / float(reading.preconditioner[p].min()))


def test_decay_alone_can_be_unstable():
    p = torch.zeros(1, requires_grad=True)
    optimizer = thetadot.optim.HeavyBall([p], lr=1.0, momentum=0.9, weight_decay=3.0)
    assert optimizer.reading(optimizer.param_groups[0]).limit < 0
    assert math.isinf(thetadot.optim.SignDescent([p], lr=1.0).reading({"lr": 1.0, "weight_decay": 3.0}).limit)
