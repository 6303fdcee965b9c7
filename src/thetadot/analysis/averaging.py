r"""The exponential average of a path: what is left of an orbit.

    aₙ = d aₙ₋₁ + (1-d) xₙ,    debiased aₙ/(1-dⁿ)

A mode that turns by the angle ω a step is kept by the factor |(1-d)/(1 - d e^{-iω})|, so that games which circle round
their solution are averaged on to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_numbers, require_tensors
from thetadot.errors import require

if TYPE_CHECKING:
    from torch import Tensor


@checked
def exponential_average(states: Tensor, decay: float) -> Tensor:
    """The debiased average at every time: of the shape of the states.

    Args:
        states: (n, ...), n in time.
        decay: 0 <= d < 1; the average is over the last 1/(1-d) or so.

    Raises:
        InadmissibleValue: a decay out of range.

    Example:
        >>> exponential_average(torch.tensor([[1.0], [3.0]]), decay=0.5)  # 1 and (1 + 2·3)/3
        tensor([[1.0000],
                [2.3333]])
    """
    require_tensors(states=states)
    require_numbers(decay=decay)
    require(0 <= decay < 1, f"decay={decay:g}", "is outside [0, 1)", "Pass 0 <= decay < 1.")
    averages, average, weight = [], torch.zeros_like(states[:1]).sum(0), 0.0
    for state in states:
        weight = decay * weight + 1.0
        average = average + (state - average) / weight
        averages.append(average)
    return torch.stack(averages) if averages else states.clone()
