"""Where pictures are drawn: matplotlib is an extra, imported when the first picture is asked for."""

from __future__ import annotations

from typing import Any

from thetadot.errors import ThetadotError


class NoPlotting(ThetadotError, ImportError):  # noqa: N818 - what is missing
    """A picture was asked for, and matplotlib is not installed."""


def axes(ax: Any = None) -> Any:
    """The axes given, or those of a new figure.

    Args:
        ax: matplotlib axes, or None.

    Raises:
        NoPlotting: matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise NoPlotting(
            "a picture needs matplotlib, which is not installed. Run pip install 'thetadot[plot]'."
        ) from error
    return Figure(layout="constrained").subplots()
