"""The adaptive optimizers: the adaptive flow, stepped semi-implicitly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from thetadot.analysis.stability import adaptive_stability_limit
from thetadot.integrators import SemiImplicitEuler
from thetadot.optim.flow import Flow
from thetadot.optim.groups import finite
from thetadot.reading import Reading
from thetadot.systems import AdaptiveFlow
from thetadot.systems.base import PerStep

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim.optimizer import ParamsT

    from thetadot.systems.base import System
    from thetadot.typing import Scalar


class Adam(Flow):
    r"""Adam: :class:`AdaptiveFlow` × :class:`SemiImplicitEuler`.

        m' = m + (1-β₁)(∇L-m),  v' = v + (1-β₂)(∇L²-v),  θ' = θ - α m̂'/(√v̂' + ε)

    Equal to torch.optim.Adam. The debiasing weights follow the betas actually used, so a beta schedule stays unbiased.
    At fixed rates (1-β)/α it follows its flow at order 1, from the first step on (measured: 1.00).

    Args:
        params: as for torch.optim.
        lr: α >= 0, the time step itself. Stable for αh < 2(1+β₁)/(1-β₁) on the preconditioned curvature.
        betas: (β₁, β₂) in [0, 1).
        eps: ε >= 0, outside the root; 0 is read as 1e-22.
        amsgrad: divide by the largest v so far; one more tensor.
        common: see :class:`Flow`; weight decay is "l2" unless asked otherwise, as in torch.

    Example:
        >>> import torch
        >>> p = torch.ones(1, requires_grad=True)
        >>> optimizer = Adam([p], lr=0.125)
        >>> (p * p).sum().backward(); optimizer.step(); p.data  # the first step is lr in length
        tensor([0.8750])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Scalar = 1e-3,
        betas: tuple[Scalar, Scalar] = (0.9, 0.999),
        eps: Scalar = 1e-8,
        *,
        amsgrad: bool = False,
        **common: Any,
    ) -> None:
        common = {"weight_decay_mode": "l2"} | common
        own = {"betas": tuple(betas), "eps": eps, "amsgrad": amsgrad}
        super().__init__(params, None, SemiImplicitEuler(), lr, hyperparameters=own, **common)

    @classmethod
    def from_physical(
        cls, params: ParamsT, *, step: float, mean_rate: float, square_rate: float, **common: Any
    ) -> Self:
        """Build from the flow's rates a and b in 1/time: β = 1 - rate·step."""
        return cls(params, lr=step, betas=(1.0 - mean_rate * step, 1.0 - square_rate * step), **common)

    def check(self, group: dict[str, Any]) -> None:
        """Betas in [0, 1), eps >= 0."""
        super().check(group)
        finite("betas[0]", group["betas"][0], below=1.0)
        finite("betas[1]", group["betas"][1], below=1.0)
        finite("eps", group["eps"])

    def motion(self, group: dict[str, Any]) -> tuple[System, Scalar]:
        """The adaptive flow with memories of the group's betas."""
        beta1, beta2 = group["betas"]
        rates = PerStep(1.0 - beta1), PerStep(1.0 - beta2)
        return AdaptiveFlow(*rates, group["eps"], group["amsgrad"]), group["lr"]

    def reading(self, group: dict[str, Any]) -> Reading:
        """Step, and the limit on the curvature as the frozen preconditioner √v̂+ε sees it."""
        lr = float(group["lr"])
        beta1 = float(group["betas"][0])
        square = "largest" if group["amsgrad"] else "square"
        preconditioner: dict[Tensor, Tensor] = {
            p: (self.state[p][square] / self.state[p]["square_weight"]).sqrt() + group["eps"]
            for p in group["params"]
            if p in self.state
        }
        limit = adaptive_stability_limit(beta1) / lr if lr else float("inf")
        return Reading(lr, (1.0 - beta1) / lr if lr else float("inf"), limit, preconditioner)


class AdamW(Adam):
    """:class:`Adam` with decoupled weight decay, equal to torch.optim.AdamW.

    Example:
        >>> import torch
        >>> p = torch.ones(1, requires_grad=True)
        >>> optimizer = AdamW([p], lr=0.125, weight_decay=1.0)
        >>> (p * p).sum().backward(); optimizer.step(); p.data  # 1·(1 - 1/8) - 1/8
        tensor([0.7500])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Scalar = 1e-3,
        betas: tuple[Scalar, Scalar] = (0.9, 0.999),
        eps: Scalar = 1e-8,
        weight_decay: float = 0.01,
        **common: Any,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay=weight_decay, **{"weight_decay_mode": "decoupled"} | common
        )
