"""Paths of our fields by somebody else's solver."""

import numpy as np
import torch
from scipy.integrate import solve_ivp

from thetadot.analysis import field_of


def solve(motion, start, time, *, rtol=1e-10, **options):
    """scipy's solution of ẋ = f(x) from one point, by an explicit method of order 8."""
    field = field_of(motion)

    def slope(_, point):
        return field(torch.from_numpy(point.copy()).unsqueeze(0))[0].detach().numpy()

    return solve_ivp(
        slope, (0.0, time), np.array(start, dtype=float), method="DOP853", rtol=rtol, atol=1e-13, **options
    )


def end(motion, start, time, **options):
    """Where the path is at a time."""
    return solve(motion, start, time, **options).y[:, -1]


def path(motion, start, time, **options):
    """(m, n) tensor of all points that the solver went through."""
    return torch.from_numpy(solve(motion, start, time, **options).y.T.copy())
