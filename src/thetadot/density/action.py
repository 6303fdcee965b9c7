r"""Action of a path, and the most probable path.

    P[x] ∝ e^(-S[x]),    S = ∫ (|ẋ - f|²/(4T) + ½ ∇·f) dt        of    dx = f dt + √(2T) dW        (Onsager-Machlup)

in the midpoint (Stratonovich) convention: both terms are taken halfway between neighbouring points, and the sum
converges at second order in their distance. Without the second term S is the Freidlin-Wentzell action, which alone is
left as T -> 0; for f = -∇U its least value over long times is ΔU/T, up the barrier along the descent reversed.

The path is that into which the straight line grows, the motion of a short time, as the time is raised to what was
asked for: at each time a local minimum of the sum over the points, by Newton's method (:mod:`thetadot.density.chain`).
Exact is that it is stationary, to rounding, and that no small change lowers the sum. Its distance from the continuous
path is of second order in the spacing, and a spacing that does not resolve the drift is refused. That no other path
weighs more is not proven: pass other guesses.

Source:
    Onsager, Machlup, Phys. Rev. 91, 1505 (1953); Freidlin, Wentzell, Random Perturbations of Dynamical Systems.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from thetadot.analysis import divergence
from thetadot.core.signatures import checked
from thetadot.core.validation import field_at, require_coordinates, require_numbers, require_tensors, require_whole
from thetadot.density.chain import least_chain
from thetadot.density.landscape import require_temperature
from thetadot.errors import InadmissibleValue, NotConverged, require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from thetadot.core.annotations import Scalar


_ROUNDS = 2000  # of Newton's steps at the time asked for
_ROUNDING = 1e-12  # of the action, relative
_ON_THE_WAY = 1e-6  # of the action, at times on the way
_LONGEST = 1e6  # of a time, in units of that which free motion takes
_COARSEST = 1.2  # step · |∂f/∂x| along the path, root mean square: at 1.1 sums were 5% off, at 1.4 three quarters


@checked
def action(
    path: Tensor, drift: Callable[[Tensor], Tensor], temperature: Scalar, time: float, *, volume: bool = True
) -> Tensor:
    """S of a path, shape ().

    Args:
        path: points (n, dim) evenly in time, n >= 2, ends included.
        drift: f of positions (..., dim).
        temperature: T > 0.
        time: from the first point to the last, > 0.
        volume: with ½∇·f (Onsager-Machlup), or without (Freidlin-Wentzell).

    Raises:
        InadmissibleValue: a number or shape out of range.

    Example:
        >>> still = torch.zeros(11, 1, dtype=torch.float64)
        >>> round(float(action(still, lambda x: -3.0 * x, 0.5, 2.0)), 12)  # ½ ∇·f t
        -3.0
    """
    temperature = require_temperature(temperature)
    _require_time(time)
    require_tensors(path=path)
    if path.dim() != 2 or len(path) < 2:
        raise InadmissibleValue(f"a path of shape {tuple(path.shape)}. Pass points (n, dim), n >= 2.")
    field_at(path.detach(), drift=drift)
    return _costs(drift, temperature, time / (len(path) - 1), volume=volume)(torch.cat((path[:-1], path[1:]), -1)).sum()


@checked
def most_probable_path(
    drift: Callable[[Tensor], Tensor],
    start: Sequence[float] | Tensor,
    end: Sequence[float] | Tensor,
    *,
    time: float,
    temperature: Scalar,
    points: int = 201,
    volume: bool = True,
    guess: Tensor | None = None,
) -> Tensor:
    """The path of least action between two points in a given time, (points, dim), float64.

    Args:
        drift: f of positions (..., dim), differentiable; -gradient_of(potential) for a landscape.
        start: x(0), (dim,).
        end: x(time), (dim,).
        time: > 0.
        temperature: T > 0.
        points: n >= 3.
        volume: as for :func:`action`.
        guess: (points, dim) where to begin, at this time; a straight line at a short time if None.

    Raises:
        InadmissibleValue: a number or shape out of range, or points too few for the drift along the path.
        NotConverged: an action that is not finite to begin with, or that still falls after 2000 steps.

    Example:
        >>> path = most_probable_path(lambda x: -x, (0.0,), (1.0,), time=2.0, temperature=0.5, points=401)
        >>> round(float(path[200]), 5), round(math.sinh(1) / math.sinh(2), 5)
        (0.32403, 0.32403)
    """
    require_whole(points=points)
    require_coordinates(start=start, end=end)
    _require_time(time)
    require(points >= 3, f"points={points}", "is below 3", "Pass at least 3.")
    begin, finish = (torch.as_tensor(each, dtype=torch.float64).reshape(-1) for each in (start, end))
    if begin.shape != finish.shape:
        raise InadmissibleValue(f"start {tuple(begin.shape)} and end {tuple(finish.shape)}. Pass two points (dim,).")
    straight = begin + torch.linspace(0, 1, points, dtype=torch.float64)[:, None] * (finish - begin)
    if guess is not None:
        require_tensors(guess=guess)
    if guess is not None and guess.shape != straight.shape:
        raise InadmissibleValue(f"a guess of shape {tuple(guess.shape)}. Pass {tuple(straight.shape)}.")
    temperature = require_temperature(temperature)
    _require_differentiable(drift, straight)
    path, times = (
        (straight, _geometric_times(drift, straight, time)) if guess is None else (guess.detach().double(), [])
    )
    for short in times:  # each begins from the last, so that these need not be found exactly
        path, _ = _least(drift, path, temperature, short, volume=volume, tolerance=_ON_THE_WAY, rounds=_ROUNDS // 10)
    path, fall = _least(drift, path, temperature, time, volume=volume, tolerance=_ROUNDING, rounds=_ROUNDS)
    if fall > 0:
        raise NotConverged(
            f"the action still falls, by {fall:.2g} a step, after {_ROUNDS} steps. Pass a guess, or other points."
            if math.isfinite(fall)
            else "the action is not finite along the path to begin with. Pass a guess along which it is."
        )
    _require_resolved(drift, path, time)
    return path


def _costs(
    drift: Callable[[Tensor], Tensor], temperature: float, step: float, *, volume: bool
) -> Callable[[Tensor], Tensor]:
    """Return the function that gives the action of neighbouring pairs (..., 2·dim)."""

    def cost(pairs: Tensor) -> Tensor:
        before, after = pairs.chunk(2, -1)
        middle = (before + after) / 2.0
        excess = (after - before) / step - drift(middle)
        total = step * (excess * excess).sum(-1) / (4.0 * temperature)
        return total + step * divergence(drift, middle, differentiable=True) / 2.0 if volume else total

    return cost


def _least(
    drift: Callable[[Tensor], Tensor],
    path: Tensor,
    temperature: float,
    time: float,
    *,
    volume: bool,
    tolerance: float,
    rounds: int,
) -> tuple[Tensor, float]:
    step = time / (len(path) - 1)
    cost = _costs(drift, temperature, step, volume=volume)
    return least_chain(cost, path, 1.0 / (2.0 * temperature * step), tolerance=tolerance, rounds=rounds)


def _geometric_times(drift: Callable[[Tensor], Tensor], straight: Tensor, time: float) -> list[float]:
    """Times from one in which the drift hardly matters up to ``time``, which is left out, each 1.5 of the last."""
    speed = float(drift(straight).detach().norm(dim=-1).max())
    distance = float((straight[-1] - straight[0]).norm())
    if not 0 < speed < math.inf:
        return []
    count = math.ceil(math.log(max(1.0, min(time * speed / distance if distance else 1.0, _LONGEST))) / math.log(1.5))
    return [time * 1.5 ** (k - count) for k in range(count)]


def _require_time(time: float) -> None:
    require_numbers(time=time)
    require(0 < time < math.inf, f"time={time:g}", "is not positive and finite", "Pass time > 0.")


def _require_differentiable(drift: Callable[[Tensor], Tensor], points: Tensor) -> None:
    """A drift that autograd does not see would be taken for a constant, and the path for a straight line."""
    with torch.enable_grad():
        values = field_at(points.clone().requires_grad_(), drift=drift)
    varies = bool((values.detach() != values.detach()[0]).any())
    require(
        values.requires_grad or not varies,
        "a drift",
        "is not differentiable: autograd does not see through it",
        "Let it be made of torch's operations, outside no_grad.",
    )


def _require_resolved(drift: Callable[[Tensor], Tensor], path: Tensor, time: float) -> None:
    """A midpoint must not jump over what lies between: there the sum is small, and no action."""
    count = len(path) - 1
    change, moved = drift(path).detach().diff(dim=0).norm(), path.diff(dim=0).norm()
    coarse = time / count * float(change) / float(moved) if moved > 0 else 0.0
    require(
        coarse <= _COARSEST,
        f"points={count + 1} over time={time:g}",
        f"are too few: from point to point the drift changes by {coarse:.2g} of what moves the path there",
        f"Pass at least {math.ceil(count * coarse / _COARSEST) + 1}.",
    )
