"""What moves: equations of motion, each with its variables, its drift and its noise."""

from thetadot.systems.adaptive import AdaptiveFlow
from thetadot.systems.amos import Amos
from thetadot.systems.base import Beginning, Mechanical, Multiplicative, PerStep, System
from thetadot.systems.custom import ODE, SDE, Driven
from thetadot.systems.descent import NormalizedFlow, PolyakFlow, SignFlow
from thetadot.systems.error_controlled import ErrorControlledFlow
from thetadot.systems.gradient import GradientFlow
from thetadot.systems.kramers import Kramers
from thetadot.systems.langevin import Langevin
from thetadot.systems.newton import DampedNewton
from thetadot.systems.problem import Problem

__all__ = [
    "ODE",
    "SDE",
    "AdaptiveFlow",
    "Amos",
    "Beginning",
    "DampedNewton",
    "Driven",
    "ErrorControlledFlow",
    "GradientFlow",
    "Kramers",
    "Langevin",
    "Mechanical",
    "Multiplicative",
    "NormalizedFlow",
    "PerStep",
    "PolyakFlow",
    "Problem",
    "SignFlow",
    "System",
]
