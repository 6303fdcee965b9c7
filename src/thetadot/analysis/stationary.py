r"""The law that a noisy optimizer settles to near a minimum, exactly as it is stepped.

    P = A P Aᵀ + s² b bᵀ + C Cᵀ                                                  discrete Lyapunov equation

Closed forms that it reproduces (h curvature, α lr, β momentum, γ step):

    gradient descent, gradient noise s²       Var θ = αs²/(h(2-αh))
    heavy ball, gradient noise s²             Var θ = αs²(1+β)/((1-β)h(2(1+β)-αh))
    Leapfrog on Kramers, temperature T        Var θ = T/(h(1-γ²h/4))
    BAOAB on Kramers                          Var θ = T/h

For matrices H and C (of the gradient's noise), which need not commute: in the basis of H's eigenvectors,

    P_ij = A_i P_ij A_jᵀ + C_ij b_i b_jᵀ + δ_ij Σ c_i c_iᵀ,    A_i the step's matrix at the eigenvalue h_i

one small equation for each pair of directions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, overload

import torch

from thetadot.analysis.linear import linearize
from thetadot.core.validation import require_numbers
from thetadot.errors import InadmissibleValue, IncompatiblePair, require
from thetadot.integrators.base import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.analysis.linear import LinearStep
    from thetadot.integrators.base import Integrator
    from thetadot.systems.base import System

_ROUNDING = 1e-12  # of the eigenvalues: without friction they lie on the unit circle, on either side in floating point


@overload
def stationary_variance(
    system: System,
    integrator: Integrator,
    *,
    step: float,
    curvature: float,
    gradient_variance: float = ...,
    batch_size: float = ...,
    of: Literal["shown", "evaluated"] = ...,
) -> float: ...


@overload
def stationary_variance(
    system: System,
    integrator: Integrator,
    *,
    step: float,
    curvature: Tensor,
    gradient_variance: float | Tensor = ...,
    batch_size: float = ...,
    of: Literal["shown", "evaluated"] = ...,
) -> Tensor: ...


def stationary_variance(
    system: System,
    integrator: Integrator,
    *,
    step: float,
    curvature: float | Tensor,
    gradient_variance: float | Tensor = 0.0,
    batch_size: float = 1.0,
    of: Literal["shown", "evaluated"] = "shown",
) -> float | Tensor:
    """Variance of the position once stationary on L = hθ²/2, or its covariance on L = θᵀHθ/2.

    A word may drift before its force: then the positions between steps, which ``simulate`` shows, have another variance
    than those at which gradients are taken, which an optimizer's parameters are.

    Args:
        system: what moves; its temperature is thermal noise.
        integrator: how it is stepped.
        step: γ > 0.
        curvature: h > 0; or H, symmetric and positive, (d, d).
        gradient_variance: s² >= 0 of one sample; beside a matrix H also C, (d, d).
        batch_size: B >= 1, samples averaged.
        of: "shown", θ between steps; or "evaluated", where gradients are taken, for a look-ahead Θ.

    Returns:
        A number; a covariance (d, d), float64, where H is a matrix.

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
    linear, row = _readers(system, integrator, step, of)
    require_numbers(batch_size=batch_size)
    require(batch_size >= 1, f"batch_size={batch_size:g}", "is below 1", "Pass batch_size >= 1.")
    if isinstance(curvature, torch.Tensor) and curvature.ndim:
        return _of_matrices(linear, curvature, gradient_variance / batch_size, row)
    require_numbers(curvature=curvature, gradient_variance=gradient_variance)
    variance = float(gradient_variance)
    require(0 <= variance < math.inf, f"gradient_variance={variance:g}", "is negative or not finite", "Pass s² >= 0.")
    once = linear(float(curvature))
    shown = row(once)
    return float(shown @ once.stationary_covariance(variance / batch_size) @ shown)


def _readers(
    system: System, integrator: Integrator, step: float, of: str
) -> tuple[Callable[[float], LinearStep], Callable[[LinearStep], Tensor]]:
    """The step at a curvature, where it is stable; and the row that reads a position of its state."""
    if of not in ("shown", "evaluated"):
        raise InadmissibleValue(f"of={of!r} is unknown. Pass 'shown' or 'evaluated'.")

    def linear(h: float) -> LinearStep:
        found = linearize(system, integrator, step=step, curvature=h)
        radius = found.spectral_radius()
        require(
            radius < 1.0 - _ROUNDING,
            f"step={step:g} at curvature={h:g}",
            f"is not stable (spectral radius {radius:.6g}): there is no stationary law",
            "Pass a smaller step, a curvature > 0 and a friction > 0.",
        )
        return found

    def row(found: LinearStep) -> Tensor:
        if of == "evaluated":
            return torch.eye(len(found.names), dtype=torch.float64)[0]
        if found.shown is None:
            raise IncompatiblePair(
                f"{name_of(integrator)} loses its positions between steps. Pass of='evaluated', or another word."
            )
        return found.shown

    return linear, row


def _of_matrices(
    linear: Callable[[float], LinearStep], curvature: Tensor, noise: float | Tensor, row: Callable[[LinearStep], Tensor]
) -> Tensor:
    """(d, d) covariance of positions, given the step at a curvature and the row that reads a position."""
    size = curvature.shape[-1] if curvature.ndim == 2 else 0
    square = size > 0 and curvature.shape == (size, size) and bool(torch.isfinite(curvature).all())
    hessian = curvature.detach().double()
    slack = 1e-6 * float(hessian.abs().max()) if square else 0.0
    if not square or not torch.allclose(hessian, hessian.T, rtol=0.0, atol=slack):
        raise InadmissibleValue(
            f"curvature of shape {tuple(curvature.shape)} is no symmetric finite matrix. Pass H of shape (d, d)."
        )
    covariance = torch.as_tensor(noise, dtype=torch.float64)
    if covariance.ndim == 0:
        covariance = covariance * torch.eye(size, dtype=torch.float64)
    least = float(torch.linalg.eigvalsh(covariance).min()) if covariance.shape == (size, size) else -math.inf
    if not least >= -1e-9 * float(covariance.abs().max()) or not torch.allclose(covariance, covariance.T):
        raise InadmissibleValue(
            f"gradient_variance of shape {tuple(covariance.shape)} is no covariance of {size} directions. Pass a "
            f"number s² >= 0, or C, symmetric and of no negative eigenvalue, of shape ({size}, {size})."
        )
    values, vectors = torch.linalg.eigh((hessian + hessian.T) / 2.0)
    steps = [linear(float(h)) for h in values]
    mixed = vectors.T @ covariance @ vectors
    found = torch.empty(size, size, dtype=torch.float64)
    for i, one in enumerate(steps):
        for j, other in enumerate(steps[: i + 1]):
            forced = mixed[i, j] * torch.outer(one.gradient_noise, other.gradient_noise)
            if i == j:
                forced = forced + one.thermal_noise @ one.thermal_noise.T
            kept = torch.eye(forced.numel(), dtype=torch.float64) - torch.kron(one.matrix, other.matrix)
            pair = torch.linalg.solve(kept, forced.reshape(-1)).reshape(forced.shape)
            found[i, j] = found[j, i] = row(one) @ pair @ row(other)
    whole: Tensor = vectors @ found @ vectors.T
    return whole
