"""The families of optimizers that scaling rules are made for, recognised by name."""

from __future__ import annotations

import re
from typing import Literal

from thetadot.core.validation import said_of
from thetadot.errors import InadmissibleValue

Family = Literal["sgd", "adaptive", "spectral"]
ADAPTIVE = (
    "adaptive", "adam", "rmsprop", "lion", "sign", "adagrad", "adadelta", "lamb", "adafactor", "adamax", "amos",
    "rprop", "adopt", "sophia", "adamw", "nadam", "radam", "signsgd",
)  # fmt: skip
DESCENT = (
    "sgd",
    "asgd",
    "sgdm",
    "ball",
    "momentum",
    "descent",
    "nesterov",
    "lookahead",
    "leapfrog",
    "kramers",
    "langevin",
    "lars",
)
SPECTRAL = ("spectral", "muon")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def family_of(name: str) -> Family | None:
    """The family that a word of an optimizer's name says; None where none does.

    Words are told apart as in class names: a ``Designer`` takes no signs, a ``Snowball`` is no heavy ball.

    Example:
        >>> family_of("AdamW"), family_of("heavy-ball"), family_of("PagedAdamW8bit"), family_of("RMSprop")
        ('adaptive', 'sgd', 'adaptive', 'adaptive')
        >>> family_of("Designer"), family_of("Snowball"), family_of("Mine")
        (None, None, None)
    """
    whole = re.sub(r"[^a-z]", "", name.lower())
    words = {whole, *(word.lower() for word in _PARTS.findall(name))}
    if words & set(SPECTRAL):
        return "spectral"
    if words & set(ADAPTIVE):
        return "adaptive"
    return "sgd" if words & set(DESCENT) else None


def known_family(name: object) -> Family:
    """Return the family of a name; a name that tells none is an error, and never a table without rows.

    Raises:
        InadmissibleValue: a name of no known family.

    Example:
        >>> known_family("torch.optim.AdamW"), known_family("Muon")
        ('adaptive', 'spectral')
        >>> known_family("mine")
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: family='mine' is not known. Pass 'sgd' or 'adaptive', 'spectral', or an \
optimizer's name that holds one of sgd, asgd, sgdm, ball, momentum, descent, nesterov, lookahead, leapfrog, kramers, \
langevin, lars, adaptive, adam, rmsprop, lion, sign, adagrad, adadelta, lamb, adafactor, adamax, amos, rprop, adopt, \
sophia, adamw, nadam, radam, signsgd, spectral, muon.
    """
    known = family_of(name) if isinstance(name, str) else None
    if known is None:
        raise InadmissibleValue(
            f"family={said_of(name)} is not known. Pass 'sgd' or 'adaptive', 'spectral', or an optimizer's name that "
            f"holds one of {', '.join(DESCENT + ADAPTIVE + SPECTRAL)}."
        )
    return known
