r"""What settings are in mechanics: clock, step, friction, temperature, and the spring that weight decay is.

Every optimizer here is heavy ball, v' = βv - aP⁻¹g, in the metric of a preconditioner P that hardly moves:

    kick       P = 1 (sgd, heavy-ball, nesterov) or √v̂ (rmsprop), a = α
    mean       P = √v̂ (adam, adamw), a = α(1-β₁)
    spectral   P of the orthogonalised mean (muon), a = α(1-β)
    none       β = 0, a = α, P = σ√(π/2B) (sign)

    clock      a/(1-β) a step: what Σ counts on the way to the same place
    γ = √(2a/(1+β)),  λ = (1-β)√(2/(a(1+β)))                                            [su2018, eq. 15]
    T = α s²/(2(1-β)B)                P = 1; s² variance of one sample's gradient, per component
    T = α σ̄/(2√B),  α σ̄/(2(1-μ)√B)   adam, rmsprop, where noise makes P = σ/√B; σ̄ mean deviation of one sample
    T = α σ̄ √(π/8B)                   sign, where noise is above the gradient

Weight decay w is a spring ½k|θ|² added to the loss. Coupled (l2): k = w. Decoupled, θ' = (1-αw)θ + ...:
k = w(1-β) of a kick, and k = w in the metric P of a mean. Without a gradient θ falls by e in

    1/(αw) steps, decoupled;  (1-β)/(αw), coupled and P = 1;  not known, coupled behind P (it is P(1-β)/(aw))

for αw well below 1, coupled well below (1-β)². AdamW is a mean over its own updates: θ' = (1-αw)θ + αw(-u/w), so that
this decay time is how long an update counts [wang]; it is told in steps, in samples (times B) and in epochs (over N).
The memory of squares is told as their half-life in samples, B ln 2/ln(1/β₂) [marek]. Amos' own decay takes ½α² of a
tensor a step as it begins.

Temperatures are those of batches drawn independently, in the limit of small steps.

Source:
    [su2018] https://kexue.fm/archives/5655; [wang] Wang, Aitchison, arXiv 2405.13698; [marek] arXiv 2507.07101;
    temperatures of adaptive steps: derived here, and measured in the tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.cayley import damping, friction_of, step_of
from thetadot.dictionary.optimizers import Optimizer, optimizer_named, settings_of

if TYPE_CHECKING:
    from thetadot.dictionary.settings import Settings


@dataclass(frozen=True)
class Twins:
    """Mechanical twins of an optimizer's settings; None where one does not exist or is not known.

    Attributes:
        optimizer: its name.
        metric: in what the motion is heavy ball, "1" or "P", of which curvatures are those of P⁻¹H.
        clock: a/(1-β), time² that one step counts.
        step: γ, time.
        friction: λ, 1/time.
        damping: λγ.
        heat: T over ``heat_unit``.
        heat_unit: "s²", variance of a component of one sample's gradient; "σ", its mean deviation.
        spring: k, curvature that weight decay adds in ``metric``; behind P a coupled one adds this to H and not P⁻¹H.
        decay_steps: decay time of a parameter without gradient, in steps.
        decay_samples: the same in samples.
        decay_epochs: the same in epochs.
        decay_time: the same in units of time, γ a step.
        memory_samples: B/(1-β), over which the velocity or mean remembers.
        half_life_samples: B ln 2/ln(1/β₂), half-life of the mean of squares.
        half_life_epochs: the same in epochs.
        run_steps: steps of the run.
        run_decays: decay times that the run lasts.
    """

    optimizer: str
    metric: str
    clock: float
    step: float
    friction: float
    damping: float
    heat: float | None
    heat_unit: str | None
    spring: float
    decay_steps: float | None
    decay_samples: float | None
    decay_epochs: float | None
    decay_time: float | None
    memory_samples: float | None
    half_life_samples: float | None
    half_life_epochs: float | None
    run_steps: float | None
    run_decays: float | None


def twins(
    optimizer: str = "sgd",
    *,
    lr: float,
    batch_size: float,
    momentum: float | None = None,
    beta2: float | None = None,
    eps: float | None = None,
    weight_decay: float = 0.0,
    decoupled: bool | None = None,
    epochs: float | None = None,
    dataset_size: float | None = None,
) -> Twins:
    """Twins of an optimizer's settings in mechanics; see the module for formulas and where they hold.

    Args:
        optimizer: sgd, heavy-ball, nesterov, adam, adamw, rmsprop, sign, amos or muon.
        lr: α > 0.
        batch_size: B > 0.
        momentum: 0 <= β < 1, β₁ of a mean; the optimizer's default where it is left out.
        beta2: 0 < β₂ < 1, memory of squares.
        eps: ε >= 0.
        weight_decay: w >= 0.
        decoupled: whether it acts beside the gradient; the optimizer's default where it is left out.
        epochs: passes over the data.
        dataset_size: N >= B, samples of one pass.

    Raises:
        InadmissibleValue: an unknown optimizer, a setting it has not, or one out of range.

    Example:
        >>> ball = twins("heavy-ball", lr=0.5, momentum=0.0, batch_size=4)
        >>> ball.step, ball.friction, ball.heat
        (1.0, 2.0, 0.0625)
        >>> adamw = twins("adamw", lr=1e-3, batch_size=100, weight_decay=0.1, epochs=50, dataset_size=50_000)
        >>> round(adamw.decay_steps), round(adamw.decay_samples), round(adamw.decay_epochs), round(adamw.run_decays, 3)
        (10000, 1000000, 20, 2.5)
    """
    given = {
        "momentum": momentum,
        "beta2": beta2,
        "eps": eps,
        "weight_decay": weight_decay,
        "decoupled": decoupled,
        "epochs": epochs,
        "dataset_size": dataset_size,
    }
    kind = optimizer_named(optimizer)
    return twins_of(settings_of(kind, lr=lr, batch_size=batch_size, **given), kind)  # type: ignore[arg-type]


def twins_of(settings: Settings, kind: Optimizer) -> Twins:
    """Twins of checked settings."""
    beta = settings.momentum or 0.0
    pull = settings.lr * (1.0 - beta) if kind.motion in ("mean", "spectral") else settings.lr
    step, damped = _plain_float(step_of(pull, beta)), _plain_float(damping(beta))
    rate = decay_rate(settings, kind)
    steps = 1.0 / rate if rate and math.isfinite(rate) else None
    samples = None if steps is None else steps * settings.batch
    data, epochs = settings.data, settings.epochs
    life = half_life(settings)
    run = None if data is None or epochs is None else epochs * data / settings.batch
    heat = heat_of(settings, kind)
    return Twins(
        optimizer=kind.name,
        metric="1" if kind.family == "sgd" else "P",
        clock=pull / (1.0 - beta),
        step=step,
        friction=_plain_float(friction_of(pull, beta)),
        damping=damped,
        heat=heat,
        heat_unit=None if heat is None else "s²" if kind.family == "sgd" else "σ",
        spring=settings.decay * (1.0 - beta) if settings.decoupled and kind.motion == "kick" else settings.decay,
        decay_steps=steps,
        decay_samples=samples,
        decay_epochs=None if samples is None or data is None else samples / data,
        decay_time=None if steps is None else steps * step,
        memory_samples=None if settings.momentum is None else settings.batch / (1.0 - beta),
        half_life_samples=life,
        half_life_epochs=None if life is None or data is None else life / data,
        run_steps=run,
        run_decays=None if run is None or steps is None else run / steps,
    )


def decay_rate(settings: Settings, kind: Optimizer) -> float | None:
    """Share of a parameter that decay takes a step in the long run; None where P decides it.

    Example:
        >>> sgd = optimizer_named("sgd")
        >>> round(decay_rate(settings_of(sgd, lr=0.1, momentum=0.9, batch_size=1, weight_decay=0.01), sgd), 9)
        0.01
    """
    if kind.name == "amos":
        return 0.5 * settings.lr * settings.lr
    if settings.decoupled:
        return settings.lr * settings.decay
    if kind.family == "sgd":
        return settings.lr * settings.decay / (1.0 - (settings.momentum or 0.0))
    return None if settings.decay else 0.0


def half_life(settings: Settings) -> float | None:
    """Half-life of the mean of squares in samples; None where there is none."""
    return None if settings.beta2 is None else settings.batch * math.log(2.0) / -math.log(settings.beta2)


def heat_of(settings: Settings, kind: Optimizer) -> float | None:
    """T over s², or over σ of an adaptive method dominated by noise; None where it is not known."""
    beta, batch = settings.momentum or 0.0, settings.batch
    if kind.family == "sgd":
        return settings.lr / (2.0 * (1.0 - beta) * batch)
    if kind.name == "sign":
        return settings.lr * math.sqrt(math.pi / (8.0 * batch))
    if kind.motion in ("mean", "kick"):
        behind = 1.0 if kind.motion == "mean" else 1.0 - beta
        return settings.lr / (2.0 * behind * math.sqrt(batch))
    return None


def warmth(settings: Settings, kind: Optimizer) -> float:
    """What temperature is proportional to: α/((1-β)B), α/√B where a size of the gradient is divided by."""
    beta = settings.momentum or 0.0
    rate = settings.lr / (1.0 - beta) if kind.motion == "kick" else settings.lr
    return rate / (settings.batch if kind.family == "sgd" else math.sqrt(settings.batch))


def _plain_float(x: object) -> float:
    return float(x)  # type: ignore[arg-type]  # floats in, floats out
