"""Equations of motion, each with its variables, its drift and its noise."""

from thetadot.systems.adaptive import AdaptiveFlow
from thetadot.systems.amos import Amos
from thetadot.systems.base import Beginning, Mechanical, Multiplicative, PerStep, System
from thetadot.systems.competition import Competition
from thetadot.systems.custom import ODE, SDE, Driven
from thetadot.systems.descent import NormalizedFlow, PolyakFlow, SignFlow
from thetadot.systems.dirac_gan import DiracGAN
from thetadot.systems.error_controlled import ErrorControlledFlow
from thetadot.systems.geometric_brownian import GeometricBrownian
from thetadot.systems.gradient import GradientFlow
from thetadot.systems.jacobi import Jacobi
from thetadot.systems.kramers import Kramers
from thetadot.systems.langevin import Langevin
from thetadot.systems.mathieu import InvertedPendulum, mathieu_matrix
from thetadot.systems.newton import DampedNewton
from thetadot.systems.problem import Problem
from thetadot.systems.scheduled_amos import ScheduledAmos
from thetadot.systems.simsiam import SimSiam
from thetadot.systems.wgan_div import WGANDiv

__all__ = [
    "ODE",
    "SDE",
    "AdaptiveFlow",
    "Amos",
    "Beginning",
    "Competition",
    "DampedNewton",
    "DiracGAN",
    "Driven",
    "ErrorControlledFlow",
    "GeometricBrownian",
    "GradientFlow",
    "InvertedPendulum",
    "Jacobi",
    "Kramers",
    "Langevin",
    "Mechanical",
    "Multiplicative",
    "NormalizedFlow",
    "PerStep",
    "PolyakFlow",
    "Problem",
    "ScheduledAmos",
    "SignFlow",
    "SimSiam",
    "System",
    "WGANDiv",
    "mathieu_matrix",
]
