r"""A user's own motion: any field, with or without noise.

    ODE:  ẋ = f(x)  or  f(t, x)                SDE:  dx = f dt + g dW   (Itô),   dx = f dt + g ∘ dW   (Stratonovich)

The state is a tensor (paths, dim); W has one independent component an element (diagonal noise). Time, where f asks for
it, is one more variable, with drift 1.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from thetadot.errors import InadmissibleValue
from thetadot.kinds import require_numbers
from thetadot.systems.base import POSITION
from thetadot.tensors import sqrt, tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.systems.base import Calculus
    from thetadot.typing import Scalar, State

TIME = "time"


class Driven(ABC):
    """What systems share whose drift is their own and not a loss's: say ``drift``, and the increment follows.

    Their ``gradient`` argument is not used.
    """

    variables: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def drift(self, name: str, state: State) -> Tensor | Scalar:
        """Time derivative of variable ``name``."""

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:  # noqa: ARG002
        """Drift times step."""
        return step * self.drift(name, state)

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:  # noqa: ARG002
        """No noise."""
        return None


@dataclass(frozen=True)
class ODE(Driven):
    """ẋ = f(x) or f(t, x).

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
        """f; 1 for time."""
        return 1.0 if name == TIME else self._field(self.f, state)

    def _field(self, function: Callable[..., Tensor], state: State) -> Tensor:
        """In the position's dtype, whatever constants the function holds."""
        position = tensor_of(state, POSITION)
        found = function(state[TIME], position) if self._timed else function(position)  # type: ignore[attr-defined]
        if found is None or isinstance(found, str):
            raise InadmissibleValue(
                f"a function of positions {tuple(position.shape)} gave {found!r}. Return a tensor, (paths, dim)."
            )
        return found.to(position.dtype) if isinstance(found, torch.Tensor) else found


@dataclass(frozen=True)
class SDE(ODE):
    """dx = f dt + g dW with diagonal noise.

    Args:
        f: drift, of x (paths, dim) or of t and x.
        g: diffusion, of the same arguments, returns (paths, dim) or what broadcasts to it; or a number >= 0.
            g_i may depend on x_i and t; :class:`~thetadot.integrators.Milstein` needs that.
        calculus: "ito" or "stratonovich"; the same where g does not depend on x.

    Raises:
        InadmissibleValue: f and g take different arguments, or a calculus that is neither.

    Example:
        >>> growth = SDE(lambda x: 0.1 * x, lambda x: 0.4 * x)
        >>> growth.diffusion("position", {"position": torch.ones(1, 1)})
        tensor([[0.4000]])
    """

    g: Callable[..., Tensor | float] | float
    calculus: Calculus = "ito"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.calculus not in ("ito", "stratonovich"):
            raise InadmissibleValue(f"calculus={self.calculus!r} is unknown. Pass 'ito' or 'stratonovich'.")
        if callable(self.g):
            if (_arguments(self.g, "g") == 2) != bool(self.variables):
                raise InadmissibleValue("f and g take different arguments. Let both take x, or both take t and x.")
        else:
            require_numbers(g=self.g)
            if not 0 <= self.g < math.inf:
                raise InadmissibleValue(f"g={self.g} is not a finite number >= 0. Pass g >= 0, or a function.")

    @property
    def additive(self) -> bool:
        """Whether g is a number, so that both calculi agree."""
        return not callable(self.g)

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:
        """√γ, which g multiplies."""
        return None if name == TIME or self.g == 0 else sqrt(step)

    def diffusion(self, name: str, state: State) -> Tensor | float:  # noqa: ARG002 - only the position has noise
        """The factor g."""
        return self._field(self.g, state) if callable(self.g) else self.g  # type: ignore[arg-type]

    def in_ito(self) -> SDE:
        """The same motion in Itô's sense: drift f + ½ g g' of a Stratonovich equation.

        Example:
            >>> middle = SDE(lambda x: 0 * x, lambda x: 2 * x, calculus="stratonovich")
            >>> middle.in_ito().f(torch.ones(1, 1))
            tensor([[2.]])
        """
        return self._read_as("ito", 0.5)

    def in_stratonovich(self) -> SDE:
        """The same motion in Stratonovich's sense: drift f - ½ g g' of an Itô equation."""
        return self._read_as("stratonovich", -0.5)

    def _read_as(self, calculus: Calculus, share: float) -> SDE:
        """With the drift that belongs to the other calculus; g' by automatic differentiation, as g_i depends on x_i."""
        if calculus == self.calculus:
            return self
        if not callable(self.g):
            return replace(self, calculus=calculus)
        f, g = self.f, self.g

        def corrected(position: Tensor, *time: Any) -> Tensor:
            def diffusion(x: Tensor) -> Tensor:
                return torch.as_tensor(g(*time, x)).to(x).expand_as(x)

            value, pull = torch.func.vjp(diffusion, position)  # type: ignore[misc]
            (slope,) = pull(torch.ones_like(value))
            moved: Tensor = f(*time, position) + share * value * slope
            return moved

        drift: Callable[..., Tensor] = (lambda t, x: corrected(x, t)) if self.variables else corrected
        return replace(self, f=drift, calculus=calculus)


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
