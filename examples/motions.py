"""Motions of one's own, for `thetadot simulate examples/motions.py:NAME`."""

import torch

from thetadot.integrators import RungeKutta
from thetadot.systems import ODE, SDE, Kramers, Problem


def lorenz(rho=28.0) -> tuple:
    """A motion alone, or a tuple: motion, integrator, initial, time, step."""

    def field(state) -> torch.Tensor:
        x, y, z = state.unbind(-1)
        return torch.stack((10.0 * (y - x), x * (rho - z) - y, x * y - 8.0 / 3.0 * z), -1)

    start = torch.tensor([[1.0, 1.0, 25.0 + 1e-6 * path] for path in range(20)], dtype=torch.float64)
    return ODE(field), RungeKutta(), start, 30.0, 0.01


def washboard(temperature=0.4, friction=0.5) -> dict:
    """A problem: what moves, and in which landscape; --temperature and --friction reach these arguments."""
    motion = Problem(Kramers(friction, temperature), lambda x: (x.cos() - 0.3 * x).sum(-1))
    return {"system": motion, "initial": torch.tensor([3.0]).double(), "paths": 2000, "time": 20.0, "step": 0.1}


def cell() -> dict:
    """An SDE whose noise grows with the state."""
    return {"system": SDE(lambda x: x * (1.0 - x), lambda x: 0.2 * x), "initial": torch.tensor([0.2]).double()}
