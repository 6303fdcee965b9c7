"""Motions of a user's own, right and wrong."""

import itertools
import time
from pathlib import Path

import numpy as np
import torch

from thetadot.integrators import DormandPrince, Euler, RungeKutta
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import ODE, SDE, DampedNewton, GradientFlow, Kramers, Langevin, Problem


def decay():
    return ODE(lambda x: -x), RungeKutta(), torch.tensor([[1.0], [2.0]], dtype=torch.float64), 1.0, 0.1


def net():
    torch.manual_seed(0)
    return (
        ODE(torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))),
        None,
        torch.ones(3, 2),
        1.0,
        0.1,
    )


def noise():
    return SDE(lambda x: -x, 0.5)


def ball(friction: float = 0.0):
    motion = Problem(DampedNewton(friction), Harmonic(1.0))
    start = {"position": torch.tensor([[1.0, 0.0]]).double(), "velocity": torch.tensor([[0.0, 1.0]]).double()}
    return {"system": motion, "initial": start, "time": 2.0, "step": 0.05, "integrator": RungeKutta()}


def heated(temperature: float = 0.3, friction: float = 1.0, barrier: float = 0.25):
    return Problem(Kramers(friction, temperature), DoubleWell(barrier))


def explodes():
    return ODE(lambda x: x * x), None, torch.tensor([[2.0]], dtype=torch.float64), 5.0, 0.1


def number():
    return 3.0


def no_potential():
    return Langevin(0.1)


def strange_key():
    return {"system": ODE(lambda x: -x), "speed": 3}


def no_motion():
    return {"time": 1.0}


def wrong_time():
    return {"system": ODE(lambda x: -x), "time": -1.0}


def wrong_integrator():
    return ODE(lambda x: -x), "rk4"


def raises():
    raise KeyError("missing")


def gradient():
    return Problem(GradientFlow(), Harmonic(2.0)), None, torch.tensor([3.0], dtype=torch.float64), 1.0, 0.01


def huge():
    return SDE(lambda x: -x, 0.5), None, torch.zeros(1, 1000, dtype=torch.float64), 1.0, 0.01, 1_000_000


def needs_three():
    """Its starts are left out, and it takes three coordinates."""
    return ODE(lambda x: torch.stack([x[:, 1], x[:, 2], -x[:, 0]], -1))


def finds_its_own_steps():
    """An adaptive method."""
    return ODE(lambda x: -x), DormandPrince()


def slow(marker: str, delay: float = 0.0):
    """After a hundred steps it says that they are taken, and waits at every further one."""
    steps = itertools.count()

    def drift(x):
        if float(x.sum()) and next(steps) >= 100:  # a drift that branches is not traced
            Path(marker).touch()
            time.sleep(delay)
        return -x

    return ODE(drift), Euler(), torch.ones(1, 1, dtype=torch.float64), 100.0, 0.01


def step_of_its_own_and_another():
    return {"system": ODE(lambda x: -x), "integrator": DormandPrince(), "step": 0.1}


def swing():
    motion = Problem(DampedNewton(0.0), Harmonic(1.0))
    return {"system": motion, "initial": {"position": [1.0], "velocity": np.zeros(1, "f4")}, "time": 2.0, "step": 0.1}


def correlated():
    return SDE(lambda x: -x, lambda x: torch.stack([x, torch.cos(x), 1 + 0 * x], -1), sources=3), None, np.ones(2)


def turned():
    return SDE(lambda x: 0 * x, lambda x: torch.stack([-x[:, 1:], x[:, :1]], 1), "stratonovich", 1), None, [1.0, 0.0]


def scalar():
    return ODE(lambda x: -x), None, torch.tensor(1.0)
