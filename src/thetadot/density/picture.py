"""Densities as pictures: lines in one dimension, colours in two, the sum over the third axis in three."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thetadot.core.plotting import axes
from thetadot.core.validation import require_tensors
from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.density.grid import Grid


def draw(grid: Grid, density: Tensor, ax: Any = None) -> Any:
    """Draw a density on its grid.

    Args:
        grid: the cells.
        density: (*shape); in one dimension also frames (n, *shape).
        ax: matplotlib axes; new ones if None.

    Returns:
        The axes.

    Raises:
        InadmissibleValue: a shape that is not the grid's.
        ThetadotError: matplotlib is not installed.
    """
    require_tensors(density=density)
    frames = density.detach().cpu()
    if tuple(frames.shape[-grid.dim :]) != grid.shape or frames.dim() > grid.dim + (grid.dim == 1):
        raise InadmissibleValue(
            f"a density of shape {tuple(frames.shape)} on a grid of {grid.shape}. Pass one density of the grid's shape."
        )
    ax = axes(ax)
    if grid.dim == 1:
        for frame in frames.reshape(-1, grid.shape[0]):
            ax.plot(grid.axes[0].numpy(), frame.numpy())
        ax.set_xlabel("x")
        ax.set_ylabel("density")
        return ax
    flat = frames if grid.dim == 2 else frames.sum(-1) * grid.spacing[2]
    (left, right), (bottom, top) = grid.sides[:2]
    extent = (left, right, bottom, top)
    image = ax.imshow(flat.numpy().T, origin="lower", extent=extent, aspect="auto", cmap="viridis")
    ax.figure.colorbar(image, ax=ax, label="density")
    ax.set_xlabel("x")
    ax.set_ylabel("y")
    return ax
