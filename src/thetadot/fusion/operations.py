"""torch's operations on arrays of symbols: what moves components about is numpy's, what computes is elementary.

A rule is given how to compute element by element, the result's shape, and the operation's own arguments; tensors are
arrays of symbols and of numbers.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from thetadot.fusion.program import CannotCompile

if TYPE_CHECKING:
    from collections.abc import Callable

    Each = Callable[..., Any]
    Rule = Callable[..., Any]


def _larger(a: Any, b: Any) -> Any:
    return torch.where(a < b, b, a)


def _smaller(a: Any, b: Any) -> Any:
    return torch.where(a > b, b, a)


def _elementary(function: Callable[..., Any]) -> Rule:
    return lambda each, shape, *args, **keywords: each(function, *args)  # noqa: ARG005


def _method(name: str) -> Rule:
    return _elementary(lambda x: getattr(x, name)())


def _scaled(sign: int) -> Rule:
    """A ± alpha·b."""

    def rule(each: Each, shape: Any, a: Any, b: Any, alpha: float = 1) -> Any:  # noqa: ARG001
        b = b if alpha == 1 else each(operator.mul, alpha, b)
        return each(operator.add if sign > 0 else operator.sub, a, b)

    return rule


def _mul(each: Each, shape: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """A product; by 1 it is left out."""
    if isinstance(b, float | int) and b == 1:
        return a
    return each(operator.mul, a, b)


def _power(each: Each, shape: Any, x: Any, exponent: Any) -> Any:
    if not isinstance(exponent, float | int):
        raise CannotCompile("it raises to a power that is not a number.")
    if exponent == int(exponent) and 0 < exponent <= 16:
        return reduce(lambda a, _: each(operator.mul, a, x), range(int(exponent) - 1), x)
    if exponent == 0.5:
        return each(lambda a: a.sqrt(), x)
    if exponent == int(exponent) and exponent < 0:
        return each(operator.truediv, 1.0, _power(each, shape, x, -exponent))
    return each(lambda a, e: (a.log() * e).exp(), x, exponent)


def _reduced(function: Callable[..., Any], each: Each, x: Any, dim: Any, keepdim: bool) -> Any:  # noqa: FBT001
    """An associative function over some of the axes, from the first to the last element."""
    axes = tuple(range(x.ndim)) if dim is None or dim == [] else tuple(a % x.ndim for a in np.atleast_1d(dim))
    kept = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    moved = np.moveaxis(x, axes, range(len(axes))).reshape(-1, *kept)
    result = reduce(lambda a, b: each(function, a, b), (moved[i, ...] for i in range(len(moved))))
    return np.expand_dims(result, axes) if keepdim else result


def _sum(each: Each, shape: Any, x: Any, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:  # noqa: ARG001, FBT001, FBT002
    return _reduced(operator.add, each, x, dim, keepdim)


def _mean(each: Each, shape: Any, x: Any, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:  # noqa: FBT001, FBT002
    total = _sum(each, shape, x, dim, keepdim)
    return each(operator.mul, total, total.size / x.size)


def _product(each: Each, shape: Any, x: Any, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:  # noqa: ARG001, FBT001, FBT002
    return _reduced(operator.mul, each, x, dim, keepdim)


def _clamp(each: Each, shape: Any, x: Any, low: Any = None, high: Any = None, **_: Any) -> Any:  # noqa: ARG001
    if low is not None:
        x = each(lambda a, b: torch.where(a < b, b, a), x, low)
    return x if high is None else each(lambda a, b: torch.where(a > b, b, a), x, high)


def _filled(shape: tuple[int, ...], value: float) -> Any:
    return np.full(shape, float(value), dtype=object)


def _mm(each: Each, shape: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """A product of matrices (…, n) with (n, …), or of a matrix with a vector."""
    terms = [each(operator.mul, a[..., i : i + 1], b[i : i + 1]) for i in range(a.shape[-1])]
    if b.ndim == 1:
        terms = [term[..., 0] for term in terms]
    return reduce(lambda x, y: each(operator.add, x, y), terms)


def _slice(each: Each, shape: Any, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:  # noqa: ARG001
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def _index(each: Each, shape: Any, x: Any, indices: Any) -> Any:  # noqa: ARG001
    raise CannotCompile("it indexes by a tensor.")


def _slice_backward(each: Each, shape: Any, x: Any, sizes: Any, dim: int, start: Any, end: Any, step: int) -> Any:  # noqa: ARG001
    result = _filled(tuple(sizes), 0.0)
    result[(slice(None),) * (dim % result.ndim) + (slice(start, end, step),)] = x
    return result


def _select_backward(each: Each, shape: Any, x: Any, sizes: Any, dim: int, index: int) -> Any:  # noqa: ARG001
    result = _filled(tuple(sizes), 0.0)
    result[(slice(None),) * (dim % result.ndim) + (index,)] = x
    return result


def _same(each: Each, shape: Any, x: Any, *_: Any, **__: Any) -> Any:  # noqa: ARG001
    return x


def _converted(each: Each, shape: Any, x: Any, dtype: torch.dtype | None = None, **_: Any) -> Any:  # noqa: ARG001
    return x if dtype is None else each(lambda a: a.to(dtype), x)


def _reshaped(each: Each, shape: Any, x: Any, *_: Any, **__: Any) -> Any:  # noqa: ARG001
    return x.reshape(shape)


def _unit(value: float) -> Rule:
    return lambda each, shape, *_, **__: _filled(shape, value)  # noqa: ARG005


RULES: dict[str, Rule] = {
    "add": _scaled(1),
    "sub": _scaled(-1),
    "rsub": lambda each, shape, a, b, alpha=1: _scaled(-1)(each, shape, b, a, alpha),
    "mul": _mul,
    "div": _elementary(operator.truediv),
    "neg": _elementary(operator.neg),
    "pow": _power,
    "square": lambda each, shape, x: each(operator.mul, x, x),  # noqa: ARG005
    "reciprocal": lambda each, shape, x: each(operator.truediv, 1.0, x),  # noqa: ARG005
    "rsqrt": lambda each, shape, x: each(lambda a, b: b / a.sqrt(), x, 1.0),  # noqa: ARG005
    **{name: _method(name) for name in ("sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "abs", "sign", "floor")},
    "log1p": lambda each, shape, x: each(lambda a, b: (a + b).log(), x, 1.0),  # noqa: ARG005
    "sigmoid": lambda each, shape, x: each(lambda a, b: b / ((-a).exp() + b), x, 1.0),  # noqa: ARG005
    "sgn": _method("sign"),
    "relu": lambda each, shape, x: _clamp(each, shape, x, low=0.0),
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda each, shape, x, high: _clamp(each, shape, x, None, high),
    "minimum": _elementary(_smaller),
    "maximum": _elementary(_larger),
    "where": _elementary(torch.where),
    "masked_fill": lambda each, shape, x, mask, value: each(torch.where, mask, value, x),  # noqa: ARG005
    "logical_not": _elementary(lambda a: a == 0),
    "lt": _elementary(operator.lt),
    "le": _elementary(operator.le),
    "gt": _elementary(operator.gt),
    "ge": _elementary(operator.ge),
    "eq": _elementary(operator.eq),
    "ne": _elementary(operator.ne),
    "sum": _sum,
    "amax": lambda each, shape, x, dim=None, keepdim=False: _reduced(_larger, each, x, dim, keepdim),  # noqa: ARG005
    "amin": lambda each, shape, x, dim=None, keepdim=False: _reduced(_smaller, each, x, dim, keepdim),  # noqa: ARG005
    "mean": _mean,
    "prod": _product,
    "mm": _mm,
    "mv": _mm,
    "dot": _mm,
    "stack": lambda each, shape, tensors, dim=0: np.stack(tensors, dim),  # noqa: ARG005
    "cat": lambda each, shape, tensors, dim=0: np.concatenate(tensors, dim),  # noqa: ARG005
    "unbind": lambda each, shape, x, dim=0: tuple(np.moveaxis(x, dim, 0)),  # noqa: ARG005
    "split": lambda each, shape, x, size, dim=0: tuple(  # noqa: ARG005
        np.array_split(x, range(size, x.shape[dim], size), axis=dim)
    ),
    "getitem": lambda each, shape, x, place: x[place],  # noqa: ARG005
    "select": lambda each, shape, x, dim, place: np.take(x, place, dim),  # noqa: ARG005
    "select_backward": _select_backward,
    "slice": _slice,
    "slice_backward": _slice_backward,
    "index": _index,
    "unsqueeze": _reshaped,
    "squeeze": _reshaped,
    "view": _reshaped,
    "_unsafe_view": _reshaped,
    "reshape": _reshaped,
    "expand": lambda each, shape, x, *_, **__: np.broadcast_to(x, shape),  # noqa: ARG005
    "t": lambda each, shape, x: x.T,  # noqa: ARG005
    "transpose": lambda each, shape, x, a, b: np.swapaxes(x, a, b),  # noqa: ARG005
    "permute": lambda each, shape, x, dims: np.transpose(x, dims),  # noqa: ARG005
    "flip": lambda each, shape, x, dims: np.flip(x, tuple(dims)),  # noqa: ARG005
    "roll": lambda each, shape, x, shifts, dims: np.roll(x, tuple(shifts), tuple(dims)),  # noqa: ARG005
    "ones_like": _unit(1.0),
    "zeros_like": _unit(0.0),
    "ones": _unit(1.0),
    "zeros": _unit(0.0),
    "new_zeros": _unit(0.0),
    "full": lambda each, shape, size, value, **_: _filled(shape, value),  # noqa: ARG005
    "full_like": lambda each, shape, x, value, **_: _filled(shape, value),  # noqa: ARG005
    "eye": lambda each, shape, *_, **__: np.eye(*shape).astype(object),  # noqa: ARG005
    "scalar_tensor": lambda each, shape, value, **_: _filled((), value),  # noqa: ARG005
    "clone": _same,
    "detach": _same,
    "alias": _same,
    "lift_fresh_copy": _same,
    "contiguous": _same,
    "_to_copy": _converted,
}
"""By the name of torch's operation."""
