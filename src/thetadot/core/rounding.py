r"""Rounding to narrow floats so that small steps are not lost.

A bfloat16 has 8 significant bits: on a weight of 1 a step of 1e-4 rounds to nothing, every time. Three answers:

    none        round to the nearest; small steps vanish
    stochastic  round up or down with the probability that keeps the mean: E[round(x)] = x
    kahan       keep what rounding cut off, in the same dtype, and add it before the next step

Source:
    Gupta, Agrawal, Gopalakrishnan, Narayanan, "Deep learning with limited numerical precision", ICML 2015 (stochastic);
    Kahan, "Further remarks on reducing truncation errors", CACM 1965.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Tensor

LowPrecision = Literal["stochastic", "kahan", "none"]
LOW_PRECISION: tuple[LowPrecision, ...] = ("stochastic", "kahan", "none")
NARROW = (torch.bfloat16, torch.float16)


def stochastic(x: Tensor, dtype: torch.dtype, words: Tensor) -> Tensor:
    """``x`` rounded to one of its two neighbours in ``dtype``, the nearer the likelier.

    Exact for every finite x up to the bits of float32 that ``dtype`` drops (16 for bfloat16, 13 for float16, 24 below
    its normal range); what ``dtype`` holds stays as it is.

    Args:
        x: float32, (*).
        dtype: bfloat16 or float16.
        words: 32 random bits an element, int64, (*).

    Example:
        >>> x = torch.full((1000,), 1.0 + 2.0**-10)  # an eighth of the way from 1 to its neighbour 1 + 2⁻⁷
        >>> from thetadot.core.rng import words
        >>> rounded = stochastic(x, torch.bfloat16, words(x, key=1))
        >>> sorted(set(rounded.tolist())), round(float((rounded > 1).float().mean()), 1)
        ([1.0, 1.0078125], 0.1)
    """
    dropped = 16 if dtype is torch.bfloat16 else 13
    low = (1 << dropped) - 1
    rounded = ((x.view(torch.int32) + (words & low).to(torch.int32)) & ~low).view(torch.float32)
    if dtype is torch.float16:  # below 2⁻¹⁴ its steps are all 2⁻²⁴
        uniform = (words & 0xFFFFFF).to(torch.float32) * 2.0**-24
        rounded = torch.where(x.abs() < 2.0**-14, (x * 2.0**24 + uniform).floor() * 2.0**-24, rounded)
    return torch.where(x == x, rounded, x).to(dtype)  # noqa: PLR0124 - the bits of a nan carry into numbers
