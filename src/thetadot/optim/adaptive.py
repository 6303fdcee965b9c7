"""The adaptive optimizers: the adaptive flow, stepped semi-implicitly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import torch

from thetadot.analysis.stability import adaptive_stability_limit
from thetadot.core.failures import answering
from thetadot.core.reading import Reading
from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue
from thetadot.integrators import SemiImplicitEuler
from thetadot.optim.exchange import adopt, release, require_mode
from thetadot.optim.flow import Flow
from thetadot.optim.groups import decayed, flag, of_settings, pair, reads, require_between
from thetadot.systems import AdaptiveFlow
from thetadot.systems.base import PerStep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor
    from torch.optim.optimizer import ParamsT

    from thetadot.core.annotations import Scalar
    from thetadot.systems.base import System


_WEIGHTS = ("mean_weight", "square_weight")
_MANY = 10**7  # steps after which a weight is 1 to rounding


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
        own = {"betas": pair("betas", betas), "eps": eps, "amsgrad": amsgrad}
        super().__init__(params, None, SemiImplicitEuler(), lr, hyperparameters=own, **common)

    @classmethod
    @checked
    def from_physical(
        cls, params: ParamsT, *, step: float, mean_rate: float, square_rate: float, **common: Any
    ) -> Self:
        """Build from the flow's rates a and b in 1/time: β = 1 - rate·step."""
        return cls(params, lr=step, betas=(1.0 - mean_rate * step, 1.0 - square_rate * step), **common)

    @classmethod
    @checked
    def from_torch(cls, adam: torch.optim.Adam | torch.optim.AdamW, **options: Any) -> Self:
        """Take over a torch.optim.Adam or AdamW in mid-run: parameters, settings, memories."""
        return adopt(cls, adam, (torch.optim.Adam, torch.optim.AdamW), _adam_settings, _from_theirs, **options)

    def to_torch(self) -> torch.optim.Adam:
        """The torch.optim.Adam that continues this run.

        Raises:
            InadmissibleValue: betas have moved: torch has no debiasing for that; or weight decay is decoupled.
        """
        return release(self, torch.optim.Adam, lambda group: _torch_adam_settings(group, "l2"), _to_theirs)

    @answering
    def check(self, group: dict[str, Any]) -> None:
        """Require betas in [0, 1) and eps >= 0."""
        super().check(group)
        for index, beta in enumerate(pair("betas", group["betas"])):
            require_between(f"betas[{index}]", beta, below=1.0)
        require_between("eps", group["eps"])
        flag("amsgrad", group["amsgrad"])

    @answering
    @of_settings
    def motion(self, group: dict[str, Any]) -> tuple[System, Scalar]:
        """The adaptive flow with memories of the group's betas."""
        beta1, beta2 = group["betas"]
        rates = PerStep(1.0 - beta1), PerStep(1.0 - beta2)
        return AdaptiveFlow(*rates, group["eps"], group["amsgrad"]), group["lr"]

    @reads
    def reading(self, group: dict[str, Any]) -> Reading:
        """Read the step, and the curvature limit with the preconditioner √v̂+ε frozen."""
        lr = float(group["lr"])
        beta1 = float(group["betas"][0])
        square = "largest" if group["amsgrad"] else "square"
        preconditioner: dict[Tensor, Tensor] = {
            p: (self.state[p][square] / self.state[p]["square_weight"]).sqrt() + group["eps"]
            for p in group["params"]
            if p in self.state
        }
        limit = adaptive_stability_limit(beta1) / lr if lr else float("inf")
        friction = (1.0 - beta1) / lr if lr else float("inf")
        found = Reading(lr, friction, limit, preconditioner, rate=lr * (1.0 - beta1), memory=beta1)
        return decayed(found, group)


def _adam_settings(group: Mapping[str, Any]) -> dict[str, Any]:
    mode = "decoupled" if group["decoupled_weight_decay"] else "l2"
    return {name: group[name] for name in ("betas", "eps", "amsgrad")} | {"weight_decay_mode": mode}


def _torch_adam_settings(group: Mapping[str, Any], mode: str) -> dict[str, Any]:
    require_mode(group, mode, "torch.optim." + ("AdamW" if mode == "decoupled" else "Adam"))
    return {name: group[name] for name in ("betas", "eps", "amsgrad")}


def _from_theirs(state: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    count = float(state["step"])
    found = {"mean": state["exp_avg"], "square": state["exp_avg_sq"]}
    found |= {"largest": state["max_exp_avg_sq"]} if group["amsgrad"] else {}
    weights = (1.0 - float(beta) ** count for beta in group["betas"])
    return found | dict(zip(_WEIGHTS, weights, strict=True))


def _to_theirs(state: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    found = {"exp_avg": state["mean"], "exp_avg_sq": state["square"]}
    found |= {"max_exp_avg_sq": state["largest"]} if group["amsgrad"] else {}
    return found | {"step": _steps_gathered(state, group)}


def _steps_gathered(state: Mapping[str, Any], group: Mapping[str, Any]) -> int:
    """The n with which 1-βⁿ are the weights: of the slower memory, the faster may have gathered all of 1."""
    pairs = [(float(beta), float(state[name])) for beta, name in zip(group["betas"], _WEIGHTS, strict=True)]
    beta, weight = max(pairs)
    count = round(math.log1p(-weight) / math.log(beta)) if beta > 0 and weight < 1 else _MANY if weight else 0
    if any(abs(1.0 - b**count - w) > 1e-9 for b, w in pairs):
        raise InadmissibleValue(
            f"betas={group['betas']} are not those that the memories were gathered with, and torch knows no others. "
            "Continue here, or start torch's optimizer afresh."
        )
    return count


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

    def to_torch(self) -> torch.optim.AdamW:
        """The torch.optim.AdamW that continues this run."""
        return release(self, torch.optim.AdamW, lambda group: _torch_adam_settings(group, "decoupled"), _to_theirs)
