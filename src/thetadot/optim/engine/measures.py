r"""Global quantities that an update needs before any tensor moves: sums of squares, the loss.

    gradient_square    Σ g² over the group's moving parameters
    tensor_square      the mean of g² over one parameter
    loss               L, from the closure or ``step(loss=...)``

Where steps are compiled, squares are added up in double by one pass over all tensors; elsewhere in float32 or wider,
tensor by tensor. Sums run over all shards of a parameter that is spread over ranks; the loss is the mean over ranks
that train together. The gradient is as the rule takes it, l2 decay included.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from thetadot.core.tensors import real_view
from thetadot.core.validation import as_python
from thetadot.errors import InadmissibleValue, MissingClosure, require
from thetadot.fusion.kernel import HEAD
from thetadot.fusion.program import CannotCompile
from thetadot.fusion.sums import Sums
from thetadot.integrators.base import name_of
from thetadot.optim.engine import ranks
from thetadot.optim.engine.memory import walkable
from thetadot.optim.engine.programs import force_program, once, row_arrays, sweep_numbers
from thetadot.optim.engine.shards import is_sharded, wholes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from thetadot.optim.engine.rows import ParamRow
    from thetadot.optim.options import Compile
    from thetadot.systems.base import System

SQUARES = frozenset(("gradient_square", "tensor_square"))


def measure(
    system: System, rows: Sequence[ParamRow], whole: Sequence[tuple[Tensor, Tensor]], loss: Any, compiled: Compile, *,
    floats: bool,
) -> None:  # fmt: skip
    """Give every row the numbers that ``system`` asks for.

    Args:
        system: names them in ``measures``.
        rows: of one group.
        whole: for each row, the parameter and its gradient, where they are spread over ranks as a whole.
        loss: of this step, None if it was not given.
        compiled: how steps are run.
        floats: Python's numbers, that are waited for; or tensors of shape (), that are not.

    Raises:
        MissingClosure: the loss is needed and was not given.
        InadmissibleValue: it is not one number.
    """
    found: dict[str, Any] = {}
    if "loss" in system.measures:
        found["loss"] = mean_loss_of_ranks(system, loss)
    if SQUARES & set(system.measures) and rows:
        squares = _squares(rows, whole, compiled if floats else False)
        found |= of_squares(system, [float(square) for square in squares] if floats else squares, _sizes(whole))
    for index, row in enumerate(rows):
        row.measured = {
            name: found[name][index] if name == "tensor_square" else found[name] for name in system.measures
        }


def of_squares(system: System, squares: Sequence[Any], sizes: Sequence[int]) -> dict[str, Any]:
    """Compute the quantities that a system asks for from each tensor's Σ g²."""
    found: dict[str, Any] = {}
    if "tensor_square" in system.measures:
        found["tensor_square"] = [square / max(size, 1) for square, size in zip(squares, sizes, strict=True)]
    if "gradient_square" in system.measures:
        first = squares[0]
        together = isinstance(first, torch.Tensor)
        found["gradient_square"] = torch.stack([s.to(first) for s in squares]).sum() if together else sum(squares)
    return found


def _sizes(whole: Sequence[tuple[Tensor, Tensor]]) -> list[int]:
    return [gradient.numel() for _, gradient in whole]


def _squares(rows: Sequence[ParamRow], whole: Sequence[tuple[Tensor, Tensor]], compiled: Compile) -> list[Any]:
    """Σ g² of every row, over all its shards."""
    found: list[Any] = [None] * len(rows)
    alike: dict[Any, list[int]] = {}
    if compiled in (True, "auto"):
        for index, (row, (p, _)) in enumerate(zip(rows, whole, strict=True)):
            if not is_sharded(p) and walkable(row.parameter, row.gradient):
                alike.setdefault((id(row.sweep), row_arrays(row)), []).append(index)
    for indices in alike.values():
        try:
            sums = sums_of([rows[index] for index in indices])
        except CannotCompile:
            continue
        for index, value in zip(indices, sums, strict=True):
            found[index] = value
    for index, (row, (p, gradient)) in enumerate(zip(rows, whole, strict=True)):  # one at a time: they may be copies
        if found[index] is None:
            found[index] = _gradient_square(row.sweep.move.force(row.sweep.settings, gradient, real_view(p)))
    return wholes(found)


def sums_of(rows: Sequence[ParamRow]) -> list[float]:
    """Σ g² of every row by one kernel.

    Raises:
        CannotCompile: there is no compiler.
    """
    numbers = np.array(list(sweep_numbers(rows[0].sweep).values()))
    table = np.zeros((len(rows), len(HEAD) + len(row_arrays(rows[0]))), dtype=np.int64)
    table[:, 0] = [row.gradient.numel() for row in rows]
    table[:, len(HEAD)] = [row.parameter.data_ptr() for row in rows]
    table[:, len(HEAD) + 1] = [row.gradient.data_ptr() for row in rows]
    found: list[float] = kernel_of(rows[0]).on(table, numbers)().tolist()
    return found


def kernel_of(row: ParamRow) -> Sums:
    """Return the kernel that sums squares of rows like this one.

    Raises:
        CannotCompile: there is no compiler.
    """
    return once("squares", row, lambda: Sums(force_program(row), row_arrays(row), tuple(sweep_numbers(row.sweep))))


def _gradient_square(gradient: Tensor) -> Tensor:
    """Σ g²; one pass without a copy where nothing is recorded."""
    if type(gradient) is torch.Tensor and gradient.is_contiguous() and not torch.is_grad_enabled():
        flat = gradient.view(-1)
        return torch.dot(flat, flat)
    return (gradient * gradient).sum()


def mean_loss_of_ranks(system: System, loss: Any) -> Any:
    """The ranks' mean loss; a number, where it need not be waited for.

    Raises:
        MissingClosure: none was given.
        InadmissibleValue: it is not one finite number.
    """
    loss = as_python(loss)
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
    elif not isinstance(loss, int | float):
        raise InadmissibleValue(f"loss={loss!r} of type {type(loss).__name__} is not a number. Pass its mean or sum.")
    value = ranks.mean(float(loss))
    require(
        math.isfinite(value),
        f"loss={value:g}",
        f"is not finite, so that {name_of(system)} has no step",
        "Nothing has moved: leave this batch out, or resume from an earlier state with a smaller lr.",
    )
    return value
