"""Gradient noise on the reference, from gradients of its parts; and what the finite step makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.monitor.along import regularization
from thetadot.monitor.cadence import forwards, gradients
from thetadot.monitor.entries import noise_entry
from thetadot.monitor.measurements.base import Measurement
from thetadot.monitor.reference import PARTS
from thetadot.probes import gradient_noise
from thetadot.probes.heat import variance_of

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.monitor.measurements.base import Moment
    from thetadot.probes import GradientNoise
    from thetadot.records import Entry, Regularization


class NoiseMeasurement(Measurement):
    """trΣ, |G|² and their ratio."""

    name = "noise"
    order = 0
    shares = {"light": 0.002, "default": 0.004, "full": 0.25}  # noqa: RUF012 - as every measurement's
    from_start = True
    in_parts = True
    told_by_passes = True

    def cost(self, size: float) -> float:
        """Gradients of the parts, and the loss of the whole."""
        return gradients(size, PARTS, self.state.batch) + forwards(size, 1, self.state.batch)

    def measure(self, moment: Moment) -> list[Entry]:
        """The noise, and the regularization by it."""
        state = self.state
        parts, size = self.reference.parts()
        rows = torch.stack([part.gradient() for part in parts])
        state.spent += gradients(size * len(parts), len(parts), state.batch)
        found = gradient_noise(rows, size)
        centred = rows - rows.mean(dim=0)  # torch's own variance along the first axis takes twenty times as long
        pieces = torch.split(centred, [p.numel() for p in state.layout.parameters], dim=1)
        variances = [size * float(piece.square().sum()) / (len(rows) - 1) for piece in pieces]
        entry = noise_entry(
            found,
            step=moment.step,
            samples=size * len(rows),
            cost=moment.cost,
            layers=tuple(state.layout.by_layer(variances)),
            curvature_scale=self.weighted(rows, size),
        )
        if entry is None:
            return []
        preconditioner = state.flat(moment.reading)
        metric = found if preconditioner is None else gradient_noise(rows * preconditioner.rsqrt(), size)
        state.variance = variance_of(metric)
        return [entry, *self._regularization(moment, metric)]

    def weighted(self, rows: Tensor, size: int) -> float | None:  # noqa: ARG002 - of a kind that pays for it
        """B_noise, where it is measured too."""
        return None

    def _regularization(self, moment: Moment, metric: GradientNoise) -> list[Regularization]:
        """Compute what the finite step adds to the loss, in the step's metric."""
        reading, state = moment.reading, self.state
        if reading.rate is None or not moment.batch or not 0 <= reading.memory < 1:
            return []
        loss = self.reference.whole().value()
        state.spent += forwards(state.samples, 1, state.batch)
        return regularization(moment.step, reading, metric, loss, moment.batch, state.draws)
