"""Problems that every optimizer must solve: the lists of optax and of pytorch_optimizer, as patterns.

Parabola and Rosenbrock's valley to 3e-2, real and complex; a mean of micro-batches is the batch; a network's loss
falls by half and more in float32, bfloat16, complex64 and through a closure.
"""

import pytest
import torch
from torch import nn

from thetadot.optim import Adam, AdamW, GradientDescent, HeavyBall, ImplicitHeavyBall, Kramers, Langevin, Nesterov

MOST = 10_000
SOLVERS = {
    "GradientDescent": lambda p, h: GradientDescent(p, 1.5 / h),
    "HeavyBall": lambda p, h: HeavyBall(p, 0.4 / h, 0.95),
    "Nesterov": lambda p, h: Nesterov(p, 0.4 / h, 0.95),
    "Adam": lambda p, _: Adam(p, 0.1),
    "AdamW": lambda p, _: AdamW(p, 0.1, weight_decay=1e-4),
    "Langevin": lambda p, h: Langevin(p, 1.5 / h, temperature=1e-9, generator=torch.Generator().manual_seed(0)),
    "Kramers": lambda p, h: Kramers(p, 0.4 / h, 0.95, temperature=1e-9, generator=torch.Generator().manual_seed(0)),
}
"""Functions of the parameters and of the largest curvature."""


def parabola(p, target):
    return (p - target).abs().square().sum()


def rosenbrock(p, target):
    a, b = (p[0] - target[0] + 1.0), (p[1] - target[1] + 1.0)
    return (1.0 - a).abs().square() + 100.0 * (b - a.abs().square()).abs().square()


PROBLEMS = {
    "parabola": (parabola, [-1.0, 10.0], [1.0, -1.0], 2.0),
    "rosenbrock": (rosenbrock, [0.0, 0.0], [1.0, 1.0], 1002.0),
}
FLAT = ("GradientDescent", "Langevin")  # without momentum the valley takes thousands of steps
PAIRS = [(name, problem) for problem in PROBLEMS for name in SOLVERS if problem == "parabola" or name not in FLAT]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize(("name", "problem"), PAIRS)
def test_the_minimum_is_found_to_3e_2(name, problem, dtype):
    loss, begin, end, curvature = PROBLEMS[problem]
    p, target = torch.tensor(begin).to(dtype).requires_grad_(), torch.tensor(end).to(dtype)
    optimizer = SOLVERS[name]([p], curvature)
    for n in range(MOST):
        optimizer.zero_grad()
        loss(p, target).backward()
        optimizer.step()
        if n % 50 == 49 and float((p - target).detach().abs().max()) < 3e-2:
            break
    assert float((p - target).detach().abs().max()) < 3e-2
    assert p.dtype is dtype


@pytest.mark.parametrize("name", SOLVERS)
def test_a_mean_of_micro_batches_is_the_batch(name):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 3, generator=generator, dtype=torch.float64)
    y = x.sum(1)
    whole, parts = (torch.zeros(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    one, other = SOLVERS[name]([whole], 4.0), SOLVERS[name]([parts], 4.0)
    for _ in range(20):
        for p, optimizer, cuts in ((whole, one, 1), (parts, other, 4)):
            optimizer.zero_grad()
            for xs, ys in zip(x.chunk(cuts), y.chunk(cuts), strict=True):
                ((xs @ p - ys).square().mean() / cuts).backward()
            optimizer.step()
    assert torch.allclose(whole, parts, rtol=0, atol=1e-12)


# A network, whatever it is made of.

TRAINERS = {
    "GradientDescent": lambda p: GradientDescent(p, 0.5),
    "HeavyBall": lambda p: HeavyBall(p, 0.3, 0.9),
    "Nesterov": lambda p: Nesterov(p, 0.3, 0.9),
    "Adam": lambda p: Adam(p, 0.1),
    "AdamW": lambda p: AdamW(p, 0.1),
    "Langevin": lambda p: Langevin(p, 0.5, temperature=1e-6),
    "Kramers": lambda p: Kramers(p, 0.3, 0.9, temperature=1e-6),
}


class Network(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(42)
        self.first, self.last = nn.Linear(2, 4, dtype=dtype), nn.Linear(4, 1, dtype=dtype)

    def forward(self, x):
        z = torch.tanh(self.first(x))
        z = self.last(z)
        return z.real if z.is_complex() else z


def two_clouds():
    generator = torch.Generator().manual_seed(42)
    x = torch.randn(100, 2, generator=generator) * 2
    y = (torch.arange(100) >= 50).float()
    return x + torch.where(y[:, None] > 0, 2.0, -2.0), y[:, None]


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("name", TRAINERS)
def test_a_networks_loss_falls_by_half_and_more(name, dtype, closure):
    x, y = two_clouds()
    net = Network(dtype)
    optimizer = TRAINERS[name](net.parameters())

    def evaluate():
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(net(x.to(dtype)).float(), y)
        loss.backward()
        return loss

    losses = []
    for _ in range(20):
        if closure:
            losses.append(float(optimizer.step(evaluate).detach()))
        else:
            losses.append(float(evaluate().detach()))
            optimizer.step()
    assert losses[0] > 1.5 * losses[-1]


def test_the_implicit_method_trains_too():
    x, y = two_clouds()
    net = Network(torch.float32).double()
    optimizer = ImplicitHeavyBall(net.parameters(), 0.5, 0.5)

    def evaluate():
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(net(x.double()), y.double())
        loss.backward()
        return loss

    losses = [float(optimizer.step(evaluate).detach()) for _ in range(10)]
    assert losses[0] > 1.5 * losses[-1]
