r"""Phase space: all that moves as one point, so that a field or a step is a function of points.

    x = (position, further tensor variables),    shape (..., n),  n = variables · dim

Points are rows that do not know of one another. Time is no part of a point: a field is asked for at a given one. What
carries other numbers of its own, as adaptive flows their weights, has no phase space here. Noise is left out: what is
studied is the drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.tensors import tensor_of
from thetadot.core.validation import (
    require_finite,
    require_functions,
    require_instances,
    require_numbers,
    require_tensors,
    require_wide,
)
from thetadot.errors import InadmissibleValue, IncompatiblePair, require
from thetadot.integrators.base import Integrator, initial_state, name_of
from thetadot.integrators.whole import whole_step
from thetadot.systems.base import POSITION, PerStep, System, noisy
from thetadot.systems.custom import TIME, Driven
from thetadot.systems.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import Scalar, State

    Field = Callable[[Tensor], Tensor]
    Motion = System | Problem | Field


@checked
@dataclass(frozen=True)
class PhaseSpace:
    """Phase space of a system: its state as one point.

    Attributes:
        system: what moves.
        gradient: ∇L of its potential, 0 where it has a drift of its own.
        potential: L, None where it has none.
        names: the tensor variables, the position first.
    """

    system: System
    gradient: Field
    potential: Field | None
    names: tuple[str, ...]

    def pack(self, state: State) -> Tensor:
        """The point of a state, (..., n)."""
        return torch.cat([tensor_of(state, name) for name in self.names], -1)

    def unpack(self, points: Tensor) -> State:
        """Tensor variables, each (..., dim)."""
        count = len(self.names)
        if points.ndim == 0 or points.shape[-1] % count:
            raise InadmissibleValue(
                f"points of shape {tuple(points.shape)} do not hold {count} variables of one dimension "
                f"({', '.join(self.names)}). Pass (..., {count}·dim)."
            )
        return dict(zip(self.names, points.chunk(count, -1), strict=True))

    def measure(self, state: State, gradient: Tensor) -> dict[str, Scalar]:
        """Compute the quantities that the system measures, path by path, each (..., 1)."""
        square = gradient * gradient
        measured: dict[str, Scalar] = {}
        for name in self.system.measures:
            match name:
                case "loss":
                    assert self.potential is not None  # noqa: S101 - a system that moves by a loss has one
                    measured[name] = self.potential(tensor_of(state, POSITION)).unsqueeze(-1)
                case "gradient_square":
                    measured[name] = square.sum(-1, keepdim=True)
                case _:
                    measured[name] = square.mean(-1, keepdim=True)
        return measured


def phase_space(motion: System | Problem) -> PhaseSpace:
    """The phase space of a system with a drift of its own, or of one in a potential.

    Raises:
        IncompatiblePair: the system moves by a gradient, and none was given; or it carries numbers beside time.
    """
    if isinstance(motion, type) or not isinstance(motion, Problem | System):
        require_instances(Problem, motion=motion)
    if isinstance(motion, Problem):
        system, gradient, potential = motion.system, motion.gradient, motion.potential
    elif isinstance(motion, Driven):
        system, gradient, potential = motion, torch.zeros_like, None
    else:
        raise IncompatiblePair(
            f"{name_of(motion)} moves by a gradient, and has none here. "
            f"Pass Problem({name_of(motion)}(...), potential)."
        )
    further = [name for name in system.scalars if name != TIME]
    if further:
        raise IncompatiblePair(
            f"{name_of(system)} carries {', '.join(further)}, numbers that are no part of a point. "
            "Pass a system whose variables are tensors."
        )
    names = (POSITION, *(name for name in system.variables if name not in system.scalars))
    return PhaseSpace(system, gradient, potential, names)


def field_of(motion: Motion, *, time: float = 0.0) -> Field:
    """ẋ as a function of points (..., n).

    Args:
        motion: a system with a drift of its own, a :class:`Problem`, or a function of points, which is given back.
        time: where the field depends on it.

    Raises:
        IncompatiblePair: a system without its gradient, or with rates per step, which is in no time.

    Example:
        >>> from thetadot.systems import DiracGAN
        >>> field_of(DiracGAN("linear"))(torch.tensor([[1.0, 2.0]]))  # (θ̇, φ̇) = (φ, -θ)
        tensor([[ 2., -1.]])
    """
    if not isinstance(motion, Problem | System):
        require_functions(motion=motion)
        return motion
    space = phase_space(motion)
    system = space.system
    if is_dataclass(system) and any(isinstance(getattr(system, f.name), PerStep) for f in fields(system)):
        raise IncompatiblePair(f"{name_of(system)} has a rate per step, and a field is a rate in time. Pass 1/time.")
    numbers: State = dict.fromkeys(system.scalars, time)

    def field(points: Tensor) -> Tensor:
        state: State = {**space.unpack(points), **numbers}
        gradient = space.gradient(tensor_of(state, POSITION))
        state = {**state, **space.measure(state, gradient)}
        return torch.cat(
            [torch.as_tensor(system.increment(name, state, gradient, 1.0)) for name in space.names], dim=-1
        )

    return field


def as_taken(field: Field, points: Tensor) -> Tensor:
    """The points in the dtype that a field is computed in: theirs, unless it takes or returns another.

    A field that holds tensors of its own, as a module its weights, may refuse points of another dtype; then it is asked
    in float32 and float64. One that returns a narrower dtype than it was given knows no more than that.

    Args:
        field: of points (..., n).
        points: (m, n).

    Returns:
        (m, n); as they are where no dtype helps.

    Example:
        >>> as_taken(torch.nn.Linear(2, 2), torch.zeros(3, 2, dtype=torch.float64)).dtype
        torch.float32
    """
    for dtype in (points.dtype, torch.float32, torch.float64):
        try:
            values = field(points[:1].detach().to(dtype))
        except RuntimeError:  # what torch says of dtypes that do not go together, and of other things
            continue
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            break
        wide = not isinstance(values, torch.Tensor) or not values.is_floating_point()
        wide = wide or torch.finfo(values.dtype).eps <= torch.finfo(dtype).eps
        return points.to(dtype if wide else values.dtype)
    return points


@checked
def step_of(motion: System | Problem, integrator: Integrator, *, step: float) -> Field:
    """Return one step of an integrator as a function of points (..., n).

    Args:
        motion: a system with a drift of its own, or a :class:`Problem`.
        integrator: how it is stepped.
        step: γ > 0.

    Raises:
        IncompatiblePair: a pair that cannot step, noise, an implicit rule, or a drift that depends on time.

    Example:
        >>> from thetadot.integrators import SemiImplicitEuler
        >>> from thetadot.systems import DiracGAN
        >>> alternate = step_of(DiracGAN("linear"), SemiImplicitEuler(), step=0.5)
        >>> alternate(torch.tensor([[1.0, 2.0]]))  # φ' = 2 - 0.5·1, θ' = 1 + 0.5·φ'
        tensor([[1.7500, 1.5000]])
    """
    space = phase_space(motion)
    require_instances(Integrator, integrator=integrator)
    require_numbers(step=step)
    require(0 < step < math.inf, f"step={step:g}", "is not positive and finite", "Pass step > 0.")
    system = space.system
    if noisy(system):
        raise IncompatiblePair(f"{name_of(system)} has noise, and a map has none. Pass temperature 0.")
    if integrator.evaluation != "position":  # its iteration ends by value, before its derivative has settled
        raise IncompatiblePair(
            f"{name_of(integrator)} is implicit. Pass an integrator that takes the present gradient."
        )
    if TIME in system.scalars:
        raise IncompatiblePair(f"{name_of(system)} depends on time, and one map does not. Use analysis.floquet.")
    scales = integrator.prepare(system, step)

    def advance(points: Tensor, numbers: State) -> State:
        state = {**space.unpack(points), **numbers}
        return whole_step(integrator, scales, state, space.gradient, _draws_nothing, space.measure)

    blank = initial_state(system, integrator, torch.zeros(1, 1, dtype=torch.float64))
    numbers: State = {name: value for name, value in blank.items() if name not in space.names}
    if numbers:  # those that a rule carries, such as a look-ahead's shift, are settled by one step
        width = torch.zeros(1, len(space.names), dtype=torch.float64)
        after = advance(width, numbers)
        numbers = {name: after[name] for name in numbers}
    return lambda points: space.pack(advance(points, numbers))


@checked
def jacobian(function: Field, points: Tensor, *, differentiable: bool = False) -> Tensor:
    """∂f/∂x at points (..., n) by autograd, row by row: (..., n, n).

    Args:
        function: of points, each row of its own.
        points: where.
        differentiable: whether autograd is to go through it, to what the points were made of.

    Example:
        >>> jacobian(lambda x: x * x, torch.tensor([[1.0, 2.0]]))
        tensor([[[2., 0.],
                 [0., 4.]]])
    """
    require_functions(function=function)
    require_tensors(points=points)
    with torch.enable_grad():
        kept = differentiable and points.requires_grad
        if not kept:
            points = points.detach().requires_grad_()
        values = function(points)
        if not isinstance(values, torch.Tensor) or values.shape[:-1] != points.shape[:-1]:
            came = tuple(values.shape) if isinstance(values, torch.Tensor) else values
            raise InadmissibleValue(f"a field that gives {came} at points {tuple(points.shape)}. Return (..., n).")
        if not values.requires_grad:
            return points.new_zeros(*values.shape, points.shape[-1])
        rows = [
            torch.autograd.grad(
                values[..., i].sum(), points, retain_graph=True, create_graph=kept, materialize_grads=True
            )[0]
            for i in range(values.shape[-1])
        ]
    return torch.stack(rows, -2) if kept else torch.stack(rows, -2).detach()


@checked
def local_spectral_radius(motion: System | Problem, integrator: Integrator, point: Tensor, *, step: float) -> float:
    """Largest |eigenvalue| of one step, linearized at a point (n,): below 1, what is near a fixed point stays.

    Raises:
        InadmissibleValue: not one point (n,), or one where it or the step's derivative is not finite.
        IncompatiblePair: as :func:`step_of`.

    Example:
        >>> from thetadot.integrators import Euler
        >>> from thetadot.systems import DiracGAN
        >>> origin = torch.zeros(4, dtype=torch.float64)
        >>> round(local_spectral_radius(DiracGAN(), Euler(), origin, step=0.1), 7)  # √(1+γ²/4)
        1.0012492
    """
    require_wide(point=point)
    if point.dim() != 1 or not len(point):
        raise InadmissibleValue(f"a point of shape {tuple(point.shape)}. Pass one, (n,).")
    require_finite(point=point)
    matrix = jacobian(step_of(motion, integrator, step=step), point.unsqueeze(0))[0]
    require_finite(derivative=matrix)
    return float(torch.linalg.eigvals(matrix).abs().max())


def _draws_nothing() -> Tensor:
    raise AssertionError("a deterministic system draws no noise")
