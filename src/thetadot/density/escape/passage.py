r"""The mean time to first reach a point, in one dimension.

    τ = (1/T) ∫_a^b e^(U(y)/T) ∫_w^y e^(-U(z)/T) dz dy                              from a to b, a wall w behind a

of dx = -U' dt + √(2T) dW. Exact but for the quadrature, which is Gauss-Legendre in panels, doubled until the result
stands twice. Behind the start they grow with the distance from it, so that a far wall does not hide a near well. To the
top of a barrier τ is half of what it is over it: from the top, half of the paths fall back. So the rate of escape is
1/τ(over) = 1/(2 τ(to the top)), up to a share T/ΔU.

Source:
    Pontryagin, Andronov, Vitt, 1933; Gardiner, Handbook of Stochastic Methods, section 5.2.7.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_numbers, values_at
from thetadot.density.landscape import require_temperature
from thetadot.errors import NotConverged, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import Scalar

_NODES = 16
_FEWEST_PANELS, _MOST_PANELS = 1 << 8, 1 << 14
_HIGHEST = 700.0  # of U/T


@checked
def mean_first_passage_time(
    potential: Callable[[Tensor], Tensor],
    temperature: Scalar,
    start: float,
    target: float,
    wall: float,
    tolerance: float = 1e-10,
) -> float:
    """τ from ``start`` to ``target``, a reflecting wall behind.

    Args:
        potential: U of positions (..., 1).
        temperature: T > 0.
        start: a.
        target: b.
        wall: w, on the other side of ``start`` than ``target``; far up the potential it stands for none.
        tolerance: relative change at which doubling the panels ends.

    Raises:
        InadmissibleValue: a temperature that is not positive, points out of order, a potential that is not finite, or
            a climb above 700 T.
        NotConverged: 16384 panels are too few.

    Example:
        >>> free = mean_first_passage_time(lambda x: 0 * x.sum(-1), 0.5, 0.0, 2.0, wall=-1.0)
        >>> round(free, 10)  # (L² - l²)/2T with L = 3 and l = 1 from the wall
        8.0
    """
    temperature = require_temperature(temperature)
    require_numbers(start=start, target=target, wall=wall, tolerance=tolerance)
    ahead = math.copysign(1.0, target - start)
    require(
        math.isfinite(wall) and start != target and (start - wall) * ahead >= 0 and math.isfinite(target - start),
        f"wall={wall:g}, start={start:g}, target={target:g}",
        "are not in this order",
        "Pass a wall behind the start and a target before it.",
    )
    values: list[float] = []
    panels = _FEWEST_PANELS
    while panels <= _MOST_PANELS:
        values.append(_quadrature(potential, temperature, (wall, start, target), panels))
        last = values[-3:]
        if len(last) == 3 and max(last) - min(last) <= tolerance * abs(last[-1]):
            return last[-1]
        panels *= 2
    raise NotConverged(
        f"the passage time still changes at {panels // 2} panels, {values[-1]:.6g}. Pass a smoother potential or a "
        "nearer wall."
    )


def _quadrature(
    potential: Callable[[Tensor], Tensor], temperature: float, points: tuple[float, float, float], panels: int
) -> float:
    """The double integral, both parts in ``panels`` panels."""
    wall, start, target = points
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    within = _integration(nodes)
    way, back = target - start, start - wall
    graded = way * np.sinh(np.linspace(math.asinh(back / way), 0.0, panels + 1))
    behind_it = [start - graded] if back else []
    energies, lengths = [], []
    for edges in [*behind_it, np.linspace(start, target, panels + 1)]:
        half = (edges[1:] - edges[:-1]) / 2.0
        place = torch.from_numpy(edges[:-1, None] + half[:, None] * (nodes + 1.0))
        with torch.no_grad():
            energy = values_at(place[..., None], potential=potential).double().numpy() / temperature
        require(bool(np.isfinite(energy).all()), "a potential", "is not finite on the way", "Pass a nearer wall.")
        energies.append(energy)
        lengths.append(np.abs(half))
    lowest = min(energy.min() for energy in energies)
    behind = 0.0
    for energy, length in zip(energies, lengths, strict=True):
        density = np.exp(lowest - energy)
        before = behind + np.concatenate(([0.0], np.cumsum((density @ weights) * length)))
        behind = before[-1]
    # the last piece is the way from start to target: before holds the inner integral at its panels' beginnings
    inner = before[:-1, None] + (density @ within.T) * length[:, None]
    highest = energy.max()
    require(
        highest - lowest < _HIGHEST,
        f"a climb of e^{highest - lowest:.4g}",
        "makes a time that is no number",
        "Pass a higher temperature, or take Saddle(...).rate().",
    )
    outer = ((np.exp(energy - highest) * inner) @ weights) @ length
    return float(outer * math.exp(highest - lowest) / temperature)


def _integration(nodes: np.ndarray) -> np.ndarray:
    """M with (M f)_i = ∫_{-1}^{x_i} f for f given at the nodes, exact for polynomials of degree 15."""
    powers = np.polynomial.legendre.legvander(nodes, _NODES - 1)
    integrals = np.stack(
        [
            np.polynomial.legendre.legval(nodes, np.polynomial.legendre.legint(unit, lbnd=-1.0))
            for unit in np.eye(_NODES)
        ],
        axis=1,
    )
    return integrals @ np.linalg.inv(powers)
