"""The highest loss on the line between two points of the motion, held against its temperature."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from thetadot import records
from thetadot.monitor.along import line_curvature
from thetadot.monitor.cadence import forwards
from thetadot.monitor.measurements.base import Measurement
from thetadot.probes import barrier
from thetadot.probes.heat import Estimate

if TYPE_CHECKING:
    from thetadot.monitor.cadence import Every, Plan
    from thetadot.monitor.measurements.base import Moment
    from thetadot.records import Entry

INTERIOR = 5


class BarrierMeasurement(Measurement):
    """Height of the barrier since the last time."""

    name = "barrier"
    order = 3
    shares = {"light": 0.0, "default": 0.001, "full": 0.05}  # noqa: RUF012

    def cost(self, size: float) -> float:
        """Losses along the line."""
        return forwards(size, INTERIOR + 2, self.state.batch)

    def every(self, plan: Plan, size: float, *, preconditioned: bool, steps: int) -> Every:
        """When it is due; the first line begins where the run does."""
        found = super().every(plan, size, preconditioned=preconditioned, steps=steps)
        if found.period and self.state.left is None:
            self.state.left = self.reference.whole().position()
        return found

    def measure(self, moment: Moment) -> list[Entry]:
        """The barrier on the line from where the last one was looked for."""
        state = self.state
        objective = self.reference.whole()
        here = objective.position()
        left, since, state.left, state.left_at = state.left, state.left_at, here, moment.step
        assert left is not None  # noqa: S101 - kept when it was planned
        found = barrier(objective, left, here, INTERIOR)
        state.spent += forwards(state.samples, INTERIOR + 2, state.batch)
        if not all(map(math.isfinite, (found.height, found.losses[0], found.losses[-1]))):
            return []
        entry = records.Barrier(moment.step, since, found.height, found.at, found.losses[0], found.losses[-1], None)
        curved = line_curvature(found.losses, here - left, state.flat(moment.reading))
        return [self._heated(entry, moment, curved)]

    def _heated(self, entry: records.Barrier, moment: Moment, curved: float | None) -> records.Barrier:
        """With the temperature of the direction that the line has, or of what is known of it."""
        state, reading, batch = self.state, moment.reading, moment.batch
        if state.draws is None or state.draws.sampling != "epochs":
            direction, found = "all", state.temperature(reading, batch)
        elif curved is not None:
            direction, found = "line", next(iter(state.temperatures(reading, batch, [Estimate(curved)])), None)
        else:
            direction, found = "sharpest", state.temperature(reading, batch)
        if found is None:
            return entry
        return replace(
            entry,
            temperature=found.value,
            temperature_low=found.low,
            temperature_high=found.high,
            direction=direction,
            curvature=curved if direction == "line" else None,
        )
