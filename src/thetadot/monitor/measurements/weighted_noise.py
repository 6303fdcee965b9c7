"""Gradient noise as the curvature weighs it, B_noise = tr(HΣ)/GᵀHG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from thetadot.monitor.cadence import products
from thetadot.monitor.measurements.noise import NoiseMeasurement
from thetadot.probes import curvature_noise

if TYPE_CHECKING:
    from torch import Tensor

SIGNS = 4
"""Random combinations that it is taken from."""


class WeightedNoiseMeasurement(NoiseMeasurement):
    """The noise, and the scale that curvature gives it."""

    name = "curvature-weighted noise"
    order = 2
    shares = {"light": 0.0, "default": 0.002, "full": 0.1}  # noqa: RUF012
    from_start = False
    told_by_passes = False

    def cost(self, size: float) -> float:
        """The noise's, and a product for each combination and for the mean."""
        return super().cost(size) + products(size, 1 + SIGNS, self.state.batch)

    def weighted(self, rows: Tensor, size: int) -> float | None:
        """B_noise where it is resolved."""
        with self.reference.curved().hessian() as hessian:
            found = curvature_noise(rows, hessian, size, probes=SIGNS)
        self.state.spent += products(self.state.samples, found.products, self.state.batch)
        return found.scale if found.resolved and math.isfinite(found.scale) and found.scale > 0 else None
