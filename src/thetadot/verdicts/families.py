"""The two families of optimizers that scaling rules speak of, told by name."""

from __future__ import annotations

from typing import Literal

Family = Literal["sgd", "adaptive"]
ADAPTIVE = (
    "adaptive", "adam", "rmsprop", "lion", "sign", "adagrad", "adadelta", "lamb", "adafactor", "amos", "rprop",
)  # fmt: skip
DESCENT = (
    "sgd",
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


def family_of(name: str) -> Family | None:
    """The family that an optimizer's name, or a part of it, tells; None where it tells none.

    Example:
        >>> family_of("AdamW"), family_of("heavy-ball"), family_of("Mine")
        ('adaptive', 'sgd', None)
    """
    word = name.lower().replace("-", "").replace("_", "")
    if any(known in word for known in ADAPTIVE):
        return "adaptive"
    return "sgd" if any(known in word for known in DESCENT) else None
