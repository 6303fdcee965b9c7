"""The simulated motion: system, stepping rule and force, as one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from thetadot.core.tensors import tensor_of
from thetadot.errors import InadmissibleValue, IncompatiblePair, ThetadotError, require
from thetadot.integrators.adaptive import Embedded
from thetadot.integrators.base import Direct, Integrator, initial_state, name_of
from thetadot.integrators.whole import whole_step
from thetadot.potentials import Potential
from thetadot.systems.base import POSITION, Beginning, Multiplicative, System, sources
from thetadot.systems.custom import TIME, Driven
from thetadot.systems.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from thetadot.core.annotations import Draw, Force, Scalar, State

_NOISE = "noise"


@dataclass(frozen=True)
class PosedMotion:
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
    def rule(self) -> str:
        """Integrator and step that alone can resume a state, if the state is staggered; else ""."""
        own: object = getattr(type(self.integrator), "open", Direct.open)  # one that finds its steps has none
        staggered = own is not Direct.open
        return f"{self.integrator} with step={self.step:g}" if staggered else ""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the per-path variables."""
        return (POSITION, *(name for name in self.system.variables if name not in self.system.scalars))

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the numbers shared by all paths."""
        return (*self.system.scalars, *self.integrator.carried)

    def noise_like(self, position: Tensor) -> Tensor:
        """Return a tensor shaped as a draw of noise, (paths, dim) or (paths, sources), without memory."""
        return position.new_empty(()).expand(len(position), sources(self.system) or position.shape[-1])

    def advance(self, state: State, draw: Draw) -> State:
        """The state after one step."""
        measure = self._measure if self.system.measures else None
        return detached(whole_step(self.integrator, self.scales, state, self.force, draw, measure))

    def force(self, position: Tensor) -> Tensor:
        """Return ∇L; the position where the system uses no gradient."""
        return position if self.gradient is None else self.gradient(position)

    def begin(self, initial: Mapping[str, Tensor]) -> State:
        """Return every variable at the start, as given or as the system begins, in the rule's own form."""
        position = initial[POSITION]
        state = _path_by_path(self.system, self.integrator, position)
        for name, value in initial.items():
            own = state[name]
            wide = isinstance(own, torch.Tensor) and name not in self.system.scalars
            state[name] = value.to(own).expand(position.shape) if wide else value  # type: ignore[arg-type]
        return clocked(state)

    def require_shapes(self, state: State) -> None:
        """Raise InadmissibleValue where a drift, a noise or a loss would be broadcast to something else."""
        position = tensor_of(state, POSITION)
        paths = tuple(position.shape[:1])
        if self.potential is not None:
            with torch.enable_grad():
                found = self.potential(position.detach().requires_grad_())
            require(
                isinstance(found, torch.Tensor) and tuple(found.shape) == paths,
                f"the potential gave {_in_words(found)} for positions {tuple(position.shape)}, which",
                f"is not one value a path, {paths}",
                "Sum over the last axis alone, as in (x * x).sum(-1).",
            )
            require(
                found.requires_grad or isinstance(self.potential, Potential),
                "the potential gave values that do not depend on the positions, as far as torch can see: its force",
                "would be 0 everywhere",
                "Let it use torch's operations, without detach, numpy or no_grad, or give it a method gradient.",
            )
        for said, value in self._asked(state).items():
            mixing = sources(self.system) if said.startswith(_NOISE) else None
            shape = tuple(position.shape) if mixing is None else (*position.shape, mixing)
            fits = _broadcasts_to(value, shape) if isinstance(value, torch.Tensor) else mixing is None
            fits = fits and (mixing is None or value.shape[-1:] == (mixing,))  # one column is none for all sources
            fits = fits and not (mixing is None and self._one_a_path(said, value, state))
            require(
                fits,
                f"the {said} of {name_of(self.system)} gave {_in_words(value)} for positions {tuple(position.shape)},",
                "which does not broadcast to them" if mixing is None else f"and not {shape}",
                "Return (paths, dim), as with keepdim=True or torch.stack([...], -1)."
                if mixing is None
                else "Return (paths, dim, sources).",
            )

    def _asked(self, state: State) -> dict[str, Any]:
        """The fields; where one fails for having been given the time of every path, that is said."""
        try:
            return self._fields(state)
        except ThetadotError:
            raise
        except Exception as error:
            time = state.get(TIME)
            if not isinstance(time, torch.Tensor) or time.ndim == 0:
                raise
            raise InadmissibleValue(
                f"f(t, x) fails at t of shape {tuple(time.shape)}: {error} An adaptive integrator gives every path "
                "its own time. Let f take t (paths, 1), by torch's functions: t[:, 0] stands beside x[:, 0]."
            ) from error

    def _one_a_path(self, said: str, value: Any, state: State) -> bool:
        """Whether what fits as (dim,) or (1,) is (paths,): another number of paths tells."""
        paths = len(tensor_of(state, POSITION))
        if not isinstance(value, torch.Tensor) or tuple(value.shape) != (paths,):
            return False
        other = torch.zeros(2 if paths == 1 else 1, dtype=torch.int64)
        few = {
            k: v[other] if isinstance(v, torch.Tensor) and v.ndim == 2 and len(v) == paths else v
            for k, v in state.items()
        }
        try:
            return bool(self._fields(few)[said].shape[0] == len(other))
        except Exception:  # noqa: BLE001 - a field of so many paths and no others
            return False

    def _fields(self, state: State) -> dict[str, Any]:
        """The gradient; drift and noise of a system that has its own."""
        system, position = self.system, tensor_of(state, POSITION)
        if self.gradient is not None:
            return {"gradient": self.force(position)}
        found: dict[str, Any] = {}
        for name in self.tensors:
            found[f"drift of {name}"] = system.increment(name, state, position, 1.0)
            if isinstance(system, Multiplicative) and system.amplitude(name, 1.0) is not None:
                found[f"{_NOISE} on {name}"] = system.diffusion(name, state)
        return found

    def read(self, state: State) -> dict[str, Tensor]:
        """Return the tensors of a state, with θ for the position."""
        found = {name: tensor_of(state, name) for name in self.tensors}
        found[POSITION] = self.integrator.shown(self.scales, state)
        return found

    def _measure(self, state: State, force: Tensor) -> dict[str, Scalar]:
        """Compute the quantities that the system measures, for every path separately."""
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


def clocked(state: State) -> State:
    """Return the state with its time as a tensor, so that a field may take its cosine."""
    return {**state, TIME: torch.as_tensor(state[TIME], dtype=torch.float64)} if TIME in state else state


def detached(state: State) -> State:
    """Without what autograd would record of a function's parameters, step after step."""
    return {name: value.detach() if getattr(value, "requires_grad", False) else value for name, value in state.items()}  # type: ignore[union-attr]


def _in_words(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


def _broadcasts_to(value: Tensor, shape: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        return False


_known: set[tuple[type, str]] = set()
"""Classes that were found to be of a kind, which takes Python as long as a small simulation."""


def _require(said: str, given: object, wanted: Any, what: str, example: str) -> None:
    if (type(given), said) in _known:
        return
    if isinstance(given, type) or not isinstance(given, wanted):
        got = f"the class {given.__name__}" if isinstance(given, type) else repr(given)
        raise InadmissibleValue(f"{said}={got} is none. Pass {what}, such as {example}.")
    _known.add((type(given), said))


def require_kinds(system: object, integrator: object) -> None:
    """Raise InadmissibleValue where one is not what it must be."""
    _require("system", system, Problem | System, "a Problem or a system", "Problem(Langevin(0.1), potential) or ODE(f)")
    _require("integrator", integrator, Integrator | Embedded, "an integrator", "EulerMaruyama()")


def posed(system: System | Problem, integrator: Integrator, step: float) -> PosedMotion:
    """The motion of a system or problem; a step that is not a number for an integrator that finds its own.

    Raises:
        IncompatiblePair: the system moves by a gradient and there is no potential.
    """
    require_kinds(system, integrator)
    if isinstance(system, Problem):
        return PosedMotion(system.system, integrator, step, system.gradient, system.potential)
    if not isinstance(system, Driven):
        raise IncompatiblePair(
            f"{name_of(system)} moves by the gradient of a potential, and none was given. "
            "Pass Problem(system, potential), or loss=."
        )
    return PosedMotion(system, integrator, step, None, None)


def _path_by_path(system: System, integrator: Integrator, position: Tensor) -> State:
    """The initial state, where a number that depends on the position is one a path: (paths, 1)."""
    state = initial_state(system, integrator, position)
    if system.scalars and isinstance(system, Beginning):
        for name in system.scalars:
            if isinstance(state[name], torch.Tensor):
                rows = [torch.as_tensor(system.begin(name, row)) for row in position]
                state[name] = torch.stack(rows).reshape(-1, 1)
    return state
