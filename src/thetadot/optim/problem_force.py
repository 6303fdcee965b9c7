"""An optimizer of a problem: the force comes from its potential, and what it says of the motion must agree.

g = ∇L(θ),    θ the parameters, each a position or a batch of positions (..., dim)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators.base import name_of
from thetadot.systems import Problem
from thetadot.systems.base import PerStep, noisy

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import Scalar
    from thetadot.optim.engine.host import Host

_AGREE = 1e-6  # settings of float32 tensors say the same number


def require_agreement(host: Host, problem: object) -> None:
    """Raise where ``problem`` says something else of the motion than the optimizer's own settings.

    Raises:
        InadmissibleValue: it is no problem, another temperature or friction, or a parameter of shape ().
        IncompatiblePair: noise on a rule that has none, or steps that are to be differentiated.
    """
    if not isinstance(problem, Problem):
        raise InadmissibleValue(
            f"problem={problem!r} is of type {name_of(problem)}. Pass thetadot.systems.Problem(system, potential)."
        )
    if host.options.differentiable:
        raise IncompatiblePair("differentiable=True takes p.grad from your own backward(). Leave problem= out.")
    for group in host.param_groups:
        system, step = host.motion(group)
        if noisy(problem.system) and "temperature" not in group and not noisy(system):
            raise IncompatiblePair(
                f"the problem has the temperature {float(problem.temperature):g}, and {name_of(host)} adds no noise. "
                "Use Langevin or Kramers, or pose it without noise, such as Problem(GradientFlow(), potential)."
            )
        ours = {"temperature": getattr(system, "temperature", None), "friction": _rate(system, step)}
        posed = {"temperature": problem.temperature, "friction": _rate(problem.system, step)}
        for name, value in ours.items():
            wanted = posed[name]
            if value is None or wanted is None or math.isclose(float(value), float(wanted), rel_tol=_AGREE):
                continue
            remedy = "from_physical(step=, friction=) sets both" if name == "friction" else f"Pass {name}={wanted:g}"
            raise InadmissibleValue(
                f"{name}={float(value):g} differs from the problem's {float(wanted):g}. {remedy}, or pose it so."
            )
        for p in group["params"]:
            if p.ndim == 0:
                raise InadmissibleValue(
                    "a parameter of shape () is no position (..., dim). Pass a tensor of shape (1,) for one dimension."
                )


def temperature_of(temperature: Scalar | None, problem: object) -> Scalar:
    """T as given, or the problem's where none is.

    Raises:
        InadmissibleValue: neither says one.
    """
    if temperature is not None:
        return temperature
    if isinstance(problem, Problem):
        return problem.temperature
    raise InadmissibleValue("temperature is missing. Pass temperature=, in units of the loss, or problem=.")


def force_of(host: Host, problem: Problem) -> Callable[[], Tensor]:
    """A closure that leaves ∇L in ``p.grad`` and returns L, summed over positions and parameters."""

    def evaluate() -> Tensor:
        losses = []
        for p in (p for group in host.param_groups for p in group["params"]):
            position = p.detach()
            losses.append(problem.potential(position).detach().sum())
            p.grad = problem.gradient(position).detach()
        return torch.stack(losses).sum()

    return evaluate


def _rate(system: object, step: object) -> float | None:
    """A system's friction in 1/time; None where it has none, or no time passes."""
    friction = getattr(system, "friction", None)
    if not isinstance(friction, PerStep):
        return None if friction is None else float(friction)
    return float(friction.value) / float(step) if float(step) else None  # type: ignore[arg-type]
