"""Rules that advance a state over one time step, each a pure function of tensors."""

from thetadot.integrators.adaptive import BogackiShampine, DormandPrince
from thetadot.integrators.additive import SRA1
from thetadot.integrators.base import Integrator, MechanicalIntegrator, NoiseOrder, initial_state
from thetadot.integrators.centred import CentredLeapfrog, CentredSplitting
from thetadot.integrators.controller import Controller
from thetadot.integrators.controlling import Controlled, controlled
from thetadot.integrators.euler import Euler
from thetadot.integrators.heun import Heun
from thetadot.integrators.leapfrog import Leapfrog
from thetadot.integrators.lookahead import LookAhead
from thetadot.integrators.maruyama import EulerMaruyama
from thetadot.integrators.midpoint import ImplicitMidpoint
from thetadot.integrators.milstein import Milstein
from thetadot.integrators.runge_kutta import RungeKutta
from thetadot.integrators.semi_implicit import SemiImplicitEuler
from thetadot.integrators.splitting import Splitting

__all__ = [
    "SRA1",
    "BogackiShampine",
    "CentredLeapfrog",
    "CentredSplitting",
    "Controlled",
    "Controller",
    "DormandPrince",
    "Euler",
    "EulerMaruyama",
    "Heun",
    "ImplicitMidpoint",
    "Integrator",
    "Leapfrog",
    "LookAhead",
    "MechanicalIntegrator",
    "Milstein",
    "NoiseOrder",
    "RungeKutta",
    "SemiImplicitEuler",
    "Splitting",
    "controlled",
    "initial_state",
]
