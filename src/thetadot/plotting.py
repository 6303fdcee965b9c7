"""Axes to draw into. matplotlib is an extra, imported when something is drawn and never before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.errors import ThetadotError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes(ax: Axes | None = None) -> Axes:
    """The axes given, or new ones.

    Args:
        ax: where to draw; a new figure of one picture if None.

    Raises:
        ThetadotError: matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ThetadotError(
            "matplotlib is not installed, and pictures are drawn with it. Install it: pip install 'thetadot[plot]'."
        ) from error
    return pyplot.subplots()[1]
