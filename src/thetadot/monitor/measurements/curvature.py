"""The largest curvatures on the reference, by Lanczos steps, in the metric of the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from thetadot.monitor.along import damping_ratios, rungs
from thetadot.monitor.cadence import forwards, orthogonalisation, products
from thetadot.monitor.measurements.base import Measurement
from thetadot.probes import critical_sharpness, sharpness
from thetadot.probes.heat import Estimate
from thetadot.records import Curvature, Remark

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.reading import Reading
    from thetadot.monitor.measurements.base import Moment
    from thetadot.probes.sharpness import Sharpness
    from thetadot.records import Entry

COLD, WARM, LEAST = 12, 6, 4
"""Most products of a first measurement, and of one that begins with the last one's vector. Of small networks' λmax 12
leave an interval of 6% at most and 6 one of 7%, 23% in a tenth of cases; after 3 it was of a factor of 2. With 85,000
parameters 6 leave 7 to 56%. LEAST is what a first measurement has where a short run pays for no more."""
SPECTRUM = 3
SHARP = 0.1
"""A Ritz value beyond the first is kept where its residual is below this share of the first."""
GUESSES = 10


class CurvatureMeasurement(Measurement):
    """λmax with its limit, damping and temperature along the sharpest directions."""

    name = "curvature"
    order = 1
    shares = {"light": 0.003, "default": 0.007, "full": 0.35}  # noqa: RUF012
    from_start = True
    in_its_metric = True

    def cost(self, size: float) -> float:
        """Cost of a measurement that begins with the last one's vector."""
        return self.lanczos(size, WARM)

    def lanczos(self, size: float, count: int) -> float:
        """Cost of so many Hessian products, and of keeping their vectors orthogonal."""
        count = min(count, self.state.layout.count)
        sharing = self.reference.sharing
        return products(size, count, self.state.batch) + orthogonalisation(self.state.layout.count, count, sharing)

    def wait(self, size: float, pays: Callable[[float], int]) -> int:
        """Steps to wait; a first measurement takes as many products as there is work for."""
        most, least = (WARM, WARM) if self.state.vectors else (COLD, LEAST)
        for count in range(most, least - 1, -1):
            if not pays(self.lanczos(size, count)):
                self.state.most = count
                return 0
        return pays(self.lanczos(size, least))

    def measure(self, moment: Moment) -> list[Entry]:
        """The curvature; along the gradient alone where the model has no second derivative."""
        state = self.state
        if state.forward_only:
            return self._forward(moment)
        preconditioner = state.flat(moment.reading)
        warm = state.vectors.get(preconditioner is not None)
        try:
            with self.reference.curved().hessian() as hessian:
                found = sharpness(
                    hessian,
                    state.random(moment.step),
                    state.most or (COLD if warm is None else WARM),
                    warm=warm,
                    preconditioner=preconditioner,
                    tolerance=1e-2,
                    count=SPECTRUM,
                )
        except RuntimeError as error:  # no second derivative, nor a gradient apart from the loop's: losses remain
            if self.reference.narrow:
                raise
            state.forward_only = True
            why = f"no Hessian-vector product ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            said = f"{why}: what is recorded is the curvature along the gradient, which λmax is not below"
            return [Remark(moment.step, "curvature", said[:500]), *self._forward(moment)]
        if not (math.isfinite(found.value) and math.isfinite(found.residual)):
            return []
        state.vectors[preconditioner is not None] = found.restart
        state.sharpest = Estimate(found.value, found.value, found.high)
        state.spent += self.lanczos(state.samples or state.batch, found.products)
        return [self._entry(found, moment, preconditioned=preconditioner is not None)]

    def _entry(self, found: Sharpness, moment: Moment, *, preconditioned: bool) -> Curvature:
        state, reading = self.state, moment.reading
        told = [i for i, r in enumerate(found.residuals) if i == 0 or r <= SHARP * abs(found.value)]
        spectrum = tuple(found.spectrum[i] for i in told)
        curved = rungs(spectrum, [found.residuals[i] for i in told], found.high)
        damped, heated = damping_ratios(reading, curved), state.temperatures(reading, moment.batch, curved)
        shares = torch.split(found.vector.square(), [p.numel() for p in state.layout.parameters])
        return Curvature(
            when="training",
            step=moment.step,
            sharpness=found.value,
            residual=found.residual,
            limit=_limit(reading),
            samples=state.samples,
            cost=moment.cost,
            preconditioned=preconditioned,
            spectrum=spectrum,
            residuals=tuple(found.residuals[i] for i in told),
            damping=tuple(z.value for z in damped),
            damping_low=tuple(z.low or 0.0 for z in damped),
            damping_high=tuple(z.high for z in damped),
            temperature=tuple(t and t.value for t in heated) if any(heated) else (),
            temperature_low=tuple(t and t.low for t in heated) if any(heated) else (),
            temperature_high=tuple(t and t.high for t in heated) if any(heated) else (),
            layers=tuple(state.layout.by_layer([float(share.sum()) for share in shares])),
            low=found.value,
            high=found.high,
        )

    def _forward(self, moment: Moment) -> list[Entry]:
        """Curvature along the gradient from losses alone, for models that have no second derivative of any kind."""
        state, reading = self.state, moment.reading
        slope: list[Tensor] = [torch.zeros_like(p) if p.grad is None else -p.grad for p in state.layout.parameters]
        found = critical_sharpness(
            self.reference.whole(), slope, guess=reading.rate or reading.step or 1e-3, forwards=GUESSES
        )
        state.spent += forwards(state.samples, found.forwards, state.batch)
        if not found.resolved:
            return []
        return [
            Curvature(
                when="training",
                step=moment.step,
                sharpness=found.value,
                residual=(found.high - found.low) / 2.0,
                limit=None,  # its bracket is no interval of λmax, which alone is to be held against the limit
                samples=state.samples,
                cost=moment.cost,
                method="forward",
            )
        ]


def _limit(reading: Reading) -> float | None:
    return reading.limit if math.isfinite(reading.limit) and "limit" not in reading.lacks else None
