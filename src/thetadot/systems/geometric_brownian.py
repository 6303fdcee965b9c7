r"""Geometric Brownian motion: growth at a random rate.

    dS = μS dt + σS dW   (Itô),    d ln S = (μ - σ²/2) dt + σ dW                                  [su2016]

so ln(S_T/S₀) is normal with mean (μ-σ²/2)T and variance σ²T, while E S_T = S₀e^{μT}: the mean grows faster than the
typical path by the Itô correction σ²/2. In Stratonovich's sense the same motion is dS = (μ-σ²/2)S dt + σS∘dW.

At μ = r, the discounted mean of max(S_T - K, 0) is the price of a call,

    C = S₀Φ(d₁) - Ke^{-rT}Φ(d₂),    d₁ = [ln(S₀/K) + (r+σ²/2)T]/(σ√T),    d₂ = d₁ - σ√T    [black1973]

(The article's eqs. 72-77 have σ where σ² belongs, and 72 another sign and factor of the drift.)

Source:
    [su2016] Su Jianlin, https://kexue.fm/archives/3766 (2016).
    [black1973] Black, Scholes, "The pricing of options and corporate liabilities".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.failures import explained
from thetadot.core.signatures import checked
from thetadot.core.tensors import sqrt, tensor_of
from thetadot.core.validation import require_word
from thetadot.errors import require
from thetadot.systems.base import POSITION
from thetadot.systems.custom import Driven

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Scalar, State
    from thetadot.systems.base import Calculus


@explained
@checked
@dataclass(frozen=True)
class GeometricBrownian(Driven):
    """Position: S (paths, dim), each coordinate with noise of its own.

    Args:
        growth: μ, in 1/time.
        volatility: σ >= 0, in 1/√time.
        calculus: "ito" or "stratonovich": the sense of σS dW, and so of μ.

    Raises:
        InadmissibleValue: a number out of range, or a calculus that is neither.

    Example:
        >>> stock = GeometricBrownian(growth=0.1, volatility=0.4)
        >>> [round(x, 12) for x in stock.log_law(2.0)]  # mean (0.1 - 0.08)·2, variance 0.16·2
        [0.04, 0.32]
        >>> round(GeometricBrownian(growth=0.05, volatility=0.2).call_price(100.0, strike=100.0, time=1.0), 6)
        10.450584
    """

    growth: float
    volatility: float
    calculus: Calculus = "ito"

    def __post_init__(self) -> None:
        require(math.isfinite(self.growth), f"growth={self.growth:g}", "is not finite", "Pass a finite number.")
        admissible = 0 <= self.volatility < math.inf
        require(admissible, f"volatility={self.volatility:g}", "is negative or not finite", "Pass volatility >= 0.")
        require_word(("ito", "stratonovich"), calculus=self.calculus)

    def drift(self, name: str, state: State) -> Tensor:  # noqa: ARG002 - there is one variable
        """Return the drift μS."""
        return self.growth * tensor_of(state, POSITION)

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:  # noqa: ARG002
        """√γ, which the diffusion multiplies; None at volatility 0."""
        return None if self.volatility == 0 else sqrt(step)

    def diffusion(self, name: str, state: State) -> Tensor:  # noqa: ARG002
        """Return the diffusion σS."""
        return self.volatility * tensor_of(state, POSITION)

    @property
    def correction(self) -> float:
        """σ²/2, by which the mean outgrows the typical path."""
        return self.volatility**2 / 2.0

    @property
    def mean_growth(self) -> float:
        """Growth of the mean: μ of Itô's sense."""
        return self.growth if self.calculus == "ito" else self.growth + self.correction

    @property
    def typical_growth(self) -> float:
        """Growth of the logarithm: μ of Stratonovich's sense."""
        return self.growth if self.calculus == "stratonovich" else self.growth - self.correction

    def in_ito(self) -> GeometricBrownian:
        """Return the motion in Itô's sense."""
        return GeometricBrownian(self.mean_growth, self.volatility)

    def in_stratonovich(self) -> GeometricBrownian:
        """Return the motion in Stratonovich's sense."""
        return GeometricBrownian(self.typical_growth, self.volatility, "stratonovich")

    def solution(self, start: Tensor, time: float, brownian: Tensor) -> Tensor:
        """S₀ exp((μ-σ²/2)t + σW) along a path with W at time t."""
        return start * (self.typical_growth * time + self.volatility * brownian).exp()

    def log_law(self, time: float) -> tuple[float, float]:
        """Mean and variance of ln(S_T/S₀)."""
        return self.typical_growth * time, self.volatility**2 * time

    def mean(self, start: float, time: float) -> float:
        """Return the mean E S_T = S₀e^{μT}."""
        return start * math.exp(self.mean_growth * time)

    def variance(self, start: float, time: float) -> float:
        """Return the variance S₀²e^{2μT}(e^{σ²T} - 1)."""
        return self.mean(start, time) ** 2 * math.expm1(self.volatility**2 * time)

    def call_price(self, spot: float, *, strike: float, time: float) -> float:
        """C: the mean of max(S_T - K, 0), discounted at the growth of the mean.

        Args:
            spot: S₀ > 0.
            strike: K > 0.
            time: T >= 0.

        Raises:
            InadmissibleValue: a number out of range.
        """
        for name, value in (("spot", spot), ("strike", strike)):
            require(0 < value < math.inf, f"{name}={value:g}", "is not positive and finite", f"Pass {name} > 0.")
        require(0 <= time < math.inf, f"time={time:g}", "is negative or not finite", "Pass time >= 0.")
        owed = strike * math.exp(-self.mean_growth * time)
        spread = self.volatility * math.sqrt(time)
        if spread == 0:
            return max(spot - owed, 0.0)
        upper = math.log(spot / owed) / spread + spread / 2.0
        return spot * _normal(upper) - owed * _normal(upper - spread)


def _normal(x: float) -> float:
    """Return the normal distribution function Φ."""
    return math.erfc(-x / math.sqrt(2.0)) / 2.0
