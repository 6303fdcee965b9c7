r"""The law of thermal equilibrium.

    π(x) = e^(-U(x)/T)/Z,    Z = ∫ e^(-U/T) dx        of    dx = -∇U dt + √(2T) dW                        [gibbs1902]
    π(θ, η) ∝ e^(-(η²/2 + U(θ))/T)                    of    Kramers' equation: the velocity is a Gaussian of variance T

Z and moments are sums over the cells of a grid, the trapezoidal rule: for a smooth U whose law vanishes at the walls,
or is periodic, the error falls faster than any power of the spacing. Both conditions are checked. For a harmonic
potential Z and samples are those of the Gaussian, exactly.

Source:
    Gibbs, Elementary Principles in Statistical Mechanics, 1902; Trefethen, Weideman, SIAM Rev. 56, 385 (2014) for the
    sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core import rng
from thetadot.core.validation import (
    each_at,
    require_count,
    require_instances,
    require_tensors,
    require_whole,
    values_at,
)
from thetadot.density.grid import Grid
from thetadot.density.landscape import exponent_on, require_temperature
from thetadot.density.picture import draw
from thetadot.errors import require
from thetadot.potentials import Harmonic
from thetadot.systems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import Scalar

_OUTSIDE = 1e-9  # share of the mass that may lie beyond the walls
_REFINEMENTS = 8
_MOST = 1 << 30  # samples


@dataclass(frozen=True, eq=False)
class Gibbs:
    """Gibbs density exp(-U/T)/Z on a grid.

    Args:
        potential: U of positions (..., dim), one value each.
        temperature: T > 0, in units of U.
        grid: a box that holds the law, and the cells that resolve it.

    Raises:
        InadmissibleValue: a temperature that is not positive; a potential that is not finite, or not periodic where the
            grid is; cells too coarse; more than 1e-9 of the mass beyond the walls.

    Example:
        >>> from thetadot.density import Grid
        >>> law = Gibbs(lambda x: (x * x).sum(-1), 0.5, Grid((-5.0, 5.0), 64))
        >>> round(law.partition, 12) == round(math.sqrt(math.pi / 2), 12), round(float(law.covariance()), 12)
        (True, 0.25)
    """

    potential: Callable[[Tensor], Tensor]
    temperature: Scalar
    grid: Grid

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", require_temperature(self.temperature))
        require_instances(Grid, grid=self.grid)
        _ = self._masses  # what is wrong is said here
        for axis, (side, wraps) in enumerate(zip(self.grid.sides, self.grid.wraps, strict=True)):
            if wraps:
                continue
            for inward in (1, -1):
                index = 0 if inward == 1 else -1
                wall, before = (float(self._masses.select(axis, index + turn * inward).sum()) for turn in (0, 1))
                # what lies beyond, if it keeps falling as it falls from the last cell but one to the last
                beyond = wall * wall / (before - wall) if wall < before else math.inf if wall > 0 else 0.0
                require(
                    beyond <= _OUTSIDE,
                    f"the box {side} along axis {axis}",
                    f"leaves a share {beyond:.1g} of the mass outside" if wall < before else "ends where the law rises",
                    "Pass a wider box, a lower temperature, or a periodic axis.",
                )

    @classmethod
    def of(cls, problem: Problem, grid: Grid) -> Gibbs:
        """The law of a problem's position: its potential at its temperature, whatever the friction.

        Args:
            problem: with a system that has a temperature, Langevin or Kramers.
            grid: of the position.
        """
        require_instances(Problem, problem=problem)
        return cls(problem.potential, problem.temperature, grid)

    @cached_property
    def _exponent(self) -> Tensor:
        return exponent_on(self.potential, float(self.temperature), self.grid)

    @cached_property
    def _masses(self) -> Tensor:
        """Share of each cell, (*shape)."""
        weight = torch.exp(-self._exponent)
        return weight / weight.sum()

    @cached_property
    def _deviations(self) -> Tensor | None:
        """√(T/h_i) where the law is a Gaussian."""
        if not isinstance(self.potential, Harmonic) or any(self.grid.wraps):
            return None
        curvature = torch.as_tensor(self.potential.curvature, dtype=torch.float64).expand(self.grid.dim)
        return (float(self.temperature) / curvature).sqrt()

    @property
    def density(self) -> Tensor:
        """π at the cells' centres, normalised on them, (*shape), float64."""
        return self._masses / self.grid.volume

    @cached_property
    def log_partition(self) -> float:
        """Return log Z, the logarithm of the partition function."""
        if self._deviations is not None:
            return float((self._deviations * math.sqrt(2.0 * math.pi)).log().sum())
        with torch.no_grad():
            lowest = float(self.potential(self.grid.points).double().min()) / float(self.temperature)
        return math.log(float(self.grid.integrate(torch.exp(-self._exponent)))) - lowest

    @property
    def partition(self) -> float:
        """Partition function Z; infinite where float64 cannot hold the value."""
        try:
            return math.exp(self.log_partition)
        except OverflowError:
            return math.inf

    def log_density(self, position: Tensor) -> Tensor:
        """Log π of positions (..., dim), in their dtype and on their device."""
        require_tensors(position=position)
        return -values_at(position, potential=self.potential) / float(self.temperature) - self.log_partition

    def mean(self, function: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """E[f(x)], f of positions (..., dim) returning (...) or (..., k); E[x] if None.

        Example:
            >>> from thetadot.density import Grid
            >>> law = Gibbs(lambda x: (x * x).sum(-1) / 2, 1.0, Grid((-9.0, 9.0), 64))
            >>> round(float(law.mean(lambda x: x[..., 0] ** 4)), 9)
            3.0
        """
        points = self.grid.points
        values = (points if function is None else each_at(points, function=function)).double()
        extra = values.dim() - self.grid.dim
        weight = self._masses.reshape(self.grid.shape + (1,) * extra)
        return (weight * values).sum(dim=tuple(range(self.grid.dim)))

    def covariance(self) -> Tensor:
        """E[(x - E x)(x - E x)ᵀ], (dim, dim)."""
        excess = (self.grid.points - self.mean()).reshape(-1, self.grid.dim)
        return excess.T @ (self._masses.reshape(-1, 1) * excess)

    def sample(self, count: int, key: int = 0) -> Tensor:
        """Independent positions (count, dim), float64.

        A Gaussian's exactly. Otherwise a cell by its mass, a place in it evenly, and 8 Metropolis steps with such
        proposals: what is left of the cells falls like (1 - 1/w)⁸, w the largest ratio of π to its value at the centre.

        Args:
            count: how many, >= 1.
            key: of the noise; the same key, the same samples.
        """
        require_whole(key=key)
        require_count(1, _MOST, count=count)
        if self._deviations is not None:
            blank = torch.empty(count, self.grid.dim, dtype=torch.float64)
            return self._deviations * rng.normal(blank, rng.derive(key, 0))
        position, weight = self._propose(count, rng.derive(key, 0))
        for turn in range(1, _REFINEMENTS + 1):
            other, other_weight = self._propose(count, rng.derive(key, turn))
            accept = _uniform(count, rng.derive(key, turn, 1)) < torch.exp(other_weight - weight)
            position = torch.where(accept[:, None], other, position)
            weight = torch.where(accept, other_weight, weight)
        return position

    def _propose(self, count: int, key: int) -> tuple[Tensor, Tensor]:
        """Places evenly in cells drawn by mass, and the logarithm of π over its value at the cell's centre."""
        total = self._masses.flatten().cumsum(0)
        drawn = _uniform(count, rng.derive(key, 0)) * total[-1]
        cell = torch.searchsorted(total, drawn).clamp(max=len(total) - 1)
        place = torch.stack([_uniform(count, rng.derive(key, 1, axis)) - 0.5 for axis in range(self.grid.dim)], -1)
        spacing = torch.tensor(self.grid.spacing, dtype=torch.float64)
        centre = self.grid.points.reshape(-1, self.grid.dim)[cell]
        position = centre + place * spacing
        with torch.no_grad():
            change = self.potential(centre).double() - self.potential(position).double()
        return position, change / float(self.temperature)

    def velocities(self, count: int, key: int = 0) -> Tensor:
        """Independent velocities (count, dim) of Kramers' equation: Gaussian of variance T."""
        require_whole(key=key)
        require_count(1, _MOST, count=count)
        blank = torch.empty(count, self.grid.dim, dtype=torch.float64)
        return math.sqrt(float(self.temperature)) * rng.normal(blank, rng.derive(key, 1))

    def free_energy(self, density: Tensor) -> float:
        """F = ∫ p U + T ∫ p log p >= -T log Z, its value at π; it falls along the Fokker-Planck equation."""
        return float(self.temperature) * (self.divergence(density) - self.log_partition)

    def divergence(self, density: Tensor) -> float:
        """KL(p ‖ π) = ∫ p log(p/π) on the cells, >= 0."""
        masses = self.grid.require_density(density).double() * self.grid.volume
        log_law = -self._exponent - torch.exp(-self._exponent).sum().log()
        return max(0.0, float((torch.xlogy(masses, masses) - masses * log_law).sum()))  # by rounding it may be below

    def discrepancy(self, samples: Tensor) -> tuple[float, float]:
        """L1 distance of samples' histogram from the law, and what it would be by chance.

        Args:
            samples: (..., dim), independent.

        Returns:
            ∫ |histogram - π|, and its mean for as many samples of π: Σ √(2 m(1-m)/(π n)) over cells of mass m.
        """
        require_tensors(samples=samples)
        count = samples.numel() // self.grid.dim
        distance = float(self.grid.integrate((self.grid.histogram(samples).cpu() - self.density).abs()))
        chance = (2.0 * self._masses * (1.0 - self._masses) / (math.pi * count)).sqrt().sum()
        return distance, float(chance)

    def plot(self, ax: Any = None) -> Any:
        """Draw the law; returns the matplotlib axes."""
        return draw(self.grid, self.density, ax)


def _uniform(count: int, key: int) -> Tensor:
    """Uniform numbers in (0, 1), float64."""
    return (rng.words(torch.empty(count, dtype=torch.float64), key).double() + 0.5) * 2.0**-32
