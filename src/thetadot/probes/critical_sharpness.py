r"""Critical sharpness: the curvature along a direction, by forward passes alone.

    λ_c = 2/η_c,    η_c the step at which L(θ + η_c u) = L(θ) again                             [2601.16979]

On a quadratic, for u = -g:  η_c = 2 g·g/(g·Hg), so that λ_c = gᵀHg/g·g; in general it is the mean curvature over the
step, the curvature being weighed by 2(1-η/η_c)/η_c. For an optimizer's own step, u = step/lr, it is to be compared
with 2/lr. What is searched is the root of the slope (L(θ+ηu) - L(θ))/η, which on a quadratic is linear: bracketing by
factors of at most :data:`GROWTH`, then the straight line's zero, or bisection where one end stays.

The loss may come back more than once within a factor; then it is one of these steps. Of narrow parameters θ + ηu is
rounded. Cost: at most ten forward passes, a third of a gradient each.

Source:
    "Critical sharpness", arXiv 2601.16979.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.signatures import checked
from thetadot.errors import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from thetadot.probes.reference import Objective


GROWTH = 4.0


@dataclass(frozen=True)
class CriticalSharpness:
    """λ_c with its bracket.

    Attributes:
        value: λ_c = 2/η_c; where not ``resolved`` the end of the bracket that is known.
        low: 2/η of a step at which the loss is above its start; 0 where none was found.
        high: 2/η of a step at which it is below; infinite where none was found.
        forwards: losses evaluated.
        resolved: whether the bracket has two ends.
    """

    value: float
    low: float
    high: float
    forwards: int
    resolved: bool


@checked
def critical_sharpness(
    objective: Objective,
    direction: Tensor | Sequence[Tensor],
    guess: float,
    *,
    forwards: int = 10,
    tolerance: float = 1e-2,
) -> CriticalSharpness:
    """Curvature along a direction of descent.

    Args:
        objective: the reference loss; its model is as before afterwards, bit for bit.
        direction: u, flat (d,) or one tensor a parameter, such as -∇L or an optimizer's step over its lr.
        guess: first η, such as the last η_c or the lr; > 0.
        forwards: most losses evaluated, >= 3, the one at θ among them.
        tolerance: stop when η_c is known to this share of itself.

    Raises:
        InadmissibleValue: a direction that does not fit, or a number out of range.

    Example:
        >>> import torch
        >>> from thetadot.probes import Objective
        >>> model = torch.nn.Linear(1, 1, bias=False).double()
        >>> with torch.no_grad():
        ...     model.weight.fill_(1.0)
        Parameter containing:
        tensor([[1.]], dtype=torch.float64, requires_grad=True)
        >>> quadratic = Objective(model, lambda: 1.5 * model.weight.square().sum())  # h = 3
        >>> round(critical_sharpness(quadratic, -quadratic.gradient(), guess=0.1).value, 9)
        3.0
    """
    require(guess > 0 and math.isfinite(guess), f"guess={guess:g}", "is no step", "Pass a finite η > 0.")
    require(forwards >= 3, f"forwards={forwards}", "is below 3", "Pass at least 3.")
    parts = objective.parts(direction)
    start = [p.detach().clone() for p in objective.parameters]
    base = objective.value()

    def slope(step: float) -> float:
        with objective.at([p.add(u, alpha=step) for p, u in zip(start, parts, strict=True)]):
            rise = objective.value() - base
        return rise / step if math.isfinite(rise) else math.inf

    below, above, used = _bracket(slope, guess, forwards - 1)
    if below is None or above is None:
        if below is not None:
            return CriticalSharpness(2.0 / below[0], 0.0, 2.0 / below[0], used + 1, resolved=False)
        low = 2.0 / above[0] if above is not None else 0.0
        return CriticalSharpness(low, low, math.inf, used + 1, resolved=False)
    root, below, above, more = _root(slope, below, above, forwards - 1 - used, tolerance)
    return CriticalSharpness(2.0 / root, 2.0 / above[0], 2.0 / below[0], used + more + 1, resolved=True)


_Point = tuple[float, float]


def _bracket(slope: Callable[[float], float], step: float, most: int) -> tuple[_Point | None, _Point | None, int]:
    """A step whose slope is below zero, one above whose slope is not, and the slopes taken."""
    below: _Point | None = None
    above: _Point | None = None
    last: _Point | None = None
    for used in range(1, most + 1):
        here = (step, slope(step))
        if here[1] < 0:
            below = here
        else:
            above = here
        if below is not None and above is not None:
            return below, above, used
        aim = math.nan if last is None else _secant(last, here)
        last = here
        if below is not None:
            step *= min(max(1.1 * aim / step, 1.5), GROWTH) if aim > 0 else GROWTH
        else:
            step *= max(min(0.9 * aim / step, 0.6), 1.0 / GROWTH) if aim > 0 else 1.0 / GROWTH
    return below, above, most


def _root(
    slope: Callable[[float], float], below: _Point, above: _Point, most: int, tolerance: float
) -> tuple[float, _Point, _Point, int]:
    """The root, its bracket, and the slopes taken."""
    root, sides = _secant_or_mean(below, above), [0, 0]
    for used in range(1, most + 1):
        here = (root, slope(root))
        size = min(-below[1], above[1])
        below, above = (here, above) if here[1] < 0 else (below, here)
        if abs(here[1]) <= 0.1 * tolerance * size or above[0] - below[0] <= tolerance * root:
            return root, below, above, used
        sides = [sides[1], -1 if here[1] < 0 else 1]
        stuck = sides[0] == sides[1]
        root = math.sqrt(below[0] * above[0]) if stuck else _secant_or_mean(below, above)
    return root, below, above, max(most, 0)


def _secant(one: _Point, other: _Point) -> float:
    """Where the straight line through both is zero; NaN where it is nowhere."""
    rise = other[1] - one[1]
    if not math.isfinite(rise) or rise == 0:
        return math.nan
    return one[0] - one[1] * (other[0] - one[0]) / rise


def _secant_or_mean(below: _Point, above: _Point) -> float:
    """The secant's zero, or the geometric mean where a loss was not finite."""
    aim = _secant(below, above)
    return aim if below[0] <= aim <= above[0] else math.sqrt(below[0] * above[0])
