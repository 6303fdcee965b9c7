"""What is simulated: a system, a rule for its steps and where its force comes from, as one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from thetadot.errors import IncompatiblePair
from thetadot.integrators.base import initial_state, name_of
from thetadot.integrators.whole import whole_step
from thetadot.systems.base import POSITION, Beginning
from thetadot.systems.custom import TIME, Driven
from thetadot.systems.problem import Problem
from thetadot.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from thetadot.integrators.base import Integrator
    from thetadot.systems.base import System
    from thetadot.typing import Draw, Force, Scalar, State


@dataclass(frozen=True)
class Motion:
    """A system stepped by an integrator, for all paths at once.

    Args:
        system: what moves.
        integrator: how.
        step: γ.
        gradient: ∇L of positions (paths, dim); None for a system with a drift of its own.
        potential: L, for systems that move by the loss.
    """

    system: System
    integrator: Integrator
    step: float
    gradient: Force | None
    potential: Callable[[Tensor], Tensor] | None

    @cached_property
    def scales(self) -> Any:
        """Scalars of a step."""
        return self.integrator.prepare(self.system, self.step)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Variables that every path has for itself."""
        return (POSITION, *(name for name in self.system.variables if name not in self.system.scalars))

    @property
    def numbers(self) -> tuple[str, ...]:
        """Those that are the same for all."""
        return (*self.system.scalars, *self.integrator.carried)

    def advance(self, state: State, draw: Draw) -> State:
        """The state after one step."""
        measure = self._measure if self.system.measures else None
        return whole_step(self.integrator, self.scales, state, self.force, draw, measure)

    def force(self, position: Tensor) -> Tensor:
        """∇L; the position itself where the system does not ask for it."""
        return position if self.gradient is None else self.gradient(position)

    def begin(self, initial: Mapping[str, Tensor]) -> State:
        """Every variable at the start: as given, else as the system begins it; then as the rule keeps it."""
        position = initial[POSITION]
        state = _path_by_path(self.system, self.integrator, position)
        state |= initial
        if TIME in state:  # a tensor, so that a field may ask torch for its cosine
            state[TIME] = torch.as_tensor(state[TIME], dtype=torch.float64)
        return state

    def read(self, state: State) -> dict[str, Tensor]:
        """The tensors of a state, the position being θ itself."""
        found = {name: tensor_of(state, name) for name in self.tensors}
        found[POSITION] = self.integrator.shown(self.scales, state)
        return found

    def _measure(self, state: State, force: Tensor) -> dict[str, Scalar]:
        """What the system wants measured, of every path for itself."""
        square = force * force
        known: dict[str, Callable[[], Tensor]] = {
            "gradient_square": lambda: square.sum(-1, keepdim=True),
            "tensor_square": lambda: square.mean(-1, keepdim=True),
            "loss": lambda: self._loss(tensor_of(state, POSITION)).unsqueeze(-1),
        }
        return {name: known[name]() for name in self.system.measures}

    def _loss(self, position: Tensor) -> Tensor:
        if self.potential is None:
            raise IncompatiblePair(f"{name_of(self.system)} moves by the loss. Pass Problem(system, potential).")
        return self.potential(position)


def posed(system: System | Problem, integrator: Integrator, step: float) -> Motion:
    """The motion of a system or problem; a step that is not a number for an integrator that finds its own.

    Raises:
        IncompatiblePair: the system moves by a gradient and there is no potential.
    """
    if isinstance(system, Problem):
        return Motion(system.system, integrator, step, system.gradient, system.potential)
    if not isinstance(system, Driven):
        raise IncompatiblePair(
            f"{name_of(system)} moves by the gradient of a potential, and none was given. "
            "Pass Problem(system, potential), or loss=."
        )
    return Motion(system, integrator, step, None, None)


def _path_by_path(system: System, integrator: Integrator, position: Tensor) -> State:
    """The initial state, where a number that depends on the position is one a path: (paths, 1)."""
    state = initial_state(system, integrator, position)
    if isinstance(system, Beginning):
        for name in system.scalars:
            if isinstance(state[name], torch.Tensor):
                rows = [torch.as_tensor(system.begin(name, row)) for row in position]
                state[name] = torch.stack(rows).reshape(-1, 1)
    return state
