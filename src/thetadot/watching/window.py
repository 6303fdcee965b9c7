"""Estimates over a window of measured steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.records import Equilibrium, Noise
    from thetadot.watching.hold import Sample
    from thetadot.watching.layers import Layout


def equilibrium(samples: list[Sample], parameters: int) -> Equilibrium | None:
    return None


def pooled_noise(
    micros: list[tuple[int, int, Tensor]], step: int, ranks: int, layout: Layout, cost: float
) -> Noise | None:
    return None
