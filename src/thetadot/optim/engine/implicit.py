"""The implicit step of parameters whose gradients a closure computes (:mod:`thetadot.integrators.implicit`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.tensors import tensor_of
from thetadot.integrators.implicit import reach_of, settle
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from thetadot.core.annotations import State
    from thetadot.optim.engine.rows import ParamRow


def solve_midpoint(rows: Callable[[], Sequence[ParamRow]], evaluate: Callable[[], Any]) -> None:
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

    def forces(flat: Tensor) -> list[ParamRow]:
        """The parameters, with the gradients at ``flat``."""
        put(_unflatten(flat, start))
        evaluate()
        put(start)
        return list(rows())

    reach = torch.cat([_row_gain(row) for row in moving])
    origin = _flatten([row.origin() for row in moving])
    led = _flatten([_led(row, torch.zeros_like(row.origin())) for row in moving])

    def force(point: Tensor) -> Tensor:
        found = zip(forces(point[0]), _unflatten(point[0], start), strict=True)
        return _flatten([row.sweep.move.force(row.sweep.settings, row.gradient, z) for row, z in found]).unsqueeze(0)

    try:
        remedy = "Pass a smaller lr, or parameters in float64."
        middle = settle(force, origin.unsqueeze(0), led.unsqueeze(0), reach.unsqueeze(0), eps, remedy)[0]
        states = [row.advance(at=z) for row, z in zip(forces(middle), _unflatten(middle, start), strict=True)]
    except BaseException:  # the closure's own errors too: parameters go back before they are passed on
        put(start)
        raise
    for row, state in zip(moving, states, strict=True):
        row.store(state)


def _led(row: ParamRow, force: Tensor) -> Tensor:
    """θ' where the rule leads under a force and its noise, before it is rounded."""
    sweep = row.sweep
    state: State = {**row.state, POSITION: row.origin()}
    return tensor_of(sweep.move.integrator.advance(sweep.scales, state, force, row.draw(), 0), POSITION)


def _row_gain(row: ParamRow) -> Tensor:
    """α of every element."""
    sweep, one = row.sweep, torch.ones(1, dtype=torch.float64, device=row.parameter.device)
    others = [name for name, value in row.state.items() if isinstance(value, torch.Tensor) and name != POSITION]
    return reach_of(sweep.move.integrator, sweep.scales, others, one).expand(row.parameter.numel())


def _flatten(values: Sequence[Tensor]) -> Tensor:
    first = values[0].device
    return torch.cat([value.detach().reshape(-1).double().to(first) for value in values])


def _unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(flat, [p.numel() for p in like])
    return [part.reshape(p.shape).to(p) for part, p in zip(parts, like, strict=True)]
