"""What moves: equations of motion, each with its variables, its drift and its noise."""

from thetadot.systems.adaptive import AdaptiveFlow
from thetadot.systems.base import Mechanical, PerStep, System
from thetadot.systems.gradient import GradientFlow
from thetadot.systems.kramers import Kramers
from thetadot.systems.langevin import Langevin
from thetadot.systems.newton import DampedNewton

__all__ = ["AdaptiveFlow", "DampedNewton", "GradientFlow", "Kramers", "Langevin", "Mechanical", "PerStep", "System"]
