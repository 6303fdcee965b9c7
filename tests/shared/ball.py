"""A ball that is let go at rest in the double well (x²-1)²/4, against friction ½: where it is, by scipy."""

import torch
from scipy.integrate import solve_ivp

FRICTION = 0.5
START = torch.tensor([2.0], dtype=torch.float64)


def double_well(x):
    """∇L."""
    return x * (x * x - 1)


def place(time):
    """θ(time), (1,)."""

    def motion(_, state):
        return state[1], -FRICTION * state[1] - double_well(state[0])

    solution = solve_ivp(motion, (0, time), (2.0, 0.0), method="DOP853", rtol=1e-13, atol=1e-14)
    return torch.tensor([solution.y[0, -1]], dtype=torch.float64)
