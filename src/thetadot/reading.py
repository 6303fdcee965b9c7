"""What an optimizer says of itself to those who measure it, without their knowing which optimizer it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """One parameter group read as mechanics.

    Attributes:
        step: time step γ of one ``step()``.
        friction: λ in 1/time; None where the system has no velocity.
        limit: the largest curvature at which the step is stable, in loss/parameter² (of P⁻¹H with a preconditioner P);
            infinite where every curvature is.
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


@runtime_checkable
class Readable(Protocol):
    """An optimizer that can be read."""

    def reading(self, group: dict[str, Any]) -> Reading:
        """Read one of the optimizer's ``param_groups``."""
