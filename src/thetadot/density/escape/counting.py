r"""Escapes counted on paths.

A path belongs to the well whose core it was in last; it has escaped when it enters the other core. The path must have
passed from core to core, so that crossings of the barrier that turn back are not counted, and frames may be a while
apart.

    k = N/t ± √N/t,    t the time that paths belonged to the first well                 (escapes are a Poisson process)

Cores should be small beside the wells and large enough that a frame falls into them on every visit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_coordinates, require_functions, require_numbers, require_tensors, values_at
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


@checked
@dataclass(frozen=True)
class Escapes:
    """Escape rate from counted crossings, with its standard error.

    Attributes:
        rate: k, escapes per time.
        error: one standard error of k; where none was counted, 1/t.
        count: N.
        time: t, over all paths.
    """

    rate: float
    error: float
    count: int
    time: float


@checked
def count_escapes(
    times: Tensor | Sequence[float],
    states: Tensor,
    departure: Callable[[Tensor], Tensor],
    arrival: Callable[[Tensor], Tensor],
    *,
    after: float | None = None,
) -> Escapes:
    """The rate from one core to another.

    Args:
        times: (n,), increasing.
        states: positions (n, paths, dim).
        departure: the first core: of positions (..., dim) to booleans (...).
        arrival: the second, apart from the first.
        after: when counting begins, the first time if None; before it paths are only followed. Paths that begin inside
            the first core have no one on the way yet, so that a count from their beginning is too low.

    Raises:
        InadmissibleValue: shapes that do not fit, times that do not increase, cores that meet, or no path in the first
            while it is counted.

    Example:
        >>> path = torch.tensor([-1.0, 0.2, -1.0, 1.0, 1.0, -1.0, 1.0]).reshape(7, 1, 1)
        >>> found = count_escapes(range(7), path, lambda x: x[..., 0] < -0.5, lambda x: x[..., 0] > 0.5)
        >>> found.count, found.time, found.rate
        (2, 4.0, 0.5)
    """
    if not isinstance(times, range):
        require_coordinates(times=times)
    require_tensors(states=states)
    require_functions(departure=departure, arrival=arrival)
    if after is not None:
        require_numbers(after=after)
    clock = torch.as_tensor(list(times) if isinstance(times, range) else times, dtype=torch.float64)
    if states.dim() != 3 or clock.shape != states.shape[:1] or len(clock) < 2:
        raise InadmissibleValue(
            f"times of shape {tuple(clock.shape)}, states {tuple(states.shape)}. Pass (n,) and (n, paths, dim), n >= 2."
        )
    steps = clock.diff()
    require(bool((steps > 0).all()), "times", "do not increase", "Sort them.")
    for name, core in (("departure", departure), ("arrival", arrival)):
        asked = values_at(states[0], **{name: core})
        require(asked.dtype == torch.bool, f"{name} gives {asked.dtype}, which", "is no yes or no", "Compare: x < 0.")
    here = departure(states[0])
    escaped, spent = 0, 0.0
    for time, step, state in zip(clock.tolist(), steps.tolist(), states[1:], strict=False):
        begun, done = departure(state), arrival(state)
        require(not bool((begun & done).any()), "the two cores", "meet: a state is in both", "Set them apart.")
        if after is None or time >= after:
            spent += step * float(here.sum())
            escaped += int((here & done).sum())
        here = (here | begun) & ~done
    require(spent > 0, "no path", "was in the first core", "Start paths there, or make it larger.")
    return Escapes(escaped / spent, max(math.sqrt(escaped), 1.0) / spent, escaped, spent)
