"""Components at places of a tensor, in torch's words: cut, indexed, written, padded; nothing is computed."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.fusion.program import CannotCompile

if TYPE_CHECKING:
    from collections.abc import Callable

    Each = Callable[..., Any]


def boxed(value: Any) -> Any:
    """An array of shape () that holds ``value``, which numpy must not look into."""
    box = np.empty((), dtype=object)
    box[()] = value
    return box


def filled(shape: tuple[int, ...], value: float) -> Any:
    """Return an array of one number."""
    return np.full(shape, float(value), dtype=object)


def cut(each: Each, shape: Any, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:  # noqa: ARG001
    """Cut along one axis."""
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


def _static_indices(indices: Any, rank: int) -> tuple[Any, ...]:
    """Indices that stand in the function, as numpy takes them."""
    found: list[Any] = []
    for own in indices:
        if own is None:
            found.append(slice(None))
        elif all(isinstance(place, float) for place in own.flat):
            found.append(own.astype(np.int64))
        else:
            raise CannotCompile("it indexes by a tensor.")
    return (*found, *[slice(None)] * (rank - len(found)))


def indexed(each: Each, shape: Any, x: Any, indices: Any) -> Any:  # noqa: ARG001
    """Take what lies at indices."""
    found = x[_static_indices(indices, x.ndim)]
    if found.shape != shape:
        raise CannotCompile("it indexes by a mask.")
    return found


def index_select(each: Each, shape: Any, x: Any, dim: int, index: Any) -> Any:
    """Take what lies at indices of one axis."""
    return indexed(each, shape, x, [None] * (dim % x.ndim) + [index])


def index_put(each: Each, shape: Any, x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:  # noqa: ARG001, FBT001, FBT002
    """Values at indices; added one after the other where an index comes twice."""
    result = x.copy()
    numbers = np.arange(x.size).reshape(x.shape)[_static_indices(indices, x.ndim)]
    flat = result.reshape(-1)
    for place, value in zip(numbers.flat, np.broadcast_to(values, numbers.shape).flat, strict=True):
        flat[place] = each(operator.add, boxed(flat[place]), boxed(value)).item() if accumulate else value
    return flat.reshape(x.shape)


def slice_backward(each: Each, shape: Any, x: Any, sizes: Any, dim: int, start: Any, end: Any, step: int) -> Any:  # noqa: ARG001
    """Put a cut back among zeros."""
    result = filled(tuple(sizes), 0.0)
    result[(slice(None),) * (dim % result.ndim) + (slice(start, end, step),)] = x
    return result


def select_backward(each: Each, shape: Any, x: Any, sizes: Any, dim: int, index: int) -> Any:  # noqa: ARG001
    """Put what was selected back among zeros."""
    result = filled(tuple(sizes), 0.0)
    result[(slice(None),) * (dim % result.ndim) + (index,)] = x
    return result


def slice_scatter(
    each: Each,  # noqa: ARG001
    shape: Any,  # noqa: ARG001
    x: Any,
    part: Any,
    dim: int = 0,
    start: Any = None,
    end: Any = None,
    step: int = 1,
) -> Any:
    """Write a part over a cut."""
    return _written_place(x, part, (slice(None),) * (dim % x.ndim) + (slice(start, end, step),))


def select_scatter(each: Each, shape: Any, x: Any, part: Any, dim: int, index: int) -> Any:  # noqa: ARG001
    """Write a part over what is selected."""
    return _written_place(x, part, (slice(None),) * (dim % x.ndim) + (index,))


def _written_place(x: Any, part: Any, place: Any) -> Any:
    result = x.copy()
    result[place] = part
    return result


def copied(each: Each, shape: Any, x: Any, source: Any, *_: Any, **__: Any) -> Any:  # noqa: ARG001
    """Spread a source over the shape."""
    return np.broadcast_to(source, shape)


def padded(each: Each, shape: Any, x: Any, pad: Any, value: float = 0.0) -> Any:  # noqa: ARG001
    """By a number; a negative width cuts."""
    for axis, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True), start=1):
        moved = np.moveaxis(x, -axis, 0)
        moved = moved[max(-before, 0) : len(moved) - max(-after, 0)]
        edges = [filled((max(width, 0), *moved.shape[1:]), value) for width in (before, after)]
        x = np.moveaxis(np.concatenate([edges[0], moved, edges[1]]), 0, -axis)
    return x
