"""Readings: how an optimizer describes its step to the probes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from thetadot.core.limits import shrunk

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """Reading of a parameter group as mechanics.

    Attributes:
        step: time step γ of one ``step()``.
        friction: λ in 1/time; None where the system has no velocity.
        limit: the largest curvature at which the step is stable, in loss/parameter² (of P⁻¹H with a preconditioner P);
            infinite where every curvature is. Weight decay counts: see :meth:`decayed`.
        preconditioner: per parameter the diagonal of P, None where the step is not preconditioned.
        rate: α of the heavy-ball form Δθ = -αP⁻¹v, v' = βv + g; None where the rule has no such form.
        memory: β of it.
        decay: weight decay w.
        decoupled: whether decay shrinks θ beside the gradient, instead of adding wθ to it.
        lacks: what cannot be read -> why.
    """

    step: float
    friction: float | None
    limit: float
    preconditioner: dict[Tensor, Tensor] | None = None
    rate: float | None = None
    memory: float = 0.0
    decay: float = 0.0
    decoupled: bool = False
    lacks: dict[str, str] = field(default_factory=dict)

    def decayed(self, decay: float, lr: float, *, decoupled: bool) -> Reading:
        """Return the reading with weight decay w, of which its limit knew nothing.

        Decoupled, the limit is multiplied by 1 - αw/2: exact, :mod:`thetadot.core.limits`. Coupled (l2), w is taken off
        it; behind a preconditioner the largest w/P, which is exact where the sharpest direction has it, and careful
        elsewhere.

        Args:
            decay: w >= 0.
            lr: α, as the optimizer counts it.
            decoupled: whether decay shrinks θ by 1 - αw, instead of adding wθ to the gradient.

        Example:
            >>> Reading(1.0, None, limit=2.0, rate=1.0).decayed(0.5, 1.0, decoupled=True).limit
            1.5
        """
        if not decay or not math.isfinite(self.limit):
            return replace(self, decay=decay, decoupled=decoupled)
        if decoupled:
            limit = shrunk(self.limit, lr * decay)
        elif self.preconditioner is None:
            limit = self.limit - decay
        else:
            least = [float(p.min()) for p in self.preconditioner.values() if p.numel()]
            limit = self.limit - (decay / min(least) if least and min(least) > 0 else 0.0)
        return replace(self, limit=limit, decay=decay, decoupled=decoupled)


@runtime_checkable
class Readable(Protocol):
    """An optimizer that can be read."""

    def reading(self, group: dict[str, Any]) -> Reading:
        """Read one of the optimizer's ``param_groups``."""
