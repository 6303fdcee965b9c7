"""Saving schedules: which states or ensemble statistics are kept, and when."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral

import numpy as np
from torch import Tensor

from thetadot.core.validation import require_coordinates, require_whole
from thetadot.errors import InadmissibleValue, require

Statistic = Callable[[float, dict[str, Tensor]], Tensor]
"""Of the time and the variables by name, each (paths, dim): a tensor, in place of the states."""

MAIN = "states"
"""What a schedule is called that has no name."""

_STATISTICS = 100  # times at which a statistic is taken where none are given
_TOLERANCE = 1e-6  # of a step, in a time that should be a whole number of them


@dataclass(frozen=True)
class Save:
    """A schedule of times at which a simulation is saved.

    Args:
        what: kept instead of the states; None keeps the states.
        count: times, equally spaced, beside the start.
        times: instead of ``count``: these times, counted from the start, increasing, in [0, time].

    Raises:
        InadmissibleValue: both or neither of count and times, or one out of range.

    Example:
        >>> Save(count=2).at(1.0), Save(times=(0.25, 1.0)).at(1.0)
        ((0.0, 0.5, 1.0), (0.25, 1.0))
    """

    what: Statistic | None = None
    count: int | None = None
    times: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if (self.count is None) == (self.times is None):
            raise InadmissibleValue("a Save has count or times, one of them. Pass count=100, or times=(0.5, 1.0).")
        if self.count is not None:
            require_whole(count=self.count)
            require(self.count >= 1, f"count={self.count}", "is below 1", "Pass the number of times beside the start.")
        if self.what is not None and not _takes_two(self.what):
            raise InadmissibleValue(
                f"{self.what!r} is no statistic. Pass a function of two arguments, the time and the variables by name, "
                'such as lambda t, variables: variables["position"].mean().'
            )

    def at(self, time: float) -> tuple[float, ...]:
        """The times of a simulation that lasts ``time``."""
        if self.count is not None:
            return (*(time * i / self.count for i in range(self.count)), time)
        given = tuple(float(t) for t in self.times or ())
        increasing = all(a < b for a, b in pairwise(given))
        require(
            bool(given) and increasing and given[0] >= 0 and given[-1] <= time * (1 + 1e-12),
            f"times={given if len(given) < 8 else (*given[:3], '...', given[-1])}",
            f"are not increasing and in [0, {time:g}]",
            "Pass times that lie within the simulation.",
        )
        return given

    def steps(self, time: float, step: float, total: int) -> tuple[int, ...]:
        """Times of saving as numbers of steps; equally spaced times are taken at the nearest step.

        Raises:
            InadmissibleValue: a given time that is not a whole number of steps.
        """
        if self.count is not None:
            return tuple(dict.fromkeys(round(total * i / self.count) for i in range(self.count + 1)))
        found = []
        for t in self.at(time):
            number = round(t / step)
            require(
                abs(t / step - number) <= _TOLERANCE * max(1, number),
                f"times contains {t:g}, which",
                f"is not a whole number of steps of {step:g}",
                f"Pass {number * step:g}, or another step.",
            )
            found.append(number)
        return tuple(found)


def _takes_two(function: object) -> bool:
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(0.0, {})
    except TypeError:
        return False
    except ValueError:  # of a builtin, which Python cannot tell
        return True
    return True


Saving = Save | Statistic | int | Sequence[float] | None


def schedules(save: Saving | Mapping[str, Saving]) -> dict[str, Save]:
    """Convert the argument of ``simulate(save=)`` to schedules by name.

    Example:
        >>> schedules(10)
        {'states': Save(what=None, count=10, times=None)}
    """
    if isinstance(save, Mapping):
        require(bool(save), "save={}", "names no schedule", "Pass at least one, or leave it out.")
        return {str(name): _one(own) for name, own in save.items()}
    return {MAIN: _one(save)}


def _one(save: Saving) -> Save:
    if save is None:
        return Save(count=1)
    if isinstance(save, Save):
        return save
    if isinstance(save, bool | str):
        raise InadmissibleValue(f"save={save!r} is no schedule. Pass a count, times, a function, or a Save.")
    if isinstance(save, Integral):
        return Save(count=int(save))
    if callable(save):
        return Save(save, count=_STATISTICS)
    require_coordinates(save=save)
    if not isinstance(save, Sequence | Tensor | np.ndarray):
        raise InadmissibleValue(f"save={save!r} is no schedule. Pass a count, times, a function, or a Save.")
    return Save(times=tuple(save))
