"""What measurements on the reference share: the noise that heats the motion, vectors to begin with, what was spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from msgspec import convert, to_builtins

from thetadot.core.rng import derive
from thetadot.errors import require
from thetadot.monitor.restoring import restore
from thetadot.probes.heat import Estimate, along, heat
from thetadot.probes.wide import NARROW
from thetadot.records import Draws, Noise

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.reading import Reading
    from thetadot.monitor.layers import Layout
    from thetadot.monitor.reference import Reference
    from thetadot.probes.heat import Sampling

START_KEY = 7
ESTIMATES = ("sharpest", "variance")
PLAIN = ("spent", "left_at", "forward_only", "batch", "samples")


class ReferenceState:
    """Keeps what one measurement leaves to the next and to temperatures.

    Args:
        layout: the parameters.
        reference: the fixed batch; None where there is none.
        dataset_size: N, where it is known.
        sampling: how batches are drawn; None where it is not known.
    """

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
        """Restore the state of a checkpoint."""
        device = self.layout.parameters[0].device
        restore(self, {name: state[name] for name in PLAIN})
        for name in ESTIMATES:
            setattr(self, name, convert(state[name], Estimate | None))
        self.draws = convert(state["draws"], Draws | None)
        self.vectors = {bool(kind): vector.to(device) for kind, vector in state["vectors"].items()}
        self.left = None if state["left"] is None else state["left"].to(device)

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
        """Temperatures along directions of these curvatures."""
        known = self._heated(reading, batch)
        return () if known is None else along(*known, curvatures, **self._drawn)

    @property
    def _drawn(self) -> dict[str, Any]:
        return {"parameters": self.layout.count, "draws": self.draws}

    def _heated(self, reading: Reading, batch: int | None) -> tuple[float, float, Estimate, int] | None:
        if self.variance is None or reading.rate is None or not batch or not 0 <= reading.memory < 1:
            return None
        return reading.rate, reading.memory, self.variance, batch

    def flat(self, reading: Reading) -> Tensor | None:
        """Diagonal of P, (d,); None without a preconditioner, and before the first step."""
        if not reading.preconditioner:
            return None
        found = reading.preconditioner
        return torch.cat([
            _whole_tensor(found[p]).reshape(-1).float() if p in found and found[p].dtype in NARROW
            else _whole_tensor(found[p]).reshape(-1) if p in found else torch.ones(p.numel()).to(p.device)
            for p in self.layout.parameters
        ])  # fmt: skip

    def random(self, step: int) -> Tensor:
        """A direction drawn anew at every step, (d,), the same in a run that is repeated."""
        like = self.layout.parameters[0]
        generator = torch.Generator().manual_seed(derive(START_KEY, step))
        dtype = torch.float32
        for p in self.layout.parameters:
            dtype = torch.promote_types(dtype, p.dtype)
        return torch.randn(self.layout.count, generator=generator).to(like.device, dtype)


def _whole_tensor(tensor: Tensor) -> Tensor:
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole
