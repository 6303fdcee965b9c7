r"""Jump rates between neighbouring cells: a Fokker-Planck equation as a master equation.

    dp_i/dt = Σ_j (k_ji p_j - k_ij p_i)

Columns sum to zero, so mass is conserved; no rate is negative, so no density becomes negative. With x the change of U/T
(or of minus the work of the drift) from a cell to the next, h apart, and diffusion constant D:

    Scharfetter-Gummel    k = (D/h²) B(x),  back (D/h²) B(-x),     B(x) = x/(eˣ - 1)            [scharfetter1969]
    Holubec               k = (D/h²) e^(-x/2),  back (D/h²) e^(x/2)                             [holubec2019]

Both have k/k' = e^(-x), detailed balance, so that exp(-U/T) at the cells' centres is stationary exactly; both are of
second order in h. For steep x the first becomes upwind transport, the second grows exponentially.

Source:
    Scharfetter, Gummel, IEEE Trans. Electron Devices 16, 64 (1969); Holubec, Kroy, Steffenoni, Phys. Rev. E 99, 032117
    (2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy import sparse

from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.density.grid import Grid

Scheme = Literal["scharfetter-gummel", "holubec"]


@dataclass(frozen=True)
class Rates:
    """Rates along every axis.

    Args:
        grid: the cells.
        forward: per axis, (*shape): from each cell to the next; in the last layer 0 at a wall, or over the wrap.
        backward: per axis, (*shape): from the next cell back to this one, stored likewise.
    """

    grid: Grid
    forward: tuple[Tensor, ...]
    backward: tuple[Tensor, ...]

    def exits(self) -> Tensor:
        """Rate at which each cell is left, (*shape)."""
        total = torch.zeros(self.grid.shape, dtype=torch.float64)
        for axis, (ahead, back) in enumerate(zip(self.forward, self.backward, strict=True)):
            total += ahead + back.roll(1, axis)
        return total

    @property
    def positive(self) -> bool:
        """Whether no rate is negative."""
        return all(float(rate.min()) >= 0 for rate in (*self.forward, *self.backward))

    def fastest(self) -> float:
        """The largest of the cells' sums of rates, each taken positive: a bound on half of |L|."""
        whole = Rates(self.grid, tuple(k.abs() for k in self.forward), tuple(k.abs() for k in self.backward))
        return float(whole.exits().max())

    def radius(self) -> float:
        """A bound on minus the lowest eigenvalue, where there is detailed balance (Gershgorin, symmetrised)."""
        total = self.exits()
        for axis, (ahead, back) in enumerate(zip(self.forward, self.backward, strict=True)):
            mean = (ahead * back).sqrt()
            total += mean + mean.roll(1, axis)
        return float(total.max())

    def currents(self, density: Tensor) -> tuple[Tensor, ...]:
        """Probability per time and area through the face between each cell and the next, per axis (*shape)."""
        return tuple(
            step * (ahead.to(density) * density - back.to(density) * density.roll(-1, axis))
            for axis, (step, ahead, back) in enumerate(zip(self.grid.spacing, self.forward, self.backward, strict=True))
        )

    def change(self, density: Tensor) -> Tensor:
        """dp/dt, minus the divergence of the currents."""
        out = torch.zeros_like(density)
        for axis, (step, flow) in enumerate(zip(self.grid.spacing, self.currents(density), strict=True)):
            out -= (flow - flow.roll(1, axis)) / step
        return out

    def matrix(self) -> sparse.csr_matrix:
        """The generator L, (cells, cells): dp/dt = L p for p flattened."""
        index = np.arange(math.prod(self.grid.shape)).reshape(self.grid.shape)
        rows, columns, values = [index.ravel()], [index.ravel()], [-self.exits().numpy().ravel()]
        for axis, (ahead, back) in enumerate(zip(self.forward, self.backward, strict=True)):
            after = np.roll(index, -1, axis)
            rows += [after.ravel(), index.ravel()]
            columns += [index.ravel(), after.ravel()]
            values += [ahead.numpy().ravel(), back.numpy().ravel()]
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        matrix = sparse.csr_matrix(entries, shape=(index.size, index.size))
        matrix.eliminate_zeros()
        return matrix


def bernoulli(x: Tensor) -> Tensor:
    """Return the Bernoulli function x/(eˣ - 1), 1 at 0.

    Example:
        >>> bernoulli(torch.tensor([0.0, 1.0, 800.0], dtype=torch.float64))
        tensor([1.0000, 0.5820, 0.0000], dtype=torch.float64)
    """
    safe = torch.where(x.abs() < 1e-8, torch.ones_like(x), x)
    return torch.where(x.abs() < 1e-8, 1.0 - x / 2.0, safe / torch.expm1(safe))


def exchange(climb: Tensor, conductance: float, scheme: Scheme = "scharfetter-gummel") -> tuple[Tensor, Tensor]:
    """Rates forward and back across faces.

    Args:
        climb: x, change of U/T from a cell to the next.
        conductance: D/h².
        scheme: "scharfetter-gummel" or "holubec".

    Raises:
        InadmissibleValue: a scheme that is neither.
    """
    if scheme == "scharfetter-gummel":
        return conductance * bernoulli(climb), conductance * bernoulli(-climb)
    if scheme == "holubec":
        return conductance * torch.exp(-climb / 2.0), conductance * torch.exp(climb / 2.0)
    raise InadmissibleValue(f"scheme={scheme!r} is unknown. Pass 'scharfetter-gummel' or 'holubec'.")


def walled(grid: Grid, axis: int, rate: Tensor) -> Tensor:
    """The rates, 0 through the wall at the end of ``axis`` unless it wraps."""
    if not grid.wraps[axis]:
        rate = rate.clone()
        rate.select(axis, -1).zero_()
    return rate


def reversible_rates(grid: Grid, exponent: Tensor, diffusion: float, scheme: Scheme) -> Rates:
    """Rates under which exp(-exponent) is stationary, with detailed balance.

    Args:
        grid: the cells.
        exponent: U/T at the centres, (*shape).
        diffusion: D > 0.
        scheme: as in :func:`exchange`.
    """
    pairs = [
        exchange(exponent.roll(-1, axis) - exponent, diffusion / step**2, scheme)
        for axis, step in enumerate(grid.spacing)
    ]
    return Rates(
        grid,
        tuple(walled(grid, axis, ahead) for axis, (ahead, _) in enumerate(pairs)),
        tuple(walled(grid, axis, back) for axis, (_, back) in enumerate(pairs)),
    )


def driven_rates(grid: Grid, works: tuple[Tensor, ...], diffusion: float, scheme: Scheme) -> Rates:
    """Rates of a drift f that need not be a gradient.

    Args:
        grid: the cells.
        works: per axis (*shape), f·h/D on the face between each cell and the next.
        diffusion: D > 0.
        scheme: as in :func:`exchange`.
    """
    pairs = [exchange(-work, diffusion / step**2, scheme) for work, step in zip(works, grid.spacing, strict=True)]
    return Rates(
        grid,
        tuple(walled(grid, axis, ahead) for axis, (ahead, _) in enumerate(pairs)),
        tuple(walled(grid, axis, back) for axis, (_, back) in enumerate(pairs)),
    )
