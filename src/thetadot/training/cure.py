"""The last layer's bias moved to where the targets are, for squared errors.

    b ← b + ⟨y⟩ - ⟨f(x)⟩        per output, over the training data

Of a squared error that is the best constant shift of the outputs, and it changes nothing else: an output bias of 800
takes Adam 800/lr steps to learn, and until then every other parameter is trained on an error that is not its own. What
is the last bias is found by trying: moved by δ, every output moves by δ, or it is none. So it is exact whatever the
model's forward does. It is only done where it matters: where the shift is a tenth of the targets' scatter or more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from thetadot.records import Choice
from thetadot.state import kept
from thetadot.training.constant import targets_of
from thetadot.training.forward import apply, judging

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.records import Entry
    from thetadot.tasks.task import Task
    from thetadot.training.cost import Cost
    from thetadot.training.data import Source

WORTH = 0.1
"""Least shift, in the targets' standard deviations, that is made."""
SHARE, FEWEST = 0.002, 64
"""Most of a run's evaluations that the mean output may take, and the samples that it is taken from at least."""
_TOLERANCE = 1e-3
_PART = 256
_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Last(NamedTuple):
    """The last layer's bias, and the dimension of the output along which it lies."""

    name: str
    bias: Tensor
    dim: int


def is_squared_error(loss: Callable[[Tensor, Tensor], Tensor], output: Tensor, target: Tensor) -> bool:
    """Whether a loss is a multiple of the mean squared error, at this output and at two others.

    Example:
        >>> x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [5.0]])
        >>> is_squared_error(nn.functional.mse_loss, x, y), is_squared_error(nn.functional.l1_loss, x, y)
        (True, False)
    """
    if output.shape != target.shape or not target.is_floating_point():
        return False
    ratios = []
    scale = float((output - target).abs().max()) or 1.0
    ramp = torch.linspace(-1.0, 2.0, output.numel()).to(output).reshape(output.shape) * scale
    for moved in (output, output + ramp, target - 3.0 * ramp):
        square = float((moved - target).double().square().mean())
        ratios.append(float(loss(moved, target)) / square if square > 0 else math.nan)
    first = ratios[-1]
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return first > 0 and len(known) >= 2 and all(math.isclose(r, first, rel_tol=_TOLERANCE) for r in known)


def last_bias(model: nn.Module, inputs: object) -> Last | None:
    """Return the bias by which alone every output moves when it is moved; None where there is none.

    Args:
        model: evaluated as it is; its state is to be kept by the caller.
        inputs: of some samples.
    """
    before = apply(model, inputs)
    if not isinstance(before, torch.Tensor) or before.dim() < 1:
        return None
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad and p.dim() == 1]
    for name, bias in reversed(named):
        if not name.endswith("bias"):
            continue
        step = (1.0 + torch.arange(len(bias)).to(bias) / max(1, len(bias))) * float(before.abs().max().clamp_min(1.0))
        old = bias.detach().clone()
        with torch.no_grad():
            bias.add_(step)
            moved = apply(model, inputs) - before
            bias.copy_(old)
        for dim in range(before.dim() - 1, -1 if before.dim() == 1 else 0, -1):
            if _moves_by(moved, step, dim):
                return Last(name, bias, dim)
    return None


def _moves_by(moved: Tensor, step: Tensor, dim: int) -> bool:
    """Whether a change of the outputs is ``step`` along ``dim``; a single bias moves all of them."""
    if len(step) == 1:
        wanted = step.expand(moved.shape)
    elif moved.dim() > 1 and moved.shape[dim] == len(step):
        wanted = step.reshape(-1, *[1] * (moved.dim() - 1 - dim)).expand(moved.shape)
    else:
        return False
    return bool((moved - wanted).abs().max() <= _TOLERANCE * step.abs().max())


def squared_error(task: Task, source: Source) -> bool:
    """Whether the task's loss is a multiple of the mean squared error; its state is kept."""
    try:
        with kept(model=task.model, loss=task.loss), judging(task):
            batch = next(iter(source.load(source.whole(8, list(range(min(8, source.size)))))))
            output = apply(task.model, batch.inputs)
            if not isinstance(output, torch.Tensor) or not isinstance(batch.target, torch.Tensor):
                return False
            return is_squared_error(task.loss, output, batch.target)
    except _ERRORS:
        return False  # a loss that asks for more than values


def cured(task: Task, source: Source, samples: int, cost: Cost, write: Callable[[Entry], None]) -> Tensor | None:
    """Move the last layer's bias where that lowers a squared error much, and say so.

    Args:
        task: what is to be trained, by a squared error; its model's last bias moves in place.
        source: its training data.
        samples: the run's length, epochs × training samples.
        cost: where evaluations are counted.
        write: receives what was done.

    Returns:
        The parameter that was moved; None where none was.
    """
    targets = targets_of(source)
    if targets is None or not targets.is_floating_point() or targets.is_complex() or len(targets) < 2:
        return None
    count = min(source.size, max(FEWEST, int(3.0 * SHARE * samples)))
    indices = source.order(-1)[:count]
    try:
        with kept(model=task.model, loss=task.loss), judging(task):
            batch = next(iter(source.load(source.whole(8, indices[:8]))))
            last = last_bias(task.model, batch.inputs)
            if last is None:
                return None
            task.model.train()  # statistics of batches are those that training sees
            total, taken = torch.zeros(len(last.bias), dtype=torch.double, device=source.device), 0
            for part in source.load(source.whole(_PART, indices)):
                found = apply(task.model, part.inputs).double()
                total += _over_others(found, last, mean=False)
                taken += found.numel() // len(last.bias)
    except _ERRORS:
        return None  # a loss that asks for more than values; told where it is tried out
    cost.forward(count)
    wide = targets.to(source.device).double()
    shift = _over_others(wide, last, mean=True) - total / taken
    scatter = (wide - wide.mean(0)).square().mean().sqrt()
    if not bool(shift.isfinite().all()) or float(shift.square().mean().sqrt()) < WORTH * float(scatter):
        return None
    with torch.no_grad():
        last.bias.add_(shift.to(last.bias))
    moved = float(shift[shift.abs().argmax()])
    why = (
        f"moved by {moved:.4g}, the mean target minus the mean output of {count} training samples: learned step by "
        f"step it would take {abs(moved) / 0.016:,.0f} steps. --no-cure leaves it"
    )
    write(Choice(f"first {last.name}", float(last.bias.detach().reshape(-1)[shift.abs().argmax()]), why, "measured"))
    return last.bias


def _over_others(values: Tensor, last: Last, *, mean: bool) -> Tensor:
    """Sum or mean over all dimensions but that of the bias; targets and outputs alike."""
    if len(last.bias) == 1:
        return (values.mean() if mean else values.sum()).reshape(1)
    others = [dim for dim in range(values.dim()) if dim != last.dim]
    return values.mean(others) if mean else values.sum(others)
