r"""The order of an integrator, measured: error ∝ γᵖ at a fixed time, p = log₂(e(γ)/e(γ/2))."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import field_at, require_count, require_finite, require_instances, require_tensors
from thetadot.errors import InadmissibleValue, IncompatiblePair, require
from thetadot.integrators.base import Integrator, MechanicalIntegrator, initial_state, name_of
from thetadot.integrators.whole import whole_step
from thetadot.systems.base import System, noisy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from thetadot.core.annotations import Force, Scalar, State


_MOST = 10_000_000  # steps


@checked
def trajectory(
    system: System,
    integrator: Integrator,
    gradient: Force,
    initial: Tensor,
    *,
    step: float,
    steps: int,
    at_rest: bool = True,
) -> Tensor:
    """Positions (steps+1, *) of a deterministic motion, the velocity zero at the start.

    Args:
        system: what moves, without temperature.
        integrator: how it is stepped.
        gradient: ∇L.
        initial: θ₀, shape (*).
        step: γ > 0.
        steps: number of steps.
        at_rest: begin a staggered velocity half a step early (second order); False begins it at zero, as optimizers do.

    Raises:
        IncompatiblePair: the integrator cannot step the system, noise acts on it, or it moves by the loss.
        InadmissibleValue: a number out of range, a start that is not finite.
    """
    require_instances(System, system=system)
    require_instances(Integrator, integrator=integrator)
    require_tensors(initial=initial)
    require_count(0, _MOST, steps=steps)
    require(0 < step < math.inf, f"step={step:g}", "is not positive and finite", "Pass step > 0.")
    require_finite(initial=initial)
    field_at(initial, gradient=gradient)
    if noisy(system):
        raise IncompatiblePair(
            f"{name_of(system)} has a temperature, and a trajectory has an order only without noise. "
            "Pass temperature 0."
        )
    if "loss" in system.measures:
        raise IncompatiblePair(
            f"{name_of(system)} moves by the loss, and a trajectory is given its gradient only. Use an optimizer."
        )
    scales = integrator.prepare(system, step)
    measure = _measure if system.measures else None
    state = initial_state(system, integrator, initial)
    if at_rest and isinstance(integrator, MechanicalIntegrator):
        state["velocity"] = integrator.at_rest(scales, gradient(initial))
    positions = [initial]
    for _ in range(steps):
        state = whole_step(integrator, scales, state, gradient, _no_noise, measure)
        positions.append(integrator.position(scales, state))
    return torch.stack(positions)


@checked
def measured_order(
    system: System,
    integrator: Integrator,
    gradient: Force,
    initial: Tensor,
    *,
    time: float,
    steps: Sequence[int],
    reference: Tensor,
    at_rest: bool = True,
) -> list[float]:
    """log₂ of successive error ratios at ``time``, for numbers of steps that double.

    Args:
        system: what moves.
        integrator: how it is stepped.
        gradient: ∇L.
        initial: θ₀.
        time: end of the motion.
        steps: numbers of steps, each twice the one before.
        reference: θ(time), exact.
        at_rest: as in :func:`trajectory`.

    Example:
        >>> from thetadot.integrators import Euler
        >>> from thetadot.systems import GradientFlow
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> orders = measured_order(GradientFlow(), Euler(), lambda x: x, one, time=1.0, steps=(1000, 2000),
        ...                         reference=one / math.e)
        >>> round(orders[0], 2)
        1.0
    """
    require_tensors(initial=initial, reference=reference)
    require(0 < time < math.inf, f"time={time:g}", "is not positive and finite", "Pass time > 0.")
    require(len(steps) >= 2 and min(steps) >= 1, f"steps={steps}", "are not two numbers or more", "Pass (10, 20).")
    if reference.shape != initial.shape:
        raise InadmissibleValue(
            f"initial of shape {tuple(initial.shape)}, reference {tuple(reference.shape)}. Pass θ(time), of one shape."
        )
    errors = []
    for count in steps:
        path = trajectory(system, integrator, gradient, initial, step=time / count, steps=count, at_rest=at_rest)
        errors.append(float((path[-1] - reference).norm()))
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


def _measure(state: State, force: Tensor) -> dict[str, Scalar]:  # noqa: ARG001
    """There is one tensor, which is the whole."""
    square = force * force
    return {"gradient_square": square.sum(), "tensor_square": square.mean()}


def _no_noise() -> Tensor:
    raise AssertionError("a deterministic system draws no noise")
