r"""Estimates over a window of measured steps.

A window begins where the motion was then: from that origin, the identities of :mod:`~thetadot.probes.fluctuation` fail
by what the motion has drifted since. So windows grow by doubling, each as long as all before it, and begin anew where
the settings are no longer those they began with. From :data:`LONGEST` readings on neighbours are averaged by twos: all
count, and memory does not grow.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.core.reading import Reading
from thetadot.monitor.pending import Sample
from thetadot.probes import alignment, stationarity
from thetadot.records import Equilibrium

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from thetadot.probes import Interval

FEWEST, LONGEST = 20, 400
SAME = 1.5
"""Rates within this factor are one window's."""


class EstimationWindow:
    """Readings since the window's beginning; :attr:`complete` windows are cleared, and the next is twice as long."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.before = 0  # windows completed

    def append(self, sample: Sample) -> None:
        """Append a reading, in the blocks that the window has; twice as large ones once it has too many."""
        samples = self.samples
        if samples and samples[-1].count < samples[0].count:
            samples[-1] = _merged_mean(samples[-1], sample)
        else:
            samples.append(sample)
        if len(samples) == LONGEST and samples[-1].count == samples[0].count:
            samples[:] = [_merged_mean(*pair) for pair in zip(samples[::2], samples[1::2], strict=True)]

    @property
    def readings(self) -> int:
        """The number of readings in it."""
        return sum(sample.count for sample in self.samples)

    @property
    def complete(self) -> bool:
        """Whether the window has to begin anew: it is full, or the settings have changed."""
        if self.readings >= FEWEST * 2**self.before:
            return True
        first, last = self.samples[0].reading, self.samples[-1].reading
        rates = [reading.rate if reading.rate is not None else reading.step for reading in (first, last)]
        if first.memory != last.memory and abs(last.memory - first.memory) > 0.1 * (1.0 - first.memory):
            return True
        low, high = sorted(rates)
        return high > SAME * low

    def state_dict(self) -> dict[str, Any]:
        """Return the window's readings for a checkpoint."""
        return {"before": self.before, "samples": [asdict(sample) for sample in self.samples]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the readings of a checkpoint."""
        self.before = int(state["before"])
        self.samples = [Sample(**{**told, "reading": Reading(**told["reading"])}) for told in state["samples"]]

    def clear(self) -> None:
        """Begin the next one."""
        self.before += 1
        self.samples = []


def _merged_mean(one: Sample, other: Sample) -> Sample:
    count = one.count + other.count
    names = ("loss", "virial", "radial", "energy", "update", "pair")
    means = {n: (getattr(one, n) * one.count + getattr(other, n) * other.count) / count for n in names}
    return replace(other, since=one.since, count=count, **means)


def equilibrium(samples: Sequence[Sample], parameters: int) -> Equilibrium | None:
    """Fluctuation against dissipation over the window; None where a loss or a reading is missing or not finite."""
    samples = [s for s in samples if s.count == samples[0].count]
    if len(samples) < FEWEST:
        return None
    heavy = all(s.reading.rate and not (s.reading.decoupled and s.reading.decay) for s in samples)
    if heavy:
        virial = np.array([s.virial for s in samples])
        weights = [(1.0 + s.reading.memory) / (2.0 * (s.reading.rate or 1.0)) for s in samples]
        kinetic = np.array([w * s.energy for w, s in zip(weights, samples, strict=True)])
    else:
        virial, kinetic = np.array([-s.radial for s in samples]), np.array([0.5 * s.update for s in samples])
    losses = np.array([s.loss for s in samples])
    pairs = np.array([s.pair for s in samples])
    if not all(np.isfinite(series).all() for series in (virial, kinetic, pairs)):
        return None
    told = bool(np.isfinite(losses).all())
    found = stationarity(virial, kinetic, losses if told else np.zeros_like(virial))
    same, ratio = alignment(pairs), found.ratio
    return Equilibrium(
        step=samples[-1].step,
        since=samples[0].since,
        samples=sum(sample.count for sample in samples),
        identity="heavy ball" if heavy else "any",
        virial=found.virial,
        kinetic=found.kinetic,
        ratio=_finite_or_none(ratio.value) if ratio.resolved else None,
        low=_finite_or_none(ratio.low),
        high=_finite_or_none(ratio.high),
        trend=_finite_or_none(found.trend.mean) if told else None,
        trend_low=_finite_or_none(found.trend.low) if told else None,
        trend_high=_finite_or_none(found.trend.high) if told else None,
        alignment=_finite_or_none(same.mean) if pairs.any() else None,
        alignment_low=_finite_end(same, pairs, same.low),
        alignment_high=_finite_end(same, pairs, same.high),
        configurational=found.virial / parameters if heavy else None,
        kinetic_temperature=found.kinetic / parameters if heavy else None,
        state=found.state,
    )


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite_end(interval: Interval, pairs: NDArray[np.float64], value: float) -> float | None:
    return _finite_or_none(value) if pairs.any() and math.isfinite(interval.mean) else None
