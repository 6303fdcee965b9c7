"""What is at fault where no smaller step helps: the step, the data, or model and loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from thetadot.training.levels import MOST_ROLLBACKS

if TYPE_CHECKING:
    from thetadot.training.data import Source

_SHOWN = 8


def blamed(source: Source, at_good: float, indices: list[int]) -> str:
    """Say what made a loss that is not finite.

    Args:
        source: training data.
        at_good: loss of the same batch at the last good parameters.
        indices: samples of the batch.
    """
    if math.isfinite(at_good):
        return (
            f"{MOST_ROLLBACKS} ever smaller steps did not help. "
            "A gradient may be infinite where the loss is finite: look for square roots and logarithms near 0."
        )
    some = ", ".join(map(str, indices[:_SHOWN])) + (", …" if len(indices) > _SHOWN else "")
    return source.fault(at_good, indices) or (
        f"the loss is {at_good} on this batch (training samples {some}) at the last good "
        "parameters too, although its data are finite: the model or the loss is at fault, not the step."
    )
