r"""Rules that carry lr, momentum, betas and ε from batch size B to B' = κB, as data.

    linear        α' = κα                                    the SDE dθ = -G dt - √(αΣ/B) dw stays   [goyal]
    square root   α' = √κ α                                  the covariance α²Σ/B of a step stays    [krizhevsky]
    Smith         α' = α, 1-β' = (1-β)/κ                     α/(B(1-β)) stays                        [smith]
    same motion   γ' = κγ, λ' = λ                            friction and temperature stay           [su2018]
    McCandlish    α = α_max/(1 + B_n/B)                      the best lr of one step                 [mccandlish]
    Malladi       α' = √κ α, 1-β' = κ(1-β), ε' = ε/√κ        Adam's SDE stays                        [malladi]
    Li            α = 2α_max/(√(B_n/B) + √(B/B_n))           the best lr of a sign step              [li]
    Marek         α' = α, β₂' = β₂^κ                         β₂'s half-life in samples stays         [marek]
    mean field    α = α_max/√(1 + πB_n/(2B))                 the best lr of a sign step, H diagonal  [su2025]
    Muon          α = α_max/√(1 + B_n/B)                     the best lr of an orthogonal step       [muon]

B_n is the noise scale. McCandlish and Li give an optimum; here both are taken relative to the present lr, as if that
were the best at B: α' = α f(B')/f(B). McCandlish rises to α_max, of which it has half at B' = B_n; Li peaks at
B' = B_n and falls.

Where sources go too far: Li's B_n is the batch size of his own peak, B_opt = πκ²β_n²/(2(1-β_n²)), and not trΣ/|G|²,
which stands in for it here as in practice; his form holds for B well below πκ²/2, beyond which the exact optimum
levels off and does not fall to 0. For B, B' ≪ B_n Li meets the square root and McCandlish the linear rule; Marek meets
neither. Malladi changes both betas, Li and the square root none. Fu (2306.09000) compares settings by α/(B(1-β)):
at fixed momentum that is the linear rule, at fixed lr it is Smith's.

Mean field: every component has the same |g|/σ, so that E sign = erf(√(B/2B_n)) ≈ (1 + πB_n/(2B))^(-1/2), within 11%.
From B = 32 to 8192, of random g, H, Σ in 40 dimensions, it stayed within 3.2 times the exact optimum, where Li's with
that stand-in fell up to 12 times below and the square root rose up to 15 times above.
:func:`thetadot.translation.optimal_sign_step` is the exact one. Muon's: E msign(G_B) ≈ (E G_B G_Bᵀ)^(-1/2) G, and of
isotropic noise E G_B G_Bᵀ = GGᵀ + mσ²/B, m rows or columns, whichever are more; where G's singular values are alike
that is G/|G|·√r (1 + B_n/B)^(-1/2), and a step has the same length whatever the noise.

Source:
    [goyal] 1706.02677; [krizhevsky] 1404.5997; [smith] 1711.00489; [su2018] https://kexue.fm/archives/5655;
    [mccandlish] 1812.06162; [malladi] 2205.10287; [li] 2405.14578; [marek] 2507.07101;
    [su2025] https://kexue.fm/archives/11280, [muon] https://kexue.fm/archives/11285 (2025), derived again here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from thetadot.core.cayley import cayley, damping, kept_friction, lr_of, step_of
from thetadot.dictionary.rule import ROUNDING, Rule

if TYPE_CHECKING:
    from thetadot.dictionary.families import Family
    from thetadot.dictionary.settings import Settings


def _linear_lr(s: Settings, new: float, _: float | None) -> Settings:
    return replace(s, lr=s.lr * (new / s.batch), batch=new)


def _root_lr(s: Settings, new: float, _: float | None) -> Settings:
    return replace(s, lr=s.lr * math.sqrt(new / s.batch), batch=new)


def _smith(s: Settings, new: float, _: float | None) -> Settings:
    momentum = None if s.momentum is None else 1.0 - (1.0 - s.momentum) / (new / s.batch)
    return replace(s, batch=new, momentum=momentum)


def _motion(s: Settings, new: float, _: float | None) -> Settings | None:
    if s.momentum is None:
        return None
    ratio = new / s.batch
    momentum = _as_float(cayley(ratio * damping(s.momentum)))
    lr = ratio * ratio * s.lr * _as_float(lr_of(1.0, momentum)) / _as_float(lr_of(1.0, s.momentum))
    return replace(s, lr=lr, batch=new, momentum=momentum)


def _as_float(x: object) -> float:
    return float(x)  # type: ignore[arg-type]  # floats in, floats out


def _mccandlish(s: Settings, new: float, noise: float | None) -> Settings | None:
    if noise is None:
        return None
    return replace(s, lr=s.lr * (1.0 + noise / s.batch) / (1.0 + noise / new), batch=new)


def _saturating(s: Settings, new: float, noise: float | None, weight: float) -> Settings | None:
    if noise is None:
        return None
    return replace(s, lr=s.lr * math.sqrt((1.0 + weight * noise / s.batch) / (1.0 + weight * noise / new)), batch=new)


def _mean_field(s: Settings, new: float, noise: float | None) -> Settings | None:
    return _saturating(s, new, noise, math.pi / 2)


def _muon(s: Settings, new: float, noise: float | None) -> Settings | None:
    return _saturating(s, new, noise, 1.0)


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


def _linear_batch(s: Settings, lr: float, _: float | None) -> float:
    return s.batch * (lr / s.lr)


def _root_batch(s: Settings, lr: float, _: float | None) -> float:
    return s.batch * (lr / s.lr) ** 2


def _motion_batch(s: Settings, lr: float, _: float | None) -> float | None:
    """The batch goes with the step, and the step is that of lr at the same friction."""
    if s.momentum is None:
        return None
    kept = _as_float(kept_friction(lr / s.lr, s.momentum))
    return s.batch * _as_float(step_of(lr, kept)) / _as_float(step_of(s.lr, s.momentum))


def _mccandlish_batch(s: Settings, lr: float, noise: float | None) -> float | None:
    if noise is None:
        return None
    return noise / ((1.0 + noise / s.batch) * s.lr / lr - 1.0)


def _saturating_batch(s: Settings, lr: float, noise: float | None, weight: float) -> float | None:
    if noise is None:
        return None
    return weight * noise / ((1.0 + weight * noise / s.batch) * (s.lr / lr) ** 2 - 1.0)


def _mean_field_batch(s: Settings, lr: float, noise: float | None) -> float | None:
    return _saturating_batch(s, lr, noise, math.pi / 2)


def _muon_batch(s: Settings, lr: float, noise: float | None) -> float | None:
    return _saturating_batch(s, lr, noise, 1.0)


def _li_batch(s: Settings, lr: float, noise: float | None) -> float | None:
    """On the present side of the peak, which has two batches to each lr below it."""
    if noise is None:
        return None
    here = math.sqrt(s.batch / noise)
    sum_ = (here + 1.0 / here) * s.lr / lr
    small = 2.0 / (sum_ + math.sqrt(sum_ * sum_ - 4.0))
    return noise * (small if here <= 1 else 1.0 / small) ** 2


def _no_condition(_: Settings, __: float, ___: float | None) -> str:
    return ""


def _below_noise(s: Settings, new: float, noise: float | None) -> str:
    largest = max(s.batch, new)
    return "" if noise is None or largest <= noise else f"batch size {largest:g} is above the noise scale {noise:.4g}"


def _noise_known(_: Settings, __: float, noise: float | None) -> str:
    return "the noise scale is not known" if noise is None else ""


def _smith_bounds(s: Settings, new: float, _: float | None) -> str:
    if s.momentum is None or (1.0 - s.momentum) * s.batch <= new * (1.0 + ROUNDING):
        return ""
    return "a batch so much smaller would need a negative momentum"


def _motion_bounds(s: Settings, new: float, _: float | None) -> str:
    if s.momentum is None:
        return "the momentum is not known"
    most = 2.0 / _as_float(damping(s.momentum))
    return (
        ""
        if new / s.batch <= most * (1.0 + ROUNDING)
        else f"a step more than {most:.3g} times as long has a damping λγ above 2"
    )


def _malladi_bounds(s: Settings, new: float, _: float | None) -> str:
    for name, beta in (("β₁", s.momentum), ("β₂", s.beta2)):
        if beta is not None and not (1.0 - beta) * new <= s.batch * (1.0 + ROUNDING):
            return f"κ(1-{name}) = {(1.0 - beta) * new / s.batch:.3g} is above 1"
    return ""


_SGD: frozenset[Family] = frozenset({"sgd"})
_ADAPTIVE: frozenset[Family] = frozenset({"adaptive"})
_SPECTRAL: frozenset[Family] = frozenset({"spectral"})

LINEAR = Rule(
    "linear",
    "Goyal et al. 2017, arXiv:1706.02677",
    "momentum descent, both batch sizes well below the noise scale, lr below the stability limit",
    _SGD,
    "momentum and temperature",
    _linear_lr,
    _below_noise,
    heat=True,
    batch_at=_linear_batch,
)
ROOT = Rule(
    "square root",
    "Krizhevsky 2014, arXiv:1404.5997",
    "any batch size; keeps the noise of a step, not the equation of motion",
    _SGD | _ADAPTIVE | _SPECTRAL,
    "the variance of one step",
    _root_lr,
    _no_condition,
    batch_at=_root_batch,
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
    batch_at=_motion_batch,
)
MCCANDLISH = Rule(
    "McCandlish",
    "McCandlish et al. 2018, arXiv:1812.06162",
    "plain descent, the noise scale known, the present lr the best at its batch size",
    _SGD,
    "the gain of a step, relative to its best",
    _mccandlish,
    _noise_known,
    batch_at=_mccandlish_batch,
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
    batch_at=_root_batch,
)
LI = Rule(
    "Li",
    "Li et al. 2024, arXiv:2405.14578",
    "Adam-like signs of gradients, the noise scale known, the present lr the best at its batch size",
    _ADAPTIVE,
    "the gain of a step, relative to its best",
    _li,
    _noise_known,
    batch_at=_li_batch,
    beyond="beyond the noise scale, which only stands in for the batch of its peak, it fell up to 12 times below the "
    "exact optimum (thetadot.translation.optimal_sign_step)",
)
MAREK = Rule(
    "Marek",
    "Marek et al. 2025, arXiv:2507.07101",
    "Adam on language models at small batch sizes",
    _ADAPTIVE,
    "lr, β₁ and the half-life of β₂ in samples",
    _marek,
    _no_condition,
)

MEAN_FIELD = Rule(
    "mean field",
    "Su 2025, kexue.fm/archives/11280",
    "signs of gradients at any batch size, curvature near diagonal, the noise scale known, the present lr the best",
    _ADAPTIVE,
    "the gain of a step, relative to its best",
    _mean_field,
    _noise_known,
    batch_at=_mean_field_batch,
)
MUON = Rule(
    "Muon",
    "Su 2025, kexue.fm/archives/11285",
    "orthogonal steps, singular values of the gradient alike, the noise scale known, the present lr the best",
    _SPECTRAL,
    "the gain of a step, relative to its best",
    _muon,
    _noise_known,
    batch_at=_muon_batch,
)

RULES: tuple[Rule, ...] = (LINEAR, ROOT, SMITH, MOTION, MCCANDLISH, MALLADI, LI, MAREK, MUON)
"""Rules that a run's page draws."""
EVERY: tuple[Rule, ...] = (*RULES, MEAN_FIELD)
