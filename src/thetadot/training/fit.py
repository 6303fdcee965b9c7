"""Check before any measurement that model, loss and data fit one another, naming the sample and the remedy.

Samples are read one by one under a fixed key, as many as a tensor holds or :data:`MOST` spread over the others. The
loss is asked about each of them at one and the same output, so that a target it does not admit is found without a pass
of the model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from thetadot.errors import TaskError, ThetadotError
from thetadot.training.constant import targets_of
from thetadot.training.data import BatchRequest, TrainingBatch, keyed_batch
from thetadot.training.forward import apply, judging, loss_of
from thetadot.training.learned import learned
from thetadot.training.misfit import TEXT, first_line, other_targets, require_finite, require_shares, text_in
from thetadot.training.spec import in_users_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thetadot.tasks.task import Task
    from thetadot.training.data import Source

MOST = 512
"""Samples of a set that are read; what others hold is told at the step that meets them."""

_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, UserWarning)


def require_fit(task: Task, source: Source, valid: Source, batch_size: int | None) -> int:
    """The fewest samples that a training step takes: 1, or 2 where the model has statistics of a batch.

    To be called where the state of the run is kept: batch statistics move.

    Raises:
        TaskError: samples of different shapes or of text, a target that the loss does not admit, a model that does not
            take the inputs, values that are not finite and reach the loss, or a batch of one where two are needed.
    """
    sets = (("training", source), ("validation", valid))
    for name, each in sets:
        _require_numbers(each, name)
        _require_alike(each, name)
    output = _output(task, source)
    for name, each in sets:
        _require_targets(task, each, name, output)
        require_shares(task.loss, each, name)
    for name, each in sets:
        require_finite(task, each, name)
    return _fewest(task, source, batch_size)


def _shown(source: Source) -> list[int]:
    step = max(1, -(-source.size // MOST))
    return sorted({*range(0, source.size, step), source.size - 1})


def _require_numbers(source: Source, name: str) -> None:
    """Text, and objects that are no numbers, are told where they cannot be collated or where the model takes rows."""
    if source.holds_tensors or source.collates:
        return
    try:
        keyed_batch(source.dataset, BatchRequest(0, [0]))
    except TaskError as error:
        found = text_in(source.dataset[0])
        if found is None:
            raise
        raise TaskError(f"sample 0 of the {name} data holds {found}, which is no number. {TEXT}.") from error


def _require_alike(source: Source, name: str) -> None:
    """Require the first sample's shapes and dtypes of every sample."""
    if source.holds_tensors or source.collates:
        return
    first = None
    for index in _shown(source):
        sample = keyed_batch(source.dataset, BatchRequest(0, [index]))
        parts = {where: (tuple(part.shape[1:]), part.dtype) for where, part in _parts(sample, "")}
        if first is None:
            first, at = parts, index
        elif parts != first:
            where = next(each for each in {**first, **parts} if first.get(each) != parts.get(each))
            raise TaskError(
                f"samples of the {name} data are not alike: of sample {index} {_called(where)} is "
                f"{_described(parts.get(where))}, of sample {at} {_described(first.get(where))}. "
                "Pad, cut or convert them in the dataset, so that they stack into a batch."
            )


def _parts(value: Any, where: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield where, value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _parts(part, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for at, part in enumerate(value):
            yield from _parts(part, f"{where}.{at}")


def _called(where: str) -> str:
    kind, _, rest = where.lstrip(".").partition(".")
    said = {"0": "the input", "1": "the target"}.get(kind, f"part {kind}")
    return said + (f" ({rest})" if rest else "")


def _described(found: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return "missing" if found is None else f"of shape {found[0]} and {str(found[1]).removeprefix('torch.')}"


def _output(task: Task, source: Source) -> Any:
    """The model's output for the first two samples; where it fails, what came and what the model is of."""
    batch = _batch(source, list(range(min(2, source.size))))
    try:
        with judging(task):
            return apply(task.model, batch.inputs)
    except ThetadotError:
        raise
    except _ERRORS as error:
        text = text_in(batch.inputs)
        if text is not None:
            raise TaskError(f"the inputs hold {text}, which the model does not take. {TEXT}.") from error
        came = {part.dtype for _, part in _parts(batch.inputs, "") if part.is_floating_point()}
        own = {p.dtype for p in learned(task)}
        if came and not came <= own:
            here, there = (", ".join(sorted(str(d).removeprefix("torch.") for d in each)) for each in (came, own))
            raise TaskError(
                f"the inputs are {here} and the model is {there}, which it does not take ({first_line(error)}). "
                "Convert the data (x.float()), or the model (model.double())."
            ) from error
        if in_users_code(error):  # which names the line
            raise
        given = "; ".join(
            f"{_called(f'.0{where}')} is {_described((tuple(part.shape[1:]), part.dtype))}"
            for where, part in _parts(batch.inputs, "")
        )
        raise TaskError(
            f"the model does not take the samples: {given or 'there are no tensors in them'} ({first_line(error)}). "
            "Give the model's first layer the size of a sample, or convert the data (x.float())."
        ) from error


def _batch(source: Source, indices: list[int]) -> TrainingBatch:
    return next(iter(source.load(source.whole(len(indices), indices))))


def _require_targets(task: Task, source: Source, name: str, output: Any) -> None:
    """The loss takes every target beside an output of the model."""
    if not isinstance(output, torch.Tensor) or output.dim() == 0 or output.device.type != "cpu":
        return None
    one = output[:1].detach()

    def fails(indices: list[int]) -> BaseException | None:
        batch = _batch(source, indices)
        try:
            with torch.no_grad():
                task.loss(one.expand(len(indices), *one.shape[1:]).clone(), batch.target)
        except (*_ERRORS, UserWarning) as error:  # torch warns of shapes that it broadcasts
            return error
        return None

    pair = _shown(source)[: min(2, source.size)]
    if fails(pair) is not None and (source.size <= len(pair) or fails(_shown(source)[-2:]) is not None):
        return _require_pair(task, source, output)  # not the targets' fault
    indices = list(range(source.size)) if source.holds_tensors else _shown(source)
    error = fails(indices)
    if error is None:
        return None
    while len(indices) > 1:
        half = indices[: len(indices) // 2]
        found = fails(half)
        indices = half if found is not None else indices[len(half) :]
    error = fails(indices) or error
    target = next((part for _, part in _parts(_batch(source, indices).target, "")), None)
    value = f", {target.reshape(-1)[0].item()}," if target is not None and target.numel() == 1 else ""
    classes = f" The model gives {one.shape[1]} outputs: classes are 0 to {one.shape[1] - 1}." if one.dim() > 1 else ""
    whole = targets_of(source)
    if whole is not None and not whole.is_floating_point() and one.dim() > 1:
        low, high = int(whole.min()), int(whole.max())
        if low > 0 and high - low < one.shape[1] <= high:
            classes += f" They are {low} to {high} here: pass y - {low}, so that they begin at 0."
    raise TaskError(
        f"the loss does not take the target of sample {indices[0]}{value} in the {name} data ({first_line(error)})."
        f"{classes} Correct the targets, or give the model as many outputs as there are."
    )


def _require_pair(task: Task, source: Source, output: torch.Tensor) -> None:
    """The loss takes what the model gives beside the targets of the same samples."""
    target = _batch(source, list(range(min(2, source.size)))).target
    try:
        with torch.no_grad():
            task.loss(output.clone(), target)
    except (*_ERRORS, UserWarning) as error:
        if in_users_code(error):
            raise
        beside = "; ".join(
            f"{_called(f'.1{where}')} is {_described((tuple(part.shape), part.dtype))}"
            for where, part in _parts(target, "")
        )
        raise TaskError(
            f"the loss does not take the model's output beside the target: of {min(2, source.size)} samples the output "
            f"is {_described((tuple(output.shape), output.dtype))}; {beside or 'there is no tensor in the target'} "
            f"({first_line(error)}). Let the model give the shape that the loss expects, or convert the target"
            f"{other_targets(task.loss, output, target)}."
        ) from error


def _fewest(task: Task, source: Source, batch_size: int | None) -> int:
    """Statistics of a batch need two samples; found by trying, since one sample of an image may do."""

    def trained(indices: list[int]) -> BaseException | None:
        task.model.train()
        try:
            with torch.no_grad():
                loss_of(task.model, task.loss, _batch(source, indices))
        except _ERRORS as error:
            return error
        return None

    error = trained([0])
    if error is None or (source.size > 1 and trained([0, 1]) is not None):
        return 1
    if source.size == 1 or batch_size == 1:
        what = "batch_size=1" if batch_size == 1 else "a training set of one sample"
        raise TaskError(
            f"{what} does not do for this model, whose statistics need more ({first_line(error)}). Pass batches of 2 "
            "or more, or normalize by sample (GroupNorm, LayerNorm) instead of BatchNorm."
        )
    return 2


def require_motion(gradient: torch.Tensor, loss: float) -> None:
    """A gradient that a step can be taken from: not 0, and its squares are numbers.

    Args:
        gradient: of the loss at the first parameters, flat.
        loss: there.

    Raises:
        TaskError: the loss is constant, or its scale is beyond what squares of gradients can be kept in.

    Example:
        >>> require_motion(torch.tensor([0.5, 0.0]), 1.0)
    """
    largest = float(gradient.abs().max()) if gradient.numel() else 0.0
    kind = str(gradient.dtype).removeprefix("torch.")
    limits = torch.finfo(gradient.dtype)
    if largest == 0.0:
        raise TaskError(
            f"every gradient is 0 at the first parameters, where the loss is {loss:.4g}: nothing would move. "
            "Let the loss depend on the model's output (no detach, argmax or rounding on the way), or begin elsewhere."
        )
    too_large = not largest * largest * _ROOM < limits.max
    too_small = largest * largest < limits.tiny * _ROOM
    if too_large or (too_small and abs(loss) < _SMALL):
        how = "overflow" if too_large else "vanish"
        raise TaskError(
            f"the loss is {loss:.3g} at the start and its gradients reach {largest:.3g}: their squares {how} in "
            f"{kind}, so that no step can be taken from them. {_rescaled(loss)} Only the loss's unit changes."
        )
    if too_small:
        raise TaskError(
            f"the gradients reach {largest:.3g} at most where the loss is {loss:.3g}: nothing would move. "
            "The units are saturated: begin with smaller parameters, or normalize the inputs."
        )


_ROOM = 1e6  # between a square and the limits of its numbers, for sums and for growth
_SMALL = 1e-6  # a loss below it is of another unit, rather than of saturated units


def _rescaled(loss: float) -> str:
    if loss == 0 or not math.isfinite(loss):
        return "Scale the loss so that it begins near 1."
    return f"Multiply the loss by {10.0 ** -round(math.log10(abs(loss))):.0e}, so that it begins near 1."
