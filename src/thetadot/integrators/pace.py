r"""Whether a path whose steps follow its error will ever arrive, and why not.

    still needed = (time left) · (steps tried of late) / (time that they took the path on)

A long motion is none of our business: what is asked is whether the pace, and not the number of steps, has become
hopeless. Where it has, a few evaluations of the drift beside the path tell why:

    not smooth          the drift jumps: its change over a step does not shrink with the distance
    stiff               the step times the fastest rate of decay is that of the method's stability, not of accuracy
    below rounding      the tolerance is less than the state's own last digit
    drawn by lot        two evaluations at one place differ

Source:
    Hairer, Wanner, "Solving Ordinary Differential Equations II" (1996), IV.2, on how stiffness is detected.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

WINDOW = 4096
"""Steps tried between two looks at a path's pace."""
HOPELESS = 1e10
"""Steps that no path is waited for, whatever its motion is like."""
_GROWS = 2.0  # from one look to the next
_ITERATIONS = 12  # of the power method
_TRIED_BEYOND = 0.5  # of a rate times a step: accuracy alone would choose less
_JUMPS = 0.05  # of the tolerance, that a drift's change must move a path by in a step


class StepPace:
    """Progress of every path since the last check.

    Args:
        time: of the paths, (paths, 1).
        tried: steps, (paths, 1).
    """

    def __init__(self, time: Tensor, tried: Tensor) -> None:
        self._time, self._tried = time, tried
        self._mean = torch.zeros_like(time)

    def needed(self, time: Tensor, tried: Tensor, left: Tensor) -> tuple[Tensor, Tensor] | None:
        """Steps that every path still needs, and their mean length.

        0 steps where too few were tried to tell, and where steps grow: a fast beginning says nothing of the rest. None
        where that is so of all paths.
        """
        since = tried - self._tried
        enough = since >= WINDOW
        if not bool(enough.any()):
            return None
        mean = (time - self._time).abs() / since.clamp(min=1)
        settled = enough & (mean <= _GROWS * self._mean) & (left > 0)
        self._time, self._tried = torch.where(enough, time, self._time), torch.where(enough, tried, self._tried)
        self._mean = torch.where(enough, mean, self._mean)
        return (torch.where(settled, left / mean, 0.0), mean) if bool(settled.any()) else None


class Look(NamedTuple):
    """Diagnosis of a motion with tiny steps, and its remedy.

    Attributes:
        said: in words; empty where nothing strikes.
        remedy: what helps.
    """

    said: str
    remedy: str


def look(field: Callable[[Tensor], Tensor], place: Tensor, step: float, scale: Tensor) -> Look:
    """Diagnose why the steps are so short.

    Args:
        field: the drift of a vector (n,), all variables of one path.
        place: where the path is.
        step: mean length, > 0.
        scale: the tolerance of each element, (n,).

    Example:
        >>> decay = look(lambda x: -1e4 * (x - 1.0), torch.full((1,), 1.0 + 1e-9, dtype=torch.float64), 3e-4,
        ...              torch.full((1,), 1e-6, dtype=torch.float64))
        >>> decay.said
        'stiff: its fastest rate times the step is 3'
        >>> look(lambda x: -torch.sign(x), torch.full((1,), 1e-10, dtype=torch.float64), 1e-9,
        ...      torch.full((1,), 1e-9, dtype=torch.float64)).said
        'not smooth: its drift jumps there'
    """
    here = field(place)
    eps = torch.finfo(place.dtype).eps
    if bool((scale < 4.0 * eps * place.abs()).any()):
        return Look("below its own rounding: the tolerance is less than the state's last digit", "larger tolerances")
    if not torch.equal(field(place), here):
        return Look("random: its drift differs between two calls at one place", "a drift without random numbers")
    if _jumps(field, place, here, step, scale):
        return Look(
            "not smooth: its drift jumps there",
            "a smooth drift, such as tanh(x/width) for sign(x), or steps of one length, by RungeKutta",
        )
    rate = _fastest_decay(field, place, here, eps)
    if rate * step >= _TRIED_BEYOND:
        return Look(
            f"stiff: its fastest rate times the step is {rate * step:.1g}",
            "an implicit method of another library, such as scipy's Radau",
        )
    return Look("", "")


def _jumps(field: Callable[[Tensor], Tensor], place: Tensor, here: Tensor, step: float, scale: Tensor) -> bool:
    """Along the motion: a smooth drift changes ten times as much over ten times the way."""

    def change(ways: float) -> float:
        moved = [(field(place + way * step * here) - here) / scale for way in (ways, -ways)]
        return max(_vector_length(each) for each in moved)

    # a path that slides along a jump crosses it at one step or another: somewhat further on too
    near, far = change(4.0), change(40.0)
    return math.isfinite(near) and step * near > _JUMPS and far < 3.0 * near


def _fastest_decay(field: Callable[[Tensor], Tensor], place: Tensor, here: Tensor, eps: float) -> float:
    """The rate of the fastest decay near ``place``, by the power method on differences; 0 where nothing decays."""
    short = math.sqrt(eps) * (_vector_length(place) + math.sqrt(eps))
    along = torch.linspace(1.0, 2.0, place.numel(), dtype=place.dtype, device=place.device)
    rate = 0.0
    for _ in range(_ITERATIONS):
        along = along / _vector_length(along)
        turned = (field(place + short * along) - here) / short
        rate = -float((along * turned).sum())
        if not 0.0 < _vector_length(turned) < math.inf:
            return 0.0
        along = turned
    return max(rate, 0.0)


def _vector_length(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector.double()))
