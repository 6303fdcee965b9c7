r"""Choice of the next step's length by a PID controller of the local error.

    h' = h · clip(s · e_n^{-(k_I + k_P + k_D)/q} · e_{n-1}^{(k_P + 2k_D)/q} · e_{n-2}^{-k_D/q}, least, most)

e is the error in units of the tolerance, q the local order that it shrinks with. A step is accepted where e <= 1.
k_I = 1 alone is the textbook rule; the default is Hairer's for Dormand-Prince, which damps the rejections of stiff
stretches.

Source:
    Gustafsson (1991); Hairer, Wanner, "Solving Ordinary Differential Equations II" (1996), IV.2; Soderlind (2003).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.core.failures import explained
from thetadot.core.signatures import checked
from thetadot.errors import require

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = 1e-4
"""Of an error that is remembered: one lucky step says little about the next."""


@explained
@checked
@dataclass(frozen=True)
class Controller:
    """A PID controller; numbers and a pure function of errors.

    Args:
        proportional: k_P >= 0.
        integral: k_I > 0.
        derivative: k_D >= 0.
        safety: s in (0, 1].
        least: smallest factor, in (0, 1).
        most: largest factor, > 1.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> textbook = Controller(proportional=0.0, integral=1.0)
        >>> error = torch.tensor([[32.0]])
        >>> textbook.factor((error, torch.ones(1, 1), torch.ones(1, 1)), order=5)  # 0.9/2
        tensor([[0.4500]])
    """

    proportional: float = 0.2
    integral: float = 0.65
    derivative: float = 0.0
    safety: float = 0.9
    least: float = 0.2
    most: float = 10.0

    def __post_init__(self) -> None:
        for name in ("proportional", "derivative"):
            value = getattr(self, name)
            require(0 <= value < float("inf"), f"{name}={value:g}", "is negative or not finite", f"Pass {name} >= 0.")
        require(
            0 < self.integral < float("inf"), f"integral={self.integral:g}", "is not positive", "Pass integral > 0."
        )
        require(0 < self.safety <= 1, f"safety={self.safety:g}", "is outside (0, 1]", "Pass safety <= 1, such as 0.9.")
        require(0 < self.least < 1, f"least={self.least:g}", "is outside (0, 1)", "Pass least < 1, such as 0.2.")
        require(1 < self.most < float("inf"), f"most={self.most:g}", "is not above 1", "Pass most > 1, such as 10.")

    @property
    def gains(self) -> tuple[float, float, float]:
        """Gains of the last three errors, the latest first; times -1/q they are exponents."""
        return (
            self.integral + self.proportional + self.derivative,
            -self.proportional - 2.0 * self.derivative,
            self.derivative,
        )

    def factor(self, errors: tuple[Tensor, Tensor, Tensor], order: int) -> Tensor:
        """Return the factor on the step; ``least`` where an error is not finite.

        Args:
            errors: e_n, e_{n-1}, e_{n-2} >= 0, (paths, 1).
            order: q, the power of the step that the error is.
        """
        product = torch.full_like(errors[0], self.safety)
        for error, gain in zip(errors, self.gains, strict=True):
            product = product * error.clamp(min=FLOOR) ** (-gain / order)
        return product.nan_to_num(self.least, self.most, self.least).clamp(self.least, self.most)
