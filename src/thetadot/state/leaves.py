"""Values that change in place: tensors, arrays, random generators; copied and compared bit for bit."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, torch.dtype, torch.device, torch.Size)
"""Values that do not change in place."""

_KINDS = (
    torch.Tensor,
    torch.Generator,
    np.ndarray,
    np.random.Generator,
    np.random.RandomState,
    np.random.BitGenerator,
    random.Random,
)


def is_leaf(value: object) -> bool:
    """Whether a value is a leaf of the state; a parameter that has no shape yet is none."""
    return isinstance(value, _KINDS) and not (isinstance(value, torch.Tensor) and is_lazy(value))


def is_generator(value: object) -> bool:
    """Whether a value is a generator of random numbers."""
    return is_leaf(value) and not isinstance(value, torch.Tensor | np.ndarray)


def taken(leaf: Any) -> Any:
    """A copy of its value."""
    if isinstance(leaf, torch.Tensor):
        return leaf.detach().clone()
    if isinstance(leaf, torch.Generator):
        return leaf.get_state()
    if isinstance(leaf, np.ndarray):
        return leaf.copy()
    if isinstance(leaf, np.random.Generator):
        return copy.deepcopy(leaf.bit_generator.state)
    if isinstance(leaf, np.random.RandomState):
        return leaf.get_state(legacy=False)
    return leaf.getstate() if isinstance(leaf, random.Random) else copy.deepcopy(leaf.state)


def put_back(leaf: Any, value: Any) -> None:
    """Give it the value again, in place."""
    if isinstance(leaf, torch.Tensor):
        data = leaf.data  # a graph that is waiting for its backward pass stays valid
        if data.shape == value.shape and data.dtype == value.dtype:
            data.copy_(value)
        else:
            leaf.data = value.clone()
    elif isinstance(leaf, torch.Generator):
        leaf.set_state(value)
    elif isinstance(leaf, np.ndarray):
        np.copyto(leaf, value)
    elif isinstance(leaf, np.random.Generator):
        leaf.bit_generator.state = value
    elif isinstance(leaf, np.random.RandomState):
        leaf.set_state(value)
    elif isinstance(leaf, random.Random):
        leaf.setstate(value)
    else:
        leaf.state = value


def unchanged(leaf: Any, value: Any) -> bool:
    """Whether a leaf's value is still the same, bit for bit: a NaN is the same as itself, -0 is not 0."""
    return same_bits(leaf if isinstance(leaf, torch.Tensor | np.ndarray) else taken(leaf), value)


def same_bits(one: Any, other: Any) -> bool:  # noqa: PLR0911 - one kind a line
    """Whether two values, nested in lists, tuples and dicts or not, are the same bit for bit.

    Example:
        >>> same_bits(torch.tensor(float("nan")), torch.tensor(float("nan"))), same_bits(0.0, -0.0), same_bits(1, True)
        (True, False, False)
    """
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return _same_tensors(one.detach(), other.detach())
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        same = one.shape == other.shape and one.dtype == other.dtype
        return bool(same and (one.tobytes() == other.tobytes() if one.dtype != object else (one == other).all()))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_bits(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_bits, one, other))
    if isinstance(one, float | complex):
        return repr(one) == repr(other)
    return bool(one == other)


def _same_tensors(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device or one.is_meta:
        return one.is_meta and other.is_meta and one.shape == other.shape and one.dtype == other.dtype
    if one.layout != torch.strided or other.layout != torch.strided or one.is_quantized:
        return one.layout == other.layout and torch.equal(one.to_dense(), other.to_dense())
    if torch.equal(one, other) and not one.dtype.is_floating_point and not one.dtype.is_complex:
        return True
    if one.numel() == 0 or hasattr(one, "to_local"):
        return bool(torch.equal(one, other))
    return torch.equal(*(value.resolve_conj().contiguous().reshape(-1).view(torch.uint8) for value in (one, other)))
