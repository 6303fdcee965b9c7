r"""Fixed points of a field and their classification.

    f(x*) = 0,    eigenvalues of ∂f/∂x at x*

Newton's method from many starts at once, each step halved until |f| falls. What is found twice is said once: ends that
their own last steps cannot tell apart are one point. Where a root is m-fold, steps s₁, s₂ shrink by s₂/s₁ = 1 - 1/m,
and what is left of the way is s₁/(1 - s₂/s₁); where it is simple, next to nothing.

    all Re < 0   stable       all Re > 0   unstable       both   saddle
    with Im ≠ 0  focus, without  node;      all Re = 0 ≠ Im  centre;     any other Re = 0  degenerate

"centre" and "degenerate" are statements about the linear part: higher orders decide what really happens there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from thetadot.analysis.phase import as_taken, field_of, jacobian
from thetadot.core.signatures import checked
from thetadot.core.validation import field_at, require_count, require_finite, require_wide
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.analysis.phase import Field, Motion

Kind = Literal["stable node", "stable focus", "unstable node", "unstable focus", "saddle", "centre", "degenerate"]

_FLAT = 1e-9
_ROUNDINGS = 64.0  # of the largest |f|, below which no field is computed
_HALVINGS = 30
_MOST = 1_000_000  # of Newton's steps
_SLOWEST = 0.9  # ratio of steps at a tenfold root; beyond it rounding is read, not a root


@dataclass(frozen=True)
class FixedPoint:
    """A zero of a field.

    Attributes:
        point: x*, (n,).
        eigenvalues: of the Jacobian there, complex, (n,), by descending real part.
        kind: what they make of it.
        residual: |f(x*)|.
    """

    point: Tensor
    eigenvalues: Tensor
    kind: Kind
    residual: float

    @property
    def stable(self) -> bool:
        """Whether all real parts are below zero."""
        return self.kind in ("stable node", "stable focus")


@checked
def find_fixed_points(
    motion: Motion,
    starts: Tensor,
    *,
    tolerance: float = 1e-10,
    separation: float = 1e-5,
    iterations: int = 100,
    time: float = 0.0,
) -> tuple[FixedPoint, ...]:
    """Fixed points that Newton's method reaches from the starts, in the order of their coordinates.

    A point that is no start's end is not found; a line of fixed points gives as many as were reached. One where the
    field has no derivative is "degenerate", its eigenvalues NaN.

    Args:
        motion: a system with a drift of its own, a Problem, or a field of points (m, n).
        starts: (m, n), best in float64; where the field takes or returns float32 alone, they are asked and points are
            told in that.
        tolerance: |f| below which a point is one, in units of the largest |f| at the starts; at least what their
            dtype resolves.
        separation: distance below which two are one at least, in units of the largest |x| among starts.
        iterations: of Newton.
        time: where the field depends on it.

    Raises:
        InadmissibleValue: starts that are not (m, n) or not finite, a field that is finite at none of them, or a number
            out of range.

    Example:
        >>> from thetadot.systems import Competition
        >>> starts = torch.tensor([[1.0, 1.0], [300.0, 200.0]], dtype=torch.float64)
        >>> [(p.point.round().tolist(), p.kind) for p in find_fixed_points(Competition(), starts)]
        [([-0.0, -0.0], 'unstable node'), ([375.0, 250.0], 'stable node')]
    """
    require_wide(starts=starts)
    if starts.ndim != 2 or starts.shape[0] == 0:
        raise InadmissibleValue(f"starts of shape {tuple(starts.shape)} are not (m, n) with m >= 1. Pass one a row.")
    require_finite(starts=starts, tolerance=tolerance, separation=separation)
    require_count(0, _MOST, iterations=iterations)
    field = field_of(motion, time=time)
    starts = as_taken(field, starts)
    tolerance = max(tolerance, _ROUNDINGS * torch.finfo(starts.dtype).eps)
    speeds = field_at(starts, field=field).detach().norm(dim=-1)
    require(bool(speeds.isfinite().any()), "a field", "is finite at no start", "Pass starts where it is defined.")
    scale = float(speeds[speeds.isfinite()].max())
    size = float(starts.abs().max())
    ends = _newton(field, starts, tolerance * scale, iterations)
    residuals = field(ends).detach().norm(dim=-1)
    left = _left(field, ends)
    kept: list[int] = []
    for index in residuals.nan_to_num(nan=torch.inf).argsort().tolist():
        if not residuals[index] <= tolerance * scale:
            break
        apart = (ends[kept] - ends[index]).norm(dim=-1)
        if bool((apart > (left[kept] + left[index]).clamp_min(separation * max(size, 1e-300))).all()):
            kept.append(index)
    found = sorted(ends[kept], key=lambda point: [round(float(x), 9) for x in point])
    return tuple(_classified(field, point, _doubt(field, point)) for point in found)


@checked
def describe(motion: Motion, point: Tensor, *, time: float = 0.0) -> FixedPoint:
    """Compute eigenvalues and kind at a point (n,), whether or not it is a fixed point.

    Raises:
        InadmissibleValue: not one point (n,), or one where it, the field or the field's derivative is not finite.

    Example:
        >>> describe(lambda x: x.flip(-1), torch.zeros(2)).kind
        'saddle'
    """
    require_wide(point=point)
    field = field_of(motion, time=time)
    if point.dim() != 1 or not len(point):
        raise InadmissibleValue(f"a point of shape {tuple(point.shape)}. Pass one, (n,).")
    require_finite(point=point)
    point = as_taken(field, point.unsqueeze(0))[0]
    require_finite(field=field_at(point.unsqueeze(0), field=field))
    require_finite(derivative=jacobian(field, point.unsqueeze(0)))
    return _classified(field, point, 0.0)


@checked
def classify(eigenvalues: Tensor, doubt: float = 0.0) -> Kind:
    """The kind that eigenvalues make; parts below 1e-9 of the largest modulus, or in doubt, count as zero.

    Args:
        eigenvalues: complex, (n,).
        doubt: how much an eigenvalue may be off.

    Raises:
        InadmissibleValue: no eigenvalue, or one that is not finite.

    Example:
        >>> classify(torch.tensor([1j, -1j])), classify(torch.tensor([-1 + 1j, -1 - 1j]))
        ('centre', 'stable focus')
    """
    require(
        eigenvalues.dim() == 1 and len(eigenvalues) > 0,
        f"eigenvalues of shape {tuple(eigenvalues.shape)}",
        "are none",
        "Pass (n,), n >= 1.",
    )
    require_finite(eigenvalues=eigenvalues, doubt=doubt)
    flat = max(_FLAT * float(eigenvalues.abs().max()), doubt)
    eigenvalues = eigenvalues.to(torch.complex128)
    real, turns = eigenvalues.real, eigenvalues.imag.abs() > flat
    still = real.abs() <= flat
    if bool(still.any()):
        return "centre" if bool((still & turns).all()) else "degenerate"
    if bool((real > 0).any()) and bool((real < 0).any()):
        return "saddle"
    focus = bool(turns.any())
    if bool((real < 0).all()):
        return "stable focus" if focus else "stable node"
    return "unstable focus" if focus else "unstable node"


def _classified(field: Field, point: Tensor, doubt: float) -> FixedPoint:
    matrix, residual = jacobian(field, point.unsqueeze(0))[0], float(field(point.unsqueeze(0)).detach().norm())
    if not bool(matrix.isfinite().all()):  # no linear part
        nothing = torch.full(point.shape, torch.nan, dtype=matrix.dtype.to_complex())
        return FixedPoint(point, nothing, "degenerate", residual)
    values = torch.linalg.eigvals(matrix)
    values = values[values.real.argsort(descending=True)]
    return FixedPoint(point, values, classify(values, doubt), residual)


def _doubt(field: Field, point: Tensor) -> float:
    """How much the Jacobian changes over what is left to the root: as much as itself where the root is a double one."""
    here = point.unsqueeze(0)
    there = here + _newton_step(field, here, field(here).detach())
    doubt = 4.0 * float((jacobian(field, there) - jacobian(field, here)).abs().max())
    return doubt if math.isfinite(doubt) else 0.0


def _left(field: Field, points: Tensor) -> Tensor:
    """Twice what is left of the way to a root, (m,), by two more steps, which a multiple root makes slow."""
    first = _newton_step(field, points, field(points).detach())
    there = points + first
    second = _newton_step(field, there, field(there).detach())
    one, two = first.norm(dim=-1), second.norm(dim=-1)
    slow = (two / one).nan_to_num(nan=0.0).clamp_max(_SLOWEST)
    left: Tensor = 2.0 * one / (1.0 - slow)
    return left.nan_to_num()


def _newton_step(field: Field, points: Tensor, value: Tensor) -> Tensor:
    """Newton's, (m, n); of singular Jacobians by the pseudo-inverse; none where there is no derivative."""
    matrix = jacobian(field, points)
    known = matrix.isfinite().all(-1).all(-1) & value.isfinite().all(-1)
    inverse = torch.linalg.pinv(torch.where(known[:, None, None], matrix, torch.zeros_like(matrix)))
    move: Tensor = -(inverse @ torch.where(known[:, None], value, torch.zeros_like(value)).unsqueeze(-1)).squeeze(-1)
    return torch.where(move.isfinite().all(-1, keepdim=True), move, torch.zeros_like(move))


def _newton(field: Field, points: Tensor, enough: float, iterations: int) -> Tensor:
    """Damped Newton, all starts at once; singular Jacobians by the pseudo-inverse."""
    points = points.detach().clone()
    value = field(points).detach()
    for _ in range(iterations):
        norm = value.norm(dim=-1)
        active = (norm > 1e-3 * enough) & norm.isfinite()
        if not bool(active.any()):
            break
        move = _newton_step(field, points, value)
        share = active.to(points.dtype)
        for _ in range(_HALVINGS):
            trial = points + share.unsqueeze(-1) * move
            there = field(trial).detach()
            worse = active & ~(there.norm(dim=-1) < norm)
            if not bool(worse.any()):
                break
            share = torch.where(worse, share / 2.0, share)
        better = field(trial).detach().norm(dim=-1) < norm
        points = torch.where(better.unsqueeze(-1), trial, points)
        value = field(points).detach()
        if not bool(better.any()):
            break
    return points
