"""Batch sizes that grow: the other way to cool down, T ∝ γ/B."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence  # noqa: TC003 - asked at run time
from dataclasses import dataclass
from itertools import pairwise

from thetadot.core.signatures import checked
from thetadot.errors import require


@checked
@dataclass(frozen=True)
class BatchSchedule:
    """Batch sizes by the number of samples seen.

    Args:
        thresholds: samples of the training from which each size holds, rising, the first one 0.
        sizes: as many, each >= 1.

    Raises:
        InadmissibleValue: they are not one each, do not rise, or a size is below 1.

    Example:
        >>> schedule = BatchSchedule((0, 1000, 5000), (32, 64, 256))
        >>> [schedule(samples) for samples in (0, 999, 1000, 10_000)]
        [32, 32, 64, 256]
        >>> BatchSchedule.doubling(32, 128, samples=1000)  # in the second half, two flights
        BatchSchedule(thresholds=(0, 500, 750), sizes=(32, 64, 128))
    """

    thresholds: Sequence[int]
    sizes: Sequence[int]

    def __post_init__(self) -> None:
        thresholds, sizes = tuple(map(int, self.thresholds)), tuple(map(int, self.sizes))
        object.__setattr__(self, "thresholds", thresholds)
        object.__setattr__(self, "sizes", sizes)
        came = f"thresholds={thresholds}"
        require(bool(thresholds) and thresholds[0] == 0, came, "do not begin at 0", "Pass 0 first.")
        rising = all(one < other for one, other in pairwise(thresholds))
        require(rising, came, "do not rise", "Pass them in the order of time, each once.")
        require(
            len(sizes) == len(thresholds),
            f"{len(sizes)} sizes at {len(thresholds)} thresholds",
            "are not one each",
            "Pass one size per threshold.",
        )
        require(min(sizes) >= 1, f"sizes={sizes}", "are not all at least 1", "Pass sizes >= 1.")

    @classmethod
    def doubling(cls, first: int, last: int, samples: int, since: float = 0.5) -> BatchSchedule:
        """Make the staircase of :func:`staircase` over so many samples.

        Args:
            first: batch size until ``since``.
            last: no batch is larger.
            samples: of the whole training.
            since: elapsed fraction where the first doubling stands.
        """
        require(samples >= 1, f"samples={samples}", "is below 1", "Pass the samples of the whole training.")
        doublings = (staircase(1.0, first, last, since) // first).bit_length() - 1
        flights = [round(samples * (since + (1.0 - since) * k / max(1, doublings))) for k in range(doublings)]
        found = {0: first} | {place: first * 2 ** (k + 1) for k, place in enumerate(flights)}
        return cls(tuple(found), tuple(found.values()))

    def __call__(self, samples: int) -> int:
        """The batch size after so many samples of the training."""
        require(samples >= 0, f"samples={samples}", "is negative", "Pass the samples seen.")
        return self.sizes[bisect_right(self.thresholds, samples) - 1]


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
