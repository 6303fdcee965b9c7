"""Batch sizes that grow: the other way to cool down, T ∝ γ/B."""

from __future__ import annotations

from thetadot.core.signatures import checked
from thetadot.errors import require


@checked
def staircase(t: float, first: int, last: int, since: float = 0.5) -> int:
    """Doubles from ``first`` to ``last`` in equal flights between t = ``since`` and t = 1.

    Args:
        t: elapsed fraction of the run, in samples.
        first: batch size until ``since``.
        last: no batch is larger than this; reached on the last flight if it is first·2ᵏ.
        since: where the first doubling stands.

    Example:
        >>> [staircase(t, 32, 128) for t in (0.0, 0.49, 0.5, 0.75, 1.0)]
        [32, 32, 64, 128, 128]
    """
    require(
        1 <= first <= last,
        f"first={first}, last={last}",
        "do not satisfy 1 <= first <= last",
        "Pass a last batch at least as large.",
    )
    require(0 <= t <= 1, f"t={t:g}", "is outside [0, 1]", "Pass the elapsed fraction of the run.")
    require(0 <= since <= 1, f"since={since:g}", "is outside [0, 1]", "Pass the fraction where doubling begins.")
    doublings = (last // first).bit_length() - 1
    if t < since or doublings == 0:
        return first
    flight = min(doublings, 1 + int((t - since) / (1.0 - since) * doublings)) if since < 1 else doublings
    return int(first * 2**flight)
