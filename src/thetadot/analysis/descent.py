r"""Rate at which the loss falls along any motion: dL/dt = ⟨∇L, θ̇⟩.

gradient -‖g‖²    sign -‖g‖₁    normalized -‖g‖    Polyak -(L-L*)    damped Newton ⟨g, η⟩
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.analysis.phase import field_of, phase_space
from thetadot.core.signatures import checked
from thetadot.core.tensors import tensor_of
from thetadot.core.validation import require_instances, require_tensors
from thetadot.systems.base import POSITION
from thetadot.systems.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor


@checked
def loss_rate(problem: Problem, points: Tensor) -> Tensor:
    """⟨∇L, θ̇⟩ at points (..., n), noise left out: (...).

    Args:
        problem: a system in a potential.
        points: positions and then the further variables, as a velocity.

    Example:
        >>> import torch
        >>> from thetadot.potentials import Harmonic
        >>> from thetadot.systems import PolyakFlow, Problem, SignFlow
        >>> point = torch.tensor([[3.0, -4.0]])  # L = 12.5, g = θ
        >>> loss_rate(Problem(SignFlow(), Harmonic()), point), loss_rate(Problem(PolyakFlow(), Harmonic()), point)
        (tensor([-7.]), tensor([-12.5000]))
    """
    require_instances(Problem, problem=problem)
    require_tensors(points=points)
    position = tensor_of(phase_space(problem).unpack(points), POSITION)
    velocity = field_of(problem)(points)[..., : position.shape[-1]]
    return (problem.gradient(position) * velocity).sum(-1)
