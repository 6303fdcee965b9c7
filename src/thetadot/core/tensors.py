"""Elementary functions that take floats and tensors alike, and never touch what they are given.

Whatever is not a number is asked for its own method, so that a rule can also be traced.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import torch
from torch.autograd.forward_ad import unpack_dual

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thetadot.core.annotations import Scalar, State

_NUMBERS = (float, int, np.generic, np.ndarray)  # numpy's arrays of shape () among them

_Scalar = TypeVar("_Scalar", "float", "torch.Tensor", "Scalar")


class _Watched(threading.local):
    """Whether this thread's operations are recorded, so that torch must be asked for every one of them."""

    depth = 0


_watched = _Watched()


@contextmanager
def every_operation_seen() -> Iterator[None]:
    """Compute by torch's operations alone, which a dispatch mode sees."""
    _watched.depth += 1
    try:
        yield
    finally:
        _watched.depth -= 1


def sqrt(x: _Scalar) -> _Scalar:
    """Return √x, rounded correctly.

    torch takes a CPU tensor's root from a vector library that is off by a unit in the last place about once in five
    times; numpy takes the processor's own, as compiled code does.
    """
    if isinstance(x, _NUMBERS):
        return math.sqrt(x)
    if not torch.compiler.is_compiling() and _numpy_takes(x):
        try:
            memory = x.detach().numpy()
        except RuntimeError:  # vmap's, which has none of its own
            return x.sqrt()
        root = torch.empty_like(x, requires_grad=False)
        with np.errstate(invalid="ignore"):  # below zero it is nan, in silence, as torch's is
            np.sqrt(memory, out=root.numpy())
        return root
    return x.sqrt()


def _numpy_takes(x: object) -> bool:
    """Whether numpy can take it: real memory on the CPU that nothing is recorded of."""
    return (
        type(x) is torch.Tensor
        and not _watched.depth
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not (x.requires_grad and torch.is_grad_enabled())
        and not x.is_neg()
        and not torch._is_functional_tensor(x)  # noqa: SLF001 - it has no public name
        and unpack_dual(x).tangent is None  # type: ignore[no-untyped-call]
    )


def exp(x: _Scalar) -> _Scalar:
    """Return the exponential eˣ."""
    return math.exp(x) if isinstance(x, _NUMBERS) else x.exp()


def cos(x: _Scalar) -> _Scalar:
    """Return the cosine of x."""
    return math.cos(x) if isinstance(x, _NUMBERS) else x.cos()


def log(x: Scalar) -> Scalar:
    """Natural logarithm; log 0 = -∞ for floats as for tensors."""
    if isinstance(x, _NUMBERS):
        return math.log(x) if x != 0 else -math.inf
    return x.log()


def sign(x: torch.Tensor) -> torch.Tensor:
    """-1, 0 or 1; not a number where x is none, which torch takes for 0.

    Example:
        >>> sign(torch.tensor([-2.0, 0.0, math.nan]))
        tensor([-1.,  0., nan])
    """
    return torch.where(x == x, x.sign(), x)  # noqa: PLR0124 - only nan is not itself


def larger(x: Scalar, y: Scalar) -> Scalar:
    """max(x, y); not a number where x is none.

    Example:
        >>> larger(1.0, 2.0), larger(torch.tensor(3.0), 2.0)
        (2.0, tensor(3.))
    """
    if isinstance(x, _NUMBERS) and isinstance(y, _NUMBERS):
        return max(x, y)
    return torch.maximum(*_both(x, y))


def smaller(x: Scalar, y: Scalar) -> Scalar:
    """min(x, y); not a number where x is none.

    Example:
        >>> smaller(1.0, 2.0), smaller(torch.tensor(3.0), 2.0)
        (1.0, tensor(2.))
    """
    if isinstance(x, _NUMBERS) and isinstance(y, _NUMBERS):
        return min(x, y)
    return torch.minimum(*_both(x, y))


def _both(x: Scalar, y: Scalar) -> tuple[torch.Tensor, torch.Tensor]:
    """A number beside a tensor as a tensor like it; what is being traced stays as it is."""
    if isinstance(x, torch.Tensor) and isinstance(y, _NUMBERS):
        return x, torch.full_like(x, y)
    if isinstance(y, torch.Tensor) and isinstance(x, _NUMBERS):
        return torch.full_like(y, x), y
    return cast("torch.Tensor", x), cast("torch.Tensor", y)


def real_view(x: torch.Tensor) -> torch.Tensor:
    """A complex tensor of shape (*) as a real one of shape (*, 2), sharing memory; a real one as it is."""
    return torch.view_as_real(x) if x.is_complex() else x


def accumulation_dtype(x: torch.Tensor) -> torch.dtype:
    """The dtype that running sums over steps need: float32 where the tensor itself is narrower."""
    return torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype


def tensor_of(state: State, name: str) -> torch.Tensor:
    """A variable that is a tensor by the system's own declaration."""
    return cast("torch.Tensor", state[name])
