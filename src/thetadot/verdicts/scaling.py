r"""Rules that carry lr, momentum, betas and ε from batch size B to B' = κB, as data.

    linear        α' = κα                                    the SDE dθ = -G dt - √(αΣ/B) dw stays   [goyal]
    square root   α' = √κ α                                  the covariance α²Σ/B of a step stays    [krizhevsky]
    Smith         α' = α, 1-β' = (1-β)/κ                     α/(B(1-β)) stays                        [smith]
    same motion   γ' = κγ, λ' = λ                            friction and temperature stay           [su2018]
    McCandlish    α = α_max/(1 + B_n/B)                      the best lr of one step                 [mccandlish]
    Malladi       α' = √κ α, 1-β' = κ(1-β), ε' = ε/√κ        Adam's SDE stays                        [malladi]
    Li            α = 2α_max/(√(B_n/B) + √(B/B_n))           the best lr of a sign step              [li]
    Marek         α' = α, β₂' = β₂^κ                         β₂'s half-life in samples stays         [marek]

B_n is the noise scale. McCandlish and Li give an optimum; here both are taken relative to the present lr, as if that
were the best at B: α' = α f(B')/f(B). McCandlish rises to α_max, of which it has half at B' = B_n; Li peaks at
B' = B_n and falls.

Where sources go too far: Li's B_n is the batch size of his own peak, B_opt = πκ²β_n²/(2(1-β_n²)), and not trΣ/|G|²,
which stands in for it here as in practice; his form holds for B well below πκ²/2, beyond which the exact optimum
levels off and does not fall to 0. For B, B' ≪ B_n Li meets the square root and McCandlish the linear rule; Marek meets
neither. Malladi changes both betas, Li and the square root none. Fu (2306.09000) compares settings by α/(B(1-β)):
at fixed momentum that is the linear rule, at fixed lr it is Smith's.

Source:
    [goyal] 1706.02677; [krizhevsky] 1404.5997; [smith] 1711.00489; [su2018] https://kexue.fm/archives/5655;
    [mccandlish] 1812.06162; [malladi] 2205.10287; [li] 2405.14578; [marek] 2507.07101.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from thetadot.core.cayley import cayley, damping, lr_of
from thetadot.verdicts.families import Family, family_of

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Settings:
    """Settings that a rule changes; None where one is not known or does not exist.

    Attributes:
        lr: α > 0.
        batch: B > 0.
        momentum: β of momentum descent, β₁ of an adaptive method; in [0, 1).
        beta2: in (0, 1).
        eps: ε >= 0.
        decay: weight decay w >= 0, which every rule leaves as it is.
        decoupled: whether it acts beside the gradient.
    """

    lr: float
    batch: float
    momentum: float | None = None
    beta2: float | None = None
    eps: float | None = None
    decay: float = 0.0
    decoupled: bool = True


@dataclass(frozen=True)
class Rule:
    """A rule of the table.

    Attributes:
        name: what it is called.
        source: where it is from.
        condition: when it is meant to hold, in words.
        families: the optimizers that it is for.
        keeps: what it leaves unchanged, in words.
        move: settings, B' and B_n to settings; unchecked. None where something it needs is not known.
        bounds: why the rule does not hold there; "" where it does.
    """

    name: str
    source: str
    condition: str
    families: frozenset[Family]
    keeps: str
    move: Callable[[Settings, float, float | None], Settings | None]
    bounds: Callable[[Settings, float, float | None], str]
    heat: bool = False  # whether what it keeps is, or rests on, the temperature of independent draws

    def applies(self, family: str) -> bool:
        """Whether the rule is meant for "sgd" or "adaptive", or an optimizer of such a name."""
        return family_of(family) in self.families

    def outside(self, present: Settings, new_batch: float, noise_scale: float | None) -> str:
        """Why the rule does not hold for this change; "" where it does."""
        given = {"lr": present.lr, "batch size": present.batch, "new batch size": new_batch}
        for name, value in given.items():
            if not 0 < value < math.inf:
                return f"{name} {value:g} is not a positive number"
        if noise_scale is not None and not 0 < noise_scale < math.inf:
            return f"noise scale {noise_scale:g} is not a positive number"
        if present.momentum is not None and not 0 <= present.momentum < 1:
            return f"momentum {present.momentum:g} is outside [0, 1)"
        if present.beta2 is not None and not 0 < present.beta2 < 1:
            return f"beta2 {present.beta2:g} is outside (0, 1)"
        return self.bounds(present, new_batch, noise_scale)

    def settings(self, present: Settings, new_batch: float, noise_scale: float | None = None) -> Settings | None:
        """The settings at the new batch size; None where the rule does not hold.

        Example:
            >>> adam = Settings(lr=0.001, batch=64, momentum=0.9, beta2=0.99, eps=1e-8)
            >>> new = MALLADI.settings(adam, 256)
            >>> round(new.lr, 9), round(new.momentum, 9), round(new.beta2, 9), round(new.eps, 12)
            (0.002, 0.6, 0.96, 5e-09)
            >>> MALLADI.settings(adam, 1024) is None  # 16·(1-β₁) > 1
            True
        """
        if self.outside(present, new_batch, noise_scale):
            return None
        return self.unbounded(present, new_batch, noise_scale)

    def unbounded(self, present: Settings, new_batch: float, noise_scale: float | None) -> Settings | None:
        """Apply the formula even outside the rule's range; None where it gives no admissible setting."""
        try:
            new = self.move(present, new_batch, noise_scale)
        except (ArithmeticError, ValueError):
            return None
        return new if new is not None and _admissible(new) else None

    def lr(
        self,
        lr: float,
        batch: float,
        new_batch: float,
        noise_scale: float | None,
        *,
        momentum: float | None = None,
    ) -> float | None:
        """The learning rate alone; None where the rule does not hold, or needs a momentum that is not given.

        Example:
            >>> LINEAR.lr(0.1, 32, 64, 1000.0), LINEAR.lr(0.1, 32, 2048, 1000.0)
            (0.2, None)
        """
        new = self.settings(Settings(lr, batch, momentum), new_batch, noise_scale)
        return None if new is None else new.lr


def _admissible(new: Settings) -> bool:
    return (
        0 < new.lr < math.inf
        and 0 < new.batch < math.inf
        and (new.momentum is None or 0 <= new.momentum < 1)
        and (new.beta2 is None or 0 < new.beta2 < 1)
    )


def _linear(s: Settings, new: float, _: float | None) -> Settings:
    return replace(s, lr=s.lr * (new / s.batch), batch=new)


def _root(s: Settings, new: float, _: float | None) -> Settings:
    return replace(s, lr=s.lr * math.sqrt(new / s.batch), batch=new)


def _smith(s: Settings, new: float, _: float | None) -> Settings:
    momentum = None if s.momentum is None else 1.0 - (1.0 - s.momentum) / (new / s.batch)
    return replace(s, batch=new, momentum=momentum)


def _motion(s: Settings, new: float, _: float | None) -> Settings | None:
    if s.momentum is None:
        return None
    ratio = new / s.batch
    momentum = _number(cayley(ratio * damping(s.momentum)))
    lr = ratio * ratio * s.lr * _number(lr_of(1.0, momentum)) / _number(lr_of(1.0, s.momentum))
    return replace(s, lr=lr, batch=new, momentum=momentum)


def _number(x: object) -> float:
    return float(x)  # type: ignore[arg-type]  # floats in, floats out


def _mccandlish(s: Settings, new: float, noise: float | None) -> Settings | None:
    if noise is None:
        return None
    return replace(s, lr=s.lr * (1.0 + noise / s.batch) / (1.0 + noise / new), batch=new)


def _malladi(s: Settings, new: float, _: float | None) -> Settings:
    ratio = new / s.batch
    momentum = None if s.momentum is None else 1.0 - ratio * (1.0 - s.momentum)
    beta2 = None if s.beta2 is None else 1.0 - ratio * (1.0 - s.beta2)
    eps = None if s.eps is None else s.eps / math.sqrt(ratio)
    return replace(s, lr=s.lr * math.sqrt(ratio), batch=new, momentum=momentum, beta2=beta2, eps=eps)


def _li(s: Settings, new: float, noise: float | None) -> Settings | None:
    if noise is None:
        return None

    def slowness(batch: float) -> float:
        return math.sqrt(noise / batch) + math.sqrt(batch / noise)

    return replace(s, lr=s.lr * slowness(s.batch) / slowness(new), batch=new)


def _marek(s: Settings, new: float, _: float | None) -> Settings:
    beta2 = None if s.beta2 is None else s.beta2 ** (new / s.batch)
    return replace(s, batch=new, beta2=beta2)


def _always(_: Settings, __: float, ___: float | None) -> str:
    return ""


def _below_noise(s: Settings, new: float, noise: float | None) -> str:
    largest = max(s.batch, new)
    return "" if noise is None or largest <= noise else f"batch size {largest:g} is above the noise scale {noise:.4g}"


def _noise_known(_: Settings, __: float, noise: float | None) -> str:
    return "the noise scale is not known" if noise is None else ""


def _smith_bounds(s: Settings, new: float, _: float | None) -> str:
    if s.momentum is None or (1.0 - s.momentum) * s.batch <= new:
        return ""
    return "a batch so much smaller would need a negative momentum"


def _motion_bounds(s: Settings, new: float, _: float | None) -> str:
    if s.momentum is None:
        return "the momentum is not known"
    most = 2.0 / _number(damping(s.momentum))
    return "" if new / s.batch <= most else f"a step more than {most:.3g} times as long has a damping λγ above 2"


def _malladi_bounds(s: Settings, new: float, _: float | None) -> str:
    for name, beta in (("β₁", s.momentum), ("β₂", s.beta2)):
        if beta is not None and not (1.0 - beta) * new <= s.batch:
            return f"κ(1-{name}) = {(1.0 - beta) * new / s.batch:.3g} is above 1"
    return ""


_SGD: frozenset[Family] = frozenset({"sgd"})
_ADAPTIVE: frozenset[Family] = frozenset({"adaptive"})
_BOTH = _SGD | _ADAPTIVE

LINEAR = Rule(
    "linear",
    "Goyal et al. 2017, arXiv:1706.02677",
    "momentum descent, both batch sizes well below the noise scale, lr below the stability limit",
    _SGD,
    "momentum and temperature",
    _linear,
    _below_noise,
    heat=True,
)
ROOT = Rule(
    "square root",
    "Krizhevsky 2014, arXiv:1404.5997",
    "any batch size; keeps the noise of a step, not the equation of motion",
    _BOTH,
    "the variance of one step",
    _root,
    _always,
)
SMITH = Rule(
    "Smith",
    "Smith et al. 2017, arXiv:1711.00489",
    "momentum descent, batch size far below the data set; loses accuracy at momentum near 1",
    _SGD,
    "lr and temperature",
    _smith,
    _smith_bounds,
    heat=True,
)
MOTION = Rule(
    "same motion",
    "Su 2018, kexue.fm/archives/5655",
    "momentum descent; the damping λγ of the longer step at most 2",
    _SGD,
    "friction and temperature",
    _motion,
    _motion_bounds,
    heat=True,
)
MCCANDLISH = Rule(
    "McCandlish",
    "McCandlish et al. 2018, arXiv:1812.06162",
    "plain descent, the noise scale known, the present lr the best at its batch size",
    _SGD,
    "the gain of a step, relative to its best",
    _mccandlish,
    _noise_known,
)
MALLADI = Rule(
    "Malladi",
    "Malladi et al. 2022, arXiv:2205.10287",
    "Adam or RMSprop dominated by noise; κ(1-β) at most 1 for both betas",
    _ADAPTIVE,
    "Adam's equation of motion",
    _malladi,
    _malladi_bounds,
    heat=True,
)
LI = Rule(
    "Li",
    "Li et al. 2024, arXiv:2405.14578",
    "Adam-like signs of gradients, the noise scale known, the present lr the best at its batch size",
    _ADAPTIVE,
    "the gain of a step, relative to its best",
    _li,
    _noise_known,
)
MAREK = Rule(
    "Marek",
    "Marek et al. 2025, arXiv:2507.07101",
    "Adam on language models at small batch sizes",
    _ADAPTIVE,
    "lr, β₁ and the half-life of β₂ in samples",
    _marek,
    _always,
)

RULES: tuple[Rule, ...] = (LINEAR, ROOT, SMITH, MOTION, MCCANDLISH, MALLADI, LI, MAREK)
