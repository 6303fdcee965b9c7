"""Every path is the slow one: a reference transcribed from the paper, p.grad, closure, group by group, compiled.

The pattern is that of schedule-free's tests: all versions side by side for 100 steps, parameters and states compared.
"""

import math

import pytest
import torch

from thetadot.optim import Adam, GradientDescent, HeavyBall, Nesterov

STEPS, LR = 100, 0.03


class SlowGradientDescent:
    """θ' = θ - α∇L."""

    variable = None

    def __init__(self, theta):
        self.theta = theta.clone()

    def at(self):
        return self.theta

    def step(self, gradient):
        self.theta = self.theta - LR * gradient


class SlowHeavyBall(SlowGradientDescent):
    """v' = βv - α∇L(θ), θ' = θ + v'; η = v/γ, γ = √(2α/(1+β))."""

    variable, beta = "velocity", 0.9

    def __init__(self, theta):
        super().__init__(theta)
        self.v = torch.zeros_like(theta)

    def step(self, gradient):
        self.v = self.beta * self.v - LR * gradient
        self.theta = self.theta + self.v

    def kept(self):
        return self.v / math.sqrt(2 * LR / (1 + self.beta))


class SlowNesterov(SlowHeavyBall):
    """v' = βv - α∇L(θ + βv), θ' = θ + v'; the parameter is θ + βv."""

    def at(self):
        return self.theta + self.beta * self.v


class SlowAdam(SlowGradientDescent):
    """m, v with the bias corrections of the paper, by step count."""

    variable = "mean"

    def __init__(self, theta):
        super().__init__(theta)
        self.m, self.v, self.n = torch.zeros_like(theta), torch.zeros_like(theta), 0

    def step(self, gradient):
        self.n += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        m, v = self.m / (1 - 0.9**self.n), self.v / (1 - 0.999**self.n)
        self.theta = self.theta - LR * m / (v.sqrt() + 1e-8)

    def kept(self):
        return self.m


REFERENCES = {
    "GradientDescent": (SlowGradientDescent, GradientDescent),
    "HeavyBall": (SlowHeavyBall, HeavyBall),
    "Nesterov": (SlowNesterov, Nesterov),
    "Adam": (SlowAdam, Adam),
}
SHAPES = ((4, 3), (5,), ())


def gradient_of(theta):
    """Of Σ θ⁴/4 - cos θ: curved, and other than a quadratic."""
    return theta**3 + torch.sin(theta)


def start():
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def by_gradient(build, params, **options):
    optimizer = build(params, lr=LR, **options)

    def step():
        for p in params:
            p.grad = gradient_of(p.detach())
        optimizer.step()

    return optimizer, step


def by_closure(build, params, **options):
    optimizer = build(params, lr=LR, **options)

    def closure():
        optimizer.zero_grad()
        loss = sum((p**4 / 4 - torch.cos(p)).sum() for p in params)
        loss.backward()
        return loss

    return optimizer, lambda: optimizer.step(closure)


def by_groups(build, params, **options):
    optimizer, step = by_gradient(lambda p, **o: build([{"params": [q]} for q in p], **o), params, **options)
    return optimizer, step


def by_tensors(build, params, **options):
    tensor = torch.tensor(LR, dtype=torch.float64)
    return by_gradient(lambda p, lr, **o: build(p, lr=tensor, **o), params, capturable=True, **options)


PATHS = {
    "p.grad": by_gradient,
    "closure": by_closure,
    "groups": by_groups,
    "tensors": by_tensors,
    "plain": lambda build, params: by_gradient(build, params, compile=False),
    "allocated ahead": lambda build, params: allocated(*by_gradient(build, params)),
}


def allocated(optimizer, step):
    optimizer.init_state()
    return optimizer, step


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_the_reference_for_a_hundred_steps(name, path):
    reference, build = REFERENCES[name]
    slow = [reference(theta) for theta in start()]
    params = [theta.requires_grad_() for theta in start()]
    optimizer, step = PATHS[path](build, params)
    for _ in range(STEPS):
        for each in slow:
            each.step(gradient_of(each.at()))
        step()
        for each, p in zip(slow, params, strict=True):
            torch.testing.assert_close(p.detach(), each.at(), rtol=0, atol=1e-12)
            if each.variable:
                torch.testing.assert_close(optimizer.state[p][each.variable], each.kept(), rtol=0, atol=1e-11)
