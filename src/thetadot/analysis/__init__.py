"""What follows from a system and an integrator: stability, stationary laws, orders."""

from thetadot.analysis.linear import LinearStep, linearize
from thetadot.analysis.order import measured_order, trajectory
from thetadot.analysis.stability import adaptive_stability_limit, spectral_radius, stability_limit
from thetadot.analysis.stationary import stationary_variance

__all__ = [
    "LinearStep",
    "adaptive_stability_limit",
    "linearize",
    "measured_order",
    "spectral_radius",
    "stability_limit",
    "stationary_variance",
    "trajectory",
]
