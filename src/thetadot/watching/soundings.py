"""Measurements on the reference batch: noise, curvature, barriers. Each is rare, its cost counted beforehand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from thetadot.probes import gradient_noise, sharpness
from thetadot.records import Curvature, Entry, Noise
from thetadot.translation import damping, step_of, temperature
from thetadot.watching.cadence import Every, Plan, gradients, products
from thetadot.watching.reference import PARTS

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.reading import Reading
    from thetadot.watching.layers import Layout
    from thetadot.watching.reference import Reference

COLD, WARM = 10, 3
"""Products of a first measurement, and of one that begins with the last one's vector."""
SPECTRUM = 5
SHARP = 0.1
"""A Ritz value beyond the first is kept where its residual is below this share of it."""
START_KEY = 7


class Soundings:
    """Measures on the reference; keeps vectors to begin with and the noise that a temperature needs."""

    def __init__(self, layout: Layout, reference: Reference | None) -> None:
        self.layout = layout
        self.reference = reference
        self.samples = 0 if reference is None else reference.samples
        self.batch = 1.0
        self.spent = 0.0  # in samples' gradients
        self.vectors: dict[bool, Tensor] = {}
        self.variance: float | None = None  # trΣ, or tr(P⁻¹Σ) where the step is preconditioned

    def plan(self, plan: Plan, batch: float) -> dict[str, Every]:
        """When each is due."""
        if self.reference is None:
            return {}
        size = self.samples or batch
        self.batch = batch
        every = {"curvature": Every(products(size, WARM, batch), plan.curvature, batch)}
        parts, _ = self.reference.parts()
        if parts:
            every = {"noise": Every(gradients(size, PARTS, batch), plan.noise, batch)} | every
        return every

    def measure(self, name: str, step: int, reading: Reading, cost: float) -> list[Entry]:
        """Entries of one measurement."""
        if name == "noise":
            return self._noise(step, reading, cost)
        return self._curvature(step, reading, cost)

    def adopt(self, noise: Noise) -> None:
        """Take trΣ from elsewhere, where the step is not preconditioned."""
        self.variance = noise.gradient_variance

    def temperature(self, reading: Reading, batch: int | None, dataset_size: int | None) -> float | None:
        """T of the latest noise; None before, and where the optimizer has no heavy-ball form."""
        if self.variance is None or reading.rate is None or not batch or not 0 <= reading.memory < 1:
            return None
        size = dataset_size if dataset_size is not None and dataset_size >= batch else None
        return float(
            temperature(
                reading.rate,
                reading.memory,
                max(self.variance, 0.0),
                batch,
                parameters=self.layout.count,
                dataset_size=size,
            )
        )

    def _noise(self, step: int, reading: Reading, cost: float) -> list[Entry]:
        assert self.reference is not None  # noqa: S101 - planned only with one
        parts, size = self.reference.parts()
        rows = torch.stack([part.gradient() for part in parts])
        self.spent += gradients(size * len(parts), len(parts), self.batch)
        found = gradient_noise(rows, size)
        if not all(map(math.isfinite, (found.variance, found.square, found.scale, found.low, found.high))):
            return []
        preconditioner = self.flat(reading)
        weighed = rows if preconditioner is None else rows * preconditioner.rsqrt()
        self.variance = found.variance if preconditioner is None else gradient_noise(weighed, size).variance
        spread = (rows - rows.mean(dim=0)).square().sum(dim=0) * (size / (len(rows) - 1))
        pieces = torch.split(spread, [p.numel() for p in self.layout.parameters])
        return [
            Noise(
                when="training",
                step=step,
                gradient_variance=found.variance,
                gradient_square=found.square,
                noise_scale=found.scale,
                low=found.low,
                high=found.high,
                resolved=found.resolved,
                samples=size * len(rows),
                cost=cost,
                layers=tuple(self.layout.by_layer([float(piece.sum()) for piece in pieces])),
            )
        ]

    def _curvature(self, step: int, reading: Reading, cost: float) -> list[Entry]:
        assert self.reference is not None  # noqa: S101
        objective, preconditioner = self.reference.whole(), self.flat(reading)
        start = self.vectors.get(preconditioner is not None)
        cold = start is None
        with objective.hessian() as hessian:
            if start is None:
                start = self._random()
            found = sharpness(
                hessian, start, COLD if cold else WARM, preconditioner=preconditioner, tolerance=1e-2
            )  # fmt: skip
        if not (math.isfinite(found.value) and math.isfinite(found.residual)):
            return []
        self.vectors[preconditioner is not None] = found.vector
        self.spent += products(self.samples or self.batch, found.products, self.batch)
        shares = torch.split(found.vector.square(), [p.numel() for p in self.layout.parameters])
        return [
            Curvature(
                when="training",
                step=step,
                sharpness=found.value,
                residual=found.residual,
                limit=reading.limit if math.isfinite(reading.limit) and "limit" not in reading.lacks else None,
                samples=self.samples,
                cost=cost,
                preconditioned=preconditioner is not None,
                damping=_damping(reading, (found.value,)),
                layers=tuple(self.layout.by_layer([float(share.sum()) for share in shares])),
            )
        ]

    def flat(self, reading: Reading) -> Tensor | None:
        """The diagonal of P, (d,); None without one, and before the first step made it."""
        if not reading.preconditioner:
            return None
        found = reading.preconditioner
        return torch.cat([
            _whole(found[p]).reshape(-1) if p in found else torch.ones(p.numel()).to(p.device)
            for p in self.layout.parameters
        ])  # fmt: skip

    def _random(self) -> Tensor:
        like = self.layout.parameters[0]
        generator = torch.Generator().manual_seed(START_KEY)
        dtype = torch.float32
        for p in self.layout.parameters:
            dtype = torch.promote_types(dtype, p.dtype)
        return torch.randn(self.layout.count, generator=generator).to(like.device, dtype)


def _whole(tensor: Tensor) -> Tensor:
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole


def _damping(reading: Reading, spectrum: tuple[float, ...]) -> tuple[float, ...]:
    """ζ = λ/(2√h) of every positive eigenvalue; none without a velocity."""
    if reading.rate is None or not 0 < reading.memory < 1 or not reading.rate > 0:
        return ()
    friction = float(damping(reading.memory)) / float(step_of(reading.rate, reading.memory))
    return tuple(friction / (2.0 * math.sqrt(h)) for h in spectrum if h > 0)
