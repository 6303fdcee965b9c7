"""Axes to draw on; matplotlib is loaded when something is drawn, and is an extra."""

from __future__ import annotations

from typing import Any

from thetadot.errors import InadmissibleValue, ThetadotError


def axes(ax: Any = None) -> Any:
    """``ax``, or new axes.

    Raises:
        ThetadotError: matplotlib is not installed.
    """
    if ax is not None:
        if not callable(getattr(ax, "plot", None)):
            raise InadmissibleValue(
                f"ax of type {type(ax).__name__} cannot be drawn on. Pass matplotlib's axes, or None."
            )
        return ax
    try:
        from matplotlib import pyplot as plt  # noqa: PLC0415
    except ImportError as error:
        raise ThetadotError("drawing needs matplotlib. Install it: pip install 'thetadot[plot]'.") from error
    return plt.subplots(layout="constrained")[1]
