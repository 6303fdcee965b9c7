"""Names that can be listed without loading what they name."""

from __future__ import annotations

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
