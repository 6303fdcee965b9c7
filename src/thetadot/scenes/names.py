"""Names that can be listed without loading what they name, and what somebody may have meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


PLAIN = (
    "euler",
    "semi-implicit",
    "leapfrog",
    "euler-maruyama",
    "midpoint",
    "ralston",
    "kutta3",
    "rk4",
    "three-eighths",
    "heun",
    "milstein",
    "sra1",
)
"""Integrators of steps of one length."""
ADAPTIVE = ("dormand-prince", "bogacki-shampine")
"""Those that find their own steps."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` for a name that resembles a known one, else a full stop.

    Example:
        >>> nearest("dirac_gan", ["dirac-gan", "jacobi"]), nearest("zzz", ["jacobi"])
        ("; did you mean 'dirac-gan'?", '.')
    """
    found = get_close_matches(name.lower().replace("_", "-"), list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else "."
