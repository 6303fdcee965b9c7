"""One whole step: every stage of a rule, each with the gradient that it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.errors import NotConverged
from thetadot.systems.base import POSITION
from thetadot.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from thetadot.integrators.base import Integrator
    from thetadot.typing import Draw, Force, Scalar, State

    Measure = Callable[[State, Tensor], Mapping[str, Scalar]]

_MOST_ITERATIONS = 200


def whole_step(
    integrator: Integrator, scales: object, state: State, gradient: Force, draw: Draw, measure: Measure | None = None
) -> State:
    """The state after one step.

    Args:
        integrator: the rule.
        scales: what it prepared.
        state: left as it is.
        gradient: ∇L at a position.
        draw: gives a standard normal tensor.
        measure: gives the numbers that the system wants measured, of the state and the gradient there.
    """
    for stage in range(integrator.stages):
        force = gradient(tensor_of(state, POSITION))
        if integrator.evaluation == "midpoint":
            force = _settled(integrator, scales, state, gradient, force, draw)
        if measure is not None:
            state = {**state, **measure(state, force)}
        state = integrator.advance(scales, state, force, draw, stage)
    return state


def _settled(
    integrator: Integrator, scales: object, state: State, gradient: Force, force: Tensor, draw: Draw
) -> Tensor:
    """Fixed point of the gradient at the midpoint that it causes; converges for γ²h < 4."""
    for _ in range(_MOST_ITERATIONS):
        after = integrator.advance(scales, state, force, draw)
        new = gradient((tensor_of(state, POSITION) + tensor_of(after, POSITION)) / 2.0)
        if torch.allclose(new, force, rtol=1e-14, atol=1e-15):
            return new
        force = new
    raise NotConverged(
        f"the implicit step did not settle in {_MOST_ITERATIONS} iterations: γ²h is not below 4. Pass a smaller step."
    )
