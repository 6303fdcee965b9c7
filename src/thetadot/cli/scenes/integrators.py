"""Integrators by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot import integrators
from thetadot.errors import InadmissibleValue
from thetadot.integrators import tableaus
from thetadot.integrators.words import LETTERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.integrators import Integrator

PLAIN: dict[str, Callable[[], Integrator]] = {
    "euler": integrators.Euler,
    "semi-implicit": integrators.SemiImplicitEuler,
    "leapfrog": integrators.Leapfrog,
    "euler-maruyama": integrators.EulerMaruyama,
    **{
        tableau.name.lower().replace("_", "-"): lambda tableau=tableau: integrators.RungeKutta(tableau)  # type: ignore[misc]
        for tableau in tableaus.TABLEAUS
    },
    "heun": integrators.Heun,
    "milstein": integrators.Milstein,
    "sra1": integrators.SRA1,
}


def integrator(name: str) -> Integrator:
    """The integrator of a name, or of a splitting word.

    Raises:
        InadmissibleValue: neither.

    Example:
        >>> integrator("BAOAB"), integrator("rk4")
        (Splitting(word='BAOAB'), RungeKutta(tableau=RK4))
    """
    if name in PLAIN:
        return PLAIN[name]()
    if name and set(name) <= set(LETTERS):
        return integrators.Splitting(name)
    from thetadot.cli.scenes.names import nearest

    raise InadmissibleValue(
        f"integrator={name!r} is unknown{nearest(name, PLAIN)} Pass one of {', '.join(PLAIN)}, or a splitting word "
        "such as BAOAB."
    )
