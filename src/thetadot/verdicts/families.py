"""The two families of optimizers that scaling rules are made for, recognised by name."""

from __future__ import annotations

import re
from typing import Literal

Family = Literal["sgd", "adaptive"]
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
    if words & set(ADAPTIVE):
        return "adaptive"
    return "sgd" if words & set(DESCENT) else None
