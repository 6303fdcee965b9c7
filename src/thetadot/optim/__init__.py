"""Optimizers: a system × an integrator × a list of parameters."""

from thetadot.optim.adaptive import Adam, AdamW
from thetadot.optim.amos import Amos
from thetadot.optim.descent import NormalizedDescent, Polyak, SignDescent
from thetadot.optim.flow import Flow
from thetadot.optim.named import (
    GradientDescent,
    HeavyBall,
    ImplicitHeavyBall,
    Kramers,
    Langevin,
    Nesterov,
)
from thetadot.optim.rmsprop import RMSprop
from thetadot.optim.rounding_noise import rounding_temperature

__all__ = [
    "Adam",
    "AdamW",
    "Amos",
    "Flow",
    "GradientDescent",
    "HeavyBall",
    "ImplicitHeavyBall",
    "Kramers",
    "Langevin",
    "Nesterov",
    "NormalizedDescent",
    "Polyak",
    "RMSprop",
    "SignDescent",
    "rounding_temperature",
]
