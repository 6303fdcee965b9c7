r"""Ghost norms: every sample's squared gradient norm from one backward pass, without a gradient per sample.

    linear layer:  gᵢ = Σₜ δᵢₜ aᵢₜᵀ,    |gᵢ|² = Σₜₜ' (aᵢₜ·aᵢₜ')(δᵢₜ·δᵢₜ')                    [goodfellow2015; li2022]

a is what went into the layer, δ = ∂L/∂(what came out). A convolution is a linear layer on its patches, an embedding one
on unit vectors, a norm's weight is small enough to be multiplied out. gᵢ is B times sample i's share of the gradient,
so that ḡ = ∇L for a loss that is a mean over samples, and

    trΣ = (Σᵢ|gᵢ|² - B|ḡ|²)/(B-1),    |G|² = |ḡ|² - trΣ/B

over the parameters that are covered. A parameter is covered where the layer's shares add up to the gradient that
autograd gives; what is tied between layers, or used behind a layer's back, is not, and is named with the reason.
Batch normalization in training mixes samples: it and the layers before it have no gradient of one sample.

Exact for losses whose sample i depends on sample i alone; samples lie along the first dimension. Cost: one backward
pass, and for each layer about one more weight gradient.

Source:
    Goodfellow, "Efficient per-example gradient computations", 2015.
    Li, Tramèr, Liang, Hashimoto, "Large language models can be strong differentially private learners", ICLR 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from thetadot.core.signatures import checked
from thetadot.core.tensors import accumulation_dtype
from thetadot.errors import require
from thetadot.probes.gradient_noise import noise_from_squares
from thetadot.probes.reference import Objective  # noqa: TC001 - the door asks for it
from thetadot.probes.shares import COVERED, Share, shares

if TYPE_CHECKING:
    from collections.abc import Mapping

_AGREE = 1e-2  # of the gradient: shares that are wrong differ by its own size, rounding in bfloat16 by a thousandth


@dataclass(frozen=True)
class GhostNorms:
    """Squared gradient norms by sample and parameter.

    Attributes:
        squares: name -> |gᵢ|², (B,), float64.
        mean_squares: name -> |ḡ|² of that parameter.
        uncovered: name -> why it is not there.
        samples: B.
    """

    squares: dict[str, Tensor]
    mean_squares: dict[str, float]
    uncovered: dict[str, str]
    samples: int

    def noise(self) -> dict[str, tuple[float, float]]:
        """Name -> (trΣ, |G|²); both are sums, so that those of layers and of the model add up."""
        return {
            name: noise_from_squares(float(squares.sum()), self.mean_squares[name], self.samples, 1.0)
            for name, squares in self.squares.items()
        }


@dataclass(frozen=True)
class _Call:
    """One forward pass through a layer."""

    module: nn.Module
    order: int
    given: Tensor
    made: GradientEdge


@checked
def ghost_norms(objective: Objective, samples: int) -> GhostNorms:
    """Return every sample's squared gradient norm at the present parameters, which stay unchanged.

    Args:
        objective: a loss that is the mean over a batch.
        samples: B >= 2, the batch's size.

    Raises:
        InadmissibleValue: fewer than two samples.

    Example:
        >>> from thetadot.probes import Objective
        >>> model = nn.Linear(2, 1, bias=False)
        >>> x = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
        >>> ghost_norms(Objective(model, lambda: model(x).mean()), samples=2).squares["weight"].tolist()  # |xᵢ|²
        [25.0, 1.0]
    """
    require(samples >= 2, f"samples={samples}", "is below 2", "Pass a batch of at least two samples.")
    model = objective.model
    names = {name: p for name, p in model.named_parameters() if p.requires_grad}
    calls: list[_Call] = []
    mixing: list[int] = []
    with objective.still(), torch.enable_grad():
        loss = _recorded_loss(objective, calls, mixing)
        wanted: list[Any] = [call.made for call in calls]
        slopes = torch.autograd.grad(loss, [*wanted, *names.values()], allow_unused=True)
    backward = dict(zip(map(id, calls), slopes[: len(calls)], strict=True))
    gradients = dict(zip(names, slopes[len(calls) :], strict=True))
    layers = _Layers(samples, max(mixing, default=-1))
    with torch.no_grad():
        for module in dict.fromkeys(call.module for call in calls):
            of = [call for call in calls if call.module is module and backward[id(call)] is not None]
            layers.add(module, of, [backward[id(call)] for call in of])
        return layers.checked(model, names, gradients)


def _recorded_loss(objective: Objective, calls: list[_Call], mixing: list[int]) -> Tensor:
    """The loss; what went through every layer is noted, and where samples were mixed."""
    order = 0

    def note(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        nonlocal order
        order += 1
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - the family has no other name
            if module.training or not module.track_running_stats:
                mixing.append(order)
        elif given and isinstance(given[0], Tensor) and isinstance(made, Tensor) and made.requires_grad:
            calls.append(_Call(module, order, given[0].detach(), get_gradient_edge(made)))

    handles = [
        module.register_forward_hook(note)
        for module in objective.model.modules()
        if isinstance(module, (*COVERED, nn.modules.batchnorm._BatchNorm))  # noqa: SLF001
    ]
    try:
        return objective.loss()
    finally:
        for handle in handles:
            handle.remove()


class _Layers:
    """Gradients reported by the layers, before they are compared with autograd's gradients."""

    def __init__(self, samples: int, mixed: int) -> None:
        self.samples, self.mixed = samples, mixed
        self.found: dict[int, Share] = {}
        self.reasons: dict[int, str] = {}

    def add(self, module: nn.Module, calls: list[_Call], slopes: list[Tensor]) -> None:
        """Take in a layer, all calls of it together."""
        if not calls:
            return
        own = [p for p in module.parameters(recurse=False) if p.requires_grad]
        reason = ""
        if any(call.order < self.mixed for call in calls):
            reason = "lies before batch normalization in training, where samples have no gradients of their own"
        elif any(call.given.shape[:1] != (self.samples,) for call in calls):
            reason = "its layer does not see the samples along the first dimension"
        wide = accumulation_dtype(slopes[0])
        scaled = [slope.to(wide) * self.samples for slope in slopes]
        for p in own:
            if id(p) in self.found or id(p) in self.reasons:
                self.reasons[id(p)] = "is shared between layers"
            elif reason:
                self.reasons[id(p)] = reason
        if not reason:
            found = shares(module, [call.given for call in calls], scaled)
            self.found.update({id(p): share for p, share in found if id(p) not in self.reasons})

    def checked(
        self, model: nn.Module, names: dict[str, nn.Parameter], gradients: Mapping[str, Tensor | None]
    ) -> GhostNorms:
        """Keep the parameters whose shares add up to the gradient."""
        squares: dict[str, Tensor] = {}
        means: dict[str, float] = {}
        uncovered: dict[str, str] = {}
        batch_norm = {
            id(p)
            for module in model.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001
            for p in module.parameters(recurse=False)
        }
        length = sum(float(_dense(g).square().sum()) for g in gradients.values() if g is not None) ** 0.5
        for name, p in names.items():
            gradient, share = gradients[name], self.found.get(id(p))
            if gradient is None:
                squares[name], means[name] = torch.zeros(self.samples, dtype=torch.float64, device=p.device), 0.0
            elif id(p) in self.reasons:
                uncovered[name] = self.reasons[id(p)]
            elif id(p) in batch_norm:
                uncovered[name] = "batch normalization is not covered; in training it is not defined by sample"
            elif share is None:
                uncovered[name] = "its layer is of a kind that is not covered, or was not called as a layer"
            else:
                whole = _dense(gradient).to(share.total.dtype)
                off = float((share.total.reshape(whole.shape) / self.samples - whole).norm())
                noise = float(share.squares.sum()) ** 0.5 / self.samples  # of the mean gradient, by its samples
                rounding = 10.0 * torch.finfo(p.dtype).eps * length
                if off <= _AGREE * (float(whole.norm()) + noise) + rounding:
                    squares[name], means[name] = share.squares.double(), float(whole.double().square().sum())
                else:
                    uncovered[name] = "is used outside its layer as well: the layer's shares do not make its gradient"
        return GhostNorms(squares, means, uncovered, self.samples)


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient
