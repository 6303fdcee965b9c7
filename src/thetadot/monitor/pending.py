"""Statistics of measured steps on their way from the device to the record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.records import Layers, Motion

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.reading import Reading
    from thetadot.monitor.layers import Layout
    from thetadot.probes.heat import Estimate


@dataclass(frozen=True)
class MeasuredRow:
    """Data of a measured step; ``numbers`` (10, parameters) and ``loss`` may still be in transit."""

    step: int
    numbers: Tensor
    loss: Tensor | float | None
    reading: Reading
    lr: float
    batch: int | None
    epoch: float | None
    temperature: Estimate | None
    time_step: float
    clock: float
    cost: float


@dataclass(frozen=True)
class Sample:
    """Data of one measured step, or the mean of neighbouring ones, in floats."""

    step: int  # the last
    reading: Reading  # without its preconditioner
    loss: float
    virial: float
    radial: float
    energy: float
    update: float
    pair: float
    since: int  # the first step
    count: int = 1


class PendingRows:
    """Keeps rows on the device until they are fetched together, in one transfer."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rows: list[MeasuredRow] = []

    def fetch(self) -> list[tuple[Sample, Motion, Layers]]:
        """The rows since the last call, as entries; numbers that are not finite become None or 0."""
        rows, self.rows = self.rows, []
        if not rows:
            return []
        matrix = torch.stack([row.numbers for row in rows]).cpu().double()
        losses = [math.nan if row.loss is None else float(row.loss) for row in rows]
        return [self._entries(row, matrix[i], loss) for i, (row, loss) in enumerate(zip(rows, losses, strict=True))]

    def _entries(self, row: MeasuredRow, numbers: Tensor, loss: float) -> tuple[Sample, Motion, Layers]:
        gradient, weight, update, slope, virial, radial, energy, away, outward, pair = numbers.sum(dim=1).tolist()
        reading, memory, heat = row.reading, row.reading.memory, row.temperature
        sample = Sample(row.step, reading, loss, virial, radial, energy, update, pair, row.step)
        speed = outward / (row.time_step * math.sqrt(away)) if row.time_step and away > 0 else None
        motion = Motion(
            step=row.step,
            epoch=row.epoch,
            loss=_value_or_none(loss),
            lr=row.lr,
            momentum=memory,
            batch_size=row.batch,
            time_step=row.time_step,
            friction=_value_or_none(reading.friction),
            temperature=None if heat is None else _value_or_none(heat.value),
            temperature_low=None if heat is None else _value_or_none(heat.low),
            temperature_high=None if heat is None else _value_or_none(heat.high),
            clock=row.clock,
            kinetic=_value_or_none(energy / (row.time_step**2 * self.layout.count) if row.time_step else 0.0) or 0.0,
            displacement=_value_or_none(math.sqrt(away)) if away > 0 else None,
            speed=_value_or_none(speed),
            cost=row.cost,
            gradient_norm=_value_or_none(math.sqrt(gradient) if gradient >= 0 else math.nan),
            weight_norm=_value_or_none(math.sqrt(weight) if weight >= 0 else math.nan),
            update_norm=_value_or_none(math.sqrt(update) if update >= 0 else math.nan),
            update_angle=_value_or_none(-slope / math.sqrt(gradient * update)) if gradient * update > 0 else None,
        )
        columns = [self.layout.by_layer(numbers[i].tolist()) for i in range(4)]
        lengths = [tuple(_value_or_none(math.sqrt(v) if v >= 0 else math.nan) or 0.0 for v in c) for c in columns[:3]]
        cosines = tuple(
            max(-1.0, min(1.0, -s / math.sqrt(g * u))) if 0 < g * u < math.inf and math.isfinite(s) else 0.0
            for g, u, s in zip(columns[0], columns[2], columns[3], strict=True)
        )
        return sample, motion, Layers(row.step, lengths[0], lengths[1], lengths[2], angle=cosines)


def _value_or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
