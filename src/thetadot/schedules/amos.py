r"""Amos's schedule, for other optimizers: lr and weight decay that fall together.

    d = (1 + α₀pt)⁻²  (constant p)    or    (1 + 2α₀pt)⁻¹  (p falling with the error),    ρ = α₀²d/2

The continuous solution of Ṡ = α₀p e^(-S), resp. e^(-2S), with d = e^(-2S): the squared error to go, in parts of the
first. ``optim.Amos(kind="constant")`` or ``"decaying"`` steps that equation itself; both agree to first order in α₀p.

Source:
    Tian, Parikh, "Amos: an Adam-style optimizer with adaptive weight decay towards model-oriented scale".
"""

from __future__ import annotations

import math
from typing import NamedTuple

from thetadot.core.signatures import checked
from thetadot.errors import require
from thetadot.systems.scheduled_amos import Approach  # noqa: TC001 - asked at run time


class Decayed(NamedTuple):
    """The factor on lr, and the share that decay takes off the parameter in a step."""

    lr_factor: float
    weight_decay: float


@checked
def amos_schedule(t: float, alpha0: float, p: float, kind: Approach = "constant") -> Decayed:
    """The factor d and the decay ρ after t steps.

    Args:
        t: steps done, >= 0.
        alpha0: α₀ >= 0, the share of the error that a step is long.
        p: >= 0, the cosine between step and error, at first.
        kind: "constant" p, or "decaying" in proportion to the error.

    Raises:
        InadmissibleValue: outside these ranges.

    Example:
        >>> amos_schedule(100, alpha0=0.01, p=1.0)  # d = 1/(1 + 1)²
        Decayed(lr_factor=0.25, weight_decay=1.25e-05)
    """
    for name, value in (("t", t), ("alpha0", alpha0), ("p", p)):
        require(0 <= value < math.inf, f"{name}={value:g}", "is negative or not finite", f"Pass {name} >= 0.")
    _require_kind(kind)
    fall = alpha0 * p * t
    factor = (1.0 + fall) ** -2 if kind == "constant" else 1.0 / (1.0 + 2.0 * fall)
    return Decayed(factor, alpha0 * alpha0 * factor / 2.0)


def approach_per_step(half_life: float, kind: Approach = "constant") -> float:
    """α₀p of the number of steps after which d = 1/2: (√2-1)/T, resp. 1/(2T).

    Example:
        >>> approach_per_step(50, "decaying")
        0.01
    """
    require(0 < half_life < math.inf, f"half_life={half_life:g}", "is not positive and finite", "Pass steps > 0.")
    _require_kind(kind)
    return (math.sqrt(2.0) - 1.0 if kind == "constant" else 0.5) / half_life


@checked
def p_from_half_life(half_life: float, alpha0: float, kind: Approach = "constant") -> float:
    """The p with which d = 1/2 after ``half_life`` steps of α₀.

    Args:
        half_life: T > 0, in steps.
        alpha0: α₀ > 0.
        kind: as for :func:`amos_schedule`.

    Raises:
        InadmissibleValue: outside these ranges.

    Example:
        >>> p = p_from_half_life(1000, alpha0=0.01)
        >>> round(amos_schedule(1000, 0.01, p).lr_factor, 12)
        0.5
    """
    require(0 < alpha0 < math.inf, f"alpha0={alpha0:g}", "is not positive and finite", "Pass alpha0 > 0.")
    return approach_per_step(half_life, kind) / alpha0


def _require_kind(kind: str) -> None:
    require(kind in ("constant", "decaying"), f"kind={kind!r}", "is unknown", "Pass 'constant' or 'decaying'.")
