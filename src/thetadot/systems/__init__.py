"""What moves: equations of motion, each with its variables, its drift and its noise."""

from thetadot.systems.adaptive import AdaptiveFlow
from thetadot.systems.amos import Amos
from thetadot.systems.base import Beginning, Mechanical, PerStep, System
from thetadot.systems.descent import NormalizedFlow, PolyakFlow, SignFlow
from thetadot.systems.error_controlled import ErrorControlledFlow
from thetadot.systems.gradient import GradientFlow
from thetadot.systems.kramers import Kramers
from thetadot.systems.langevin import Langevin
from thetadot.systems.newton import DampedNewton

__all__ = [
    "AdaptiveFlow",
    "Amos",
    "Beginning",
    "DampedNewton",
    "ErrorControlledFlow",
    "GradientFlow",
    "Kramers",
    "Langevin",
    "Mechanical",
    "NormalizedFlow",
    "PerStep",
    "PolyakFlow",
    "SignFlow",
    "System",
]
