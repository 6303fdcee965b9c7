r"""The rate of escape over a saddle: Kramers, Eyring and Langer.

    k = κ/(2π) · √(det H_a / |det H_b|) · e^(-ΔU/T)

H_a at the minimum, H_b at the saddle with its one negative eigenvalue -ω_b², and κ the rate at which the motion leaves
the saddle:

    overdamped, dx = -∇U dt + √(2T) dW        κ = ω_b²                                  (Eyring-Kramers)
    friction λ, unit mass                     κ = √(λ²/4 + ω_b²) - λ/2                  (Langer; Kramers in 1-D)

In one dimension: ω_a ω_b/(2π) e^(-ΔU/T), and with friction (√(λ²/4 + ω_b²) - λ/2)/ω_b · ω_a/(2π) e^(-ΔU/T). As
λ -> ∞ the second is the first over λ, time being counted in 1/λ. Where friction is weak, energy is too slowly exchanged
for the well to stay in equilibrium: in one dimension the rate is multiplied by the share that is left
(:mod:`~thetadot.density.escape.turnover`); in several, where none is known, it is refused.

Asymptotic in T/ΔU, with a relative error of that order: in the double well at T/ΔU = .2 some 5%, 20% where λ times the
action is T/2, and 40% too high as friction goes to 0. T >= ΔU is refused.

Source:
    Kramers, Physica 7, 284 (1940); Langer, Ann. Phys. 54, 258 (1969); Hänggi, Talkner, Borkovec, Rev. Mod. Phys. 62,
    251 (1990).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_coordinates, require_finite, values_at
from thetadot.density.escape.turnover import round_trip, turnover
from thetadot.density.landscape import require_temperature
from thetadot.errors import InadmissibleValue, IncompatiblePair, require
from thetadot.potentials import gradient_of
from thetadot.systems import Kramers, Langevin, PerStep, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from thetadot.core.annotations import Scalar

_CLOSED = 6.0  # λ · action / T at which weak friction takes a tenth of the rate between two wells
_FLAT = 1e-6  # of the gradient at a stationary point, beside the curvature


@dataclass(frozen=True, eq=False)
class Saddle:
    """A minimum and the saddle by which it is left.

    Args:
        potential: U of positions (..., dim), twice differentiable.
        minimum: where the motion stays, (dim,).
        saddle: where it leaves, (dim,).

    Raises:
        InadmissibleValue: a point where the gradient is not 0 (to 1e-6); a minimum with a curvature that is not
            positive; a saddle with more or fewer than one negative curvature; a saddle that is not above the minimum,
            or, in one dimension, not the next barrier beside it.

    Example:
        >>> from thetadot.potentials import DoubleWell
        >>> way = Saddle(DoubleWell(), (-1.0,), (0.0,))
        >>> way.height, round(way.rate(0.05), 7) == round(math.sqrt(2) / (2 * math.pi) * math.exp(-5), 7)
        (0.25, True)
    """

    potential: Callable[[Tensor], Tensor]
    minimum: Sequence[float]
    saddle: Sequence[float]

    def __post_init__(self) -> None:
        require_coordinates(minimum=self.minimum, saddle=self.saddle)
        points = [torch.as_tensor(each, dtype=torch.float64) for each in (self.minimum, self.saddle)]
        if points[0].dim() != 1 or points[0].shape != points[1].shape:
            raise InadmissibleValue(
                f"minimum={self.minimum} and saddle={self.saddle} are not a point each. Pass coordinates, (dim,)."
            )
        values_at(torch.stack(points), potential=self.potential)
        lowest = float(self._curvatures[0].min())
        require(
            lowest > 0,
            f"minimum={tuple(self.minimum)}",
            f"is not a minimum: its least curvature is {lowest:.3g}",
            "Pass a point from which the potential rises in every direction.",
        )
        below = int((self._curvatures[1] < 0).sum())
        require(
            below == 1 and bool((self._curvatures[1] != 0).all()),
            f"saddle={tuple(self.saddle)}",
            f"has {below} negative curvatures of {len(self.saddle)}: it is no saddle",
            "Pass a point with exactly one.",
        )
        require(
            self.height > 0,
            f"a saddle {self.height:g} above the minimum",
            "is none to climb",
            "Pass the saddle by which this minimum is left.",
        )

    @cached_property
    def _curvatures(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues of the Hessian at both points."""
        found = []
        for name in ("minimum", "saddle"):
            point = torch.as_tensor(getattr(self, name), dtype=torch.float64)
            hessian = torch.func.jacrev(gradient_of(self._at))(point)
            slope = float(gradient_of(self._at)(point).norm())
            require_finite(curvature=hessian)
            require(
                slope <= _FLAT * max(1.0, float(hessian.abs().max())),
                f"{name}={tuple(getattr(self, name))}",
                f"has a gradient of size {slope:.3g}",
                "Pass a point where it is 0, found by minimising |∇U|² for instance.",
            )
            found.append(torch.linalg.eigvalsh(hessian))
        return found[0], found[1]

    def _at(self, point: Tensor) -> Tensor:
        """U of one point (dim,)."""
        return self.potential(point[None])[0]

    @cached_property
    def height(self) -> float:
        """Height ΔU of the barrier."""
        points = torch.tensor([tuple(self.saddle), tuple(self.minimum)], dtype=torch.float64)
        top, bottom = self.potential(points)
        return float(top - bottom)

    @checked
    def rate(self, temperature: Scalar, friction: float | None = None) -> float:
        """Return the number of escapes per unit time.

        Args:
            temperature: T > 0 below the height; the rate is off by a share of the order of T over it.
            friction: λ >= 0 of a motion with unit mass; None for overdamped motion.

        Raises:
            InadmissibleValue: a number out of range, T >= ΔU; in several dimensions too weak a friction.

        Example:
            >>> from thetadot.potentials import DoubleWell
            >>> way = Saddle(DoubleWell(), (-1.0,), (0.0,))
            >>> round(100 * way.rate(0.05, friction=100.0) / way.rate(0.05), 3)
            1.0
        """
        temperature = require_temperature(temperature)
        require(
            temperature < self.height,
            f"temperature={temperature:g}",
            f"is not below the height, {self.height:g}: the rate of escape is that of T << ΔU, off by a share T/ΔU",
            "Pass a lower one, or take mean_first_passage_time(...) or FokkerPlanck(...).spectral_gap().",
        )
        well, top = self._curvatures
        steep = -float(top.min())
        leaving = steep
        if friction is not None:
            require(0 <= friction < math.inf, f"friction={friction:g}", "is negative or not finite", "Pass λ >= 0.")
            leaving = steep / (math.hypot(friction / 2.0, math.sqrt(steep)) + friction / 2.0)  # κ without cancellation
            leaving *= self._left(temperature, float(friction))
        share = float((well.log().sum() - top.abs().log().sum()) / 2.0) - self.height / temperature
        return leaving / (2.0 * math.pi) * math.exp(share)

    def _left(self, temperature: float, friction: float) -> float:
        """Return the factor by which weak friction lowers the rate."""
        if self._actions:
            return turnover(friction, temperature, self._actions)
        # in several dimensions, or a well that is open behind: a harmonic one at this height
        action = 2.0 * math.pi * self.height / math.sqrt(float(self._curvatures[0].min()))
        require(
            friction * action >= _CLOSED * temperature,
            f"friction={friction:g}",
            f"is too weak: below about {_CLOSED * temperature / action:.3g} the exchange of energy limits the rate",
            "Count escapes of paths, or take Kinetic(...).spectral_gap().",
        )
        return 1.0

    @cached_property
    def _actions(self) -> tuple[float, ...]:
        """In one dimension, those of a round trip into the well and, where it comes back, of one beyond."""
        if len(self.minimum) != 1:
            return ()
        bottom, top = float(self.minimum[0]), float(self.saddle[0])
        here = round_trip(self.potential, top, bottom)
        if here is None:
            return ()
        require(
            (bottom - top) * (here[0] - bottom) > 0,
            f"saddle={tuple(self.saddle)}",
            f"is not the next barrier: at {here[0]:.4g}, between it and the minimum, the potential is as high",
            "Pass the saddle beside the minimum.",
        )
        beyond = round_trip(self.potential, top, 2.0 * top - bottom)
        return (here[1],) if beyond is None else (here[1], beyond[1])


@checked
def escape_rate(problem: Problem, minimum: Sequence[float], saddle: Sequence[float]) -> float:
    """Escapes per time of a problem: Eyring-Kramers for Langevin, Langer's and Mel'nikov's factors for Kramers.

    Args:
        problem: a potential with Langevin(T), or Kramers(friction, T) with a friction in 1/time.
        minimum: (dim,).
        saddle: (dim,).

    Raises:
        IncompatiblePair: another system.
        InadmissibleValue: as :class:`Saddle` and its rate: among others T >= ΔU.
    """
    system = problem.system
    if isinstance(system, Langevin):
        return Saddle(problem.potential, minimum, saddle).rate(system.temperature)
    if isinstance(system, Kramers) and not isinstance(system.friction, PerStep):
        return Saddle(problem.potential, minimum, saddle).rate(system.temperature, float(system.friction))
    raise IncompatiblePair(
        f"{system} is not known to escape at a rate. Pass Langevin(T), or Kramers(friction, T) in 1/time."
    )
