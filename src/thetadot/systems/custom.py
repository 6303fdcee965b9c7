r"""A user's own motion: any field, with or without noise.

    ODE:  ẋ = f(x)  or  f(t, x)                SDE:  dx = f dt + g dW   (Itô),   dx = f dt + g ∘ dW   (Stratonovich)

The state is a tensor (paths, dim); W has one independent component an element (diagonal noise), or ``sources`` of them
that a matrix g mixes. Time, where f asks for it, is one more variable, with drift 1.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch

from thetadot.core.failures import explained
from thetadot.core.tensors import sqrt, tensor_of
from thetadot.core.validation import as_python, require_word
from thetadot.errors import InadmissibleValue
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import Scalar, State
    from thetadot.systems.base import Calculus

TIME = "time"


@explained
class Driven(ABC):
    """Base of systems whose drift is not a loss's gradient: define ``drift``, and the increment follows.

    Their ``gradient`` argument is not used.
    """

    variables: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def drift(self, name: str, state: State) -> Tensor | Scalar:
        """Time derivative of variable ``name``."""

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:  # noqa: ARG002
        """Return drift times step."""
        return step * self.drift(name, state)

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:  # noqa: ARG002
        """Return None: there is no noise."""
        return None


@explained
@dataclass(frozen=True)
class ODE(Driven):
    """Ordinary differential equation ẋ = f(x) or f(t, x).

    Args:
        f: field, of x (paths, dim) or of t and x, returns (paths, dim) or what broadcasts to it; no other tensor is
            changed in place. t is a number, or (paths, 1) where every path
            has a time of its own.

    Raises:
        InadmissibleValue: f takes neither one nor two arguments.

    Example:
        >>> decay = ODE(lambda x: -x)
        >>> decay.increment("position", {"position": torch.ones(1, 2)}, torch.zeros(1, 2), step=0.5)
        tensor([[-0.5000, -0.5000]])
        >>> ODE(lambda t, x: t * x).variables
        ('time',)
    """

    f: Callable[..., Tensor]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_timed", _arguments(self.f, "f") == 2)

    @property
    def variables(self) -> tuple[str, ...]:  # type: ignore[override]
        """Time, where f asks for it."""
        return (TIME,) if self._timed else ()  # type: ignore[attr-defined]

    @property
    def scalars(self) -> tuple[str, ...]:  # type: ignore[override]
        """Time is a number."""
        return self.variables

    def drift(self, name: str, state: State) -> Tensor | Scalar:
        """Evaluate the drift f; 1 for time."""
        return 1.0 if name == TIME else self._field(self.f, state)

    def _field(self, function: Callable[..., Tensor | float], state: State) -> Tensor | float:
        """In the position's dtype, whatever constants the function holds."""
        position = tensor_of(state, POSITION)
        if self._timed:  # type: ignore[attr-defined]
            time = state[TIME]
            own = isinstance(time, torch.Tensor) and time.ndim > 0  # a path's own clock, which is kept in float64
            found = function(time.to(position.dtype) if own else time, position)  # type: ignore[union-attr]
        else:
            found = function(position)
        if isinstance(found, torch.Tensor):
            return found if found.dtype == position.dtype else found.to(position.dtype)
        if not isinstance(found, float | int):
            raise InadmissibleValue(f"a field returned a {type(found).__name__}. Return a tensor (paths, dim).")
        return found


@explained
@dataclass(frozen=True)
class SDE(ODE):
    """dx = f dt + g dW.

    Args:
        f: drift, of x (paths, dim) or of t and x.
        g: diffusion: a number >= 0; a tensor, (dim,) or (dim, m); or a function of the same arguments as f that returns
            (paths, dim), or (paths, dim, sources), or what broadcasts to it. Orders for diagonal noise hold where g_i
            depends on x_i and t alone.
        calculus: "ito" or "stratonovich"; the same where g does not depend on x.
        sources: Brownian motions that g mixes, dx_i = f_i dt + Σ_j g_ij dW_j; None: component i has W_i for itself.
            Known of a tensor.

    Raises:
        InadmissibleValue: f and g take different arguments, a calculus that is neither, or a g that is none of these.

    Example:
        >>> growth = SDE(lambda x: 0.1 * x, lambda x: 0.4 * x)
        >>> growth.diffusion("position", {"position": torch.ones(1, 1)})
        tensor([[0.4000]])
        >>> turning = SDE(lambda x: 0 * x, lambda x: torch.stack([-x[:, 1:], x[:, :1]], 1), "stratonovich", sources=1)
        >>> turning.in_ito().f(torch.tensor([[1.0, 2.0]]))  # x = R(W) x(0), so that E x = e^(-t/2) x(0)
        tensor([[-0.5000, -1.0000]])
    """

    g: Callable[..., Tensor | float] | Tensor | float
    calculus: Calculus = "ito"
    sources: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_word(("ito", "stratonovich"), calculus=self.calculus)
        if callable(self.g):
            if (_arguments(self.g, "g") == 2) != bool(self.variables):
                raise InadmissibleValue("f and g take different arguments. Let both take x, or both take t and x.")
            object.__setattr__(self, "sources", as_python(self.sources))
            counted = isinstance(self.sources, int) and not isinstance(self.sources, bool) and self.sources >= 1
            if self.sources is not None and not counted:
                raise InadmissibleValue(f"sources={self.sources!r} is not a count >= 1. Pass one, or None.")
        else:
            object.__setattr__(self, "sources", _sources_of(self.g, self.sources))

    @property
    def additive(self) -> bool:
        """Whether g is constant, so that both calculi agree."""
        return not callable(self.g)

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:
        """√γ, which g multiplies."""
        still = isinstance(self.g, float | int) and self.g == 0
        return None if name == TIME or still else sqrt(step)

    def diffusion(self, name: str, state: State) -> Tensor | float:  # noqa: ARG002 - only the position has noise
        """Return the factor g."""
        if callable(self.g):
            return self._field(self.g, state)
        return self.g.to(tensor_of(state, POSITION)) if isinstance(self.g, torch.Tensor) else self.g

    def in_ito(self) -> SDE:
        """Return the motion in Itô's sense: drift f_i + ½ Σ_jk g_kj ∂_k g_ij of a Stratonovich equation.

        Example:
            >>> middle = SDE(lambda x: 0 * x, lambda x: 2 * x, calculus="stratonovich")
            >>> middle.in_ito().f(torch.ones(1, 1))
            tensor([[2.]])
        """
        return self._read_as("ito", 0.5)

    def in_stratonovich(self) -> SDE:
        """Return the motion in Stratonovich's sense: drift f_i - ½ Σ_jk g_kj ∂_k g_ij of an Itô equation."""
        return self._read_as("stratonovich", -0.5)

    def _read_as(self, calculus: Calculus, share: float) -> SDE:
        """Convert the drift to the other calculus, from how each source's g changes along the noise."""
        if calculus == self.calculus:
            return self
        if not callable(self.g):
            return replace(self, calculus=calculus)
        f, g, count = self.f, self.g, self.sources

        def corrected(position: Tensor, *time: Any) -> Tensor:
            def columns(x: Tensor) -> tuple[Tensor, ...]:
                value = torch.as_tensor(g(*time, x)).to(x)
                mixing = torch.diag_embed(value.expand_as(x)) if count is None else value.expand(*x.shape, count)
                return mixing.unbind(-1)

            moved: Tensor = f(*time, position)
            for j, own in enumerate(columns(position)):
                moved = moved + share * _directional_derivative(lambda x, j=j: columns(x)[j], position, own)  # type: ignore[misc]
            return moved

        drift: Callable[..., Tensor] = (lambda t, x: corrected(x, t)) if self.variables else corrected
        return replace(self, f=drift, calculus=calculus)


def _directional_derivative(function: Callable[[Tensor], Tensor], position: Tensor, direction: Tensor) -> Tensor:
    """The derivative of a function along a direction: the transpose of its pullback, which is linear.

    Forward mode would do it in one pass, but loads a deprecated part of torch.
    """
    value, pull = torch.func.vjp(function, position)  # type: ignore[misc]
    _, push = torch.func.vjp(lambda weights: pull(weights)[0], torch.zeros_like(value))  # type: ignore[misc]
    (change,) = push(direction)
    return cast("Tensor", change)


def _sources_of(g: Any, given: int | None) -> int | None:
    """How many sources a constant g mixes."""
    if isinstance(g, torch.Tensor):
        if g.ndim not in (1, 2) or not g.is_floating_point() or not bool(g.isfinite().all()):
            raise InadmissibleValue(
                f"g is a tensor of shape {tuple(g.shape)}, {g.dtype}. "
                "Pass finite floating-point numbers (dim,) or (dim, sources)."
            )
        found = g.shape[1] if g.ndim == 2 else None
    elif isinstance(g, float | int) and 0 <= g < math.inf:
        found = None
    else:
        raise InadmissibleValue(f"g={g!r} is not a number >= 0. Pass g >= 0, a tensor, or a function.")
    if given not in (None, found):
        raise InadmissibleValue(
            f"sources={given!r} does not go with this g, which has {found or 'none'}. Leave it out, or pass a tensor "
            "(dim, sources) or a function."
        )
    return found


def _arguments(function: Callable[..., object], name: str) -> int:
    """How many positional arguments it must be given: 1 or 2; 1 where Python cannot tell."""
    if not callable(function):
        raise InadmissibleValue(f"{name}={function!r} is not a function. Pass a function of x, or of t and x.")
    try:  # of a module, the signature is that of forward
        parameters = inspect.signature(getattr(function, "forward", function)).parameters.values()
    except (TypeError, ValueError):
        return 1
    needed = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is inspect.Parameter.empty
    ]
    if len(needed) not in (1, 2):
        raise InadmissibleValue(f"{name} takes {len(needed)} arguments. Let it take x, or t and x.")
    return len(needed)
