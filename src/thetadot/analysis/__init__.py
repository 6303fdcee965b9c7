"""Properties of a system stepped by an integrator: stability, stationary laws, orders, geometry of phase space."""

from thetadot.analysis.averaging import exponential_average
from thetadot.analysis.basins import basins
from thetadot.analysis.central_flow import CentralFlow, central_flow
from thetadot.analysis.chart import StabilityChart, stability_chart
from thetadot.analysis.descent import loss_rate
from thetadot.analysis.fixed_points import FixedPoint, classify, describe, find_fixed_points
from thetadot.analysis.floquet import Floquet, floquet
from thetadot.analysis.linear import LinearStep, linearize
from thetadot.analysis.modified import (
    ModifiedLoss,
    gradient_penalty,
    iterated_field,
    modified_field,
    modified_generator,
    slowest_rate,
)
from thetadot.analysis.order import measured_order, trajectory
from thetadot.analysis.phase import PhaseSpace, field_of, jacobian, local_spectral_radius, phase_space, step_of
from thetadot.analysis.portrait import Portrait, phase_portrait
from thetadot.analysis.stability import adaptive_stability_limit, spectral_radius, stability_limit
from thetadot.analysis.stationary import stationary_variance
from thetadot.analysis.volume import divergence, log_volume

__all__ = [
    "CentralFlow",
    "FixedPoint",
    "Floquet",
    "LinearStep",
    "ModifiedLoss",
    "PhaseSpace",
    "Portrait",
    "StabilityChart",
    "adaptive_stability_limit",
    "basins",
    "central_flow",
    "classify",
    "describe",
    "divergence",
    "exponential_average",
    "field_of",
    "find_fixed_points",
    "floquet",
    "gradient_penalty",
    "iterated_field",
    "jacobian",
    "linearize",
    "local_spectral_radius",
    "log_volume",
    "loss_rate",
    "measured_order",
    "modified_field",
    "modified_generator",
    "phase_portrait",
    "phase_space",
    "slowest_rate",
    "spectral_radius",
    "stability_chart",
    "stability_limit",
    "stationary_variance",
    "step_of",
    "trajectory",
]
