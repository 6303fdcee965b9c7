"""Key of an optimizer's noise, and whether anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class NoiseKey:
    """Noise settings fixed at the first step; outside the optimizer, where torch 2.9's dynamo can trace them.

    Attributes:
        key: 64 bits that, with the count of steps, give every random number.
        draws: whether there are any.
        shared: whether ranks that train together have agreed on the key.
    """

    key: int = 0
    draws: bool = False
    shared: bool = False
