r"""What a rule needs to know of a whole group before it can move one tensor: sums of squares, the loss.

    gradient_square    Σ g² over the group's moving parameters
    tensor_square      the mean of g² over one parameter
    loss               L, from the closure or ``step(loss=...)``

Sums are float32 or wider, and run over all shards of a parameter that is spread over ranks; the loss is the mean over
ranks that train together. The gradient is as the rule takes it, l2 decay included.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from thetadot.errors import InadmissibleValue, MissingClosure, require
from thetadot.integrators.base import name_of
from thetadot.optim import ranks
from thetadot.optim.shards import wholes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from thetadot.systems.base import System


def measure(
    system: System, forces: Sequence[Callable[[], Tensor]], loss: Any, numbers: Callable[[Tensor], Any]
) -> list[dict[str, Any]]:
    """The numbers that ``system`` asks for, for each row.

    Args:
        system: names them in ``measures``.
        forces: for each row, computes its gradient as the rule takes it.
        loss: of this step, None if it was not given.
        numbers: turns a tensor of shape () into what the rule calculates with.

    Raises:
        MissingClosure: the loss is needed and was not given.
        InadmissibleValue: it is not one number.
    """
    wanted = system.measures
    if not wanted:
        return [{} for _ in forces]
    shared: dict[str, Any] = {}
    own: list[dict[str, Any]] = [{} for _ in forces]
    if "loss" in wanted:
        shared["loss"] = _loss(system, loss)
    if {"gradient_square", "tensor_square"} & set(wanted):
        squares, sizes = [], []
        for force in forces:  # one at a time: they may be copies
            gradient = force()
            squares.append(_square(gradient))
            sizes.append(max(gradient.numel(), 1))
        squares = wholes(squares)
        if "tensor_square" in wanted:
            for row, square, size in zip(own, squares, sizes, strict=True):
                row["tensor_square"] = numbers(square / size)
        if "gradient_square" in wanted and squares:
            shared["gradient_square"] = numbers(torch.stack([square.to(squares[0]) for square in squares]).sum())
    return [row | shared for row in own]


def _square(gradient: Tensor) -> Tensor:
    """Σ g²; one pass without a copy where nothing is recorded."""
    if type(gradient) is torch.Tensor and gradient.is_contiguous() and not torch.is_grad_enabled():
        flat = gradient.view(-1)
        return torch.dot(flat, flat)
    return (gradient * gradient).sum()


def _loss(system: System, loss: Any) -> Any:
    if loss is None:
        raise MissingClosure(
            f"{name_of(system)} moves by the loss, but step() got none. Pass a closure that returns it, or "
            "step(loss=loss)."
        )
    if isinstance(loss, torch.Tensor):
        if loss.numel() != 1:
            raise InadmissibleValue(f"loss of shape {tuple(loss.shape)} is not one number. Pass its mean or sum.")
        recorded = torch.is_grad_enabled()  # only a step that is differentiated is taken so
        loss = (loss if recorded else loss.detach()).reshape(())
        if recorded or loss.device.type != "cpu" or torch.compiler.is_compiling():
            return ranks.mean(loss)
    value = ranks.mean(float(loss))
    require(
        math.isfinite(value),
        f"loss={value:g}",
        f"is not finite, so that {name_of(system)} has no step",
        "Nothing has moved: leave this batch out, or go on from an earlier state with a smaller lr.",
    )
    return value
