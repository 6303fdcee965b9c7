"""Steps that are differentiated through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from thetadot.testing.law import expect, law

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.testing.subject import Subject

_START = (0.7, -1.2)


def _after(subject: Subject, start: Tensor, steps: int, **settings: Any) -> Tensor:
    """The parameter after some steps, as a function of where it began and of the settings."""
    p = start.clone()  # no leaf: steps write into it
    optimizer = subject.optimizer([p], differentiable=True, **settings)
    for _ in range(steps):
        loss = subject.loss([p.clone()])
        (p.grad,) = torch.autograd.grad(loss, p, create_graph=True)
        if subject.traits.closure:
            optimizer.step(lambda loss=loss: loss)
        else:
            optimizer.step()
    return p


def _start() -> Tensor:
    return torch.tensor(_START, dtype=torch.float64, requires_grad=True)


def _leaf_number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


@law(applies=lambda traits: traits.differentiable)
def steps_are_differentiated_in_the_start(subject: Subject) -> None:
    """The derivative of three steps in where they began is the difference quotient."""
    checked = torch.autograd.gradcheck(lambda start: _after(subject, start, 3), (_start(),), raise_exception=True)
    expect(checked, "derivative and difference quotient differ")


@law(applies=lambda traits: traits.differentiable)
def steps_are_differentiated_in_lr(subject: Subject) -> None:
    """The derivative of three steps in a tensor lr, weight decay included, is the difference quotient."""
    lr = _leaf_number(subject.traits.lr)
    expect(
        torch.autograd.gradcheck(lambda lr: _after(subject, _start(), 3, lr=lr, weight_decay=0.1), (lr,)),
        "derivative and difference quotient differ",
    )


@law(applies=lambda traits: traits.differentiable and traits.momentum)
def steps_are_differentiated_in_momentum(subject: Subject) -> None:
    """The derivative of three steps in a tensor momentum is the difference quotient."""
    momentum = _leaf_number(0.8)

    def after(momentum: Tensor) -> Tensor:
        return _after(subject, _start(), 3, momentum=momentum, weight_decay=0.1)

    expect(torch.autograd.gradcheck(after, (momentum,)), "derivative and difference quotient differ")


@law(applies=lambda traits: traits.differentiable)
def a_differentiable_step_is_the_step(subject: Subject) -> None:
    """Steps that are differentiated through end where plain ones do."""
    p = _start()
    optimizer = subject.optimizer([p])
    subject.run(optimizer, [p], 3)
    apart = float((_after(subject, _start(), 3) - p).detach().abs().max())
    expect(apart <= 1e-12, f"they end {apart:.2g} apart")
