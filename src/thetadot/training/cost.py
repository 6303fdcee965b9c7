"""Cost of a run, in gradient evaluations of one sample."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Cost:
    """Gradient evaluations, counted in samples. A forward pass counts a third, a Hessian-vector product two."""

    samples: float = 0.0

    def gradient(self, count: float) -> None:
        """Forward and backward over ``count`` samples."""
        self.samples += count

    def forward(self, count: float) -> None:
        """Count forward passes of some samples."""
        self.samples += count / 3.0
