"""Parameters of every shape and layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.testing.compare import expect_close, expect_moved, expect_same, values
from thetadot.testing.law import expect, law

if TYPE_CHECKING:
    from thetadot.testing.subject import Subject


def _random_start(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@law()
def parameters_stay_where_they_are(subject: Subject) -> None:
    """Steps write into the parameters' own memory; they remain leaves that require gradients."""
    params = subject.tensors()
    places = [p.data_ptr() for p in params]
    subject.run(subject.optimizer(params), params)
    expect([p.data_ptr() for p in params] == places, "a parameter has moved in memory")
    expect(all(p.is_leaf and p.requires_grad for p in params), "a parameter is no leaf any more")


@law()
def numbers_and_nothing_are_parameters(subject: Subject) -> None:
    """A parameter of shape () moves as one of shape (1,), and an empty one disturbs nobody."""
    scalar, vector = _random_start().requires_grad_(), _random_start().reshape(1).requires_grad_()
    empty = torch.empty(0, 3, dtype=torch.float64, requires_grad=True)
    before = values([scalar])
    for group in ([scalar, empty], [vector, torch.empty(0, 3, dtype=torch.float64, requires_grad=True)]):
        subject.run(subject.optimizer(group), group)
    expect_moved([scalar], before, "five steps")
    expect_close([scalar.detach().reshape(1)], [vector], 1e-12, "shape () and shape (1,)")
    expect(empty.shape == (0, 3), f"the empty parameter has shape {tuple(empty.shape)}")


@law()
def strides_do_not_matter(subject: Subject) -> None:
    """A transposed parameter moves as its contiguous copy, and stays transposed."""
    strided = _random_start(3, 4).T.requires_grad_()
    dense = strided.detach().contiguous().requires_grad_()
    for p in (strided, dense):
        subject.run(subject.optimizer([p]), [p])
    expect_moved([dense], [_random_start(3, 4).T], "five steps")
    expect_close([strided], [dense], 1e-12, "transposed and contiguous")
    expect(not strided.is_contiguous(), "the parameter was laid out anew")


@law()
def channels_last_is_a_layout_only(subject: Subject) -> None:
    """A channels_last weight moves as its contiguous copy, and stays channels_last."""
    last = _random_start(4, 3, 2, 2).contiguous(memory_format=torch.channels_last).requires_grad_()
    dense = last.detach().contiguous().requires_grad_()
    for p in (last, dense):
        subject.run(subject.optimizer([p]), [p])
    expect_close([last], [dense], 1e-12, "channels_last and contiguous")
    expect(last.is_contiguous(memory_format=torch.channels_last), "the parameter was laid out anew")


@law()
def dtypes_stay(subject: Subject) -> None:
    """Parameters keep their dtype, also where settings are wider tensors."""
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        params = subject.tensors(dtype)
        optimizer = subject.optimizer(params, lr=torch.tensor(subject.traits.lr, dtype=torch.float64))
        subject.run(optimizer, params, 2)
        expect(all(p.dtype is dtype for p in params), f"{dtype} parameters became {[p.dtype for p in params]}")


@law(applies=lambda traits: not traits.solves)
def meta_parameters_step_without_data(subject: Subject) -> None:
    """On the meta device a step runs: it reads no values and no gradients."""
    params = [torch.empty(3, 2, device="meta", requires_grad=True)]
    optimizer = subject.optimizer(params)
    for _ in range(2):
        subject.push(optimizer, params, [torch.empty(3, 2, device="meta")])
    expect(params[0].device.type == "meta", "the parameter left the meta device")


@law(applies=lambda traits: not traits.noisy and not traits.solves)
def mixed_dtypes_live_together(subject: Subject) -> None:
    """Parameters of several dtypes in one optimizer move as in one each."""
    wide, narrow = subject.tensors(), subject.tensors(torch.float32)
    mixed = [*subject.tensors(), *subject.tensors(torch.float32)]
    for group in (wide, narrow):
        optimizer = subject.optimizer(group)
        subject.push(optimizer, group, [torch.ones_like(p) for p in group])
    optimizer = subject.optimizer([{"params": mixed[:3]}, {"params": mixed[3:]}])
    subject.push(optimizer, mixed, [torch.ones_like(p) for p in mixed])
    expect_same(mixed, [*wide, *narrow], "together and apart")
