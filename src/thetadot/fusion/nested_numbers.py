"""The numbers in a nest of tuples and dataclasses: taken out, put back, and what remains.

A rule's scalars come as whatever its integrator prepares. A compiled rule takes the numbers at run time; the rest (how
they nest, which are absent, words) is what it is compiled for.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_number(leaf: Any) -> bool:
    """A float, an int, one of numpy's, or a tensor of shape ()."""
    return (isinstance(leaf, (float, int, np.floating, np.integer)) and not isinstance(leaf, bool)) or (
        isinstance(leaf, Tensor) and leaf.dim() == 0
    )


def _branches(tree: Any) -> list[Any] | None:
    if isinstance(tree, tuple):
        return list(tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return [getattr(tree, field.name) for field in dataclasses.fields(tree)]
    return None


def flatten(tree: Any) -> list[Any]:
    """List the numbers of a nest in order.

    Example:
        >>> flatten((1.5, ("A", None, 2.0)))
        [1.5, 2.0]
    """
    numbers: list[Any] = []
    apart(tree, numbers)
    return numbers


def rebuild(tree: Any, numbers: Iterator[Any]) -> Any:
    """Rebuild nested containers with other numbers.

    Example:
        >>> rebuild((1.5, ("A", None, 2.0)), iter([3, 4]))
        (3, ('A', None, 4))
    """
    if is_number(tree):
        return next(numbers)
    parts = _branches(tree)
    if parts is None:
        return tree
    new = [rebuild(part, numbers) for part in parts]
    if isinstance(tree, tuple):
        return type(tree)(*new) if hasattr(tree, "_fields") else tuple(new)
    return dataclasses.replace(
        tree, **{field.name: value for field, value in zip(dataclasses.fields(tree), new, strict=True)}
    )


def structure(tree: Any) -> Any:
    """Return a hashable structure of a nest, equal for nests that differ in numbers only.

    Example:
        >>> structure((1.5, "A")) == structure((2, "A")), structure((1.5, "A")) == structure((None, "A"))
        (True, False)
    """
    return apart(tree, [])


def apart(tree: Any, found: list[Any]) -> Any:
    """Return the :func:`structure` of a nest, and append its numbers to ``found``.

    Example:
        >>> found = []
        >>> apart((1.5, ("A", None, 2.0)), found) == structure((0.0, ("A", None, 0.0))), found
        (True, [1.5, 2.0])
    """
    kind = type(tree)
    if kind is str or tree is None:
        return tree
    if kind is float or is_number(tree):
        found.append(tree)
        return float
    parts = tree if isinstance(tree, tuple) else _branches(tree)
    return tree if parts is None else (kind, *[apart(part, found) for part in parts])
