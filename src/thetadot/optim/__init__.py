"""Optimizers: a system × an integrator × a list of parameters."""

from thetadot.optim.flow import Flow
from thetadot.optim.named import (
    Adam,
    AdamW,
    GradientDescent,
    HeavyBall,
    ImplicitHeavyBall,
    Kramers,
    Langevin,
    Nesterov,
)

__all__ = [
    "Adam",
    "AdamW",
    "Flow",
    "GradientDescent",
    "HeavyBall",
    "ImplicitHeavyBall",
    "Kramers",
    "Langevin",
    "Nesterov",
]
