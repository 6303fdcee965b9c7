"""One whole step: all stages of a rule, each with its gradient.

An implicit rule asks for the gradient at the midpoint of the step that it causes
(:mod:`thetadot.integrators.implicit`).
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import torch

from thetadot.core.tensors import tensor_of
from thetadot.integrators.implicit import reach_of, settle
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from thetadot.core.annotations import Draw, Force, Scalar, State
    from thetadot.integrators.base import Integrator

    Measure = Callable[[State, Tensor], Mapping[str, Scalar]]


def whole_step(
    integrator: Integrator, scales: object, state: State, gradient: Force, draw: Draw, measure: Measure | None = None
) -> State:
    """The state after one step.

    Args:
        integrator: the rule; an implicit one solves for every row of positions (paths, ...) by itself.
        scales: what it prepared.
        state: left as it is.
        gradient: ∇L at a position.
        draw: gives a standard normal tensor.
        measure: gives the numbers that the system wants measured, of the state and the gradient there.

    Raises:
        NotConverged: the equation of an implicit step was not solved.
    """
    for stage in range(integrator.stages):
        position = tensor_of(state, POSITION)
        if integrator.evaluation == "midpoint":
            again = _repeated(draw)
            position, draw = _midpoint(integrator, scales, state, gradient, again()), again()
        force = gradient(position)
        if measure is not None:
            state = {**state, **measure(state, force)}
        state = integrator.advance(scales, state, force, draw, stage)
    return state


def _midpoint(integrator: Integrator, scales: object, state: State, gradient: Force, draw: Draw) -> Tensor:
    """Midpoints at which gradient and step agree, each path by itself."""
    position = tensor_of(state, POSITION)
    led = tensor_of(integrator.advance(scales, state, torch.zeros_like(position), draw), POSITION)
    others = [name for name, value in state.items() if name != POSITION and isinstance(value, torch.Tensor)]
    reach = reach_of(integrator, scales, others, torch.ones_like(position.reshape(-1)[:1].detach().double()))

    def rows(values: Tensor) -> Tensor:
        return values.detach().double().reshape(len(position) if position.ndim > 1 else 1, -1)

    def force(z: Tensor) -> Tensor:
        return rows(gradient(z.reshape(position.shape).to(position)))

    remedy = "Pass a smaller step, or positions in float64."
    found = settle(force, rows(position), rows(led), reach, torch.finfo(position.dtype).eps, remedy)
    return found.reshape(position.shape).to(position)


def _repeated(draw: Draw) -> Callable[[], Draw]:
    """Readers of one step's noise, each of which reads the same from its beginning."""
    drawn: list[Tensor] = []

    def reader() -> Draw:
        place = count()

        def read() -> Tensor:
            i = next(place)
            if i == len(drawn):
                drawn.append(draw())
            return drawn[i]

        return read

    return reader
