r"""The law that a noisy optimizer settles to near a minimum, exactly as it is stepped.

    P = A P Aᵀ + s² b bᵀ + C Cᵀ                                                  discrete Lyapunov equation

Closed forms that it reproduces (h curvature, α lr, β momentum, γ step):

    gradient descent, gradient noise s²       Var θ = αs²/(h(2-αh))
    heavy ball, gradient noise s²             Var θ = αs²(1+β)/((1-β)h(2(1+β)-αh))
    Leapfrog on Kramers, temperature T        Var θ = T/(h(1-γ²h/4))
    BAOAB on Kramers                          Var θ = T/h
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from thetadot.analysis.linear import linearize
from thetadot.errors import InadmissibleValue, IncompatiblePair, require
from thetadot.integrators.base import name_of
from thetadot.kinds import require_numbers

if TYPE_CHECKING:
    from thetadot.integrators.base import Integrator
    from thetadot.systems.base import System

_ROUNDING = 1e-12  # of the eigenvalues: without friction they lie on the unit circle, on either side in floating point


def stationary_variance(
    system: System,
    integrator: Integrator,
    *,
    step: float,
    curvature: float,
    gradient_variance: float = 0.0,
    batch_size: float = 1.0,
    of: Literal["shown", "evaluated"] = "shown",
) -> float:
    """Variance of the position once stationary on L = hθ²/2.

    A word may drift before its force: then the positions between steps, which ``simulate`` shows, have another variance
    than those at which gradients are taken, which an optimizer's parameters are.

    Args:
        system: what moves; its temperature is thermal noise.
        integrator: how it is stepped.
        step: γ > 0.
        curvature: h > 0.
        gradient_variance: s² >= 0 of one sample.
        batch_size: B >= 1, samples averaged.
        of: "shown", θ between steps; or "evaluated", where gradients are taken, for a look-ahead Θ.

    Raises:
        InadmissibleValue: the step is unstable at this curvature, so that there is no stationary law; or a variance
            or batch size out of range; an ``of`` that is neither.
        IncompatiblePair: the step is not linear, or not possible; a word that loses its positions between steps.

    Example:
        >>> from thetadot.integrators import Euler
        >>> from thetadot.systems import GradientFlow
        >>> value = stationary_variance(GradientFlow(), Euler(), step=0.3, curvature=2.0, gradient_variance=1.0)
        >>> round(value, 7)
        0.1071429
    """
    if of not in ("shown", "evaluated"):
        raise InadmissibleValue(f"of={of!r} is unknown. Pass 'shown' or 'evaluated'.")
    require_numbers(gradient_variance=gradient_variance, batch_size=batch_size)
    require(
        0 <= gradient_variance < float("inf"),
        f"gradient_variance={gradient_variance:g}",
        "is negative or not finite",
        "Pass s² >= 0.",
    )
    require(batch_size >= 1, f"batch_size={batch_size:g}", "is below 1", "Pass batch_size >= 1.")
    linear = linearize(system, integrator, step=step, curvature=curvature)
    radius = linear.spectral_radius()
    require(
        radius < 1.0 - _ROUNDING,
        f"step={step:g} at curvature={curvature:g}",
        f"is not stable (spectral radius {radius:.6g}): there is no stationary law",
        "Pass a smaller step, a curvature > 0 and a friction > 0.",
    )
    covariance = linear.stationary_covariance(gradient_variance / batch_size)
    if of == "evaluated":
        return float(covariance[0, 0])
    if linear.shown is None:
        raise IncompatiblePair(
            f"{name_of(integrator)} loses its positions between steps. Pass of='evaluated', or another word."
        )
    return float(linear.shown @ covariance @ linear.shown)
