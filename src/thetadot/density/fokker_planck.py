r"""The Fokker-Planck equation of overdamped motion.

    ∂p/∂t = ∇·(p ∇U) + T Δp = T ∇·(π ∇(p/π)),    π ∝ exp(-U/T)            of    dx = -∇U dt + √(2T) dW
    ∂p/∂t = -∇·(p f) + T Δp                                                of    dx = f dt + √(2T) dW

On cells: second order in their size; mass to rounding, nowhere negative, π exact at the centres. In time: exact to
rounding, by Chebyshev's expansion where there is a potential, by uniformization where f is no gradient (games). Where a
drift is steep, |f|h/T = x, cells add the share (x/2) coth(x/2) - 1 to the diffusion.

Source:
    Risken, The Fokker-Planck Equation, 1989; the rates: :mod:`thetadot.density.rates`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from thetadot.core.validation import field_at, require_instances
from thetadot.density.evolution import Evolution
from thetadot.density.grid import Grid
from thetadot.density.landscape import exponent_on, require_temperature
from thetadot.density.rates import driven_rates, reversible_rates
from thetadot.errors import InadmissibleValue, IncompatiblePair, require
from thetadot.integrators.base import name_of
from thetadot.systems import SDE, Langevin, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import Scalar
    from thetadot.density.rates import Rates, Scheme

_STEEPEST = 4.0  # median |f|h/T: there the cells' own diffusion exceeds T


@dataclass(frozen=True, eq=False)
class FokkerPlanck(Evolution):
    """∂p/∂t = ∇·(p ∇U) + T Δp on a grid.

    Args:
        potential: U of positions (..., dim), one value each; or None, and ``drift``.
        temperature: T > 0, in units of U.
        grid: the cells, with reflecting or periodic walls.
        drift: f of positions (..., dim), of their shape, where there is no potential.
        scheme: of the rates, "scharfetter-gummel" or "holubec"; :mod:`thetadot.density.rates`.

    Raises:
        InadmissibleValue: a temperature that is not positive; both or neither of potential and drift; values that are
            not finite; a potential that is not periodic where the grid is; cells too coarse for the law.

    Example:
        >>> from thetadot.density import Grid
        >>> from thetadot.potentials import Harmonic
        >>> motion = FokkerPlanck(Harmonic(2.0), 0.1, Grid((-2.5, 2.5), 1000))
        >>> round(motion.spectral_gap(), 3)  # the curvature
        2.0
    """

    potential: Callable[[Tensor], Tensor] | None
    temperature: Scalar
    grid: Grid
    drift: Callable[[Tensor], Tensor] | None = None
    scheme: Scheme = "scharfetter-gummel"

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", require_temperature(self.temperature))
        if (self.potential is None) == (self.drift is None):
            raise InadmissibleValue("a motion has either a potential or a drift of its own. Pass one, the other None.")
        require_instances(Grid, grid=self.grid)
        _ = self._rates  # what is wrong is said here

    @classmethod
    def of(cls, motion: Problem | SDE, grid: Grid, scheme: Scheme = "scharfetter-gummel") -> FokkerPlanck:
        """The equation of a problem's or a system's density.

        Args:
            motion: Problem(Langevin(T), potential), or SDE(f, g) with a number g, T = g²/2.
            grid: the cells.
            scheme: of the rates.

        Raises:
            IncompatiblePair: any other motion, and why.
        """
        if isinstance(motion, Problem) and isinstance(motion.system, Langevin):
            return cls(motion.potential, motion.temperature, grid, scheme=scheme)
        if isinstance(motion, SDE) and isinstance(motion.g, float | int) and not motion.variables:
            return cls(None, float(motion.g) ** 2 / 2.0, grid, motion.f, scheme)
        raise IncompatiblePair(f"{motion} {_departs(motion)}")

    @property
    def reversible(self) -> bool:
        """Whether there is a potential."""
        return self.potential is not None

    @cached_property
    def _exponent(self) -> Tensor:
        assert self.potential is not None  # noqa: S101 - for mypy: only asked for where there is one
        return exponent_on(self.potential, float(self.temperature), self.grid)

    @property
    def law(self) -> Tensor | None:
        """exp(-U/T), normalised on the cells."""
        if not self.reversible:
            return None
        weight = torch.exp(-self._exponent)
        return weight / self.grid.integrate(weight)

    @property
    def rates(self) -> Rates:
        """Jump rates between neighbouring cells."""
        temperature = float(self.temperature)
        if self.drift is None:
            return reversible_rates(self.grid, self._exponent, temperature, self.scheme)
        works = []
        for axis, (step, count) in enumerate(zip(self.grid.spacing, self.grid.shape, strict=True)):
            with torch.no_grad():
                field = field_at(self.grid.faces(axis), drift=self.drift).double()
            finite = bool(field.isfinite().all())
            require(finite, "a drift", "is not finite everywhere in the box", "Pass a smaller box.")
            works.append(field[..., axis] * (step / temperature))
            steep = float(works[-1].abs().median())
            require(
                steep <= _STEEPEST,
                f"cells={count} along axis {axis}",
                f"leave |f|h/T = {steep:.2g} in half of the box: they diffuse more than the temperature does",
                f"Pass at least {int(count * steep / _STEEPEST) + 1} cells.",
            )
        return driven_rates(self.grid, tuple(works), temperature, self.scheme)


def _departs(motion: object) -> str:
    """Say why a system has no such Fokker-Planck equation and what to do, if so."""
    if isinstance(motion, SDE) and motion.variables:
        return (
            "has a drift of time and position, and the rates between cells are constant. Pass SDE(f, g) with f of "
            "position alone, one after another over short times, or simulate."
        )
    if isinstance(motion, SDE):
        return (
            f"has a noise that is no number (g is a {name_of(motion.g)}), and the temperature here is one. Pass "
            "SDE(f, g) with a number g, T = g²/2, or simulate."
        )
    if isinstance(motion, Problem) and hasattr(motion.system, "friction"):
        return "has a velocity: use Kinetic for Kramers, or pass Problem(Langevin(T), potential)."
    return (
        "is not overdamped with a constant temperature. Pass Problem(Langevin(T), potential) or SDE(f, g) with a "
        "number g."
    )
