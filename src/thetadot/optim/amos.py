"""The Amos optimizer: steps relative to the tensor's size, balanced by a weight decay of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch

from thetadot.analysis.stability import stability_limit
from thetadot.core.failures import answering
from thetadot.core.reading import Reading
from thetadot.core.tensors import accumulation_dtype, real_view
from thetadot.core.validation import require_ranged, require_word
from thetadot.errors import InadmissibleValue, require
from thetadot.integrators import SemiImplicitEuler
from thetadot.optim.flow import Flow
from thetadot.optim.groups import decayed, of_settings, reads, require_between
from thetadot.schedules.amos import approach_per_step
from thetadot.systems import Amos as PublishedAmos
from thetadot.systems import ScheduledAmos
from thetadot.systems.base import TINY, PerStep

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim.optimizer import ParamsT

    from thetadot.core.annotations import Scalar


Kind = Literal["published", "constant", "decaying"]


class Amos(Flow):
    r"""Amos: :class:`systems.Amos`, or :class:`systems.ScheduledAmos`, × :class:`SemiImplicitEuler`.

        v' = v + (1-β)(mean ∇L² - v),    θ' = θ - d (αη ∇L/√v̂' + ½ρθ)

        kind="published":  c = (1 + ¼√α b)^(-1/2),  d = (1 + ¼√(αη) b)^(-1),  ρ = cα² mean ∇L²/v̂',  b' = b + ρ(1 + b)
        else:              ρ = α²/q,  d = e^(-2S),  S' = S + αp e^(-S)  ("constant")  or  S + αp e^(-2S)  ("decaying")

    Works with a learning rate alone: η is read off the tensors as they begin, and lr counts in parts of it. Needs six
    numbers and no tensor beside a parameter. It has a weight decay of its own; the common ``weight_decay`` acts
    besides, and is 0 by default.

    Args:
        params: as for torch.optim, not trained yet: their size now is what they are thought to be away from the
            goal.
        lr: α >= 0, the share of that distance that a step is long.
        kind: "published", whose steps fall by themselves; or the variants with a given fall, by how the step's cosine
            with the error goes on: "constant", d = (1+(√2-1)t/T)⁻², or "decaying" with the error, d = (1+t/T)⁻¹.
        half_life: of the variants: steps T after which d is 1/2, whatever lr does meanwhile. None: d stays 1 and lr may
            be scheduled.
        q: > 0, of the variants: how much of the error the decay counts; more is less decay.
        decay: 0 <= β < 1, memory of v.
        common: see :class:`Flow`.

    Raises:
        InadmissibleValue: a number out of range, an unknown kind, or a half-life or q for "published".

    Example:
        >>> import torch
        >>> p = torch.full((2, 2), 4.0, requires_grad=True)
        >>> optimizer = Amos([p], lr=0.25)
        >>> p.sum().backward(); optimizer.step(); p.data  # η = 4, u = 1: 4 - 1/4·4·1 - 1/32·4
        tensor([[2.8750, 2.8750],
                [2.8750, 2.8750]])

    Source:
        Tian, Parikh, "Amos: an Adam-style optimizer with adaptive weight decay towards model-oriented scale",
        arXiv 2210.11693; the variants: https://kexue.fm/archives/9344.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Scalar,
        kind: Kind = "published",
        *,
        half_life: float | None = None,
        q: Scalar = 1.0,
        decay: Scalar = 0.999,
        **common: Any,
    ) -> None:
        own = {"half_life": half_life, "kind": kind, "q": q, "decay": decay}
        super().__init__(params, None, SemiImplicitEuler(), lr, hyperparameters=own, **common)

    @answering
    def check(self, group: dict[str, Any]) -> None:
        """A known kind, a half-life > 0 or none, q > 0, decay in [0, 1)."""
        super().check(group)
        require_between("decay", group["decay"], below=1.0)
        kind, q, half_life = group["kind"], group["q"], group["half_life"]
        require_word(("published", "constant", "decaying"), kind=kind)
        if kind == "published" and (half_life is not None or q != 1.0):
            raise InadmissibleValue(
                f"half_life={half_life} and q={q} belong to a given fall, and kind='published' falls by itself. Leave "
                "them out, or pass kind='constant' or 'decaying'."
            )
        require_ranged(q=q)
        require(bool(0 < q < math.inf), f"q={float(q):g}", "is not positive and finite", "Pass q > 0, such as 1.")
        if half_life is not None:
            approach_per_step(half_life)

    @answering
    @of_settings
    def motion(self, group: dict[str, Any]) -> tuple[PublishedAmos | ScheduledAmos, Scalar]:
        """The published rule, or the one whose fall the group's half-life gives."""
        memory = PerStep(1.0 - group["decay"])
        if group["kind"] == "published":
            return PublishedAmos(memory), group["lr"]
        half_life = group["half_life"]
        approach = 0.0 if half_life is None else approach_per_step(half_life, group["kind"])
        return ScheduledAmos(PerStep(approach), memory, group["kind"], group["q"]), group["lr"]

    @reads
    def reading(self, group: dict[str, Any]) -> Reading:
        """Step, and the limit on the curvature as the frozen preconditioner √v̂/(σd) sees it, decay aside."""
        lr = float(group["lr"])
        preconditioner: dict[Tensor, Tensor] = {}
        for p in group["params"]:
            if state := self.state.get(p):
                square, weight, factor, size = (
                    torch.as_tensor(state[name], dtype=torch.float64)
                    for name in ("square", "square_weight", "factor", "size")
                )
                like = real_view(p.detach())
                scale = (square.sqrt() + TINY) / (weight.sqrt() * factor * size)
                preconditioner[p] = scale.to(like.device, accumulation_dtype(like)).expand(like.shape)
        found = Reading(lr, None, stability_limit() / lr if lr else float("inf"), preconditioner, rate=lr)
        return decayed(found, group)
