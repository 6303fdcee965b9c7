"""Stability limits from the integrator's own step matrix, beside the closed forms of :mod:`thetadot.core.limits`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.analysis.linear import linearize
from thetadot.core.limits import adaptive_stability_limit, stability_limit

if TYPE_CHECKING:
    from thetadot.integrators.base import Integrator
    from thetadot.systems.base import System

__all__ = ["adaptive_stability_limit", "spectral_radius", "stability_limit"]


def spectral_radius(system: System, integrator: Integrator, *, step: float, curvature: float) -> float:
    """Largest |eigenvalue| of the integrator's own step matrix; errors shrink by it every step.

    Example:
        >>> from thetadot.integrators import Euler
        >>> from thetadot.systems import GradientFlow
        >>> round(spectral_radius(GradientFlow(), Euler(), step=0.1, curvature=2.0), 12)
        0.8
    """
    return linearize(system, integrator, step=step, curvature=curvature).spectral_radius()
