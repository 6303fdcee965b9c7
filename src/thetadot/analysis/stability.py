r"""How large a step may be: linear stability on a curvature h.

    heavy ball (c = 0), eq. 20 (c = 1/2), Nesterov (c = 1):    αh < 2(1+β)/(1+2cβ)
    Adam with its preconditioner P frozen:                     αh < 2(1+β₁)/(1-β₁),  h of P⁻¹H

The first is the Jury criterion of z² - [1-x+β(1-cx)]z + β(1-cx), x = αh: 3.8, 2 and 1.357 at β = .9. For c = 1/2
the limit is 2 whatever β. The second is heavy ball's in another unit: Adam's mean is a velocity whose kick is 1-β₁.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.analysis.linear import linearize
from thetadot.errors import require

if TYPE_CHECKING:
    from thetadot.integrators.base import Integrator
    from thetadot.systems.base import System


def stability_limit(momentum: float = 0.0, lookahead: float = 0.0) -> float:
    """Largest stable lr·h of momentum descent.

    Args:
        momentum: 0 <= β < 1.
        lookahead: 0 <= c <= 1.

    Raises:
        InadmissibleValue: outside these ranges.

    Example:
        >>> stability_limit(0.9), stability_limit(0.9, lookahead=0.5), round(stability_limit(0.9, lookahead=1.0), 6)
        (3.8, 2.0, 1.357143)
    """
    require(0 <= momentum < 1, f"momentum={momentum:g}", "is outside [0, 1)", "Pass 0 <= momentum < 1.")
    require(0 <= lookahead <= 1, f"lookahead={lookahead:g}", "is outside [0, 1]", "Pass 0 <= lookahead <= 1.")
    return 2.0 * (1.0 + momentum) / (1.0 + 2.0 * lookahead * momentum)


def adaptive_stability_limit(beta1: float) -> float:
    """Largest stable lr·h of Adam with frozen preconditioner, h an eigenvalue of P⁻¹H.

    Example:
        >>> round(adaptive_stability_limit(0.9), 9)
        38.0
    """
    require(0 <= beta1 < 1, f"beta1={beta1:g}", "is outside [0, 1)", "Pass 0 <= beta1 < 1.")
    return 2.0 * (1.0 + beta1) / (1.0 - beta1)


def spectral_radius(system: System, integrator: Integrator, *, step: float, curvature: float) -> float:
    """Largest |eigenvalue| of the integrator's own step matrix; errors shrink by it every step.

    Example:
        >>> from thetadot.integrators import Euler
        >>> from thetadot.systems import GradientFlow
        >>> round(spectral_radius(GradientFlow(), Euler(), step=0.1, curvature=2.0), 12)
        0.8
    """
    return linearize(system, integrator, step=step, curvature=curvature).spectral_radius()
