r"""The implicit step, as the proximal step that it is.

    z = (θ + θ'(∇L(z)))/2,    θ'(g) = c - αg    ⟺    z minimises L(z) + |z - a|²/α,    a = (θ + c)/2

so that a solution exists at every lr where the loss is bounded below; it is descended to (:mod:`analysis.minimum`).
θ'(g) is the integrator's own rule with g for the gradient; what is found is only the midpoint z at which gradient and
step agree. That they do is checked; a step of which it does not hold is not taken.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from thetadot.analysis.minimum import minimum
from thetadot.errors import NotConverged
from thetadot.systems.base import POSITION
from thetadot.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from thetadot.optim.rows import Row
    from thetadot.typing import State

_NOISE = 16.0  # roundings of the parameters, by which a gradient is off


def solve_midpoint(rows: Callable[[], Sequence[Row]], evaluate: Callable[[], Any]) -> None:
    """Move every parameter that has a gradient by the implicit step and update its state.

    Args:
        rows: the parameters with their present gradients.
        evaluate: recomputes p.grad at the parameters' present values.

    Raises:
        NotConverged: the equation was not solved to eps^¾ of the parameters' dtype; parameters and state are as before.
    """
    moving = rows()
    if not moving:
        return
    parameters = [row.parameter for row in moving]
    start = [p.detach().clone() for p in parameters]
    eps = max(torch.finfo(p.dtype).eps for p in parameters)

    def put(values: Sequence[Tensor]) -> None:
        for p, value in zip(parameters, values, strict=True):
            p.copy_(value)

    def forces(flat: Tensor) -> list[Row]:
        """The parameters, with the gradients at ``flat``."""
        put(_unflatten(flat, start))
        evaluate()
        put(start)
        return list(rows())

    reach = torch.cat([_reach(row) for row in moving])
    origin = _flatten([row.origin() for row in moving])
    anchor = (origin + _flatten([_led(row, torch.zeros_like(row.origin())) for row in moving])) / 2.0

    def residual(flat: Tensor) -> tuple[None, Tensor]:
        """Z - a + (α/2)∇L(z): α/2 times the slope of what is minimised."""
        found = zip(forces(flat), _unflatten(flat, start), strict=True)
        force = _flatten([row.sweep.move.force(row.sweep.settings, row.gradient, z) for row, z in found])
        return None, flat - anchor + reach / 2.0 * force

    try:
        middle = _middle(residual, origin, anchor, reach, eps)
        states = [row.advance(at=z) for row, z in zip(forces(middle), _unflatten(middle, start), strict=True)]
    except BaseException:  # the closure's own errors too: parameters go back before they are passed on
        put(start)
        raise
    for row, state in zip(moving, states, strict=True):
        row.store(state)


def _led(row: Row, force: Tensor) -> Tensor:
    """θ' where the rule leads under a force and its noise, before it is rounded."""
    sweep = row.sweep
    state: State = {**row.state, POSITION: row.origin()}
    return tensor_of(sweep.move.integrator.advance(sweep.scales, state, force, row.draw(), 0), POSITION)


def _reach(row: Row) -> Tensor:
    """α of every element: what a force of 1 takes from θ', at rest at 0."""
    sweep, one = row.sweep, torch.ones(1, dtype=torch.float64, device=row.parameter.device)
    state: State = dict.fromkeys(
        (POSITION, *(n for n, v in row.state.items() if isinstance(v, torch.Tensor))), 0.0 * one
    )
    found = -tensor_of(sweep.move.integrator.advance(sweep.scales, state, one, lambda: 0.0 * one, 0), POSITION)
    return found.expand(row.parameter.numel())


def _middle(
    residual: Callable[[Tensor], tuple[None, Tensor]], origin: Tensor, anchor: Tensor, reach: Tensor, eps: float
) -> Tensor:
    """The midpoint, sought from where the velocity alone leads to; from the start where there is no gradient there."""
    weight = torch.where(reach > 0, reach[reach > 0].min() / reach, 0.0) if bool((reach > 0).any()) else 0.0 * reach
    least = eps**0.75 * max(1.0, _largest(origin), _largest(anchor))
    found = None
    for place in (anchor, origin):
        if not math.isfinite(_largest(residual(place)[1])):
            continue
        # no gradient is known better than its change over a rounding of the parameters
        found = minimum(residual, place, lambda r, known: _largest(r) <= max(least, _NOISE * eps * known), weight)
        if not found.met:
            return found.point
        break
    said = "met a gradient that is not finite"
    if found is not None:
        said = f"was not solved: {found.met}, {_largest(found.slope):.1e} short of it after {found.gradients} gradients"
    raise NotConverged(
        f"the implicit step {said}. Its equation has a solution where the loss is smooth and bounded below. "
        "Pass a smaller lr, or parameters in float64."
    )


def _largest(flat: Tensor) -> float:
    return float(flat.abs().max()) if bool(flat.isfinite().all()) else math.inf


def _flatten(values: Sequence[Tensor]) -> Tensor:
    first = values[0].device
    return torch.cat([value.detach().reshape(-1).double().to(first) for value in values])


def _unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(flat, [p.numel() for p in like])
    return [part.reshape(p.shape).to(p) for part, p in zip(parts, like, strict=True)]
