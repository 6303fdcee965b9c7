"""Optimizers: a system × an integrator × a list of parameters."""

from thetadot.optim.adaptive import Adam, AdamW
from thetadot.optim.flow import Flow
from thetadot.optim.named import (
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
