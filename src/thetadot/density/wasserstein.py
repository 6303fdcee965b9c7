r"""Densities as points, moved by the metric of transport.

    ∂q/∂t = ∇·(q ∇ δF/δq);    F = KL(q ‖ p):  the Fokker-Planck equation of dx = ∇log p dt + √2 dW       [jordan1998]
    q' = argmin_q { F[q] + W₂(q, q_t)²/(2α) }                                 a step of it, implicit (JKO)
    ẋ = ∇log p(x) - ∇log q_t(x)                                               the same q_t, moved without noise

For Gaussians towards N(0, 1) the step is closed: m' = m/(1 + α), s' = (s + √(s² + 4α(1 + α)))/(2(1 + α)), of first
order in α; the flow is m e^(-t), s² = 1 + (s² - 1) e^(-2t).

Source:
    Jordan, Kinderlehrer, Otto, SIAM J. Math. Anal. 29, 1 (1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from thetadot.core.failures import explained
from thetadot.core.signatures import checked
from thetadot.core.tensors import tensor_of
from thetadot.core.validation import require_finite, require_instances, require_wide
from thetadot.density.landscape import require_temperature
from thetadot.errors import InadmissibleValue, require
from thetadot.integrators import Euler, Integrator
from thetadot.integrators.base import initial_state
from thetadot.potentials import gradient_of
from thetadot.systems.base import POSITION
from thetadot.systems.custom import Driven

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import Scalar, State


_MOST = 1e7  # steps


@checked
def gaussian_divergence(mean: float, deviation: float) -> float:
    """KL(N(m, s²) ‖ N(0, 1)) = (m² + s² - 1)/2 - log s.

    Example:
        >>> gaussian_divergence(2.0, 1.0)
        2.0
    """
    _require_gaussian(mean, deviation)
    return (mean * mean + deviation * deviation - 1.0) / 2.0 - math.log(deviation)


@checked
def jko_gaussian(mean: float, deviation: float, step: float) -> tuple[float, float]:
    """(m', s') after one implicit step of KL(q ‖ N(0, 1)) in W₂, exactly.

    For a target N(μ, τ²) pass (m - μ)/τ, s/τ and α/τ².

    Args:
        mean: m.
        deviation: s > 0.
        step: α > 0.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> jko_gaussian(2.0, 1.0, 1.0)
        (1.0, 1.0)
    """
    _require_gaussian(mean, deviation)
    require(0 < step < math.inf, f"step={step:g}", "is not positive and finite", "Pass step > 0.")
    more = 1.0 + step
    return mean / more, (deviation + math.sqrt(deviation**2 + 4.0 * step * more)) / (2.0 * more)


def _require_gaussian(mean: float, deviation: float) -> None:
    require(math.isfinite(mean), f"mean={mean:g}", "is not finite", "Pass a finite mean.")
    require(0 < deviation < math.inf, f"deviation={deviation:g}", "is not positive and finite", "Pass one > 0.")


@explained
@checked
@dataclass(frozen=True)
class ParticleFlow(Driven):
    """ẋ = -∇U(x) - T ∇log q(x), q estimated from the particles themselves: a system of all paths together.

    Without noise, the particles' density follows the Fokker-Planck equation of dx = -∇U dt + √(2T) dW as far as q is
    known: exactly, for Gaussians, with the Gaussian estimate. That is wrong where the density is not one: in the double
    well (x²-1)²/4 at T = .3 it settles at a variance of 1.24, kernels of width .1 at .83; exact is .84.

    Args:
        potential: U of positions (..., dim).
        temperature: T > 0.
        estimate: "gaussian", the Gaussian of the particles' mean and covariance; or a number, the bandwidth of Gaussian
            kernels around them, whose q is theirs blurred by it.

    Raises:
        InadmissibleValue: a temperature or bandwidth that is not positive.

    Example:
        >>> flow = ParticleFlow(lambda x: (x * x).sum(-1) / 2, 1.0)
        >>> settled = torch.tensor([[-1.0], [1.0]])  # mean 0, variance 1: nothing moves
        >>> flow.drift("position", {"position": settled}).flatten().tolist()
        [0.0, 0.0]
    """

    potential: Callable[[Tensor], Tensor]
    temperature: Scalar = 1.0
    estimate: str | float = "gaussian"

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", require_temperature(self.temperature))
        if isinstance(self.estimate, str):
            if self.estimate != "gaussian":
                raise InadmissibleValue(f"estimate={self.estimate!r} is unknown. Pass 'gaussian' or a bandwidth.")
        else:
            require(0 < self.estimate < math.inf, f"estimate={self.estimate:g}", "is no bandwidth", "Pass one > 0.")

    @cached_property
    def _gradient(self) -> Callable[[Tensor], Tensor]:
        return gradient_of(self.potential)

    def drift(self, name: str, state: State) -> Tensor:  # noqa: ARG002 - there is one variable
        """Return the drift -∇U - T ∇log q."""
        position = tensor_of(state, POSITION)
        return -self._gradient(position) - float(self.temperature) * self.score(position)

    def score(self, position: Tensor) -> Tensor:
        """∇log q at the particles (paths, dim)."""
        if position.dim() != 2:
            raise InadmissibleValue(f"position of shape {tuple(position.shape)} is not particles. Pass (paths, dim).")
        if isinstance(self.estimate, str):
            excess = position - position.mean(0)
            covariance = excess.T @ excess / len(position)
            require_finite(covariance=covariance)
            pull, failed = torch.linalg.solve_ex(covariance, excess.T)
            require(not int(failed), "particles", "lie in fewer dimensions than they have", "Spread them, or add more.")
            score: Tensor = -pull.T
            return score
        narrow = 1.0 / float(self.estimate) ** 2
        weight = torch.softmax(-0.5 * narrow * torch.cdist(position, position) ** 2, dim=1)
        return narrow * (weight @ position - position)

    def run(self, initial: Tensor, *, time: float, step: float, integrator: Integrator | None = None) -> Tensor:
        """The particles at ``time``.

        Args:
            initial: (paths, dim), more paths than dimensions.
            time: > 0.
            step: γ > 0, shortened so that steps fit.
            integrator: :class:`~thetadot.integrators.Euler` if None.
        """
        require_wide(initial=initial)
        require_finite(initial=initial)
        if initial.dim() != 2 or len(initial) <= initial.shape[1]:
            raise InadmissibleValue(
                f"initial of shape {tuple(initial.shape)}. Pass (paths, dim), more paths than dimensions."
            )
        require(
            0 < step <= time < math.inf, f"time={time:g}, step={step:g}", "are out of order", "Pass 0 < step <= time."
        )
        require(time / step <= _MOST, f"time={time:g} in steps of {step:g}", "is more than 1e7 steps", "Pass fewer.")
        count = math.ceil(time / step - 1e-9)
        rule = Euler() if integrator is None else integrator
        require_instances(Integrator, integrator=rule)
        scales = rule.prepare(self, time / count)
        state = initial_state(self, rule, initial)
        blank = torch.zeros_like(initial)
        for _ in range(count):
            for stage in range(rule.stages):
                state = rule.advance(scales, state, blank, lambda: blank, stage)
        return rule.position(scales, state)
