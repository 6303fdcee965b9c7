r"""Basins of attraction: in which attractor a start ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import field_at, require_functions, require_numbers, require_tensors, require_whole
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

NOWHERE = -1
"""The label of a start that is near no attractor at the end."""

_LOOK = 50


@checked
def basins(
    step: Callable[[Tensor], Tensor],
    starts: Tensor,
    attractors: Tensor,
    *,
    steps: int,
    radius: float,
) -> Tensor:
    """The index of the attractor that each start ends in, -1 where it is near none: int64, of shape (...).

    The motion ends after the steps given, or once every path that is finite has come within a hundredth of the radius
    of an attractor. Passing one by does not count.

    Args:
        step: points to points, row by row: :func:`step_of`, an exact flow over some time, any map.
        starts: (..., n).
        attractors: (k, n).
        steps: at most.
        radius: > 0; nearer than this to an attractor a path has arrived. The nearest counts.

    Raises:
        InadmissibleValue: shapes that do not belong together, or a number out of range.

    Example:
        >>> starts = torch.tensor([[-2.0], [-0.1], [0.0], [3.0]])
        >>> basins(lambda x: x + 0.1 * (x - x**3), starts, torch.tensor([[-1.0], [1.0]]), steps=200, radius=0.1)
        tensor([ 0,  0, -1,  1])
    """
    require_functions(step=step)
    require_tensors(starts=starts, attractors=attractors)
    require_numbers(radius=radius)
    require_whole(steps=steps)
    if attractors.ndim != 2 or starts.ndim < 1 or starts.shape[-1] != attractors.shape[-1] or not len(attractors):
        raise InadmissibleValue(
            f"starts of shape {tuple(starts.shape)} and attractors of shape {tuple(attractors.shape)} do not belong "
            "together. Pass (..., n) and (k, n)."
        )
    require(radius > 0, f"radius={radius:g}", "is not positive", "Pass radius > 0.")
    require(steps >= 0, f"steps={steps}", "is negative", "Pass steps >= 0.")
    points = starts.reshape(-1, starts.shape[-1])
    attractors = attractors.to(points)
    field_at(points, step=step)
    for done in range(steps):
        if done % _LOOK == 0:
            near = _distances(points, attractors).amin(-1)
            if bool(((near < radius / 100.0) | ~near.isfinite()).all()):
                break
        points = step(points)
    distance, label = _distances(points, attractors).min(-1)
    return torch.where(distance < radius, label, NOWHERE).reshape(starts.shape[:-1])


def _distances(points: Tensor, attractors: Tensor) -> Tensor:
    distances: Tensor = (points.unsqueeze(-2) - attractors).norm(dim=-1)
    return distances
