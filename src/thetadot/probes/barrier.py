r"""Barrier: the highest loss on the straight line between two points of the motion.

    height = max_s L((1-s)θ₀ + sθ₁) - L(θ₀),    s = 0, 1/(n+1), ..., 1;    escape over it takes ∝ exp(height/T)

A lower bound of the line's highest loss, and the line is one path of many, so that a lower pass may exist. Buffers,
such as batch statistics, are the present ones everywhere. Cost: n + 2 forward passes.

Source:
    Goodfellow, Vinyals, Saxe, "Qualitatively characterizing neural network optimization problems", ICLR 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.signatures import checked
from thetadot.errors import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from thetadot.probes.reference import Objective


@dataclass(frozen=True)
class Barrier:
    """The highest loss on a line.

    Attributes:
        height: above the loss where the line begins; 0 where it only falls, infinite where a loss is not finite.
        at: where on the line, 0 begins and 1 ends it.
        losses: all of them, in order.
    """

    height: float
    at: float
    losses: tuple[float, ...]


@checked
def barrier(
    objective: Objective, start: Tensor | Sequence[Tensor], end: Tensor | Sequence[Tensor], interior: int = 5
) -> Barrier:
    """Highest reference loss between two points.

    Args:
        objective: the reference loss; its model is as before afterwards, bit for bit.
        start: θ₀, flat (d,) or one tensor a parameter.
        end: θ₁.
        interior: n >= 1 points between them.

    Raises:
        InadmissibleValue: a point that does not fit the parameters, or no points between.

    Example:
        >>> import torch
        >>> from thetadot.probes import Objective
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> well = Objective(model, lambda: (model.weight.square() - 1.0).square().sum())  # wells at ±1
        >>> found = barrier(well, torch.tensor([-1.0]), torch.tensor([1.0]))
        >>> found.height, found.at
        (1.0, 0.5)
    """
    require(interior >= 1, f"interior={interior}", "is below 1", "Pass at least one point between.")
    one, other = objective.parts(start), objective.parts(end)
    places = [k / (interior + 1) for k in range(interior + 2)]
    losses = []
    for place in places:
        with objective.at([a.lerp(b, place) for a, b in zip(one, other, strict=True)]):
            losses.append(objective.value())
    sizes = [loss if math.isfinite(loss) else math.inf for loss in losses]
    top = max(range(len(sizes)), key=sizes.__getitem__)
    return Barrier(sizes[top] - losses[0] if top else 0.0, places[top], tuple(losses))
