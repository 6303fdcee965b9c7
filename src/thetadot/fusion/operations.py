"""torch's operations on arrays of symbols: what moves components about is numpy's, what computes is elementary.

A rule is given how to compute element by element, the result's shape, and the operation's own arguments; tensors are
arrays of symbols and of numbers.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from thetadot.fusion.places import (
    boxed,
    copied,
    cut,
    filled,
    index_put,
    index_select,
    indexed,
    padded,
    select_backward,
    select_scatter,
    slice_backward,
    slice_scatter,
)
from thetadot.fusion.program import CannotCompile

if TYPE_CHECKING:
    from collections.abc import Callable

    Each = Callable[..., Any]
    Rule = Callable[..., Any]


def _larger(a: Any, b: Any) -> Any:
    """max(a, b); not a number where one is none."""
    return torch.where(a >= b, a, torch.where(a == a, b, a))  # noqa: PLR0124 - only nan is not itself


def _smaller(a: Any, b: Any) -> Any:
    return torch.where(a <= b, a, torch.where(a == a, b, a))  # noqa: PLR0124


def _elementary(function: Callable[..., Any]) -> Rule:
    return lambda each, shape, *args, **keywords: each(function, *args)  # noqa: ARG005


def _method(name: str) -> Rule:
    return _elementary(lambda x: getattr(x, name)())


def _scaled(sign: int) -> Rule:
    """Return the rule of a ± alpha·b."""

    def rule(each: Each, shape: Any, a: Any, b: Any, alpha: float = 1) -> Any:  # noqa: ARG001
        b = b if alpha == 1 else each(operator.mul, alpha, b)
        return each(operator.add if sign > 0 else operator.sub, a, b)

    return rule


def _mul(each: Each, shape: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """A product; by 1 it is left out."""
    if isinstance(b, float | int) and b == 1:
        return a
    return each(operator.mul, a, b)


def _quotient(each: Each, shape: Any, a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return each(operator.truediv, a, b)
    if rounding_mode == "trunc":
        return each(_trunc, each(operator.truediv, a, b))
    whole = each(operator.truediv, each(operator.sub, a, _remainder(each, shape, a, b)), b)
    return each(_floor, each(operator.add, whole, 0.5))  # a whole number already, but for its rounding


def _sqrt(x: Any) -> Any:
    return x.sqrt()


def _log(x: Any) -> Any:
    return x.log()


def _floor(x: Any) -> Any:
    return x.floor()


def _trunc(x: Any) -> Any:
    return x.trunc()


def _remainder(each: Each, shape: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """Compute the remainder with the divisor's sign."""
    rest = each(torch.fmod, a, b)
    other = each(operator.ne, each(operator.lt, rest, 0.0), each(operator.lt, b, 0.0))
    moved = each(torch.where, other, each(operator.add, rest, b), rest)
    return each(torch.where, each(operator.ne, rest, 0.0), moved, rest)


def _power(each: Each, shape: Any, x: Any, exponent: Any) -> Any:
    if not isinstance(exponent, float | int):
        return each(torch.pow, x, exponent)
    if exponent == 0.5:
        return each(_sqrt, x)
    if not float(exponent).is_integer() or abs(exponent) > _MOST_FACTORS:
        return each(torch.pow, x, exponent)
    if exponent < 0:
        return each(operator.truediv, 1.0, _power(each, shape, x, -exponent))
    if exponent == 0:
        return filled(x.shape, 1.0)
    return reduce(lambda a, _: each(operator.mul, a, x), range(int(exponent) - 1), x)


def _log1p(each: Each, shape: Any, x: Any) -> Any:  # noqa: ARG001
    """log(1+x), its rounding error divided out: log(u) x/(u-1) with u = 1+x."""
    u = each(operator.add, x, 1.0)
    lost = each(operator.sub, u, 1.0)
    share = each(torch.where, each(operator.gt, x, 2.0), 1.0, each(operator.truediv, x, lost))
    return each(torch.where, each(operator.eq, lost, 0.0), x, each(operator.mul, each(_log, u), share))


def _variance_of_axis(
    each: Each,
    shape: Any,
    x: Any,
    dim: Any = None,
    correction: float | None = 1,
    keepdim: bool = False,  # noqa: FBT001, FBT002 - torch's
) -> Any:
    mean = _mean(each, shape, x, dim, keepdim=True)
    away = each(operator.sub, x, mean)
    total = _sum(each, shape, each(operator.mul, away, away), dim, keepdim)
    return each(operator.mul, total, 1.0 / (x.size // mean.size - (1 if correction is None else correction)))


def _cumulated(each: Each, shape: Any, x: Any, dim: int, **_: Any) -> Any:  # noqa: ARG001
    rows = list(np.moveaxis(x, dim, 0)[:, ...])
    for i in range(1, len(rows)):
        rows[i] = each(operator.add, rows[i - 1], rows[i])
    return np.stack(rows, dim)


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
        x = each(_raised, x, low)
    return x if high is None else each(_lowered, x, high)


def _raised(a: Any, low: Any) -> Any:
    return torch.where(a < low, low, a)


def _lowered(a: Any, high: Any) -> Any:
    return torch.where(a > high, high, a)


def _where(each: Each, shape: Any, condition: Any, yes: Any, no: Any) -> Any:  # noqa: ARG001
    return each(torch.where, condition, yes, no)


def _mm(each: Each, shape: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """A product of matrices (…, n) with (n, …), or of a matrix with a vector."""
    terms = [each(operator.mul, a[..., i : i + 1], b[i : i + 1]) for i in range(a.shape[-1])]
    if b.ndim == 1:
        terms = [term[..., 0] for term in terms]
    return reduce(lambda x, y: each(operator.add, x, y), terms)


def _identity(each: Each, shape: Any, x: Any, *_: Any, **__: Any) -> Any:  # noqa: ARG001
    return x


def _converted(each: Each, shape: Any, x: Any, dtype: torch.dtype | None = None, **_: Any) -> Any:  # noqa: ARG001
    """Whole numbers are kept as floating ones."""
    if dtype is None:
        return x
    if dtype == torch.bool:
        return each(operator.ne, x, 0.0)
    return each(_Conversion(dtype), x) if dtype.is_floating_point else each(_trunc, x)


@dataclass(frozen=True)
class _Conversion:
    """To a dtype; equal to others to the same, so that it is computed once."""

    dtype: torch.dtype

    def __call__(self, x: Any) -> Any:
        return x.to(self.dtype)


def _reshaped(each: Each, shape: Any, x: Any, *to: Any, **__: Any) -> Any:  # noqa: ARG001
    if any(isinstance(part, torch.dtype) for part in to):
        raise CannotCompile("it reads the bits of one dtype as another's.")
    return x.reshape(shape)


def _boxed_number(value: Any) -> Any:
    return boxed(float(value)) if isinstance(value, float | int) else value


def _unit(value: float) -> Rule:
    return lambda each, shape, *_, **__: filled(shape, value)  # noqa: ARG005


_MOST_FACTORS = 16

# fmt: off
METHODS = (
    "sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "abs", "sign", "floor", "ceil", "trunc", "round", "erf",
    "erfc", "expm1", "exp2", "log2", "log10", "sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh",
    "atanh",
)
# fmt: on
"""Elementary functions of one number."""

RULES: dict[str, Rule] = {
    "add": _scaled(1),
    "sub": _scaled(-1),
    "rsub": lambda each, shape, a, b, alpha=1: _scaled(-1)(each, shape, b, a, alpha),
    "mul": _mul,
    "div": _quotient,
    "floor_divide": lambda each, shape, a, b: _quotient(each, shape, a, b, "floor"),
    "remainder": _remainder,
    "fmod": _elementary(torch.fmod),
    "neg": _elementary(operator.neg),
    "pow": _power,
    "square": lambda each, shape, x: each(operator.mul, x, x),  # noqa: ARG005
    "reciprocal": lambda each, shape, x: each(operator.truediv, 1.0, x),  # noqa: ARG005
    "rsqrt": lambda each, shape, x: each(lambda a, b: b / a.sqrt(), x, 1.0),  # noqa: ARG005
    **{name: _method(name) for name in METHODS},
    "log1p": _log1p,
    "atan2": _elementary(torch.atan2),
    "isnan": _elementary(lambda x: x != x),  # noqa: PLR0124 - only nan is not itself
    "sigmoid": lambda each, shape, x: each(lambda a, b: b / ((-a).exp() + b), x, 1.0),  # noqa: ARG005
    "sgn": _method("sign"),
    "relu": lambda each, shape, x: _clamp(each, shape, x, low=0.0),
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda each, shape, x, high: _clamp(each, shape, x, None, high),
    "minimum": _elementary(_smaller),
    "maximum": _elementary(_larger),
    "where": _where,
    "masked_fill": lambda each, shape, x, mask, value: each(torch.where, mask, value, x),  # noqa: ARG005
    "logical_not": _elementary(lambda a: a == 0),
    "bitwise_not": _elementary(lambda a: a == 0),
    **{f"{kind}_and": _elementary(lambda a, b: torch.where(a, b, a)) for kind in ("logical", "bitwise")},
    **{f"{kind}_or": _elementary(lambda a, b: torch.where(a, a, b)) for kind in ("logical", "bitwise")},
    **{f"{kind}_xor": _elementary(operator.ne) for kind in ("logical", "bitwise")},
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
    "var": _variance_of_axis,
    "std": lambda each, shape, *args, **keywords: each(_sqrt, _variance_of_axis(each, shape, *args, **keywords)),
    "cumsum": _cumulated,
    "mm": _mm,
    "mv": _mm,
    "dot": _mm,
    "bmm": lambda each, shape, a, b: np.stack([_mm(each, shape, x, y) for x, y in zip(a, b, strict=True)]),
    "stack": lambda each, shape, tensors, dim=0: np.stack(tensors, dim),  # noqa: ARG005
    "cat": lambda each, shape, tensors, dim=0: np.concatenate(tensors, dim),  # noqa: ARG005
    "unbind": lambda each, shape, x, dim=0: tuple(np.moveaxis(x, dim, 0)),  # noqa: ARG005
    "split": lambda each, shape, x, size, dim=0: tuple(  # noqa: ARG005
        np.array_split(x, range(size, x.shape[dim], size), axis=dim)
    ),
    "split_with_sizes": lambda each, shape, x, sizes, dim=0: tuple(  # noqa: ARG005
        np.split(x, np.cumsum(sizes)[:-1], axis=dim)
    ),
    "getitem": lambda each, shape, x, place: x[place],  # noqa: ARG005
    "select": lambda each, shape, x, dim, place: np.moveaxis(x, dim, 0)[place, ...],  # noqa: ARG005
    "select_backward": select_backward,
    "select_scatter": select_scatter,
    "slice": cut,
    "slice_backward": slice_backward,
    "slice_scatter": slice_scatter,
    "copy": copied,
    "fill": lambda each, shape, x, value: np.broadcast_to(_boxed_number(value), shape),  # noqa: ARG005
    "index": indexed,
    "index_select": index_select,
    "index_put": index_put,
    "_unsafe_index_put": index_put,
    "_index_put_impl": index_put,
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
    "roll": lambda each, shape, x, shifts, dims=(): (  # noqa: ARG005
        np.roll(x, tuple(shifts), tuple(dims)) if dims else np.roll(x, shifts[0])
    ),
    "repeat": lambda each, shape, x, times: np.tile(x, tuple(times)),  # noqa: ARG005
    "constant_pad_nd": padded,
    "ones_like": _unit(1.0),
    "zeros_like": _unit(0.0),
    "ones": _unit(1.0),
    "zeros": _unit(0.0),
    "new_zeros": _unit(0.0),
    "new_ones": _unit(1.0),
    "empty_like": _unit(0.0),
    "empty": _unit(0.0),
    "new_empty": _unit(0.0),
    "new_full": lambda each, shape, x, size, value, **_: filled(shape, value),  # noqa: ARG005
    "full": lambda each, shape, size, value, **_: filled(shape, value),  # noqa: ARG005
    "full_like": lambda each, shape, x, value, **_: filled(shape, value),  # noqa: ARG005
    "eye": lambda each, shape, *_, **__: np.eye(*shape).astype(object),  # noqa: ARG005
    "scalar_tensor": lambda each, shape, value, **_: filled((), value),  # noqa: ARG005
    "clone": _identity,
    "detach": _identity,
    "alias": _identity,
    "lift_fresh_copy": _identity,
    "contiguous": _identity,
    "_to_copy": _converted,
}
"""By the name of torch's operation."""

MADE = frozenset({"arange", "linspace", "logspace"})
"""What torch makes of numbers alone."""

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})

OF_TRUTHS = frozenset(
    {"where", "masked_fill", "_to_copy"}
    | {f"{kind}_{what}" for kind in ("logical", "bitwise") for what in ("and", "or", "xor", "not")}
)
"""Operations that take truth values for what they are."""
