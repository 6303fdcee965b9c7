"""Rows of a table: what was measured beside what is known of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Reference = Literal["closed form", "quadrature", "grid solution", "other method", "asymptotic formula"]
"""How what is expected is known."""
ERRORS = 4.0
"""Standard errors within which a measurement agrees: one in 16000 true statements is called false."""


@dataclass(frozen=True)
class SceneRow:
    """A line of the table: what was measured beside what is known.

    Attributes:
        quantity: its name.
        measured: on the paths.
        expected: what is known of it; None where nothing is, or where what is known does not hold.
        source: where that comes from.
        error: one standard error of what was measured, 0 if it is no estimate.
        tolerance: by which it may differ besides.
        remark: why the tolerance is what it is.
        reference: how what is expected is known.
    """

    quantity: str
    measured: float
    expected: float | None = None
    source: str = ""
    error: float = 0.0
    tolerance: float = 0.0
    remark: str = ""
    reference: Reference = "closed form"

    @property
    def agrees(self) -> bool | None:
        """Whether measured and expected are within 4 standard errors and the tolerance; None without expectation.

        Example:
            >>> [SceneRow("x", value, 1.0, error=0.03).agrees for value in (1.1, 1.2)], SceneRow("x", 1.0).agrees
            ([True, False], None)
        """
        if self.expected is None:
            return None
        if self.measured == self.expected:
            return True
        within = ERRORS * self.error + self.tolerance
        return math.isfinite(within) and abs(self.measured - self.expected) <= within


def mean_row(
    quantity: str,
    samples: torch.Tensor,
    expected: float | None,
    source: str,
    tolerance: float = 0.0,
    reference: Reference = "closed form",
) -> SceneRow:
    """Compare the mean of independent samples with its known value."""
    values = samples.detach().double().flatten()
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return SceneRow(quantity, float(values.mean()), expected, source, error, tolerance, reference=reference)


def share_row(
    quantity: str, hits: torch.Tensor, expected: float | None, source: str, reference: Reference = "closed form"
) -> SceneRow:
    """A share of paths beside its probability; its error is that of the probability, which a share of 0 has too."""
    share = float(hits.double().mean())
    known = share if expected is None else expected
    error = math.sqrt(max(known * (1.0 - known), 1.0 / hits.numel()) / hits.numel())
    return SceneRow(quantity, share, expected, source, error, reference=reference)
