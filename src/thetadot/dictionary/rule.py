"""A rule that carries settings from one batch size to another, with where it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from thetadot.dictionary.families import Family, family_of
from thetadot.dictionary.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable


ROUNDING = 1e-12
"""How far a momentum may be below 0, or a ratio above its bound, by rounding alone."""


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
        heat: whether what it keeps is, or rests on, the temperature of independent draws.
        beyond: what is said of it at a batch above the noise scale.
        batch_at: settings, lr' and B_n to the B' at which the rule asks for that lr; None where the rule moves no lr.
    """

    name: str
    source: str
    condition: str
    families: frozenset[Family]
    keeps: str
    move: Callable[[Settings, float, float | None], Settings | None]
    bounds: Callable[[Settings, float, float | None], str]
    heat: bool = False
    batch_at: Callable[[Settings, float, float | None], float | None] | None = None
    beyond: str = ""

    def caution(self, new_batch: float, noise_scale: float | None) -> str:
        """What to think of the rule's numbers at this batch, though it may hold; "" where nothing is to be said."""
        return self.beyond if noise_scale is not None and new_batch > noise_scale else ""

    def applies(self, family: str) -> bool:
        """Whether the rule is meant for a family, or for an optimizer of such a name."""
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
            >>> from thetadot.dictionary.batch_rules import MALLADI
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
        if new is not None and new.momentum is not None and -ROUNDING < new.momentum < 0:
            new = replace(new, momentum=0.0)
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
            >>> from thetadot.dictionary.batch_rules import LINEAR
            >>> LINEAR.lr(0.1, 32, 64, 1000.0), LINEAR.lr(0.1, 32, 2048, 1000.0)
            (0.2, None)
        """
        new = self.settings(Settings(lr, batch, momentum), new_batch, noise_scale)
        return None if new is None else new.lr

    def batch_for(self, present: Settings, new_lr: float, noise_scale: float | None = None) -> float | None:
        """The batch size at which the rule asks for another learning rate; None where there is none.

        Example:
            >>> from thetadot.dictionary.batch_rules import LINEAR, ROOT
            >>> LINEAR.batch_for(Settings(0.1, 32), 0.2), ROOT.batch_for(Settings(0.1, 32), 0.2)
            (64.0, 128.0)
        """
        if self.batch_at is None:
            return None
        try:
            batch = self.batch_at(present, new_lr, noise_scale)
        except (ArithmeticError, ValueError):
            return None
        return batch if batch is not None and 0 < batch < math.inf else None


def _admissible(new: Settings) -> bool:
    return (
        0 < new.lr < math.inf
        and 0 < new.batch < math.inf
        and (new.momentum is None or 0 <= new.momentum < 1)
        and (new.beta2 is None or 0 < new.beta2 < 1)
    )
