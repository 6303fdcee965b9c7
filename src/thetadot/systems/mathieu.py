r"""The inverted pendulum that stands because its pivot shakes, and Mathieu's equation.

    lθ̈ + λlθ̇ + [hω² cos ωt - g] sin θ = 0                                                     [su2013]

θ is counted from upright. Averaged over the fast motion, small θ oscillates at

    Ω² = h²ω²/(2l²) - g/l     (λ = 0),    so that it stands for ω > √(2gl)/h

to leading order in h/l. Linearized and in τ = ωt/2 it is Mathieu's equation

    y'' + (a - 2q cos 2τ) y = 0,    a = -4g/(lω²),    q = 2h/l

(up to half a period), whose stability is decided by the Floquet multipliers over a period π. Above q = 0.908 (a = 0)
shaking too hard overthrows it again. That ω be large against √(g/h), which the article also asks for, is necessary
and not sufficient.

Source:
    [su2013] Su Jianlin, https://kexue.fm/archives/2471 (2013); Kapitza (1951).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from thetadot.core.failures import explained
from thetadot.core.signatures import checked
from thetadot.core.tensors import cos, tensor_of
from thetadot.errors import require
from thetadot.systems.base import POSITION
from thetadot.systems.custom import TIME, Driven

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Scalar, State


@explained
@checked
@dataclass(frozen=True)
class InvertedPendulum(Driven):
    """Position: the angle θ from upright (paths, dim). Variables: "velocity" θ̇, and the number "time".

    Args:
        frequency: ω > 0 of the pivot, in 1/time.
        height: h >= 0, by which the pivot goes up and down, a length.
        length: l > 0.
        gravity: g, length/time²; negative for a pendulum that hangs.
        friction: λ >= 0, in 1/time.
        linear: θ in place of sin θ.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> pendulum = InvertedPendulum(frequency=500.0)
        >>> round(pendulum.threshold, 4), round(math.sqrt(pendulum.slow_square), 7)
        (447.2136, 1.5811388)
    """

    frequency: float
    height: float = 0.01
    length: float = 1.0
    gravity: float = 10.0
    friction: float = 0.0
    linear: bool = False

    variables: ClassVar[tuple[str, ...]] = ("velocity", TIME)
    scalars: ClassVar[tuple[str, ...]] = (TIME,)

    def __post_init__(self) -> None:
        for name in ("frequency", "length"):
            value = getattr(self, name)
            require(0 < value < math.inf, f"{name}={value:g}", "is not positive and finite", f"Pass {name} > 0.")
        for name in ("height", "friction"):
            value = getattr(self, name)
            require(0 <= value < math.inf, f"{name}={value:g}", "is negative or not finite", f"Pass {name} >= 0.")
        require(math.isfinite(self.gravity), f"gravity={self.gravity:g}", "is not finite", "Pass a finite number.")

    def drift(self, name: str, state: State) -> Tensor | Scalar:
        """Return the rate of change θ̇, θ̈ or 1 of variable ``name``."""
        if name == TIME:
            return 1.0
        velocity = tensor_of(state, "velocity")
        if name == POSITION:
            return velocity
        angle = tensor_of(state, POSITION)
        return -self._stiffness(state[TIME]) * (angle if self.linear else angle.sin()) - self.friction * velocity

    def stiffness(self, time: float | Tensor) -> Scalar:
        """Return the stiffness (hω² cos ωt - g)/l."""
        return self._stiffness(time)

    def _stiffness(self, time: float | Tensor) -> Scalar:
        """The same for engines, whose times are symbols."""
        drive = self.height * self.frequency**2 / self.length
        return drive * cos(self.frequency * time) - self.gravity / self.length

    def matrix(self, time: Tensor) -> Tensor:
        """A(t) of d(θ, θ̇)/dt = A(t)(θ, θ̇) near upright: (..., 2, 2)."""
        zero = torch.zeros_like(time)
        stiffness = self.stiffness(time) + zero
        rows = torch.stack((zero, zero + 1.0, -stiffness, zero - self.friction), -1)
        return rows.reshape(*time.shape, 2, 2)

    @property
    def period(self) -> float:
        """Period 2π/ω of the drive."""
        return 2.0 * math.pi / self.frequency

    @property
    def slow_square(self) -> float:
        """Squared slow frequency Ω² by averaging; negative where the upright position is unstable."""
        return (self.height * self.frequency / self.length) ** 2 / 2.0 - self.gravity / self.length

    @property
    def threshold(self) -> float:
        """Frequency √(2gl)/h above which the upright pendulum is stable, by averaging; 0 without gravity."""
        if self.gravity <= 0:
            return 0.0
        return math.sqrt(2.0 * self.gravity * self.length) / self.height if self.height else math.inf

    @property
    def mathieu(self) -> tuple[float, float]:
        """Parameters (a, q) = (-4g/(lω²), 2h/l) of Mathieu's equation."""
        return -4.0 * self.gravity / (self.length * self.frequency**2), 2.0 * self.height / self.length


@checked
def mathieu_matrix(time: Tensor, curvature: Tensor, drive: Tensor) -> Tensor:
    """A(τ) of y'' + (a - 2q cos 2τ) y = 0 as a system of first order, period π: (..., 2, 2).

    Args:
        time: τ.
        curvature: a.
        drive: q. All three are broadcast.

    Example:
        >>> zero = torch.tensor(0.0)
        >>> mathieu_matrix(zero, curvature=torch.tensor(3.0), drive=torch.tensor(1.0))
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """
    stiffness = curvature - 2.0 * drive * (2.0 * time).cos()
    zero = torch.zeros_like(stiffness)
    return torch.stack((zero, zero + 1.0, -stiffness, zero), -1).reshape(*stiffness.shape, 2, 2)
