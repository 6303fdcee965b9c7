"""How a step is made: rules that carry a state over one time step, each a pure function of tensors."""

from thetadot.integrators.base import Integrator, MechanicalIntegrator
from thetadot.integrators.euler import Euler
from thetadot.integrators.leapfrog import Leapfrog
from thetadot.integrators.lookahead import LookAhead
from thetadot.integrators.maruyama import EulerMaruyama
from thetadot.integrators.midpoint import ImplicitMidpoint
from thetadot.integrators.runge_kutta import RungeKutta
from thetadot.integrators.semi_implicit import SemiImplicitEuler
from thetadot.integrators.splitting import Splitting

__all__ = [
    "Euler",
    "EulerMaruyama",
    "ImplicitMidpoint",
    "Integrator",
    "Leapfrog",
    "LookAhead",
    "MechanicalIntegrator",
    "RungeKutta",
    "SemiImplicitEuler",
    "Splitting",
]
