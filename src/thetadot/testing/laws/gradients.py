"""Gradients: negated, complex, sparse, missing, and never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from thetadot.testing.compare import (
    expect_close,
    expect_moved,
    expect_refused,
    expect_same,
    expect_same_state,
    snapshot,
    values,
)
from thetadot.testing.law import expect, law

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.testing.subject import Subject


def _random(params: list[Tensor], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype) for p in params]


@law()
def a_gradient_is_never_changed(subject: Subject) -> None:
    """After a step p.grad is the tensor that it was, with the values that it had."""
    for maximize in (False, True):
        params = subject.tensors()
        optimizer = subject.optimizer(params, weight_decay=0.1, maximize=maximize)
        for seed in range(3):
            given = _random(params, seed)
            before = values(given)
            subject.push(optimizer, params, given)
            expect_same(before, given, f"maximize={maximize}, p.grad before and after")
            for p, gradient in zip(params, given, strict=True):
                expect(p.grad is gradient, f"maximize={maximize}: p.grad is another tensor")


@law()
def maximize_is_descent_on_the_negative(subject: Subject) -> None:
    """maximize=True on a loss moves as maximize=False on its negative."""
    params, others = subject.tensors(), subject.tensors()
    up, down = subject.optimizer(params, maximize=True), subject.optimizer(others)
    for seed in range(4):
        given = _random(params, seed)
        subject.push(up, params, given)
        subject.push(down, others, [-gradient for gradient in given])
    expect_moved(params, subject.tensors(), "four steps")
    expect_close(params, others, 1e-12, "climbing and descending the negative")


@law()
def a_complex_parameter_is_two_real_ones(subject: Subject) -> None:
    """A complex parameter moves as torch.view_as_real of it would."""
    generator = torch.Generator().manual_seed(3)
    parameter = torch.randn(3, 2, generator=generator, dtype=torch.complex128).requires_grad_()
    twin = torch.view_as_real(parameter.detach()).clone().requires_grad_()
    start = values([parameter])
    one, other = subject.optimizer([parameter]), subject.optimizer([twin])
    for _ in range(5):
        given = torch.randn(3, 2, generator=generator, dtype=torch.complex128)
        subject.push(one, [parameter], [given])
        subject.push(other, [twin], [torch.view_as_real(given).clone()])
    expect_moved([parameter], start, "five steps")
    expect_close([torch.view_as_real(parameter.detach())], [twin], 1e-12, "complex and real")


@law()
def without_gradient_nothing_moves(subject: Subject) -> None:
    """Parameters whose gradient is None keep their value and gather no state; the others move."""
    params = subject.tensors()
    optimizer = subject.optimizer(params, weight_decay=0.1)
    subject.push(optimizer, params, [None] * 3)
    expect_same(params, subject.tensors(), "no gradient at all")
    subject.push(optimizer, params, [None, torch.ones_like(params[1]), None])
    for index in (0, 2):
        expect_same([params[index]], [subject.tensors()[index]], f"parameter {index} has no gradient")
        expect(params[index].grad is None, f"parameter {index} was given a gradient")
        expect(not optimizer.state.get(params[index]), f"parameter {index} has state and never had a gradient")
    expect_moved([params[1]], [subject.tensors()[1]], "parameter 1 has a gradient")


def _embedding() -> list[Tensor]:
    return [torch.linspace(-1.0, 1.0, 10, dtype=torch.float64).reshape(5, 2).requires_grad_()]


_ROWS = torch.tensor([[0.0, 0.0], [0.5, -1.0], [0.0, 0.0], [2.0, 0.25], [0.0, 0.0]], dtype=torch.float64)


def _law_invariants() -> Any:
    invariants: Any = torch.sparse.check_sparse_tensor_invariants  # torch warns where nobody said whether to check
    return invariants()


@law(applies=lambda traits: traits.sparse)
def a_sparse_gradient_moves_as_the_dense_one(subject: Subject) -> None:
    """A sparse gradient moves parameters as the dense gradient of the same values does."""
    sparse, dense = _embedding(), _embedding()
    one, other = subject.optimizer(sparse), subject.optimizer(dense)
    for _ in range(3):
        with _law_invariants():
            subject.push(one, sparse, [_ROWS.to_sparse(1)])
        subject.push(other, dense, [_ROWS.clone()])
    expect_close(sparse, dense, 1e-12, "sparse and dense")


@law(applies=lambda traits: not traits.sparse)
def a_sparse_gradient_is_one_clear_error(subject: Subject) -> None:
    """A sparse gradient is refused in words that say sparse, and nothing has changed, the dense parameters included."""
    params = [*subject.tensors(), *_embedding()]
    optimizer = subject.optimizer(params)
    before, state = values(params), snapshot(optimizer)
    given = [torch.ones_like(p) for p in params[:-1]]
    with _law_invariants():
        sparse = _ROWS.to_sparse(1)
        said = expect_refused(lambda: subject.push(optimizer, params, [*given, sparse]), "a sparse gradient")
    expect("sparse" in said, f"the message does not say sparse: {said}")
    expect_same(before, params, "parameters after the refusal")
    expect_same_state(state, snapshot(optimizer), "state after the refusal")
