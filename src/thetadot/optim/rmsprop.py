"""RMSprop: the error-controlled flow, stepped semi-implicitly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch

from thetadot.analysis.stability import stability_limit
from thetadot.core.failures import answering
from thetadot.core.reading import Reading
from thetadot.core.signatures import checked
from thetadot.core.tensors import accumulation_dtype, real_view
from thetadot.errors import InadmissibleValue
from thetadot.integrators import SemiImplicitEuler
from thetadot.optim.exchange import adopt, release, require_mode
from thetadot.optim.flow import Flow
from thetadot.optim.groups import decayed, of_settings, reads, require_between
from thetadot.systems import ErrorControlledFlow
from thetadot.systems.base import PerStep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor
    from torch.optim.optimizer import ParamsT

    from thetadot.core.annotations import Scalar
    from thetadot.systems.error_controlled import Norm


def _rmsprop_settings(group: Mapping[str, Any]) -> dict[str, Any]:
    if group["momentum"] != 0 or group["centered"]:
        raise InadmissibleValue(
            f"momentum={group['momentum']:g}, centered={group['centered']} have no counterpart. "
            "Use Adam, which has a momentum, or leave them out."
        )
    return {"decay": group["alpha"], "eps": group["eps"], "weight_decay_mode": "l2"}


def _theirs(group: Mapping[str, Any]) -> dict[str, Any]:
    require_mode(group, "l2", "torch.optim.RMSprop")
    if group["norm"] != "coordinate":
        raise InadmissibleValue(f"norm={group['norm']!r} is not torch's method. Only norm='coordinate' is.")
    return {"alpha": group["decay"], "eps": group["eps"]}


class RMSprop(Flow):
    r"""RMSprop: :class:`ErrorControlledFlow` × :class:`SemiImplicitEuler`.

        G' = G + (1-λ)(∇L² - G),    θ' = θ - α∇L/(√G' + ε),    t' = t + α/(√G' + ε)

    Equal to torch.optim.RMSprop. It is gradient descent whose time step is chosen by the size of the gradient:
    :meth:`clock` says how much time of gradient flow has gone by. At a fixed rate (1-λ)/α it follows its own flow at
    order 1 from G = ∇L² (measured: 1.00), at order 1/2 from the usual G = 0, whose first step is α/√(1-λ) long
    (measured: .45 rising to .48). On a quadratic it does not arrive: as ε -> 0 it ends in the cycle θ = ±α/2, where its
    own step stands at the stability limit.

    Args:
        params: as for torch.optim.
        lr: α >= 0. Stable for αh < 2 on the preconditioned curvature.
        decay: 0 <= λ < 1, memory of G; torch's ``alpha``.
        eps: ε >= 0, outside the root; 0 is read as 1e-22.
        norm: "coordinate": each element has its own G; "global": one G of |∇L|², the norm over the parameter group.
        clock: keep t of every element, one more tensor beside each parameter; the t of norm="global" is a number and is
            always kept.
        common: see :class:`Flow`; weight decay is "l2" unless asked otherwise, as in torch.

    Example:
        >>> import torch
        >>> p = torch.ones(1, requires_grad=True)
        >>> optimizer = RMSprop([p], lr=0.125, decay=0.75, norm="global")
        >>> (p * p).sum().backward(); optimizer.step(); p.data  # G = (1-λ)·2² = 1, a step of 0.125·2/1
        tensor([0.7500])
        >>> round(optimizer.clock()[p], 6)
        0.125
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Scalar = 1e-2,
        decay: Scalar = 0.99,
        eps: Scalar = 1e-8,
        *,
        norm: Norm = "coordinate",
        clock: bool = False,
        **common: Any,
    ) -> None:
        own = {"decay": decay, "eps": eps, "norm": norm, "clock": clock}
        common = {"weight_decay_mode": "l2"} | common
        super().__init__(params, None, SemiImplicitEuler(), lr, hyperparameters=own, **common)

    @classmethod
    @checked
    def from_physical(cls, params: ParamsT, *, step: float, square_rate: float, **common: Any) -> Self:
        """Build from the flow's rate b in 1/time: λ = 1 - b·step."""
        return cls(params, lr=step, decay=1.0 - square_rate * step, **common)

    @classmethod
    @checked
    def from_torch(cls, rmsprop: torch.optim.RMSprop, **options: Any) -> Self:
        """Take over a torch.optim.RMSprop in mid-run: parameters, settings, memory; not its momentum or centering."""
        return adopt(
            cls,
            rmsprop,
            torch.optim.RMSprop,
            _rmsprop_settings,
            lambda state, _: {"square": state["square_avg"]},
            **options,
        )

    def to_torch(self) -> torch.optim.RMSprop:
        """The torch.optim.RMSprop that continues this run; what has been of a clock stays behind."""

        def memories(state: Mapping[str, Any], _: Mapping[str, Any]) -> dict[str, Any]:
            return {"step": self.steps, "square_avg": state["square"]}

        return release(self, torch.optim.RMSprop, _theirs, memories)

    @answering
    def check(self, group: dict[str, Any]) -> None:
        """Require a decay in [0, 1) and eps >= 0."""
        super().check(group)
        require_between("decay", group["decay"], below=1.0)
        require_between("eps", group["eps"])

    @answering
    @of_settings
    def motion(self, group: dict[str, Any]) -> tuple[ErrorControlledFlow, Scalar]:
        """The error-controlled flow with a memory of the group's decay."""
        rate = PerStep(1.0 - group["decay"])
        return ErrorControlledFlow(rate, group["eps"], group["norm"], group["clock"]), group["lr"]

    def clock(self) -> dict[Tensor, Scalar]:
        """Time t of gradient flow that every parameter has gone through: a number, or one for each element.

        With norm="global" and one group, θ is where gradient flow is at t, to first order in lr: all elements share t.
        A parameter that has not moved yet is left out.

        Raises:
            InadmissibleValue: no clock is kept.
        """
        kept = [group for group in self.param_groups if self.motion(group)[0].keeps_clock]
        if not kept:
            raise InadmissibleValue("clock=False: elapsed time is not kept. Build with clock=True, or norm='global'.")
        return {p: self.state[p]["clock"] for group in kept for p in group["params"] if p in self.state}

    @reads
    def reading(self, group: dict[str, Any]) -> Reading:
        """Read the step, and the curvature limit with the preconditioner √G + ε frozen."""
        lr = float(group["lr"])
        preconditioner: dict[Tensor, Tensor] = {}
        for p in group["params"]:
            if p in self.state:
                like = real_view(p.detach())
                square = torch.as_tensor(self.state[p]["square"], dtype=accumulation_dtype(like), device=like.device)
                preconditioner[p] = (square.sqrt() + group["eps"]).expand(like.shape)
        found = Reading(lr, None, stability_limit() / lr if lr else float("inf"), preconditioner, rate=lr)
        return decayed(found, group)
