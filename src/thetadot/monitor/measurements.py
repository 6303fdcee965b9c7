"""Measurements on the reference batch: noise, curvature, barriers. Each is rare, its cost counted beforehand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from msgspec import convert, to_builtins
from msgspec.structs import replace

from thetadot import records
from thetadot.errors import require
from thetadot.monitor.along import ladder, line_curvature, regularization, rungs
from thetadot.monitor.cadence import Every, Plan, forwards, gradients, orthogonalisation, products
from thetadot.monitor.entries import noise_entry
from thetadot.monitor.reference import PARTS
from thetadot.monitor.restoring import restore
from thetadot.probes import (
    barrier,
    critical_sharpness,
    curvature_noise,
    gradient_noise,
    sharpness,
)
from thetadot.probes.heat import Estimate, along, heat, variance_of
from thetadot.probes.wide import NARROW
from thetadot.random import derive
from thetadot.records import Curvature, Draws, Entry, Noise, Regularization, Remark

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.monitor.layers import Layout
    from thetadot.monitor.reference import Reference
    from thetadot.probes import GradientNoise
    from thetadot.probes.heat import Sampling
    from thetadot.reading import Reading

COLD, WARM, LEAST = 12, 6, 4
"""Most products of a first measurement, and of one that begins with the last one's vector. Of small networks' λmax 12
leave an interval of 6% at most and 6 one of 7%, 23% in a tenth of cases; after 3 it was of a factor of 2. With 85,000
parameters 6 leave 7 to 56%. LEAST is what a first measurement has where a short run pays for no more."""
SPECTRUM = 3
SHARP = 0.1
"""A Ritz value beyond the first is kept where its residual is below this share of the first."""
SIGNS = 4
"""Random combinations that the curvature-weighted noise is taken from."""
INTERIOR = 5
GUESSES = 10
START_KEY = 7
ESTIMATES = ("sharpest", "variance")
PLAIN = ("spent", "left_at", "forward_only", "batch", "samples")


class ReferenceMeasurements:
    """Measures on the reference; keeps vectors to begin with and the noise that a temperature needs."""

    def __init__(
        self, layout: Layout, reference: Reference | None, dataset_size: int | None, sampling: Sampling | None
    ) -> None:
        known = sampling in (None, "replacement", "epochs")
        require(known, f"sampling={sampling!r}", "is unknown", "Pass 'replacement', 'epochs' or None.")
        self.layout = layout
        self.reference = reference
        self.dataset_size = dataset_size
        self.draws = None if sampling is None else Draws(0, sampling, dataset_size)
        self.samples = 0 if reference is None else reference.samples
        self.batch = 1.0
        self.spent = 0.0  # in samples' gradients
        self.vectors: dict[bool, Tensor] = {}
        self.sharpest: Estimate | None = None  # of the last measurement, in the metric of the step
        self.variance: Estimate | None = None  # trΣ, or tr(P⁻¹Σ) where the step is preconditioned
        self.left: Tensor | None = None  # where the last barrier was looked for from
        self.left_at = 0
        self.forward_only = False
        self.most: int | None = None  # products that the run's work pays for; None for the usual ones

    def state_dict(self) -> dict[str, Any]:
        """Return what later measurements begin with."""
        told = {name: value and tuple(value) for name, value in ((n, getattr(self, n)) for n in ESTIMATES)}
        return {name: getattr(self, name) for name in PLAIN} | told | {
            "vectors": self.vectors, "left": self.left,
            "draws": None if self.draws is None else to_builtins(self.draws),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        device = self.layout.parameters[0].device
        restore(self, {name: state[name] for name in PLAIN})
        for name in ESTIMATES:
            setattr(self, name, convert(state[name], Estimate | None))
        self.draws = convert(state["draws"], Draws | None)
        self.vectors = {bool(kind): vector.to(device) for kind, vector in state["vectors"].items()}
        self.left = None if state["left"] is None else state["left"].to(device)

    def plan(
        self, plan: Plan, step: int, batch: float, *, preconditioned: bool, planned: float = 0.0
    ) -> dict[str, Every]:
        """When each is due, in a run of so much planned work, or of unknown length."""
        if self.reference is None:
            return {}
        size = self.samples or batch
        self.batch = batch
        steps = int(planned / batch)
        if self.left is None:
            self.left_at = step
        first = plan.settled if preconditioned else 1
        usual = {"noise": (plan.noise, 1), "curvature": (plan.curvature, first)}
        rare = {"curvature-weighted noise": plan.weighted, "barrier": plan.barrier}
        every = {
            name: Every(self.cost(name, size), share, batch, early=plan.early, first=step, steps=steps)
            for name, (share, step) in usual.items()
        }
        for name, share in rare.items():
            every[name] = Every(self.cost(name, size), share, batch, early=False, first=0)
        every |= {name: Every.fixed(self.cost(name, size), period) for name, period in plan.every.items()}
        if not self.reference.parts()[0]:
            del every["noise"], every["curvature-weighted noise"]
        if every["barrier"].period and self.left is None:
            self.left = self.reference.whole().position()
        return every

    def cost(self, name: str, size: float, count: int = WARM) -> float:
        """What a measurement takes on so many samples, in samples' gradients; a curvature, of so many products."""
        if name == "curvature":
            return self.lanczos(size, count)
        if name == "barrier":
            return forwards(size, INTERIOR + 2, self.batch)
        noise = gradients(size, PARTS, self.batch) + forwards(size, 1, self.batch)
        return noise if name == "noise" else noise + products(size, 1 + SIGNS, self.batch)

    def lanczos(self, size: float, count: int) -> float:
        """What so many products cost, and keeping their vectors orthogonal."""
        sharing = 1.0 if self.reference is None else self.reference.sharing
        count = min(count, self.layout.count)
        return products(size, count, self.batch) + orthogonalisation(self.layout.count, count, sharing)

    def measure(self, name: str, step: int, reading: Reading, batch: int | None, cost: float) -> list[Entry]:
        """Entries of one measurement."""
        if name == "curvature":
            return self._curvature(step, reading, batch, cost)
        if name == "barrier":
            return self._barrier(step, reading, batch)
        return self._noise(step, reading, batch, cost, weighted=name != "noise")

    def adopt(self, noise: Noise) -> None:
        """Take trΣ from elsewhere, where the step is not preconditioned."""
        self.variance = Estimate(max(noise.gradient_variance, 0.0), noise.variance_low, noise.variance_high)

    def temperature(self, reading: Reading, batch: int | None) -> Estimate | None:
        """T of the latest noise, under epochs of the sharpest direction; None where the step has no heavy-ball form."""
        known = self._heated(reading, batch)
        epochs = self.draws is not None and self.draws.sampling == "epochs"
        return None if known is None else heat(*known, **self._drawn, curvature=self.sharpest if epochs else None)

    def temperatures(
        self, reading: Reading, batch: int | None, curvatures: list[Estimate]
    ) -> tuple[Estimate | None, ...]:
        """The same along directions of these curvatures."""
        known = self._heated(reading, batch)
        return () if known is None else along(*known, curvatures, **self._drawn)

    @property
    def _drawn(self) -> dict[str, Any]:
        return {"parameters": self.layout.count, "draws": self.draws}

    def _heated(self, reading: Reading, batch: int | None) -> tuple[float, float, Estimate, int] | None:
        if self.variance is None or reading.rate is None or not batch or not 0 <= reading.memory < 1:
            return None
        return reading.rate, reading.memory, self.variance, batch

    def _noise(self, step: int, reading: Reading, batch: int | None, cost: float, *, weighted: bool) -> list[Entry]:
        assert self.reference is not None  # noqa: S101 - planned only with one
        parts, size = self.reference.parts()
        rows = torch.stack([part.gradient() for part in parts])
        self.spent += gradients(size * len(parts), len(parts), self.batch)
        found = gradient_noise(rows, size)
        spread = (rows - rows.mean(dim=0)).square().sum(dim=0) * (size / (len(rows) - 1))
        pieces = torch.split(spread, [p.numel() for p in self.layout.parameters])
        entry = noise_entry(
            found,
            step=step,
            samples=size * len(rows),
            cost=cost,
            layers=tuple(self.layout.by_layer([float(piece.sum()) for piece in pieces])),
        )
        if entry is None:
            return []
        preconditioner = self.flat(reading)
        metric = found if preconditioner is None else gradient_noise(rows * preconditioner.rsqrt(), size)
        self.variance = variance_of(metric)
        if weighted:
            entry = replace(entry, curvature_scale=self._weighted(rows, size))
        return [entry, *self._regularization(step, reading, batch, metric)]

    def _weighted(self, rows: Tensor, size: int) -> float | None:
        """B_noise = tr(HΣ)/GᵀHG where it is resolved."""
        assert self.reference is not None  # noqa: S101
        with self.reference.curved().hessian() as hessian:
            found = curvature_noise(rows, hessian, size, probes=SIGNS)
        self.spent += products(self.samples, found.products, self.batch)
        return found.scale if found.resolved and math.isfinite(found.scale) and found.scale > 0 else None

    def _regularization(
        self, step: int, reading: Reading, batch: int | None, metric: GradientNoise
    ) -> list[Regularization]:
        """Compute what the finite step adds to the loss, in the step's metric."""
        if reading.rate is None or not batch or not 0 <= reading.memory < 1:
            return []
        assert self.reference is not None  # noqa: S101
        loss = self.reference.whole().value()
        self.spent += forwards(self.samples, 1, self.batch)
        return regularization(step, reading, metric, loss, batch, self.draws)

    def _barrier(self, step: int, reading: Reading, batch: int | None) -> list[Entry]:
        assert self.reference is not None  # noqa: S101
        objective = self.reference.whole()
        here = objective.position()
        left, since, self.left, self.left_at = self.left, self.left_at, here, step
        assert left is not None  # noqa: S101 - planned with a share
        found = barrier(objective, left, here, INTERIOR)
        self.spent += forwards(self.samples, INTERIOR + 2, self.batch)
        if not all(map(math.isfinite, (found.height, found.losses[0], found.losses[-1]))):
            return []
        entry = records.Barrier(step, since, found.height, found.at, found.losses[0], found.losses[-1], None)
        curved = line_curvature(found.losses, here - left, self.flat(reading))
        return [self._heat_of(entry, reading, batch, curved)]

    def _heat_of(
        self, entry: records.Barrier, reading: Reading, batch: int | None, curved: float | None
    ) -> records.Barrier:
        """With the temperature of the direction that the line has, or of what is known of it."""
        if self.draws is None or self.draws.sampling != "epochs":
            direction, found = "all", self.temperature(reading, batch)
        elif curved is not None:
            direction, found = "line", next(iter(self.temperatures(reading, batch, [Estimate(curved)])), None)
        else:
            direction, found = "sharpest", self.temperature(reading, batch)
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

    def _forward(self, step: int, reading: Reading, cost: float) -> list[Entry]:
        """Curvature along the gradient from losses alone, for models that have no second derivative of any kind."""
        assert self.reference is not None  # noqa: S101
        slope = [torch.zeros_like(p) if p.grad is None else -p.grad for p in self.layout.parameters]
        found = critical_sharpness(
            self.reference.whole(), slope, guess=reading.rate or reading.step or 1e-3, forwards=GUESSES
        )  # fmt: skip
        self.spent += forwards(self.samples, found.forwards, self.batch)
        if not found.resolved:
            return []
        return [
            Curvature(
                when="training",
                step=step,
                sharpness=found.value,
                residual=(found.high - found.low) / 2.0,
                limit=None,  # its bracket is no interval of λmax, which alone is to be held against the limit
                samples=self.samples,
                cost=cost,
                method="forward",
            )
        ]

    def _curvature(self, step: int, reading: Reading, batch: int | None, cost: float) -> list[Entry]:
        assert self.reference is not None  # noqa: S101
        if self.forward_only:
            return self._forward(step, reading, cost)
        preconditioner = self.flat(reading)
        warm = self.vectors.get(preconditioner is not None)
        try:
            with self.reference.curved().hessian() as hessian:
                found = sharpness(
                    hessian,
                    self._random(step),
                    self.most or (COLD if warm is None else WARM),
                    warm=warm,
                    preconditioner=preconditioner,
                    tolerance=1e-2,
                    count=SPECTRUM,
                )
        except RuntimeError as error:  # no second derivative, nor a gradient apart from the loop's: losses remain
            if self.reference.narrow:
                raise
            self.forward_only = True
            why = f"no Hessian-vector product ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            said = f"{why}: what is recorded is the curvature along the gradient, which λmax is not below"
            return [Remark(step, "curvature", said[:500]), *self._forward(step, reading, cost)]
        if not (math.isfinite(found.value) and math.isfinite(found.residual)):
            return []
        self.vectors[preconditioner is not None] = found.restart
        self.sharpest = Estimate(found.value, found.value, found.high)
        self.spent += self.lanczos(self.samples or self.batch, found.products)
        told = [i for i, r in enumerate(found.residuals) if i == 0 or r <= SHARP * abs(found.value)]
        spectrum = tuple(found.spectrum[i] for i in told)
        curved = rungs(spectrum, [found.residuals[i] for i in told], found.high)
        damped, heated = ladder(reading, curved), self.temperatures(reading, batch, curved)
        shares = torch.split(found.vector.square(), [p.numel() for p in self.layout.parameters])
        return [
            Curvature(
                when="training",
                step=step,
                sharpness=found.value,
                residual=found.residual,
                limit=_limit(reading),
                samples=self.samples,
                cost=cost,
                preconditioned=preconditioner is not None,
                spectrum=spectrum,
                residuals=tuple(found.residuals[i] for i in told),
                damping=tuple(z.value for z in damped),
                damping_low=tuple(z.low or 0.0 for z in damped),
                damping_high=tuple(z.high for z in damped),
                temperature=tuple(t and t.value for t in heated) if any(heated) else (),
                temperature_low=tuple(t and t.low for t in heated) if any(heated) else (),
                temperature_high=tuple(t and t.high for t in heated) if any(heated) else (),
                layers=tuple(self.layout.by_layer([float(share.sum()) for share in shares])),
                low=found.value,
                high=found.high,
            )
        ]

    def flat(self, reading: Reading) -> Tensor | None:
        """Diagonal of P, (d,); None without a preconditioner, and before the first step."""
        if not reading.preconditioner:
            return None
        found = reading.preconditioner
        return torch.cat([
            _whole(found[p]).reshape(-1).float() if p in found and found[p].dtype in NARROW
            else _whole(found[p]).reshape(-1) if p in found else torch.ones(p.numel()).to(p.device)
            for p in self.layout.parameters
        ])  # fmt: skip

    def _random(self, step: int) -> Tensor:
        like = self.layout.parameters[0]
        generator = torch.Generator().manual_seed(derive(START_KEY, step))
        dtype = torch.float32
        for p in self.layout.parameters:
            dtype = torch.promote_types(dtype, p.dtype)
        return torch.randn(self.layout.count, generator=generator).to(like.device, dtype)


def _limit(reading: Reading) -> float | None:
    return reading.limit if math.isfinite(reading.limit) and "limit" not in reading.lacks else None


def _whole(tensor: Tensor) -> Tensor:
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole
