"""Hyperparameters: as tensors, at zero, out of range."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from thetadot.testing.compare import expect_close, expect_moved, expect_refused, expect_same, values
from thetadot.testing.law import expect, law

if TYPE_CHECKING:
    from thetadot.testing.subject import Subject


@law()
def lr_may_be_a_tensor(subject: Subject) -> None:
    """An lr in a tensor of shape () moves parameters as the number does, and leaves their dtype alone."""
    params, others = subject.tensors(), subject.tensors()
    subject.run(subject.optimizer(params), params)
    subject.run(subject.optimizer(others, lr=torch.tensor(subject.traits.lr, dtype=torch.float64)), others)
    expect_moved(params, subject.tensors(), "five steps")
    expect_close(params, others, 1e-10 if subject.traits.solves else 1e-12, "lr as number and as tensor")
    expect(all(p.dtype is torch.float64 for p in others), "the parameters' dtype has changed")


@law(applies=lambda traits: traits.momentum)
def momentum_may_be_a_tensor_and_move(subject: Subject) -> None:
    """A momentum in a tensor that is written to each step is the schedule of those numbers."""
    params, others = subject.tensors(), subject.tensors()
    moving = torch.tensor(0.9, dtype=torch.float64)
    one = subject.optimizer(params, momentum=0.9)
    other = subject.optimizer(others, momentum=moving, lr=torch.tensor(subject.traits.lr, dtype=torch.float64))
    for n in range(6):
        one.param_groups[0]["momentum"] = 0.9 - 0.1 * n
        moving.fill_(0.9 - 0.1 * n)
        subject.run(one, params, 1)
        subject.run(other, others, 1)
    expect_close(params, others, 1e-10 if subject.traits.solves else 1e-12, "momentum as numbers and as a tensor")


@law(applies=lambda traits: traits.momentum)
def momentum_moves_by_what_it_remembers(subject: Subject) -> None:
    """After a kick, a step at zero gradient keeps moving; at momentum 0 it does not."""
    for momentum, goes_on in ((0.9, True), (0.0, False)):
        params = [torch.zeros(3, dtype=torch.float64, requires_grad=True)]
        optimizer = subject.optimizer(
            params, momentum=momentum, **({"temperature": 0.0} if subject.traits.noisy else {})
        )
        subject.push(optimizer, params, [torch.ones(3, dtype=torch.float64)])
        before = values(params)
        for _ in range(2):
            subject.push(optimizer, params, [torch.zeros(3, dtype=torch.float64)])
        moved = float((params[0].detach() - before[0]).abs().max())
        expect((moved > subject.traits.lr / 2) == goes_on, f"momentum={momentum}: moved {moved:.2g} without gradient")


@law()
def at_lr_0_nothing_moves(subject: Subject) -> None:
    """A step at lr 0, where warm-ups start, keeps the parameters, and the run can continue from there."""
    for zero in (0.0, torch.tensor(0.0)):
        params = subject.tensors()
        optimizer = subject.optimizer(params, lr=zero, weight_decay=0.1)
        subject.run(optimizer, params, 3)
        expect_same(params, subject.tensors(), f"lr={zero}")
        optimizer.param_groups[0]["lr"] = subject.traits.lr
        subject.run(optimizer, params, 3)
        expect(all(torch.isfinite(p).all() for p in params), f"lr={zero}, then {subject.traits.lr}: not finite")
        expect_moved(params, subject.tensors(), f"lr={zero}, then {subject.traits.lr}")


def _words(subject: Subject) -> tuple[str, ...]:
    return ("lr", "weight_decay", "momentum") if subject.traits.momentum else ("lr", "weight_decay")


@law()
def negative_hyperparameters_are_refused_by_value(subject: Subject) -> None:
    """A negative lr, weight decay or momentum is a ValueError that says the value."""
    for word in _words(subject):
        said = expect_refused(
            partial(subject.optimizer, subject.tensors(), **{word: -0.125}), f"{word}=-0.125", ValueError
        )
        expect("-0.125" in said, f"{word}=-0.125: the message does not say the value: {said}")


@law()
def hyperparameters_that_are_not_finite_are_refused(subject: Subject) -> None:
    """An lr, weight decay or momentum of nan or infinity is a ValueError."""
    for word in _words(subject):
        for bad in (float("nan"), float("inf")):
            expect_refused(
                partial(subject.optimizer, subject.tensors(), **{word: bad}),
                f"{word}={bad}",
                ValueError,
            )
