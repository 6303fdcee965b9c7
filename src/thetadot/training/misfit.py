"""What is wrong with a table that does not fit its model and loss, and what to write instead: found by trying.

Each remedy that is named was applied to the first samples and made the loss accept them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thetadot.errors import TaskError
from thetadot.records import Remark
from thetadot.training.constant import targets_of
from thetadot.training.forward import apply, judging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from thetadot.tasks.task import Task
    from thetadot.training.data import Source

RARE = 0.01
"""Share of the samples below which a class is said to be rare."""
TEXT = (
    "Give each category a number from 0 on (pandas.factorize) for torch.nn.Embedding, or a column of its own "
    "(pandas.get_dummies(table).astype('float32')), and make rows of numbers of one dtype"
)
_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, UserWarning)
_CHANGES: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("y.long()", lambda y: y.long()),
    ("y.float()", lambda y: y.float()),
    ("y.squeeze(1)", lambda y: y.squeeze(1)),
    ("y.squeeze(1).long()", lambda y: y.squeeze(1).long()),
    ("y.argmax(1)", lambda y: y.argmax(1)),
    ("y.unsqueeze(1)", lambda y: y.unsqueeze(1)),
    ("y.float().unsqueeze(1)", lambda y: y.float().unsqueeze(1)),
)


def other_targets(loss: Callable[[Any, Any], Any], output: Tensor, target: Any) -> str:
    """Return the form of the targets that a loss would take, to end a sentence with; "" where none is found.

    Args:
        loss: that refused them as they are.
        output: of the model.
        target: of the same samples.

    Example:
        >>> other_targets(nn.functional.cross_entropy, torch.zeros(2, 3), torch.tensor([1.0, 2.0]))
        ': pass y.long() for the targets y'
    """
    if not isinstance(target, Tensor) or target.is_complex():
        return ""
    found = next((said for said, change in _CHANGES if _takes(loss, output, target, change)), None)
    return "" if found is None else f": pass {found} for the targets y"


def _takes(loss: Callable[[Any, Any], Any], output: Tensor, target: Tensor, change: Callable[[Tensor], Tensor]) -> bool:
    """Whether a change of the targets loses nothing, and the loss takes it."""
    try:
        made = change(target)
        rounded = not made.is_floating_point() and target.is_floating_point() and made.numel() == target.numel()
        if rounded and not torch.equal(made.reshape(target.shape).to(target.dtype), target):
            return False  # numbers that are no classes
        if made.dim() < target.dim() and target.shape[1] > 1 and not torch.equal(target.sum(1), torch.ones_like(made)):
            return False  # rows that are not one-hot
        value = loss(output, made)
    except _ERRORS:
        return False
    return isinstance(value, Tensor) and value.numel() == 1


def require_finite(task: Task, source: Source, name: str) -> None:
    """Refuse NaN and infinite values that reach the loss, before training meets them.

    Raises:
        TaskError: with the sample, how many there are, and the column.
    """
    if not source.holds_tensors:
        return  # others are read where they are trained on, and said there
    for at, part in enumerate(source.dataset.tensors):  # type: ignore[attr-defined]
        if not part.is_floating_point():
            continue
        bad = (~part.isfinite()).reshape(len(part), -1)
        rows = bad.any(1).nonzero().reshape(-1)
        if not len(rows):
            continue
        batch = next(iter(source.load(source.whole(2, rows[:2].tolist()))))
        with judging(task):
            value = task.loss(apply(task.model, batch.inputs), batch.target)
        if not isinstance(value, Tensor) or bool(value.isfinite().all()):
            continue  # the model or the loss knows missing values
        what = "input" if at == 0 else "target"
        columns = bad.any(0).nonzero().reshape(-1).tolist()
        where = f", in column {', '.join(map(str, columns[:3]))}{' ...' if len(columns) > 3 else ''}"
        raise TaskError(
            f"the {what} of sample {int(rows[0])} has NaN or infinite values in the {name} data: {len(rows)} of "
            f"{len(part)} samples have them{where if part.dim() > 1 else ''}, and the loss is {float(value):.4g}. "
            "Clean the data: leave these rows out, x[x.isfinite().all(1)], or put the column's median in their place."
        )


def require_shares(loss: object, source: Source, name: str) -> None:
    """Refuse targets outside [0, 1] where the loss takes them for probabilities: it has no lower bound then.

    Raises:
        TaskError: with the range that came.
    """
    named = {nn.functional.binary_cross_entropy_with_logits, nn.functional.binary_cross_entropy}
    if not isinstance(loss, nn.BCEWithLogitsLoss | nn.BCELoss) and loss not in named:
        return
    targets = targets_of(source)
    if targets is None or not targets.is_floating_point() or not len(targets):
        return
    low, high = float(targets.min()), float(targets.max())
    if low < 0.0 or high > 1.0:
        raise TaskError(
            f"targets of the {name} data lie between {low:.4g} and {high:.4g}, and the loss takes them for "
            "probabilities: outside of [0, 1] it has no lower bound. Pass 0 and 1; for more than two classes "
            "CrossEntropyLoss, an output a class, and y.long()."
        )


def remarks_on_targets(source: Source) -> Iterator[Remark]:
    """Say where all targets are the same, or where a class is rare."""
    targets = targets_of(source)
    if targets is None or targets.is_complex() or len(targets) < 2:
        return
    rows = targets.reshape(len(targets), -1)
    if bool((rows == rows[:1]).all()):
        said = ", ".join(f"{value:.6g}" for value in rows[0, :3].tolist())
        yield Remark(0, "targets", f"all {len(rows)} training targets are {said}: no input tells anything apart")
    elif not targets.is_floating_point() and targets.dtype != torch.bool and targets.dim() == 1:
        classes, counts = torch.unique(targets, return_counts=True)
        few, most, size = int(counts.min()), int(counts.max()), len(targets)
        if few < RARE * size and len(classes) <= math.isqrt(size):
            rare, usual = int(classes[counts.argmin()]), int(classes[counts.argmax()])
            yield Remark(
                0,
                "classes",
                f"class {rare} has {few} of {size:,} training samples, and class {usual} {most:,}: always saying class "
                f"{usual} is right in {most / size:.1%}, so that accuracy hardly shows whether rare ones are found. "
                "Weigh the loss (CrossEntropyLoss(weight=...)), or pass a metric that counts classes alike",
            )


def text_in(value: Any) -> str | None:
    """Return a text among the values of a sample, or the kind of what is no number; None where all are numbers."""
    if isinstance(value, str | bytes):
        return repr(value)[:40]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return next((found for part in value if (found := text_in(part)) is not None), None)
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind in {"U", "S", "O"}:
        return next((repr(part)[:40] for part in value.reshape(-1).tolist() if isinstance(part, str)), "objects")
    return None


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
