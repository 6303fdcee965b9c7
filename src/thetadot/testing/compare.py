"""Comparison of observed values, and the words for differences."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thetadot.testing.law import BrokenLaw, expect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch.optim import Optimizer


def values(params: Sequence[Tensor]) -> list[Tensor]:
    """Copy the values of parameters."""
    return [p.detach().clone() for p in params]


def distance(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The largest difference; infinite where shapes or finiteness differ."""
    worst = 0.0
    for p, q in zip(some, others, strict=True):
        if p.shape != q.shape:
            return float("inf")
        if p.numel():
            worst = max(worst, float((p.detach() - q.detach()).abs().max().nan_to_num(float("inf"))))
    return worst


def expect_close(some: Sequence[Tensor], others: Sequence[Tensor], tolerance: float, what: str) -> None:
    """Expect values that differ by no more than ``tolerance``."""
    apart = distance(some, others)
    expect(apart <= tolerance, f"{what}: apart by {apart:.2g}, more than {tolerance:.0e}")


def expect_same(some: Sequence[Tensor], others: Sequence[Tensor], what: str) -> None:
    """Expect the same bits and dtypes."""
    for index, (p, q) in enumerate(zip(some, others, strict=True)):
        expect(p.dtype is q.dtype, f"{what}: tensor {index} is {q.dtype}, not {p.dtype}")
        expect(torch.equal(p, q), f"{what}: tensor {index} differs by {distance([p], [q]):.2g}")


def expect_moved(some: Sequence[Tensor], others: Sequence[Tensor], what: str) -> None:
    """Expect that the experiment did something at all."""
    expect(distance(some, others) > 0, f"{what}: nothing moved")


def expect_refused(call: Callable[[], Any], what: str, kind: type[Exception] = Exception) -> str:
    """Expect an exception; returns its message."""
    try:
        call()
    except kind as error:
        return str(error)
    except Exception as error:
        raise BrokenLaw(f"{what}: answered with {type(error).__name__}, not {kind.__name__}: {error}") from error
    raise BrokenLaw(f"{what}: accepted")


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """List every value of nested dicts and lists with its path."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}[{key!r}]")
    elif isinstance(tree, list | tuple):
        for key, value in enumerate(tree):
            yield from leaves(value, f"{path}[{key}]")
    else:
        yield path, tree


def snapshot(optimizer: Optimizer) -> dict[str, Any]:
    """The state dict, in copies."""
    return copy.deepcopy(optimizer.state_dict())


def expect_same_state(before: dict[str, Any], after: dict[str, Any], what: str) -> None:
    """Expect the same state dict, bit for bit."""
    first, second = dict(leaves(before)), dict(leaves(after))
    strange = sorted(first.keys() ^ second.keys())
    expect(not strange, f"{what}: {', '.join(strange[:3])} came or went")
    for path, value in first.items():
        other = second[path]
        if isinstance(value, Tensor) or isinstance(other, Tensor):
            same = torch.equal(torch.as_tensor(value), torch.as_tensor(other))
            same = same and torch.as_tensor(value).dtype is torch.as_tensor(other).dtype
        else:
            same = value == other
        expect(same, f"{what}: {path} was {value}, is {other}")
