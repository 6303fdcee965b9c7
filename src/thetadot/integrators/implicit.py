r"""The implicit step, as the proximal step that it is.

    z = (θ + θ'(∇L(z)))/2,    θ'(g) = c - αg    ⟺    z minimises L(z) + |z - a|²/α,    a = (θ + c)/2

so that a solution exists at every step where the loss is bounded below; it is descended to
(:mod:`thetadot.integrators.minimum`). θ'(g) is the rule itself with g for the gradient; what is found is only the
midpoint z at which gradient and step agree. That they do is checked; a step of which it does not hold is not taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.core.tensors import tensor_of
from thetadot.errors import NotConverged
from thetadot.integrators.minimum import minimum
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from thetadot.core.annotations import State
    from thetadot.integrators.base import Integrator

_NOISE = 16.0  # roundings of the position, by which a gradient is off


def reach_of(integrator: Integrator, scales: object, variables: Iterable[str], one: Tensor) -> Tensor:
    """α: what a force of 1 takes from θ', at rest at 0.

    Args:
        integrator: the rule.
        scales: what it prepared.
        variables: that it needs, beside the position.
        one: 1, of shape (1,).
    """
    state: State = dict.fromkeys((POSITION, *variables), 0.0 * one)
    return -tensor_of(integrator.advance(scales, state, one, lambda: 0.0 * one, 0), POSITION)


def settle(
    force: Callable[[Tensor], Tensor], origin: Tensor, led: Tensor, reach: Tensor, eps: float, remedy: str
) -> Tensor:
    """Solve for the midpoints z, (rows, n), of as many steps, each row on its own.

    Args:
        force: ∇L of (rows, n).
        origin: θ, (rows, n).
        led: c, where the rule leads without a force.
        reach: α, of that shape or what broadcasts to it.
        eps: a rounding of the position.
        remedy: what to do where there is none.

    Raises:
        NotConverged: an equation was not solved to eps^¾.
    """
    anchor = (origin + led) / 2.0

    def residual(z: Tensor) -> tuple[None, Tensor]:
        """Z - a + (α/2)∇L(z): α/2 times the slope of what is minimised."""
        return None, z - anchor + reach / 2.0 * force(z)

    place = anchor  # where the velocity alone leads to
    if not bool((sound := residual(anchor)[1].isfinite().all(-1, keepdim=True)).all()):
        place = torch.where(sound, anchor, origin)
        if not bool(residual(place)[1].isfinite().all()):
            raise NotConverged(_unsolved_sentence("met a gradient that is not finite", remedy))
    weight = torch.where(reach > 0, reach[reach > 0].min() / reach, 0.0) if bool((reach > 0).any()) else 0.0 * reach
    least = eps**0.75 * torch.maximum(_largest(origin), _largest(anchor)).clamp(min=1.0)
    # no gradient is known better than its change over a rounding of the position
    found = minimum(residual, place, lambda r, known: _largest(r) <= torch.maximum(least, _NOISE * eps * known), weight)
    if found.met:
        short = float(found.slope.abs().max())
        raise NotConverged(
            _unsolved_sentence(
                f"was not solved: {found.met}, {short:.1e} short of it after {found.gradients} gradients", remedy
            )
        )
    return found.point


def _unsolved_sentence(what: str, remedy: str) -> str:
    return f"the implicit step {what}. Its equation has a solution where the loss is smooth and bounded below. {remedy}"


def _largest(rows: Tensor) -> Tensor:
    return torch.where(rows.isfinite(), rows.abs(), torch.inf).amax(-1, keepdim=True)
