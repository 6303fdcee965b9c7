r"""The continuity equation along the paths of a flow.

    ∂p/∂t = -∇·(p f):    d log p(x(t), t)/dt = -∇·f(x(t))                                        along ẋ = f(x)
    log |det ∂x(t)/∂x(0)| = ∫₀ᵗ ∇·f ds    (Liouville);    for f = A x: det e^(At) = e^(t tr A)

The divergence is the exact trace of the Jacobian, by autograd: d gradients a point, so for small d. Time is carried by
an eighth-order Runge-Kutta method with error control (DOP853) to the tolerance asked for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from scipy.integrate import solve_ivp

from thetadot.analysis import divergence
from thetadot.core.signatures import checked
from thetadot.core.validation import field_at, require_finite, require_tensors
from thetadot.errors import Diverged, InadmissibleValue, NotConverged, require

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor


_MOST = 1_000_000  # evaluations of the field


@checked
def carry(
    field: Callable[[Tensor], Tensor], position: Tensor, log_density: Tensor, time: float, tolerance: float = 1e-10
) -> tuple[Tensor, Tensor]:
    """Points and the logarithm of the density at them, ``time`` later.

    Args:
        field: f of positions (n, d), path by path.
        position: x(0), (n, d).
        log_density: log p(x(0), 0), (n,).
        time: t; negative goes back.
        tolerance: relative and absolute error of a step, at least 1e-13.

    Returns:
        x(t), log p(x(t), t), of the dtype and on the device of ``position``; computed in float64.

    Raises:
        InadmissibleValue: shapes that do not fit, what is not finite, or a time or tolerance out of range.
        NotConverged: the flow leaves every bound before ``time``, or a million evaluations do not reach it.
        Diverged: the field or its divergence is not finite on the way.

    Example:
        >>> x, log_p = carry(lambda x: -x, torch.tensor([[2.0]]), torch.tensor([0.0]), 1.0)
        >>> round(float(x), 6), round(float(log_p), 6)  # 2/e; the volume shrinks by e
        (0.735759, 1.0)
    """
    require_tensors(position=position, log_density=log_density)
    require_finite(position=position, log_density=log_density)
    if position.dim() != 2 or log_density.shape != position.shape[:1]:
        raise InadmissibleValue(
            f"positions {tuple(position.shape)}, log densities {tuple(log_density.shape)}. Pass (n, d) and (n,)."
        )
    require(math.isfinite(time), f"time={time:g}", "is not finite", "Pass a finite time.")
    require(1e-13 <= tolerance < 1, f"tolerance={tolerance:g}", "is outside [1e-13, 1)", "Pass such as 1e-10.")
    require_finite(field=field_at(position.detach().double().cpu(), field=field))
    count, dim = position.shape
    asked = 0

    def motion(now: float, state: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += 1
        if asked > _MOST:
            raise NotConverged(
                f"{_MOST} evaluations of the field reach time {now:.4g}. Pass a shorter time, a larger tolerance or a "
                "smoother field."
            )
        here = torch.from_numpy(state).reshape(count, dim + 1)[:, :dim]
        moved = torch.cat((field(here), -divergence(field, here)[:, None]), 1).detach()
        if not bool(moved.isfinite().all()):  # scipy halves its steps without end
            raise Diverged(f"the field or its divergence is not finite at time {now:.4g}. Pass a shorter time.")
        return moved.numpy().ravel()

    start = torch.cat((position, log_density[:, None]), 1).detach().double().cpu().numpy().ravel()
    solution = solve_ivp(motion, (0.0, time), start, method="DOP853", rtol=tolerance, atol=tolerance)
    if not solution.success:
        raise NotConverged(f"the flow ends at time {solution.t[-1]:.4g}: {solution.message} Pass a shorter time.")
    end = torch.from_numpy(solution.y[:, -1]).reshape(count, dim + 1).to(position)
    return end[:, :dim], end[:, dim]


@checked
def log_volume(field: Callable[[Tensor], Tensor], position: Tensor, time: float, tolerance: float = 1e-10) -> Tensor:
    """Log |det ∂x(t)/∂x(0)| of a flow, at points (n, d): (n,); arguments as for :func:`carry`.

    Example:
        >>> round(float(log_volume(lambda x: -x, torch.ones(1, 3), 2.0)), 6)
        -6.0
    """
    require_tensors(position=position)
    require(position.dim() == 2, f"position of shape {tuple(position.shape)}", "is not points", "Pass (n, d).")
    return -carry(field, position, torch.zeros(len(position), dtype=position.dtype), time, tolerance)[1]
