r"""Base of the equations for a density: propagation, stationary density, relaxation rates.

    dp/dt = L p:    p(t) = exp(tL) p(0),    L π = 0,    gap = min{-Re λ : λ ≠ 0 an eigenvalue of L}

Cells are all that is approximate; on them exp(tL) is exact to rounding (:mod:`~thetadot.density.chebyshev`,
:mod:`~thetadot.density.uniformization`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import linalg

from thetadot.core.validation import require_coordinates, require_finite
from thetadot.density.chebyshev import chebyshev
from thetadot.density.picture import draw
from thetadot.density.uniformization import uniformization
from thetadot.errors import InadmissibleValue, NotConverged, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from thetadot.density.grid import Grid
    from thetadot.density.rates import Rates

_NEAR = 1e-9  # of the largest rate: where a shift is as good as 0, and the matrix still has an inverse
_NEARER = 1e-12  # where the rates' own rounding begins to show
_MOST_SOLVES = 30
_NEAREST = 12


class Evolution(ABC):
    """An equation dp/dt = L p on the cells of a grid."""

    grid: Grid

    @property
    @abstractmethod
    def rates(self) -> Rates:
        """L, as rates between neighbouring cells."""

    @property
    @abstractmethod
    def law(self) -> Tensor | None:
        """The stationary density where it is known in closed form, float64."""

    @property
    @abstractmethod
    def reversible(self) -> bool:
        """Whether detailed balance holds between every pair of cells."""

    @cached_property
    def _rates(self) -> Rates:
        rates = self.rates
        for kept in (*rates.forward, *rates.backward):
            require_finite(rates=kept)
        return rates

    def propagate(self, density: Tensor, time: float | Sequence[float]) -> Tensor:
        """The density at one time or at several.

        Args:
            density: p(0), (*shape), float32 or float64, on any device; its integral is 1.
            time: t >= 0; or times that do not decrease.

        Returns:
            p(t), (*shape); for n times (n, *shape). Dtype and device are those that came.

        Raises:
            InadmissibleValue: no density, or a time out of range.

        Example:
            >>> from thetadot.density import FokkerPlanck, Grid
            >>> grid = Grid((-6.0, 6.0), 300)
            >>> decay = FokkerPlanck(lambda x: (x * x).sum(-1) / 2, 0.32, grid)
            >>> after = decay.propagate(grid.normal(2.0, 0.1), 1.0)
            >>> round(float(grid.integrate(after * grid.axes[0])), 3), round(2 / math.e, 3)
            (0.736, 0.736)
        """
        self.grid.require_density(density)
        if density.dtype not in (torch.float32, torch.float64):
            raise InadmissibleValue(f"a density of {density.dtype}. Pass float32 or float64.")
        require_coordinates(time=time)
        if torch.as_tensor(time).dim() > 1 or not torch.as_tensor(time).numel():
            raise InadmissibleValue(
                f"time={time} is neither a time nor a row of times. Pass such as 1.0 or (0.5, 1.0)."
            )
        alone = isinstance(time, int | float)
        times = [float(time)] if isinstance(time, int | float) else [float(each) for each in time]
        frames, past = [], 0.0
        for each in times:
            require(past <= each < math.inf, f"time={time}", "is negative, infinite or decreases", "Sort the times.")
            advance = chebyshev if self.reversible else uniformization
            density = advance(self._rates, density, each - past) if each > past else density.clone()
            frames.append(density)
            past = each
        return frames[0] if alone else torch.stack(frames)

    def steady_state(self) -> Tensor:
        """π, float64: the closed form where there is one, else implicit steps of enormous length, which keep p >= 0.

        Raises:
            NotConverged: they do not settle, because hardly any mass passes between parts of the box.
        """
        if self.law is not None:
            return self.law
        generator, count = self._rates.matrix(), math.prod(self.grid.shape)
        mass, moved, step = np.full(count, 1.0 / count), math.inf, 0.0
        for near, settled in ((_NEAR, 1e-13), (_NEARER, 1e-10)):
            step = 1.0 / (near * self._rates.fastest())
            solve = linalg.splu((sparse.identity(count, format="csc") - step * generator).tocsc()).solve
            for _ in range(_MOST_SOLVES):
                after = solve(mass).clip(0.0)
                after /= after.sum()
                moved, mass = np.abs(after - mass).sum(), after
                if moved < settled:
                    return torch.from_numpy(mass).reshape(self.grid.shape) / self.grid.volume
        raise NotConverged(
            f"the density still moves by {moved:.1g} in a time of {step:.1g}: hardly any mass passes between parts of "
            "the box. Pass a higher temperature."
        )

    def current(self, density: Tensor) -> tuple[Tensor, ...]:
        """Probability per time and area through the faces, one tensor (*shape) an axis.

        Element i is the face between cell i and the next; the last is the wall, 0, or the wrap. The density changes by
        minus their differences over the spacing, exactly.
        """
        self.grid.require_density(density)
        return self._rates.currents(density)

    def spectral_gap(self) -> float:
        """The rate at which the slowest part of a density decays: -Re of the eigenvalue next to 0.

        Exact for the cells, by shift-and-invert Lanczos or Arnoldi iteration; a gap below 1e-12 of the largest rate is
        lost in rounding. Without detailed balance, where eigenvalues are complex, it is the least of the twelve that
        are nearest to 0.
        """
        matrix = self._rates.matrix()
        shift = _NEAR * self._rates.fastest()
        start = np.cos(np.arange(matrix.shape[0], dtype=np.float64))  # fixed, so that the answer is
        if self.reversible:
            means = matrix.multiply(matrix.T).sqrt()  # √(k k') of each pair; |L_ii| on the diagonal
            symmetric = means + sparse.diags(matrix.diagonal() - means.diagonal())
            values = linalg.eigsh(symmetric.tocsc(), k=2, sigma=shift, v0=start, return_eigenvectors=False)
        else:
            count = min(_NEAREST, matrix.shape[0] - 2)
            values = linalg.eigs(matrix.tocsc(), k=count, sigma=shift, v0=start, return_eigenvectors=False)
        return float(np.sort(-np.real(values))[1])

    def plot(self, density: Tensor, ax: Any = None) -> Any:
        """Draw a density, or frames (n, *shape) of one in one dimension; returns the matplotlib axes."""
        return draw(self.grid, density, ax)
