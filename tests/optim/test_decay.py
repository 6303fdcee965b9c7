"""Weight decay in closed form: the pull of the origin alone, and beside a loss."""

import pytest
import torch
from torch import nn

from thetadot.errors import InadmissibleValue
from thetadot.integrators import Splitting
from thetadot.optim import AdamW, Flow, GradientDescent, HeavyBall, ImplicitHeavyBall, Nesterov
from thetadot.systems import DampedNewton

LR, WD = 0.1, 0.01


def force_free(optimizer, p, steps):
    start = p.detach().clone()

    def closure():
        p.grad = torch.zeros_like(p)
        return 0.0

    for _ in range(steps):
        optimizer.step(closure)
    return float((p.detach() / start).mean())


@pytest.mark.parametrize(
    "build",
    [
        lambda p: GradientDescent(p, LR, weight_decay=WD),
        lambda p: HeavyBall(p, LR, 0.9, weight_decay=WD),
        lambda p: Nesterov(p, LR, 0.9, weight_decay=WD),
        lambda p: ImplicitHeavyBall(p, LR, 0.9, weight_decay=WD),
        lambda p: AdamW(p, LR, weight_decay=WD),
    ],
)
def test_decoupled_decay_shrinks_by_lr_wd_a_step_whatever_the_momentum(build):
    p = torch.full((3,), 2.0, dtype=torch.float64, requires_grad=True)
    assert force_free(build([p]), p, 50) == pytest.approx((1 - LR * WD) ** 50, rel=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_l2_decay_shrinks_by_lr_wd_over_1_minus_beta_in_the_long_run(momentum):
    p = torch.full((3,), 2.0, dtype=torch.float64, requires_grad=True)
    lr, wd = 0.01, 1e-3  # the rate is that of small lr·wd
    optimizer = HeavyBall([p], lr, momentum, weight_decay=wd, weight_decay_mode="l2")
    force_free(optimizer, p, 300)
    p0 = float(p.detach().mean())
    force_free(optimizer, p, 100)
    rate = 1 - (float(p.detach().mean()) / p0) ** (1 / 100)
    assert rate == pytest.approx(lr * wd / (1 - momentum), rel=0.01)


BUILDERS = {
    "GradientDescent": lambda p, **o: GradientDescent(p, LR, **o),
    "HeavyBall": lambda p, **o: HeavyBall(p, LR, 0.9, **o),
    "HeavyBall-rest": lambda p, **o: HeavyBall(p, LR, 0.9, start="rest", **o),
    "Nesterov": lambda p, **o: Nesterov(p, LR, 0.9, **o),
    "ImplicitHeavyBall": lambda p, **o: ImplicitHeavyBall(p, LR, 0.9, **o),
    "two gradients a step": lambda p, **o: Flow(p, DampedNewton(0.5), Splitting("OBABABO"), LR, **o),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_l2_decay_is_a_quadratic_added_to_the_loss(name):
    """Wherever and however often the gradient is taken."""
    ends = []
    for decay in (0.0, 0.7):
        p = torch.tensor([2.0, -1.0], dtype=torch.float64, requires_grad=True)
        optimizer = BUILDERS[name]([p], weight_decay=decay, weight_decay_mode="l2")

        def closure():
            optimizer.zero_grad()
            loss = (p**4).sum() / 4 + (0.7 - decay) / 2 * (p**2).sum()
            loss.backward()
            return loss

        for _ in range(10):
            optimizer.step(closure)
        ends.append(p.detach())
    assert torch.allclose(*ends, rtol=0, atol=1e-10 if name == "ImplicitHeavyBall" else 1e-14)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(3, 4)
        self.layer = nn.Linear(4, 2)
        self.norm = nn.LayerNorm(2)


@pytest.mark.parametrize("groups", [False, True])
def test_no_decay_spares_parameters_by_name(groups):
    net = Net()
    named = list(net.named_parameters())
    params = [{"params": named[:2], "lr": 0.2}, {"params": named[2:]}] if groups else named
    optimizer = HeavyBall(params, LR, weight_decay=WD, no_decay=("bias", "norm", "embedding"))
    before = {name: p.detach().clone() for name, p in named}
    for _, p in named:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    moved = {name for name, p in named if not torch.equal(p, before[name])}
    assert moved == {"layer.weight"}
    lr = 0.2 if groups else LR
    assert torch.allclose(net.layer.weight, before["layer.weight"] * (1 - lr * WD))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(named)


def test_one_name_part_may_stand_alone():
    """A bare string is one part, not its letters."""
    net = Net()
    optimizer = HeavyBall(net.named_parameters(), LR, weight_decay=WD, no_decay="bias")
    spared = [p for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]]
    assert {id(p) for p in spared} == {id(net.layer.bias), id(net.norm.bias)}


def test_no_decay_needs_names():
    with pytest.raises(InadmissibleValue, match=r"Pass model.named_parameters"):
        HeavyBall(Net().parameters(), LR, weight_decay=WD, no_decay=("bias",))
