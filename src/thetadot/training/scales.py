"""Badly scaled inputs and targets: cured by training in other units, else refused; or said, where nothing is cured.

Columns of very different size make curvatures of very different size, as the squares of their sizes: a step that is
right for one column is nothing for another, and a table in raw units ends far above what a constant output reaches.
What layers see is judged, not what the data hold: a model that brings its inputs to size 1 takes any. A Linear layer
that the data feed is trained in their units (:mod:`thetadot.training.units`), and so is the last layer in those of the
targets, where the loss depends on output minus target alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thetadot.errors import TaskError
from thetadot.monitor.inputs import normalizes
from thetadot.probes.columns import badly_scaled, usual_units
from thetadot.records import Choice, Remark
from thetadot.state import kept
from thetadot.training.constant import MOST, stackable, targets_of
from thetadot.training.cure import last_bias
from thetadot.training.forward import apply, judging
from thetadot.training.units import Coordinates, UnitChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from thetadot.records import Entry
    from thetadot.tasks.task import Task
    from thetadot.training.cost import Cost
    from thetadot.training.data import Source

STANDARDIZE = "Standardize them over the training data: x = (x - x.mean(0)) / x.std(0), leaving out constant columns"
RESCALE = "Train on (y - y.mean(0)) / y.std(0) and scale the outputs back"
_TRIED = 16
_PART = 512
_FREE = (nn.Embedding, nn.EmbeddingBag)
_HEADS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Scales:
    """What is badly scaled, in words; "" where nothing is.

    Attributes:
        inputs: rows of them.
        targets: rows of them, where other units would help.
        offset: rows of targets, also where a mean far from 0 is all.
    """

    inputs: str = ""
    targets: str = ""
    offset: str = ""

    @property
    def any(self) -> bool:
        """Whether other units would help."""
        return bool(self.inputs or self.targets)


def scales(source: Source, *, offset: bool) -> Scales:
    """Judge inputs and targets of the training data, where they are rows of numbers.

    Args:
        source: of the data.
        offset: whether a mean far from 0 makes targets badly scaled; of a squared error it is mended by itself.
    """
    inputs, targets = _inputs(source), targets_of(source)
    if targets is not None and (not targets.is_floating_point() or targets.is_complex()):
        targets = None
    rows = None if targets is None else targets.reshape(len(targets), -1).double()
    inputs_said = None if inputs is None else badly_scaled(inputs)
    said = None if rows is None else badly_scaled(rows, "target")
    matters = rows is not None and (offset or badly_scaled(rows - rows.mean(0)) is not None)
    return Scales(inputs_said or "", (matters and said) or "", said or "")


def remarks(found: Scales, *, residual: bool) -> Iterator[Remark]:
    """Say what is badly scaled, and what to do about it.

    Args:
        found: what there is.
        residual: whether the loss is of output minus target, for which the targets' scale matters.
    """
    if found.inputs:
        yield Remark(0, "inputs", f"{found.inputs}. {STANDARDIZE}; training goes on without it")
    if found.offset and residual:
        yield Remark(0, "targets", f"{found.offset}. {RESCALE}; training goes on without it")


def is_residual(loss: Callable[[Any, Any], Any], output: Any, target: Any) -> bool:
    """Whether a loss depends on output minus target alone, and is least where that is 0; so also in other units.

    Example:
        >>> x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [1.0]])
        >>> is_residual(nn.functional.l1_loss, x, y), is_residual(nn.functional.binary_cross_entropy_with_logits, x, y)
        (True, False)
    """
    if not (isinstance(output, Tensor) and isinstance(target, Tensor)) or output.shape != target.shape:
        return False
    if not target.is_floating_point() or target.is_complex():
        return False
    unit = (output - target).abs().mean().clamp_min(1e-30)
    residual = torch.linspace(-1.5, 2.0, target.numel()).to(output).reshape(output.shape) * unit
    centre = torch.zeros_like(target)
    try:
        there, moved = (
            float(loss(centre + residual, centre)),
            float(loss(centre + 3 * unit + residual, centre + 3 * unit)),
        )
        least = float(loss(centre, centre))
    except _ERRORS:
        return False
    return there > 0 and abs(there - moved) <= 1e-4 * there and least < 1e-3 * there


def in_usual_units(
    task: Task, source: Source, found: Scales, *, residual: bool, cost: Cost, write: Callable[[Entry], None]
) -> Coordinates:
    """Return the units to train in; they are not taken yet.

    Args:
        task: what is to be trained.
        source: its training data.
        found: what is badly scaled.
        residual: whether the loss is of output minus target.
        cost: counts evaluations.
        write: receives what is changed.

    Raises:
        TaskError: inputs are badly scaled for a layer, and that cannot be mended here.
    """
    changes: list[UnitChange] = []
    said: list[Choice] = []
    if found.inputs:
        fed, also = _fed(task, source, cost)
        for name, values in fed:
            ill = badly_scaled(values)
            if ill is None:
                continue
            if name in also:
                raise _refused(task, name, ill)
            changes.append(_exact(task, source, UnitChange(name, "input", usual_units(values, constant=math.inf)), ill))
            said.append(_choice("inputs", name, ill, "(x - mean)/deviation, by column"))
    if found.targets and residual:
        head = _head(task, source)
        if head is not None:
            changes.append(head)
            said.append(_choice("targets", head.layer, found.targets, "its outputs times their deviation, plus mean"))
        else:
            write(next(remarks(Scales(offset=found.targets), residual=True)))
    for choice in said:
        write(choice)
    return Coordinates(task.model, tuple(changes))


def _choice(what: str, layer: str, ill: str, how: str) -> Choice:
    because = f"{ill}. Layer {layer or 'model'} is trained in their own units, {how}, and folded back into the model's "
    return Choice(f"units of {what}", "their own", f"{because}at the end: the same functions. --no-cure leaves it")


def _exact(task: Task, source: Source, change: UnitChange, ill: str) -> UnitChange:
    """The change, if folding it is exact.

    Raises:
        TaskError: it is not.
    """
    batch = next(iter(source.load(source.whole(_TRIED, list(range(min(_TRIED, source.size)))))))
    layer = task.model.get_submodule(change.layer)
    if isinstance(layer, nn.Linear):
        if layer.bias is None:
            zero = torch.zeros_like(change.units.mean)
            size = (change.units.scale.square() + change.units.mean.square()).sqrt()
            change = UnitChange(change.layer, "input", change.units._replace(mean=zero, scale=size))
        with judging(task):
            if Coordinates(task.model, (change,)).exact(lambda: apply(task.model, batch.inputs)):
                return change
    raise _refused(task, change.layer, ill)


def _refused(task: Task, layer: str, ill: str) -> TaskError:
    kind = type(task.model.get_submodule(layer)).__name__
    return TaskError(
        f"{ill}, and {layer or 'the model'} ({kind}) takes them as they are: steps that suit one column are nothing "
        f"for another, or throw it. {STANDARDIZE}; or let the model begin with torch.nn.BatchNorm1d(columns). To train "
        "on them as they are, pass --no-cure (cure=False)."
    )


def _head(task: Task, source: Source) -> UnitChange | None:
    """The last layer in the targets' units; None where there is none whose outputs are the model's."""
    targets = targets_of(source)
    batch = next(iter(source.load(source.whole(_TRIED, list(range(min(_TRIED, source.size)))))))
    try:
        with judging(task):
            last = last_bias(task.model, batch.inputs)
            if last is None or targets is None or not last.name.endswith("bias"):
                return None
            name = last.name.removesuffix("bias").removesuffix(".")
            layer = task.model.get_submodule(name)
            if not isinstance(layer, _HEADS) or (isinstance(layer, nn.Linear) and last.dim != targets.dim() - 1 > 0):
                return None
            columns = _by_channel(targets, last.dim, len(last.bias))
            change = UnitChange(name, "output", usual_units(columns))
            if Coordinates(task.model, (change,)).exact(lambda: apply(task.model, batch.inputs)):
                return change
    except _ERRORS:
        return None
    return None


def _by_channel(targets: Tensor, dim: int, channels: int) -> Tensor:
    """Targets with a column a channel; one channel is that of all."""
    if channels == 1:
        return targets.reshape(-1, 1)
    return targets.movedim(dim, -1).reshape(-1, channels)


def _fed(task: Task, source: Source, cost: Cost) -> tuple[list[tuple[str, Tensor]], set[str]]:
    """Layers that take rows of numbers from the data, with what they take, but those that take any size.

    Beside them the layers that take what other layers give. A tensor on the way from the data alone has no gradient.
    """
    seen: dict[str, list[Tensor]] = {}
    also: set[str] = set()
    layers = [
        (name, m) for name, m in task.model.named_modules() if next(m.parameters(recurse=False), None) is not None
    ]

    def noting(name: str) -> Callable[..., None]:
        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            for value in (*args, *kwargs.values()):
                if isinstance(value, Tensor) and value.requires_grad:
                    also.add(name)
                elif isinstance(value, Tensor) and value.is_floating_point():
                    seen.setdefault(name, []).append(value.detach())

        return note

    step = max(1, -(-source.size // MOST))
    indices = list(range(0, source.size, step))
    handles = [m.register_forward_pre_hook(noting(name), with_kwargs=True) for name, m in layers]
    try:
        with judging(task), torch.enable_grad():
            for batch in source.load(source.whole(_PART, indices)):
                apply(task.model, batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    cost.forward(len(indices))
    free = {name for name, m in layers if isinstance(m, _FREE) or normalizes(m)}
    fed = [(name, torch.cat(parts)) for name, parts in seen.items() if name not in free and stackable(parts)]
    return fed, also


def _inputs(source: Source) -> Tensor | None:
    """Samples of inputs that are rows of numbers; None where they are not."""
    if source.holds_tensors:
        found = source.dataset.tensors[0][:: max(1, source.size // MOST)]  # type: ignore[attr-defined]
    else:
        step = max(1, -(-source.size // MOST))
        parts = [batch.inputs for batch in source.load(source.whole(_PART, list(range(0, source.size, step))))]
        if not stackable(parts):
            return None
        found = torch.cat(parts)
    return found if found.is_floating_point() and found.dim() == 2 and len(found) > 1 else None


def residual_loss(task: Task, source: Source) -> bool:
    """Whether the task's loss is of output minus target; its state is kept."""
    try:
        with kept(model=task.model, loss=task.loss), judging(task):
            batch = next(iter(source.load(source.whole(8, list(range(min(8, source.size)))))))
            return is_residual(task.loss, apply(task.model, batch.inputs), batch.target)
    except _ERRORS:
        return False  # a loss that asks for more than values
