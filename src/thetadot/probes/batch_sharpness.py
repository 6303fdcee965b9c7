r"""Batch sharpness: the curvature that a mini-batch's own gradient meets.

    s = E_B[ g_BᵀH_Bg_B / |g_B|² ],    g_B, H_B of the loss on the mini-batch B                    [2412.20553]

It is this that sits at 2/lr where mini-batch descent trains long enough; λmax of the whole loss stays below, the
further the smaller the batch. With the whole data as the batch it is the curvature along the gradient. Each batch costs
a gradient and one product with its Hessian.

Source:
    Andreyev, Beneventano, arXiv:2412.20553.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.intervals import interval
from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.probes.reference import Objective


@dataclass(frozen=True)
class BatchSharpness:
    """Mean over mini-batches, with its interval.

    Attributes:
        value: s, in units of the loss over those of the parameters squared.
        low, high: ends of its 95% interval over batches; None of a single one.
        batches: each batch's own.
    """

    value: float
    low: float | None
    high: float | None
    batches: tuple[float, ...]


@checked
def batch_sharpness(objectives: Sequence[Objective]) -> BatchSharpness:
    """Curvature along the gradient of each mini-batch, averaged over them.

    Args:
        objectives: the loss on one mini-batch each, drawn as the run draws them; their model is as before afterwards.

    Returns:
        The mean and its interval; batches whose gradient is zero are left out.

    Raises:
        InadmissibleValue: no batch, or none with a gradient.

    Example:
        >>> import torch
        >>> from thetadot.probes import Objective
        >>> model = torch.nn.Linear(2, 1, bias=False).double()
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 1.0]]))
        >>> h = torch.tensor([1.0, 3.0], dtype=torch.float64)
        >>> quadratic = Objective(model, lambda: 0.5 * (h * model.weight[0] ** 2).sum())  # g = (1, 3)
        >>> batch_sharpness([quadratic]).value  # (1 + 27)/10
        2.8

    Source:
        arXiv:2412.20553.
    """
    require(len(objectives) > 0, "no objective", "was given", "Pass one for each mini-batch.")
    found = []
    for objective in objectives:
        gradient = objective.gradient()
        square = float(gradient @ gradient)
        if square > 0:
            with objective.hessian() as product:
                found.append(float(gradient @ product(gradient)) / square)
    if not found:
        raise InadmissibleValue("no mini-batch has a gradient. Pass batches whose loss depends on the parameters.")
    mean, half = interval(found)
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return BatchSharpness(mean, low, high, tuple(found))
