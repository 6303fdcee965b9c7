r"""Central flow: the smooth path that the time average of an oscillating run follows at the edge of stability.

A rule whose step is too long for the curvature does not diverge: it oscillates along the sharpest directions, and the
oscillation itself flattens them. With X the covariance of the oscillation, average of the rule's own step:

    ẇ = -r P⁻¹ (∇L + ½ ∇⟨H, X⟩),    X ⪰ 0,    M = P^-½ H P^-½ ⪯ s,    ⟨X, s - M⟩ = 0

in steps of the rule, to first order in its rate r; s is the curvature where it loses stability. X lives on the
eigenvectors of M that have come to s, and is the least that keeps M there: with u = P^-½ q of those eigenvectors,

    d/dt uᵢᵀHuⱼ ⪯ 0 where it is s,    X = Σ Xᵢⱼ uᵢuⱼᵀ        (a complementarity problem, k by k)

    gradient descent    r = α,            s = 2/α
    heavy ball          r = α/(1-β),      s = 2(1+β)/α         (derived here: the average is slow)
    RMSprop             r = α, P = √ν,    s = 2/α,  ν̇ = (1-β₂)(|∇L|² + diag(HXH) - ν)

The mean loss of the oscillating run is L + ½⟨H, X⟩.

Source:
    Cohen, Damian, Talwalkar, Kolter, Lee, arXiv:2410.24206.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.func import grad, jacrev, vmap

from thetadot.analysis.complementarity import complementary
from thetadot.analysis.top_curvature import TopCurvature
from thetadot.core.signatures import checked
from thetadot.core.validation import require_count, require_finite
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

NEAR = 0.95
"""Share of the limit from which a direction takes part: below it no step brings it there."""
SELDOM = 0.8
"""Share of the limit below which curvature is looked at every tenth step."""


@dataclass(frozen=True)
class CentralFlow:
    """A central flow, at whole steps of the rule.

    Attributes:
        loss: L(w), (steps + 1,).
        mean_loss: L + ½⟨H, X⟩, what the run's losses average to, (steps + 1,).
        sharpness: λmax(M), (steps + 1,).
        variance: tr X, mean square of the oscillation, (steps + 1,).
        limit: s.
        directions: how many have come to the limit, (steps + 1,).
        points: w, (steps + 1, d), float32 at least.
    """

    loss: Tensor
    mean_loss: Tensor
    sharpness: Tensor
    variance: Tensor
    limit: float
    directions: Tensor
    points: Tensor


@checked
def central_flow(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    lr: float,
    steps: int,
    momentum: float = 0.0,
    beta2: float | None = None,
    eps: float = 1e-8,
    squares: Tensor | None = None,
    substeps: int = 1,
    most: int = 8,
) -> CentralFlow:
    """Follow the time average of gradient descent, heavy ball or RMSprop on a whole loss.

    Each substep takes a gradient, a few products with the Hessian, and k(k+1)/2 third derivatives, where k directions
    are at the limit. Exact to first order in the rate; below the limit it is the gradient flow.

    Args:
        loss: of a flat vector (d,), a number, three times differentiable by torch.func.
        start: where the run starts, (d,).
        lr: α > 0.
        steps: of the rule.
        momentum: β of heavy ball, 0 <= β < 1.
        beta2: of RMSprop, 0 < β₂ < 1; None has no preconditioner.
        eps: of RMSprop, added to √ν.
        squares: RMSprop's ν at the start, (d,); the squared gradient there where it is None.
        substeps: of each step of the rule, at least; as many are taken as Euler's rule needs not to swing as the run
            does, 2 for descent and up to 2(1+β)/(1-β) for heavy ball.
        most: directions that may be at the limit at once; where ``directions`` comes to it, pass more.

    Returns:
        Losses, sharpness, variance and points at whole steps.

    Raises:
        InadmissibleValue: a number out of range, momentum beside beta2, or a loss that is no number.

    Example:
        >>> valley = lambda w: 0.5 * (1 + w[1] ** 2) * w[0] ** 2 - w[1]   # curvature 1 + y² rises along y
        >>> flow = central_flow(valley, torch.tensor([0.0, 0.0], dtype=torch.float64), lr=1.0, steps=20)
        >>> round(flow.limit, 4), round(float(flow.sharpness[-1]), 4)
        (2.0, 2.0)
        >>> round(float(flow.variance[-1]), 4)   # ½·2y·X = 1 at y = 1 holds y still: X = 1
        1.0

    Source:
        arXiv:2410.24206; heavy ball derived here.
    """
    require(start.dim() == 1 and start.is_floating_point(), f"start of shape {tuple(start.shape)}", "is no flat vector",
            "Pass floats of shape (d,).")  # fmt: skip
    require_finite(lr=lr, momentum=momentum, eps=eps)
    require_count(1, 10**7, steps=steps)
    require_count(1, 10**4, substeps=substeps)
    require(most >= 1, f"most={most}", "is below 1", "Pass 8, say.")
    require(lr > 0, f"lr={lr}", "is not above 0", "Pass a positive rate.")
    require(0 <= momentum < 1, f"momentum={momentum}", "is not in [0, 1)", "Pass 0.9, say.")
    if beta2 is not None:
        require(0 < beta2 < 1, f"beta2={beta2}", "is not in (0, 1)", "Pass 0.99, say.")
        require(momentum == 0, f"momentum={momentum}", "stands beside beta2", "Pass one of them.")
    flow = _Flow(loss, start.detach().clone(), lr, momentum, beta2, eps, squares, min(most, len(start)))
    rows = [flow.row()]
    points = [flow.w.clone()]
    for step in range(steps):
        parts = max(substeps, flow.stiffness())
        for _ in range(parts):
            flow.advance(1.0 / parts)
        rows.append(flow.row())
        points.append(flow.w.clone())
        if not torch.isfinite(points[-1]).all():
            raise InadmissibleValue(
                f"the flow left all bounds at step {step + 1}. Pass a smaller lr, or more substeps."
            )
    table = torch.tensor(rows, dtype=torch.float64)
    plain, mean, sharp, spread, count = table.unbind(dim=1)
    return CentralFlow(plain, mean, sharp, spread, flow.limit, count.long(), torch.stack(points))


class _Flow:
    """The state of the flow, and one substep of it."""

    def __init__(
        self,
        loss: Callable[[Tensor], Tensor],
        start: Tensor,
        lr: float,
        momentum: float,
        beta2: float | None,
        eps: float,
        squares: Tensor | None,
        most: int,
    ) -> None:
        self.loss, self.w = loss, start
        self.slope = grad(loss)
        self.rate, self.limit = lr / (1.0 - momentum), 2.0 * (1.0 + momentum) / lr
        self.beta2, self.eps = beta2, eps
        self.nu = None
        if beta2 is not None:
            first = self.slope(start)
            self.nu = first.square() if squares is None else squares.detach().clone().to(start)
        self.top = TopCurvature(self.product, len(start), most, start)
        self.values, self.vectors = self.top.of(self.scale())
        self.x = np.zeros((0, 0))
        self.since = 0

    def scale(self) -> Tensor | None:
        """P^-½, (d,); None where there is no preconditioner."""
        return None if self.nu is None else (self.nu.sqrt() + self.eps).rsqrt()

    def stiffness(self) -> int:
        """Substeps at which the sharpest direction comes to rest in one of them, or slower."""
        return math.ceil(self.rate * min(float(self.values[0]), self.limit) - 1e-9)

    def product(self, vectors: Tensor) -> Tensor:
        """H times each column, (d, k)."""
        return vmap(lambda v: self._along(self.w, v), in_dims=1, out_dims=1)(vectors)

    def _along(self, w: Tensor, v: Tensor) -> Tensor:
        """H(w)v, backward twice: forward mode lacks a part of the losses people use."""
        along: Tensor = grad(lambda at: torch.dot(self.slope(at), v))(w)
        return along

    def row(self) -> tuple[float, float, float, float, float]:
        """Loss, mean loss, sharpness, variance and directions at the limit."""
        plain = float(self.loss(self.w))
        spread = float(np.trace(self.x @ self._gram())) if len(self.x) else 0.0
        mean = plain + 0.5 * float(np.sum(self.values[: len(self.x)].numpy() * np.diag(self.x)))
        return plain, mean, float(self.values[0]), spread, float((np.diag(self.x) > 0).sum())

    def _gram(self) -> np.ndarray:
        u = self._metric(self.vectors[:, : len(self.x)])
        return np.asarray((u.T @ u).double().cpu().numpy())

    def _metric(self, vectors: Tensor) -> Tensor:
        scale = self.scale()
        return vectors if scale is None else vectors * scale[:, None]

    def advance(self, time: float) -> None:
        """Move by part of a step: the force of the loss, and that of the oscillation along the sharpest directions."""
        force = self.slope(self.w)
        critical = int((self.values > NEAR * self.limit).sum())
        bent = torch.zeros_like(force)
        kick = torch.zeros_like(force)
        self.x = np.zeros((0, 0))
        if critical:
            u = self._metric(self.vectors[:, :critical])
            third = self._third(u)
            self.x = self._balanced(time, force, u, third)
            weights = torch.as_tensor(self.x, dtype=force.dtype, device=force.device)
            bent = torch.einsum("ij,ijd->d", weights, third)
            curved = self.product(u)  # Hu
            kick = torch.einsum("di,ij,dj->d", curved, weights, curved)
        scale = self.scale()
        metric = 1.0 if scale is None else scale.square()
        self.w = self.w - time * self.rate * metric * (force + 0.5 * bent)
        if self.nu is not None and self.beta2 is not None:
            self.nu = self.nu + time * (1.0 - self.beta2) * (force.square() + kick - self.nu)
        self.since += 1
        if float(self.values[0]) > SELDOM * self.limit or self.since % 10 == 0:
            self.values, self.vectors = self.top.of(self.scale())

    def _third(self, u: Tensor) -> Tensor:
        """∇(uᵢᵀHuⱼ), (k, k, d)."""
        count = u.shape[1]
        found = torch.zeros(count, count, len(u), dtype=u.dtype, device=u.device)
        for i in range(count):

            def curvatures(w: Tensor, i: int = i) -> Tensor:
                return self._along(w, u[:, i]) @ u[:, i:]

            rows = jacrev(curvatures)(self.w)
            found[i, i:] = rows
            found[i:, i] = rows
        return found

    def _balanced(self, time: float, force: Tensor, u: Tensor, third: Tensor) -> np.ndarray:
        """The covariance among the critical directions that keeps their curvature at the limit."""
        count = u.shape[1]
        scale = self.scale()
        metric = torch.ones_like(force) if scale is None else scale.square()
        values = self.values[:count].double().numpy()
        change = -self.rate * torch.einsum("ijd,d->ij", third, metric * force)
        response = -0.5 * self.rate * torch.einsum("ijd,kld->ijkl", third * metric, third)
        if self.nu is not None and self.beta2 is not None:
            q = self.vectors[:, :count]
            shares = q[:, :, None] * q[:, None, :] / (2.0 * self.nu.sqrt() * (self.nu.sqrt() + self.eps))[:, None, None]
            pairs = -0.5 * torch.as_tensor(values[:, None] + values[None, :]).to(shares)
            faster = (1.0 - self.beta2) * torch.einsum("dij,d->ij", shares, force.square() - self.nu)
            curved = self.product(u)
            kicks = (1.0 - self.beta2) * torch.einsum("dij,dk,dl->ijkl", shares, curved, curved)
            change = change + pairs * faster
            response = response + pairs[:, :, None, None] * kicks
        now = np.diag(values - self.limit) / time
        a = now + np.asarray(change.double().cpu().numpy())
        return complementary(a, np.asarray(response.double().cpu().numpy()))
