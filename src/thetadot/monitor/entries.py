"""The one place where what was measured becomes an entry of the record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from thetadot.probes.heat import finite_end
from thetadot.records import Noise

if TYPE_CHECKING:
    from thetadot.probes import GradientNoise


def noise_entry(
    found: GradientNoise, *, when: Literal["start", "warm-up", "training"] = "training", **more: Any
) -> Noise | None:
    """Entry of a measured noise; None where a number of it is not finite.

    Args:
        found: trΣ, |G|² and their ratio with intervals.
        when: "start", "warm-up" or "training".
        more: the entry's other fields: step, samples, cost, method ...
    """
    if not all(map(math.isfinite, (found.variance, found.square, found.scale, found.low, found.high))):
        return None
    return Noise(
        when=when,
        gradient_variance=found.variance,
        gradient_square=found.square,
        noise_scale=found.scale,
        low=found.low,
        high=found.high,
        resolved=found.resolved,
        variance_low=finite_end(found.variances[0]),
        variance_high=finite_end(found.variances[1]),
        square_low=finite_end(found.squares[0]),
        square_high=finite_end(found.squares[1]),
        **more,
    )
