"""The best constant output: what a model reaches that reads no input.

    float targets of the output's shape    the targets' mean, their median, and the logit of the mean where they lie in
                                           [0, 1]: whichever has the lowest loss
    classes                                the logarithms of their frequencies

It costs no evaluation of the model beyond one pass for the output's shape. A run that ends above it has learned nothing
that helps, however far its loss fell; and gains are counted from it, since a start may be far off by an offset alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from thetadot.records import Constant
from thetadot.training.forward import apply, judging

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.tasks.task import Task
    from thetadot.training.data import Source

MOST = 4096
"""Samples of data that are no tensors whose targets are read."""
_PART = 512
_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def targets_of(source: Source, most: int = MOST) -> Tensor | None:
    """Return the targets of a data set, all where they are a tensor; None where they are no one tensor.

    Args:
        source: of the data.
        most: samples that are read where each has to be asked for.
    """
    if source.holds_tensors:
        tensors = source.dataset.tensors  # type: ignore[attr-defined]
        return tensors[1] if len(tensors) == 2 else None
    step = max(1, -(-source.size // most))
    found: list[Any] = [batch.target for batch in source.load(source.whole(_PART, list(range(0, source.size, step))))]
    return torch.cat(found) if stackable(found) else None


def stackable(parts: list[Any]) -> bool:
    """Whether parts of a data set are tensors of one shape; a collating function may pad each batch in its own way."""
    return all(isinstance(part, torch.Tensor) for part in parts) and len({part.shape[1:] for part in parts}) == 1


def constant(task: Task, train: Source, valid: Source) -> Constant | None:
    """Return the losses of the best constant output; None where targets and loss allow none.

    To be called where the state of the run is kept.
    """
    if isinstance(task.loss, nn.Module) and any(p.requires_grad for p in task.loss.parameters()):
        return None  # what it is a constant output of is not yet known
    targets = [targets_of(train), targets_of(valid)]
    if any(t is None or t.is_complex() or not len(t) for t in targets):
        return None
    learned, held = (t.to(train.device) for t in targets if t is not None)
    with judging(task):
        try:
            first = next(iter(train.load(train.whole(1, [0]))))
            output = apply(task.model, first.inputs)
            if not isinstance(output, torch.Tensor):
                return None
            found = {says: _loss(task, value, learned) for says, value in _candidates(output[0], learned).items()}
            told = {says: loss for says, loss in found.items() if math.isfinite(loss)}
            if not told:
                return None
            says = min(told, key=lambda name: told[name])
            valid_loss = _loss(task, _candidates(output[0], learned)[says], held)
        except _ERRORS:
            return None  # a loss that wants more of an output than its values
    return Constant(told[says], valid_loss, says, len(learned)) if math.isfinite(valid_loss) else None


def _candidates(output: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Constant outputs of one sample's shape, by their names."""
    if targets.is_floating_point():
        if targets.shape[1:] != output.shape:
            return {}
        wide = targets.double()
        mean = wide.mean(0)
        found = {"the targets' mean": mean, "the targets' median": wide.median(0).values}
        if float(wide.min()) >= 0.0 and float(wide.max()) <= 1.0:
            found["the logit of the targets' mean"] = torch.logit(mean, eps=1e-6)
        return {name: value.to(output.dtype) for name, value in found.items()}
    if output.dim() < 1 or targets.shape[1:] != output.shape[1:] or targets.dtype == torch.bool:
        return {}
    classes = output.shape[0]
    known = targets.reshape(-1)
    known = known[(known >= 0) & (known < classes)]  # others are ignored by the loss, or refused
    counts = torch.bincount(known, minlength=classes).double()
    logs = (counts.clamp_min(0.5) / counts.clamp_min(0.5).sum()).log().to(output.dtype)
    return {"the classes' frequencies": logs.reshape(-1, *[1] * (output.dim() - 1)).expand(output.shape)}


def _loss(task: Task, value: Tensor, targets: Tensor) -> float:
    """Mean loss of a constant output over all targets."""
    total = 0.0
    for part in torch.split(targets, _PART):
        total += float(task.loss(value.expand(len(part), *value.shape).clone(), part)) * len(part)
    return total / len(targets)
