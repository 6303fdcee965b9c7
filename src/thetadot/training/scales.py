"""Badly scaled inputs and targets, said before training, with the remedy.

Columns of very different size make curvatures of very different size, as the squares of their sizes: a step that is
right for one column is nothing for another. That is the data's to mend; nothing here changes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.records import Remark
from thetadot.training.constant import MOST, stackable, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from thetadot.training.data import Source

SPREAD = 30.0
"""Largest deviation over the usual column's that is passed over: curvatures then differ by its square, a thousand.
Small columns, as an image's edges that are seldom other than 0, do no harm."""
OFFSET = 10.0
"""Largest mean of a column, in its deviations, that is passed over."""
SIZE = 30.0
"""Largest deviation, or its inverse, that is passed over: layers begin as if inputs and targets were of size 1."""


def remarks(source: Source, *, squared: bool) -> Iterator[Remark]:
    """What is badly scaled in the data, one sentence for inputs and one for targets.

    Args:
        source: training data.
        squared: whether the loss is a squared error, for which the targets' scale matters.
    """
    inputs = _inputs(source)
    said = None if inputs is None else _ill(inputs, "input")
    if said is not None:
        remedy = "Standardize them over the training data: x = (x - x.mean(0)) / x.std(0)"
        yield Remark(0, "inputs", f"{said}. {remedy}, leaving out constant columns; training goes on without it")
    targets = targets_of(source) if squared else None
    said = None if targets is None or not targets.is_floating_point() else _ill(targets, "target")
    if said is not None:
        remedy = "Train on (y - y.mean(0)) / y.std(0) and scale the outputs back"
        yield Remark(0, "targets", f"{said}. {remedy}; training goes on without it")


def _inputs(source: Source) -> Tensor | None:
    """Samples of inputs that are rows of numbers; None where they are not."""
    if source.holds_tensors:
        found = source.dataset.tensors[0][:: max(1, source.size // MOST)]  # type: ignore[attr-defined]
    else:
        step = max(1, -(-source.size // MOST))
        parts = [batch.inputs for batch in source.load(source.whole(512, list(range(0, source.size, step))))]
        if not stackable(parts):
            return None
        found = torch.cat(parts)
    return found if found.is_floating_point() and found.dim() == 2 and len(found) > 1 else None


def _ill(values: Tensor, noun: str) -> str | None:
    """What is wrong with columns of numbers, in half a sentence; None where nothing is."""
    wide = values.detach().reshape(len(values), -1).double()
    if not bool(wide.isfinite().all()) or len(wide) < 2:
        return None
    deviation, mean = wide.std(0), wide.mean(0)
    varied = (deviation > 1e-9 * mean.abs()).nonzero().reshape(-1)
    if not len(varied):
        return None
    spread = deviation[varied]
    usual, high = varied[spread.argsort()[(len(spread) - 1) // 2]], varied[spread.argmax()]
    ratio = float(spread.max() / deviation[usual])
    if ratio > SPREAD:
        return (
            f"columns of the {noun}s differ {ratio:,.0f}-fold in scale (deviation {float(deviation[usual]):.3g} of "
            f"column {int(usual)}, {float(deviation[high]):.3g} of column {int(high)})"
        )
    far = mean[varied].abs() / spread
    if float(far.max()) > OFFSET:
        at = int(varied[far.argmax()])
        return f"column {at} of the {noun}s lies at {float(mean[at]):.4g} and varies by only {float(deviation[at]):.3g}"
    if float(spread.max()) > SIZE or float(spread.max()) < 1.0 / SIZE:
        return f"the {noun}s' deviation is {float(spread.max()):.3g}, far from 1"
    return None
