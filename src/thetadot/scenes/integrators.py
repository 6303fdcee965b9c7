"""Table of integrators by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from thetadot import integrators
from thetadot.core.formatting import nearest
from thetadot.errors import InadmissibleValue, require
from thetadot.integrators import tableaus
from thetadot.integrators.adaptive import Embedded
from thetadot.integrators.base import name_of
from thetadot.integrators.words import LETTERS
from thetadot.scenes.spelling import argument, word

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
        if tableau.embedded is None
    },
    "heun": integrators.Heun,
    "milstein": integrators.Milstein,
    "sra1": integrators.SRA1,
}


ADAPTIVE: dict[str, Callable[..., Embedded]] = {
    "dormand-prince": integrators.DormandPrince,
    "bogacki-shampine": integrators.BogackiShampine,
}
"""Those that find their own steps."""
ABSOLUTE = 1e-3
"""Absolute tolerance over the relative one."""


def integrator(name: str) -> Integrator:
    """The integrator of a name, or of a splitting word; of steps of one length.

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

    known = [*PLAIN, *ADAPTIVE]
    raise InadmissibleValue(
        f"integrator={name!r} is unknown{nearest(name, known)} Pass one of {', '.join(known)}, or a splitting word "
        "such as BAOAB."
    )


def rule(name: str, own: Integrator | Embedded | None, tolerance: float | None) -> Integrator | Embedded:
    """Return the integrator of that name.

    Args:
        name: of an integrator; empty for a scene's own.
        own: the scene's own.
        tolerance: relative, of a method that finds its steps; the absolute one is a thousandth of it. None: its own.

    Raises:
        InadmissibleValue: no such integrator, or a tolerance for one of fixed steps, or one out of range.

    Example:
        >>> f"{rule('dormand-prince', None, 1e-4).atol:g}"
        '1e-07'
    """
    found = (ADAPTIVE[name]() if name in ADAPTIVE else integrator(name)) if name or own is None else own
    if tolerance is None:
        return found
    if not isinstance(found, Embedded):
        raise InadmissibleValue(
            f"tolerance={tolerance:g}: {name_of(found)} takes steps of one length. Leave {argument('tolerance')} out, "
            f"or pass {argument('integrator', ' or '.join(map(word, ADAPTIVE)))}."
        )
    require(
        0 < tolerance < 1,
        f"tolerance={tolerance:g}",
        "is not between 0 and 1",
        f"Pass {argument('tolerance', '1e-6')}.",
    )
    return replace(found, rtol=tolerance, atol=ABSOLUTE * tolerance)


def require_steps(found: Integrator | Embedded, step: float | None) -> None:
    """Raise InadmissibleValue where a method that finds its own steps is given one, or another is given none."""
    if isinstance(found, Embedded) and step is not None:
        raise InadmissibleValue(
            f"step={step:g}: {name_of(found)} finds its own steps, by {argument('tolerance')}. "
            f"Leave {argument('step')} out."
        )
    if step is None and not isinstance(found, Embedded):
        raise InadmissibleValue(f"{name_of(found)} needs a step. Pass {argument('step', 0.01)}.")
