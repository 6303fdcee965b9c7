r"""Steepest descent depends on how length is measured.

    argmin_Δ { ⟨g, Δ⟩ : ‖Δ‖ = 1 }
    l_p:  Δ_i = -sign(g_i) |g_i|^(q-1) / ‖g‖_q^(q-1),    1/p + 1/q = 1    (p = 2: -g/|g|; ∞: -sign g; 1: one coordinate)
    F:    Δ ∝ -F⁻¹ g                                                      natural gradient [amari1998]

    x' = argmin_y { f(y) + |y - x|²/(2α) }                                proximal step: the implicit Euler of the flow

Source:
    Amari, Neural Computation 10, 251 (1998); Parikh, Boyd, Proximal Algorithms, 2014.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_finite, require_tensors, require_wide, result_of
from thetadot.errors import InadmissibleValue, NotConverged, require
from thetadot.integrators.minimum import minimum

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@checked
def steepest_direction(gradient: Tensor, p: float = 2.0) -> Tensor:
    """The direction of unit length ‖Δ‖_p along which the loss falls fastest, at the rate ‖g‖_q; 0 where g is 0.

    Args:
        gradient: g, of any shape, taken as one vector.
        p: 1 <= p <= ∞. At p = 1 the first of the largest coordinates moves.

    Raises:
        InadmissibleValue: p below 1.

    Example:
        >>> g = torch.tensor([3.0, -4.0])
        >>> [steepest_direction(g, p).tolist() for p in (1.0, 2.0, math.inf)]
        [[-0.0, 1.0], [-0.6000000238418579, 0.800000011920929], [-1.0, 1.0]]
    """
    require_tensors(gradient=gradient)
    require(gradient.numel() > 0, "a gradient", "has no elements", "Pass at least one.")
    require_finite(gradient=gradient)
    require(p >= 1, f"p={p:g}", "is below 1: that is no norm", "Pass 1 <= p <= inf.")
    size = gradient.abs()
    largest = size.max()
    if float(largest) == 0.0:
        return torch.zeros_like(gradient)
    if p == 1:
        flat = torch.zeros_like(gradient).flatten()
        flat[int(size.flatten().argmax())] = 1.0
        return -gradient.sign() * flat.reshape(gradient.shape)
    share = size / largest  # so that no power overflows
    dual = 1.0 if math.isinf(p) else p / (p - 1.0)
    norm = (share**dual).sum() ** (1.0 / dual)
    return -gradient.sign() * (share / norm) ** (dual - 1.0)


@checked
def natural_gradient(gradient: Tensor, fisher: Tensor) -> Tensor:
    """F⁻¹ g: the gradient in the metric ½ δᵀF δ, which is KL to second order.

    Args:
        gradient: g, (d,).
        fisher: F, (d, d), symmetric and positive definite.

    Raises:
        InadmissibleValue: F is not.

    Example:
        >>> natural_gradient(torch.tensor([1.0, 2.0]), torch.diag(torch.tensor([1.0, 4.0])))
        tensor([1.0000, 0.5000])
    """
    require_wide(gradient=gradient, fisher=fisher)
    require_finite(gradient=gradient, fisher=fisher)
    if gradient.dim() != 1 or fisher.shape != (len(gradient), len(gradient)) or fisher.dtype != gradient.dtype:
        raise InadmissibleValue(
            f"gradient {tuple(gradient.shape)} of {gradient.dtype} and metric {tuple(fisher.shape)} of {fisher.dtype}. "
            "Pass (d,) and (d, d) of one dtype."
        )
    factor, failed = torch.linalg.cholesky_ex(fisher)
    require(
        not bool(failed) and torch.allclose(fisher, fisher.T, rtol=1e-4),
        "a metric",
        "is not symmetric and positive definite",
        "Add a multiple of the identity.",
    )
    return torch.cholesky_solve(gradient[:, None], factor)[:, 0]


@checked
def proximal_step(
    loss: Callable[[Tensor], Tensor],
    position: Tensor,
    step: float,
    distance: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """argmin_y { loss(y) + distance(y, x)/step }, descended to from x (:mod:`thetadot.integrators.minimum`).

    The loss never rises, whatever the step; for small steps it is steepest descent in the metric of the distance.

    Args:
        loss: f of (d,), differentiable; minimised locally.
        position: x, (d,).
        step: α > 0.
        distance: d(y, x) >= 0, 0 at y = x; ½|y - x|² if None. KL(y‖x), where y are parameters, is the natural gradient.

    Raises:
        InadmissibleValue: a step that is not positive, a loss that is not finite at x or that autograd does not see.
        NotConverged: no minimum was found.

    Example:
        >>> float(proximal_step(lambda x: (x * x).sum() / 2, torch.tensor([3.0]), 2.0))  # x/(1 + α)
        1.0
    """
    require_tensors(position=position)
    require_finite(position=position)
    if position.dim() != 1 or not len(position):
        raise InadmissibleValue(f"position of shape {tuple(position.shape)} is not one vector. Pass (d,).")
    require(0 < step < math.inf, f"step={step:g}", "is not positive and finite", "Pass step > 0.")
    anchor = position.detach().double().cpu()
    require_finite(loss=_number_of("loss", loss, anchor))

    def objective(row: Tensor) -> tuple[Tensor, Tensor]:
        """Step times what is minimised, in which the distance has curvatures of its own alone."""
        here = row[0].clone().requires_grad_()
        away = ((here - anchor) ** 2).sum() / 2.0 if distance is None else distance(here, anchor)
        value = step * loss(here) + away
        (slope,) = torch.autograd.grad(value, here)
        return value.detach().reshape(1, 1), slope.unsqueeze(0)

    least = max(1e-9 * step, 1e-15 * (1.0 + float(anchor.abs().max())))
    found = minimum(objective, anchor.unsqueeze(0), lambda slope, _: slope.abs().amax(-1, keepdim=True) <= least)
    size = float(found.slope.abs().max()) / step
    if not size <= 1e-5 * max(1.0, abs(float(objective(found.point)[0])) / step):
        raise NotConverged(f"slope {size:.2g} after {found.gradients} gradients: {found.met}. Pass a smaller step.")
    return found.point[0].to(position)


def _number_of(name: str, function: Callable[..., Tensor], *points: Tensor) -> Tensor:
    """A function's one number, differentiable."""
    with torch.enable_grad():
        value = result_of(name, function, *points)
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        raise InadmissibleValue(f"{name} gives {value!r}. Let it return one number, a tensor.")
    return value.reshape(())
