r"""The dictionary between torch's words (lr, momentum, batch size) and mechanics (time step, friction, temperature).

    β = (1 - λγ/2) / (1 + λγ/2),    α = γ² / (1 + λγ/2)                                      [su2018, eq. 15]
    γ = √(2α/(1+β)),                λ = (1-β) √(2/(α(1+β)))                                  its exact inverse
    T = α trΣ / (2 (1-β) B d)       = γ s² / (2 λ B),  s² = trΣ/d        batches drawn independently

α learning rate, β momentum, B batch size, γ time step, λ friction, T temperature in units of the loss per degree of
freedom, trΣ summed variance of one sample's gradient, d number of parameters. The article's equation (9) has e^(-L/σ²)
where dθ = -∇L dt + σ dW has e^(-2L/σ²); here T = σ²/2, so that the law is e^(-L/T) throughout.

Everything of this is arithmetic on floats or tensors; ranges are checked for floats and tensors alike. :func:`twins`
reads any optimizer's settings, weight decay and β₂ among them; :func:`convert` says what they become where some change.

Source:
    [su2018] Su Jianlin, https://kexue.fm/archives/5655 (2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from thetadot.core import cayley as formulas
from thetadot.core.epochs import EpochDivision, epoch_share
from thetadot.core.signatures import checked
from thetadot.core.tensors import sqrt
from thetadot.dictionary import conversion, sign_step
from thetadot.dictionary import twins as _twins
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from thetadot.core.annotations import Scalar

__all__ = [
    "Conversion",
    "Physical",
    "Settings",
    "SignStep",
    "Twins",
    "cayley",
    "convert",
    "damping",
    "lr_of",
    "momentum_at",
    "optimal_sign_step",
    "step_of",
    "temperature",
    "to_lr_momentum",
    "to_physical",
    "twins",
]


cayley, damping, lr_of = checked(formulas.cayley), checked(formulas.damping), checked(formulas.lr_of)
Conversion, convert = conversion.Conversion, checked(conversion.convert)
SignStep, optimal_sign_step = sign_step.SignStep, checked(sign_step.optimal_sign_step)
Twins, twins = _twins.Twins, checked(_twins.twins)


class Physical(NamedTuple):
    """A time step γ (time) and a friction λ (1/time)."""

    step: Scalar
    friction: Scalar


class Settings(NamedTuple):
    """A learning rate α (time²) and a momentum β (no unit)."""

    lr: Scalar
    momentum: Scalar


def _require_momentum(momentum: Scalar) -> None:
    require(
        bool(-1 < momentum <= 1),
        f"momentum={momentum:g}",
        "is outside (-1, 1]: the friction it stands for is negative",
        "Pass -1 < momentum <= 1 (optimizers take 0 <= momentum < 1).",
    )


def _require_positive(name: str, value: Scalar) -> None:
    require(bool(0 < value < float("inf")), f"{name}={value:g}", "is not a positive finite number", f"Pass {name} > 0.")


@checked
def step_of(lr: Scalar, momentum: Scalar) -> Scalar:
    """γ = √(2α/(1+β)), also at lr = 0, where the clock is stopped."""
    require(bool(lr >= 0), f"lr={float(lr):g}", "is negative", "Pass lr >= 0.")
    _require_momentum(momentum)
    return formulas.step_of(lr, momentum, sqrt)


@checked
def to_physical(lr: Scalar, momentum: Scalar) -> Physical:
    """Time step and friction of a learning rate and a momentum; exact.

    Args:
        lr: α > 0.
        momentum: -1 < β <= 1; β < 0 is λγ > 2.

    Raises:
        InadmissibleValue: outside these ranges.

    Example:
        >>> to_physical(lr=0.5, momentum=0.0)
        Physical(step=1.0, friction=2.0)
    """
    _require_positive("lr", lr)
    _require_momentum(momentum)
    return Physical(step_of(lr, momentum), formulas.friction_of(lr, momentum, sqrt))


@checked
def to_lr_momentum(step: Scalar, friction: Scalar) -> Settings:
    """Learning rate and momentum of a time step and a friction; exact.

    Args:
        step: γ > 0.
        friction: λ >= 0.

    Raises:
        InadmissibleValue: outside these ranges.

    Example:
        >>> to_lr_momentum(step=1.0, friction=2.0)
        Settings(lr=0.5, momentum=0.0)
    """
    _require_positive("step", step)
    require(
        bool(0 <= friction < float("inf")), f"friction={friction:g}", "is negative or not finite", "Pass friction >= 0."
    )
    momentum = cayley(friction * step)
    return Settings(lr_of(step, momentum), momentum)


@checked
def momentum_at(lr_ratio: Scalar, momentum: Scalar, *, approximate: bool = False) -> Scalar:
    r"""The momentum that keeps the friction when the learning rate is multiplied by ``lr_ratio`` (r).

        β' = 1 - 4√κ/(√κ + √(κ+8)),    κ = r (1-β)²/(1+β)

    Exact. ``approximate=True`` gives the article's 1 - (1-β)√r, whose 1-β' is too small by up to √((1+β)/2) as
    r -> 0: 2.5% at β = .9, 13% at .5.

    Args:
        lr_ratio: r > 0.
        momentum: -1 < β <= 1.
        approximate: the article's formula.

    Raises:
        InadmissibleValue: outside these ranges.

    Example:
        >>> round(momentum_at(0.1, 0.9), 7), round(momentum_at(0.1, 0.9, approximate=True), 7)
        (0.9678178, 0.9683772)
    """
    _require_positive("lr_ratio", lr_ratio)
    _require_momentum(momentum)
    if approximate:
        return 1.0 - (1.0 - momentum) * sqrt(lr_ratio)
    return formulas.kept_friction(lr_ratio, momentum, sqrt)


@checked
def temperature(
    lr: Scalar,
    momentum: Scalar,
    gradient_variance: Scalar,
    batch_size: Scalar,
    *,
    parameters: int = 1,
    sampling: Literal["replacement", "epochs"] = "replacement",
    dataset_size: int | None = None,
    drop_last: bool = False,
    curvature: float | None = None,
) -> Scalar:
    r"""Temperature that gradient noise keeps up, in units of the loss per degree of freedom.

        T = α trΣ / (2 (1-β) B d)                                        batches drawn independently, h → 0
        T = h⟨θ²⟩ = that · 2(1+β)/(2(1+β)-αh)                            the same at curvature h
        T = h⟨θ²⟩, :mod:`thetadot.core.epochs`                           shuffled epochs of N samples, at curvature h

    The first is exact as γs²/(2λB) in (λ, γ), an average over directions when Σ is not isotropic. The batches of a
    shuffled epoch sum to the full gradient, so that their noise is anticorrelated: directions that move little in an
    epoch are colder by αh(m+1)/3 (β = 0, m = N/B), steep ones hardly. T of flat ones goes with (α/((1-β)B))² N h, not
    with α/((1-β)B): what keeps the one keeps the other, what cools the one by 10 cools the other by 100. There is no
    temperature of all directions then, and a curvature is asked for. Exact for heavy ball on a quadratic whose noise
    does not depend on θ.

    Args:
        lr: α >= 0.
        momentum: -1 < β < 1.
        gradient_variance: trΣ >= 0, of one sample.
        batch_size: B >= 1.
        parameters: d >= 1.
        sampling: "replacement", batches drawn independently; or "epochs", as DataLoader(shuffle=True) does.
        dataset_size: N >= B, for "epochs".
        drop_last: whether what B does not divide is left out, and not a smaller last batch.
        curvature: h > 0, stable; for "epochs". Numbers only.

    Raises:
        InadmissibleValue: outside these ranges; epochs without N or h; N where draws are independent.

    Example:
        >>> temperature(lr=0.2, momentum=0.5, gradient_variance=10.0, batch_size=4)
        0.5
        >>> shuffled = temperature(0.1, 0.0, 1.0, 8, sampling="epochs", dataset_size=800, curvature=0.01)
        >>> round(shuffled / temperature(0.1, 0.0, 1.0, 8), 4)  # αh(m+1)/3 = .0337
        0.0325
    """
    for name, value in (("lr", lr), ("gradient_variance", gradient_variance)):
        require(bool(0 <= value < float("inf")), f"{name}={value:g}", "is negative or not finite", f"Pass {name} >= 0.")
    require(
        bool(-1 < momentum < 1),
        f"momentum={momentum:g}",
        "is outside (-1, 1): without friction no temperature is kept",
        "Pass momentum < 1.",
    )
    require(bool(batch_size >= 1), f"batch_size={batch_size:g}", "is below 1", "Pass batch_size >= 1.")
    require(parameters >= 1, f"parameters={parameters}", "is below 1", "Pass the number of parameters.")
    full = lr * gradient_variance / (2.0 * (1.0 - momentum) * batch_size * parameters)
    if sampling == "epochs":
        _require_epochs(batch_size, dataset_size, curvature)
    elif dataset_size is not None:
        raise InadmissibleValue(
            f"dataset_size={dataset_size} beside sampling='replacement': independent draws know of no size. "
            "Pass sampling='epochs' for batches of shuffled epochs, or leave it out."
        )
    if curvature is None:
        return full
    return full * _share(float(lr), float(momentum), float(curvature), sampling, batch_size, dataset_size, drop_last)


def _require_epochs(batch_size: Scalar, dataset_size: int | None, curvature: float | None) -> None:
    if dataset_size is None or curvature is None:
        missing = "dataset_size" if dataset_size is None else "curvature"
        raise InadmissibleValue(
            f"sampling='epochs' without {missing}: the noise of an epoch's batches is anticorrelated, and what it "
            "keeps up depends on the curvature and on how many batches there are. Pass dataset_size=N and curvature=h."
        )
    require(
        bool(batch_size <= dataset_size),
        f"batch_size={batch_size:g}",
        f"is above dataset_size={dataset_size}: an epoch has no such batch",
        "Pass batch_size <= dataset_size.",
    )


def _share(
    lr: float,
    momentum: float,
    curvature: float,
    sampling: str,
    batch_size: Scalar,
    dataset_size: int | None,
    drop_last: bool,  # noqa: FBT001 - handed on
) -> float:
    """h⟨θ²⟩ at curvature h over α s²/(2(1-β))."""
    require(0 < curvature < float("inf"), f"curvature={curvature:g}", "is not positive and finite", "Pass h > 0.")
    if not lr:
        return 1.0 if sampling == "replacement" else 0.0
    edge = 2.0 * (1.0 + momentum)
    require(
        lr * curvature < edge,
        f"lr={lr:g} at curvature={curvature:g}",
        f"is not stable (lr·h must be below {edge:.4g}): nothing is kept up",
        "Pass a smaller lr or curvature.",
    )
    if sampling == "replacement":
        return edge / (edge - lr * curvature)
    epoch = EpochDivision.of(float(dataset_size or batch_size), float(batch_size), drop_last=drop_last)
    return epoch_share(lr, momentum, curvature, epoch)
