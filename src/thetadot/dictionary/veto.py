"""Rows whose settings no run can have, or whose step is above the stability limit at the measured curvature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from thetadot.errors import InadmissibleValue
from thetadot.formatting import plain
from thetadot.limits import adaptive_stability_limit, stability_limit

if TYPE_CHECKING:
    from thetadot.dictionary.conversion import Row
    from thetadot.dictionary.optimizers import Optimizer
    from thetadot.dictionary.settings import Settings


@dataclass(frozen=True)
class Ceiling:
    """The stability limit of an optimizer on a measured curvature; without one nothing is vetoed for its step."""

    kind: Optimizer
    sharpness: float | None

    @classmethod
    def of(cls, kind: Optimizer, sharpness: float | None) -> Ceiling:
        """Return the ceiling.

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
        kick = lr * decay if decoupled else 0.0
        coupled = decay if not decoupled and self.kind.family == "sgd" else 0.0
        if self.kind.motion == "mean":
            return adaptive_stability_limit(momentum, kick) / lr
        return stability_limit(momentum, 1.0 if self.kind.name == "nesterov" else 0.0, kick) / lr - coupled

    def _above(self, row: Row, beta: float, *, decoupled: bool) -> str:
        if self.sharpness is None or row.lr is None:
            return ""
        limit = self.limit(row.lr, beta, row.weight_decay, decoupled=decoupled)
        if self.sharpness < limit:
            return ""
        return f"the stability limit would be {plain(limit)}, the sharpness is {plain(self.sharpness)}"
