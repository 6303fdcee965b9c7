"""Optimizers whose velocity is not the gradient: by its sign, its direction, or the loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from thetadot.core.failures import answering
from thetadot.core.reading import Reading
from thetadot.core.signatures import checked
from thetadot.core.validation import require_ranged
from thetadot.errors import require
from thetadot.integrators import Euler
from thetadot.optim.flow import Flow
from thetadot.optim.groups import of_settings, reads
from thetadot.systems import NormalizedFlow, PolyakFlow, SignFlow

if TYPE_CHECKING:
    from torch.optim.optimizer import ParamsT

    from thetadot.core.annotations import Scalar


class SignDescent(Flow):
    r"""Sign descent: :class:`SignFlow` × :class:`Euler`.

        θ' = θ - α sign ∇L

    Every element moves by α, or not at all where its gradient is 0. It never diverges and never arrives: let lr fall.

    Args:
        params: as for torch.optim.
        lr: α >= 0, the length of every move, in units of the parameter.
        common: see :class:`Flow`.

    Example:
        >>> import torch
        >>> p = torch.tensor([1.0, -3.0], requires_grad=True)
        >>> optimizer = SignDescent([p], lr=0.25)
        >>> (p * p).sum().backward(); optimizer.step(); p.data
        tensor([ 0.7500, -2.7500])
    """

    def __init__(self, params: ParamsT, lr: Scalar, **common: Any) -> None:
        super().__init__(params, SignFlow(), Euler(), lr, **common)

    @classmethod
    @checked
    def from_physical(cls, params: ParamsT, *, step: Scalar, **common: Any) -> Self:
        """Build from the time step, which is lr."""
        return cls(params, lr=step, **common)

    @reads
    def reading(self, group: dict[str, Any]) -> Reading:
        """Step; on no curvature does it fly off."""
        return Reading(float(group["lr"]), None, float("inf"))


class NormalizedDescent(Flow):
    r"""Normalized gradient descent: :class:`NormalizedFlow` × :class:`Euler`.

        θ' = θ - α∇L/‖∇L‖

    The norm is that of a parameter group: groups are separate optimizers. Every step is α long, and none where ∇L = 0.

    Args:
        params: as for torch.optim.
        lr: α >= 0, the length of a step, in units of the parameters.
        common: see :class:`Flow`.

    Example:
        >>> import torch
        >>> p, q = (torch.tensor([x], requires_grad=True) for x in (3.0, -4.0))
        >>> optimizer = NormalizedDescent([p, q], lr=0.5)
        >>> (p * p + q * q).sum().backward(); optimizer.step(); p.data, q.data
        (tensor([2.7000]), tensor([-3.6000]))
    """

    def __init__(self, params: ParamsT, lr: Scalar, **common: Any) -> None:
        super().__init__(params, NormalizedFlow(), Euler(), lr, **common)

    @classmethod
    @checked
    def from_physical(cls, params: ParamsT, *, step: Scalar, **common: Any) -> Self:
        """Build from the time step, which is lr."""
        return cls(params, lr=step, **common)

    @reads
    def reading(self, group: dict[str, Any]) -> Reading:
        """Step; on no curvature does it fly off."""
        return Reading(float(group["lr"]), None, float("inf"))


class Polyak(Flow):
    r"""Polyak's step: :class:`PolyakFlow` × :class:`Euler`.

        θ' = θ - α (L-L*) min(1/‖∇L‖, M) ∇L/‖∇L‖

    It needs the loss: ``step(closure)``, or ``step(loss=loss)`` after ``backward()``. The norm is that of a parameter
    group; the loss is that of all. α = 1 goes where the tangent reaches L*; on L - L* = hθ²/2, θ' = (1-α/2)θ. It passes
    through minima above L* and does not settle in one.

    At ∇L = 0, and at or below L*, nothing moves. A loss that is not finite is refused with an error before anything
    has moved; on a device that would have to be waited for it goes through, as a gradient that is not finite does.

    Args:
        params: as for torch.optim.
        lr: α >= 0, the time step. On a quadratic whose minimum is L* it converges for α < 4, whatever the curvature.
        floor: L*, the least loss there is, or that is wanted. With ``maximize`` it is that of -L.
        bound: M > 0: no step is longer than αM(L-L*), however flat the loss.
        common: see :class:`Flow`. "l2" decay changes the gradient and not the loss: add wd·|θ|²/2 to it then.

    Raises:
        MissingClosure: from ``step()``, without a loss.
        InadmissibleValue: from ``step()``, if the loss is not one finite number.

    Example:
        >>> import torch
        >>> p = torch.ones(1, requires_grad=True)
        >>> optimizer = Polyak([p], lr=1.0)
        >>> loss = (p * p).sum(); loss.backward(); optimizer.step(loss=loss); p.data  # 1 - α/2
        tensor([0.5000])
    """

    def __init__(
        self, params: ParamsT, lr: Scalar = 1.0, *, floor: Scalar = 0.0, bound: Scalar = math.inf, **common: Any
    ) -> None:
        super().__init__(params, None, Euler(), lr, hyperparameters={"floor": floor, "bound": bound}, **common)

    @classmethod
    @checked
    def from_physical(cls, params: ParamsT, *, step: Scalar, **common: Any) -> Self:
        """Build from the time step, which is lr."""
        return cls(params, lr=step, **common)

    @answering
    def check(self, group: dict[str, Any]) -> None:
        """A finite floor, a positive bound."""
        super().check(group)
        floor, bound = group["floor"], group["bound"]
        require_ranged(floor=floor, bound=bound)
        require(bool(abs(floor) < math.inf), f"floor={floor:g}", "is not finite", "Pass the least loss, or 0.")
        require(bool(bound > 0), f"bound={bound:g}", "is not positive", "Pass bound > 0, or math.inf.")

    @answering
    @of_settings
    def motion(self, group: dict[str, Any]) -> tuple[PolyakFlow, Scalar]:
        """Polyak's flow towards the group's floor."""
        return PolyakFlow(group["floor"], group["bound"]), group["lr"]

    @reads
    def reading(self, group: dict[str, Any]) -> Reading:
        """Read the step: every curvature is stable below lr = 4, none above."""
        lr = float(group["lr"])
        return Reading(lr, None, float("inf") if lr < 4 else 0.0)
