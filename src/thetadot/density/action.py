r"""The weight of a path, and the most probable one.

    P[x] ∝ e^(-S[x]),    S = ∫ (|ẋ - f|²/(4T) + ½ ∇·f) dt        of    dx = f dt + √(2T) dW        (Onsager-Machlup)

in the midpoint (Stratonovich) convention: both terms are taken halfway between neighbouring points, and the sum
converges at second order in their distance. Without the second term S is the Freidlin-Wentzell action, which alone is
left as T -> 0; for f = -∇U its least value over long times is ΔU/T, up the barrier along the descent reversed.

The path is found in the variables ẋ - mean ẋ, in which the action of free motion is a sphere, by L-BFGS (scipy). It is
a local minimum of the sum over the points; its distance from the continuous path is of second order in their spacing.

Source:
    Onsager, Machlup, Phys. Rev. 91, 1505 (1953); Freidlin, Wentzell, Random Perturbations of Dynamical Systems.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from scipy.optimize import minimize

from thetadot.analysis import divergence
from thetadot.density.landscape import require_temperature
from thetadot.errors import InadmissibleValue, NotConverged, require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import Tensor

    from thetadot.typing import Scalar


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
        >>> float(action(still, lambda x: -3.0 * x, 0.5, 2.0))  # ½ ∇·f t
        -3.0
    """
    temperature = require_temperature(temperature)
    require(0 < time < math.inf, f"time={time:g}", "is not positive and finite", "Pass time > 0.")
    if path.dim() != 2 or len(path) < 2:
        raise InadmissibleValue(f"a path of shape {tuple(path.shape)}. Pass points (n, dim), n >= 2.")
    step = time / (len(path) - 1)
    middle = (path[1:] + path[:-1]) / 2.0
    excess = path.diff(dim=0) / step - drift(middle)
    total = step * (excess * excess).sum() / (4.0 * temperature)
    return total + step * divergence(drift, middle, differentiable=True).sum() / 2.0 if volume else total


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
        guess: (points, dim) where to begin, a straight line if None.

    Raises:
        InadmissibleValue: a number or shape out of range.
        NotConverged: the minimisation ends early.

    Example:
        >>> path = most_probable_path(lambda x: -x, (0.0,), (1.0,), time=2.0, temperature=0.5, points=401)
        >>> round(float(path[200]), 5), round(math.sinh(1) / math.sinh(2), 5)
        (0.32403, 0.32403)
    """
    require(points >= 3, f"points={points}", "is below 3", "Pass at least 3.")
    begin, finish = (torch.as_tensor(each, dtype=torch.float64).reshape(-1) for each in (start, end))
    if begin.shape != finish.shape:
        raise InadmissibleValue(f"start {tuple(begin.shape)} and end {tuple(finish.shape)}. Pass two points (dim,).")
    straight = begin + torch.linspace(0, 1, points, dtype=torch.float64)[:, None] * (finish - begin)
    if guess is not None and guess.shape != straight.shape:
        raise InadmissibleValue(f"a guess of shape {tuple(guess.shape)}. Pass {tuple(straight.shape)}.")
    # a unit of any variable then costs the same: |ẋ|² step/(4T) is half of its square
    unit = math.sqrt(2.0 * require_temperature(temperature) * time / (points - 1))

    def path_of(increments: Tensor) -> Tensor:
        kicks = increments - increments.mean(0)
        return straight + torch.cat((torch.zeros_like(begin)[None], unit * kicks.cumsum(0)))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        variables = torch.from_numpy(flat.copy()).reshape(points - 1, -1).requires_grad_()
        value = action(path_of(variables), drift, temperature, time, volume=volume)
        (gradient,) = torch.autograd.grad(value, variables)
        return float(value.detach()), gradient.numpy().ravel()

    offset = torch.zeros_like(straight) if guess is None else guess.double() - straight
    first = (offset.diff(dim=0) / unit).numpy().ravel()
    options = {"maxiter": 20000, "maxfun": 40000, "ftol": 1e-15, "gtol": 1e-8, "maxcor": 30}
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options=options)
    slope = float(abs(found.jac).max())
    if not slope <= 1e-4 * max(1.0, float(found.fun)):
        raise NotConverged(
            f"the action still falls, slope {slope:.2g}, after {found.nit} iterations: {found.message} "
            "Pass a guess, or fewer points."
        )
    return path_of(torch.from_numpy(found.x).reshape(points - 1, -1))
