r"""Optimizers by name: what their settings are called, what they are by default, and how momentum enters.

    kick    v' = βv - αg,          θ' = θ + v'            sgd, heavy-ball, nesterov, rmsprop (g behind P)
    mean    m' = βm + (1-β)g,      θ' = θ - αP⁻¹m'        adam, adamw
    none    θ' = θ - α sign g                             sign; amos, whose α is a share of the tensor's size
    spectral   m' = βm + g,        θ' = θ - α msign(m')   muon

Defaults are torch's where torch has the optimizer. A name is taken with or without case, dashes and its module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from thetadot.core.formatting import nearest
from thetadot.core.validation import refuse, require_numbers, said_of
from thetadot.dictionary.settings import Settings
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from thetadot.dictionary.families import Family


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of the dictionary.

    Attributes:
        name: what it is called.
        family: which rules were made for it.
        motion: how momentum enters; see the module.
        momentum: β by default, β₁ of a mean; None where it has none.
        beta2: memory of squares by default; None where it keeps none.
        eps: ε by default; None where it has none.
        decoupled: whether weight decay acts beside the gradient; None where it has no weight decay of this kind.
    """

    name: str
    family: Family
    motion: Literal["kick", "mean", "none", "spectral"]
    momentum: float | None
    beta2: float | None
    eps: float | None
    decoupled: bool | None


OPTIMIZERS = {
    each.name: each
    for each in (
        Optimizer("sgd", "sgd", "kick", 0.0, None, None, decoupled=False),
        Optimizer("heavy-ball", "sgd", "kick", 0.9, None, None, decoupled=True),
        Optimizer("nesterov", "sgd", "kick", 0.9, None, None, decoupled=True),
        Optimizer("adam", "adaptive", "mean", 0.9, 0.999, 1e-8, decoupled=False),
        Optimizer("adamw", "adaptive", "mean", 0.9, 0.999, 1e-8, decoupled=True),
        Optimizer("rmsprop", "adaptive", "kick", 0.0, 0.99, 1e-8, decoupled=False),
        Optimizer("sign", "adaptive", "none", None, None, None, decoupled=True),
        Optimizer("amos", "adaptive", "none", None, 0.999, None, decoupled=None),
        Optimizer("muon", "spectral", "spectral", 0.95, None, None, decoupled=True),
    )
}


def optimizer_named(name: object) -> Optimizer:
    """Return the optimizer of a name.

    Raises:
        InadmissibleValue: a name that is not known.

    Example:
        >>> optimizer_named("torch.optim.AdamW").name, optimizer_named("Heavy_Ball").beta2
        ('adamw', None)
        >>> optimizer_named("adan")
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: optimizer='adan' is not known; did you mean 'adam'? Pass one of sgd, \
heavy-ball, nesterov, adam, adamw, rmsprop, sign, amos, muon.
    """
    if isinstance(name, Optimizer):
        return name
    last = name.rpartition(".")[2].lower() if isinstance(name, str) else ""
    for known in OPTIMIZERS.values():
        if re.sub(r"[-_ ]", "", last) == known.name.replace("-", ""):
            return known
    meant = nearest(last, OPTIMIZERS) if last else "."
    raise InadmissibleValue(f"optimizer={said_of(name)} is not known{meant} Pass one of {', '.join(OPTIMIZERS)}.")


def settings_of(
    optimizer: str | Optimizer,
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
) -> Settings:
    """Checked settings of a named optimizer, what is not given by its defaults.

    Raises:
        InadmissibleValue: an unknown optimizer, a setting it has not, or one out of range.

    Example:
        >>> settings_of("adamw", lr=1e-3, batch_size=64, weight_decay=0.1).beta2
        0.999
        >>> settings_of("sgd", lr=0.1, batch_size=64, beta2=0.99)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: beta2=0.99 is a setting that sgd does not have. Leave it out, or name the \
optimizer that has it.
    """
    kind = optimizer_named(optimizer)
    given = {"momentum": momentum, "beta2": beta2, "eps": eps}
    for name, value in given.items():
        require(
            value is None or getattr(kind, name) is not None,
            f"{name}={said_of(value)}",
            f"is a setting that {kind.name} does not have",
            "Leave it out, or name the optimizer that has it.",
        )
    numbers = {"lr": lr, "batch_size": batch_size, "weight_decay": weight_decay}
    others = {**given, "epochs": epochs, "dataset_size": dataset_size}
    require_numbers(**numbers, **{name: value for name, value in others.items() if value is not None})
    if decoupled is not None and not isinstance(decoupled, bool):
        refuse("decoupled", decoupled, "True or False", "Pass one of them.")
    require_settings(**numbers, **others)
    require(
        kind.decoupled is not None or (weight_decay == 0 and decoupled is None),
        f"weight_decay={weight_decay:g}",
        f"is beside the decay that {kind.name} makes of its lr",
        "Leave it out.",
    )
    return Settings(
        lr=float(lr),
        batch=float(batch_size),
        momentum=kind.momentum if momentum is None else float(momentum),
        beta2=kind.beta2 if beta2 is None else float(beta2),
        eps=kind.eps if eps is None else float(eps),
        decay=float(weight_decay),
        decoupled=bool(kind.decoupled) if decoupled is None else decoupled,
        epochs=None if epochs is None else float(epochs),
        data=None if dataset_size is None else float(dataset_size),
    )


_LARGEST = 1e300
_SMALLEST = 1e-300


def require_settings(**values: float | None) -> None:
    """Each within its range: lr, batch_size, epochs and dataset_size positive, the decay and ε not negative."""
    for name, value in values.items():
        if value is None:
            continue
        last = name.removeprefix("to_")
        if last in ("momentum", "beta2"):
            least = ("[0, 1)", 0 <= value < 1) if last == "momentum" else ("(0, 1)", 0 < value < 1)
            without = ": without friction there is no temperature to keep" if last == "momentum" and value >= 1 else ""
            require(least[1], f"{name}={value:g}", f"is outside {least[0]}{without}", f"Pass {name} in {least[0]}.")
        elif last in ("weight_decay", "eps"):
            require(
                0 <= value < _LARGEST, f"{name}={value:g}", "is negative or not finite", f"Pass {_dashed(name)} >= 0."
            )
        else:
            require(
                _SMALLEST <= value <= _LARGEST,
                f"{name}={value:g}",
                "is not a positive finite number",
                f"Pass {_dashed(name)} > 0.",
            )
    batch, data = values.get("batch_size"), values.get("dataset_size")
    if batch is not None and data is not None:
        require(
            batch <= data,
            f"dataset_size={data:g}",
            f"is below batch_size={batch:g}: an epoch has no such batch",
            "Pass the samples of an epoch.",
        )


def _dashed(name: str) -> str:
    return name.replace("_", "-")
