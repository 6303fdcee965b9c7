r"""Stability charts: for which parameters a periodic linear motion stays bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from thetadot.analysis.floquet import floquet
from thetadot.core.plotting import axes
from thetadot.core.signatures import checked
from thetadot.core.validation import require_functions, require_tensors
from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True)
class StabilityChart:
    """Chart of one number at every pair of parameters.

    Attributes:
        x: first parameter, (a,).
        y: second parameter, (b,).
        growth: largest |multiplier| of a period, (b, a), float64.
        stable: whether the motion stays bounded, (b, a), bool.
        names: of x and y.
    """

    x: Tensor
    y: Tensor
    growth: Tensor
    stable: Tensor
    names: tuple[str, str] = ("x", "y")

    def plot(self, ax: Any = None) -> Any:
        """Stable grey, unstable by how much a period multiplies.

        Raises:
            ThetadotError: matplotlib is not installed.
        """
        ax = axes(ax)
        x, y = self.x.cpu().numpy(), self.y.cpu().numpy()
        growth = self.growth.log10().masked_fill(self.stable, torch.nan).cpu().numpy()
        ax.set_facecolor("0.85")
        mesh = ax.pcolormesh(x, y, growth, cmap="YlOrRd", shading="nearest")
        ax.figure.colorbar(mesh, ax=ax, label="growth of a period, decades")
        ax.set_xlabel(self.names[0])
        ax.set_ylabel(self.names[1])
        return ax


@checked
def stability_chart(
    coefficients: Callable[[Tensor, Tensor, Tensor], Tensor],
    period: float,
    x: Tensor,
    y: Tensor,
    *,
    names: tuple[str, str] = ("x", "y"),
    tolerance: float = 1e-9,
) -> StabilityChart:
    """The chart of ẋ = A(t; x, y)x over a grid.

    Args:
        coefficients: A of a time (), x (b, a) and y (b, a): (b, a, n, n).
        period: P > 0, of all of them. (Count time in units of the period where it depends on them.)
        x: (a,).
        y: (b,).
        names: of the parameters.
        tolerance: of the monodromy, as in :func:`floquet`.

    Raises:
        InadmissibleValue: x or y is not a row of numbers.
        NotConverged: as :func:`floquet`.

    Example:
        >>> import math
        >>> from thetadot.systems import mathieu_matrix
        >>> chart = stability_chart(
        ...     lambda t, q, a: mathieu_matrix(t, a, q), math.pi,
        ...     x=torch.tensor([0.0, 0.8, 1.0]), y=torch.tensor([-0.1, 0.0, 0.2]))
        >>> chart.stable
        tensor([[False,  True, False],
                [ True,  True, False],
                [ True, False, False]])
    """
    require_functions(coefficients=coefficients)
    require_tensors(x=x, y=y)
    if x.ndim != 1 or y.ndim != 1 or not x.numel() or not y.numel():
        raise InadmissibleValue(f"x of shape {tuple(x.shape)} and y of {tuple(y.shape)} are not rows. Pass (a,), (b,).")
    x, y = x.detach().double(), y.detach().double()
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    once = floquet(lambda time: coefficients(time, columns, rows), period, tolerance=tolerance)
    return StabilityChart(x, y, once.multipliers.abs().amax(-1), once.stable, names)
