"""How the learning rate should follow the batch size, by those who said so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Family = Literal["sgd", "adaptive"]


@dataclass(frozen=True)
class Rule:
    """A published rule; ``lr`` is None where it does not tell."""

    name: str
    source: str
    condition: str
    families: tuple[Family, ...]
    factor: Callable[[float], float]

    def applies(self, family: Family) -> bool:
        """Whether the rule was made for this kind of optimizer."""
        return family in self.families

    def lr(self, lr: float, batch: float, new_batch: float, noise_scale: float | None) -> float | None:  # noqa: ARG002
        """The learning rate at another batch size."""
        return lr * self.factor(new_batch / batch)


RULES = (
    Rule("linear", "Goyal 1706.02677", "batch far below the noise scale", ("sgd",), lambda ratio: ratio),
    Rule("square root", "Krizhevsky 1404.5997", "keeps the variance of a step", ("sgd", "adaptive"), math.sqrt),
)
