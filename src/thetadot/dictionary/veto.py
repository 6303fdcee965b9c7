"""Rows whose settings no run can have, or whose step is above the stability limit at the measured curvature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from thetadot.core.formatting import plain
from thetadot.core.limits import adaptive_stability_limit, stability_limit
from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from thetadot.dictionary.optimizers import Optimizer
    from thetadot.dictionary.row import Row
    from thetadot.dictionary.settings import Settings


@dataclass(frozen=True)
class Ceiling:
    """The stability limit of an optimizer on a measured curvature; without one nothing is vetoed for its step."""

    kind: Optimizer
    sharpness: float | None

    @classmethod
    def of(cls, kind: Optimizer, sharpness: float | None) -> Ceiling:
        """Return the limit that an optimizer has on a sharpness.

        Raises:
            InadmissibleValue: a sharpness for an optimizer whose linear limit is not known.
        """
        if sharpness is not None and kind.motion not in ("kick", "mean"):
            raise InadmissibleValue(
                f"sharpness={sharpness:g} beside {kind.name}, whose steps have no linear stability limit. Leave it out."
            )
        return cls(kind, sharpness)

    def judged(self, row: Row, present: Settings) -> Row:
        """The row, vetoed where its settings are none or its step is not stable."""
        if row.standing != "usable" or row.lr is None or row.batch_size is None:
            return row
        beta = row.momentum or 0.0
        if not 0 <= beta < 1:
            why = "the momentum is outside [0, 1), so large a change cannot keep these"
        elif row.batch_size < 1:
            why = "less than one sample a batch"
        elif present.data is not None and row.batch_size > present.data:
            why = f"a batch of more than the {plain(present.data)} samples that there are"
        else:
            why = self._above(row, beta, decoupled=present.decoupled)
        return replace(row, standing="vetoed", verdict=f"vetoed: {why}") if why else row

    def limit(self, lr: float, momentum: float, decay: float, *, decoupled: bool) -> float:
        """The largest stable curvature at some settings."""
        base, extra = self._form(momentum, decay, decoupled=decoupled)
        return base / lr - extra

    def _form(self, momentum: float, decay: float, *, decoupled: bool) -> tuple[float, float]:
        """Bound on lr·(h + extra): decoupled decay multiplies it by 1 - αw/2, coupled decay is a curvature w."""
        if self.kind.motion == "mean":
            base = adaptive_stability_limit(momentum)
        else:
            base = stability_limit(momentum, 1.0 if self.kind.name == "nesterov" else 0.0)
        coupled = decay if self.kind.family == "sgd" else 0.0
        return base, base * decay / 2.0 if decoupled else coupled

    def _above(self, row: Row, beta: float, *, decoupled: bool) -> str:
        if self.sharpness is None or row.lr is None:
            return ""
        base, extra = self._form(beta, row.weight_decay, decoupled=decoupled)
        highest = base / (self.sharpness + extra)
        return "" if row.lr < highest else f"lr is above the stability limit {highest:.4g} at this sharpness"
