r"""The kinetic equation, of Kramers' motion: a density of position and velocity.

    ∂p/∂t = -η ∂p/∂θ + U'(θ) ∂p/∂η + λ ∂/∂η (η p + T ∂p/∂η),    π ∝ exp(-(η²/2 + U)/T)    [Kramers 1940; su2018, eq. 21]

Transport carries π along the stream function -Tπ: its fluxes through the faces of a cell are differences between the
cell's corners, so that they cancel exactly, and p is carried as the ratio p/π, which is 1 for π. Hence π is stationary
exactly, whichever share ε > 0 the cell that it comes from has in the ratio on a face, (1+ε)/2, the other (1-ε)/2:

    "central"    ε = h/2ℓ, ℓ the width of π along the axis: second order; where p is not resolved it may become negative
    "upwind"     ε = 1: no density becomes negative; first order in the cells

(At ε = 0 patterns that change sign from cell to cell would not be carried at all, and decay too slowly.) With 4, 9 and
18 cells to a standard deviation of π, the mean that turns for t = 2 in a harmonic well (λ = 1/2) is off by 2%, .5% and
.1% of its length if central, 17%, 9% and 4% if upwind.

Mass is kept to rounding. Time is exact to rounding, by uniformization. Velocities live in a box that must hold their
Gaussian, at least four √T wide to each side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_functions, require_instances, require_numbers, values_at
from thetadot.density.evolution import Evolution
from thetadot.density.grid import Grid
from thetadot.density.landscape import coarseness, exponent_on, require_temperature
from thetadot.density.rates import Rates, exchange, walled
from thetadot.errors import InadmissibleValue, IncompatiblePair, require
from thetadot.systems import Kramers, PerStep, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import Scalar

_NARROWEST = 4.0  # standard deviations of the velocity to the wall


@checked
@dataclass(frozen=True, eq=False)
class Kinetic(Evolution):
    """Kramers' equation in (θ, η).

    Args:
        potential: U of positions (..., 1).
        friction: λ >= 0, in 1/time.
        temperature: T > 0.
        grid: two axes: θ, reflecting or periodic, and η, not periodic.
        transport: "central" or "upwind".

    Raises:
        InadmissibleValue: a number out of range, a grid that has no such axes or does not hold the velocities, a
            potential that is not periodic where the grid is, cells too coarse for the law.

    Example:
        >>> from thetadot.density import Grid
        >>> motion = Kinetic(lambda x: (x * x).sum(-1) / 2, 0.5, 0.3, Grid(((-3.0, 3.0), (-3.0, 3.0)), 48))
        >>> float(motion._rates.change(motion.steady_state()).abs().max()) < 1e-13
        True
    """

    potential: Callable[[Tensor], Tensor]
    friction: float
    temperature: Scalar
    grid: Grid
    transport: Literal["upwind", "central"] = "central"

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", require_temperature(self.temperature))
        require_functions(potential=self.potential)
        require_numbers(friction=self.friction)
        require_instances(Grid, grid=self.grid)
        require(0 <= self.friction < math.inf, f"friction={self.friction:g}", "is negative or not finite", "Pass >= 0.")
        if self.transport not in ("upwind", "central"):
            raise InadmissibleValue(f"transport={self.transport!r} is unknown. Pass 'upwind' or 'central'.")
        if self.grid.dim != 2 or self.grid.wraps[1]:
            raise InadmissibleValue(
                f"a grid of {self.grid.dim} dimensions, periodic {self.grid.wraps}. "
                "Pass two axes, position and velocity, the second with walls."
            )
        wide = min(-self.grid.sides[1][0], self.grid.sides[1][1])
        needed = _NARROWEST * math.sqrt(float(self.temperature))
        require(
            wide >= needed,
            f"velocities in {self.grid.sides[1]}",
            "do not hold a Gaussian of variance T",
            f"Pass at least ({-needed:.3g}, {needed:.3g}).",
        )
        _ = self._rates

    @classmethod
    def of(cls, problem: Problem, grid: Grid, transport: Literal["upwind", "central"] = "central") -> Kinetic:
        """The equation of a problem's density.

        Args:
            problem: Problem(Kramers(friction, T), potential), the friction in 1/time.
            grid: of position and velocity.
            transport: as for the class.

        Raises:
            IncompatiblePair: any other system.
        """
        require_instances(Problem, problem=problem)
        system = problem.system
        if not isinstance(system, Kramers) or isinstance(system.friction, PerStep):
            raise IncompatiblePair(
                f"{system} has no velocity with a friction in 1/time. Pass Problem(Kramers(friction, T), potential), "
                "or use FokkerPlanck for Langevin."
            )
        return cls(problem.potential, float(system.friction), system.temperature, grid, transport)

    @property
    def reversible(self) -> bool:
        """Never: positions go round."""
        return False

    def _hamiltonian(self, position: Tensor) -> Tensor:
        """Return the Hamiltonian at points (..., 2)."""
        return values_at(position[..., :1], potential=self.potential) + 0.5 * position[..., 1] ** 2

    @cached_property
    def _exponent(self) -> Tensor:
        return exponent_on(self._hamiltonian, float(self.temperature), self.grid)

    @property
    def law(self) -> Tensor:
        """exp(-(η²/2 + U)/T), normalised on the cells."""
        weight = torch.exp(-self._exponent)
        return weight / self.grid.integrate(weight)

    @property
    def rates(self) -> Rates:
        """Transport round the energy's contours, and the exchange of velocity with the heat bath."""
        temperature, (wide, high) = float(self.temperature), self.grid.spacing
        along, up = self._stream(0) * (temperature / (wide * high)), self._stream(1) * (temperature / (wide * high))
        climb = ((self.grid.points[..., 1] + high / 2.0) * high) / temperature
        ahead, back = exchange(climb, self.friction * temperature / high**2)
        pairs = [self._carry(along, 0), self._carry(up, 1)]
        forward = (pairs[0][0], pairs[1][0] + walled(self.grid, 1, ahead))
        backward = (pairs[0][1], pairs[1][1] + walled(self.grid, 1, back))
        return Rates(self.grid, forward, backward)

    def _stream(self, axis: int) -> Tensor:
        """Flux of π through each cell's far face along ``axis``, over the cell's own π: from corner to corner."""
        half = torch.tensor(self.grid.spacing, dtype=torch.float64) / 2.0
        floor = self._hamiltonian(self.grid.points)

        def corner(right: int, top: int) -> Tensor:
            """π at a corner over π in the cell; 0 at the walls, through which nothing flows."""
            place = self.grid.points + half * torch.tensor([right, top])
            ratio = torch.exp((floor - self._hamiltonian(place)) / float(self.temperature))
            for side, where in ((0, right), (1, top)):
                if not self.grid.wraps[side]:
                    ratio.select(side, -1 if where > 0 else 0).zero_()
            return ratio

        return corner(1, -1) - corner(1, 1) if axis == 0 else corner(1, 1) - corner(-1, 1)

    def _carry(self, flux: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Rates forward and back of a flux that is given over the π of the cell before the face."""
        ratio = torch.exp(self._exponent.roll(-1, axis) - self._exponent)  # π here over π in the next cell
        share = coarseness(self.grid, self._exponent, axis) / 2.0 if self.transport == "central" else 1.0
        ahead, back = (share * flux.abs() + flux) / 2.0, (share * flux.abs() - flux) / 2.0 * ratio
        return walled(self.grid, axis, ahead), walled(self.grid, axis, back)
