"""Noise from the passes of a step: armed, tested, pooled, or left alone with the reason.

Passes and ranks are micro-batches only if they are equal draws. What tells before any number: they see the same inputs,
their inputs are of different structure, or a loss module is not called once a pass. What tells by numbers:
:func:`~thetadot.probes.exchangeability.exchangeability`, after 10, 20, 40 ... measured steps. Until it has told, there
is no noise from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.probes.exchangeability import exchangeability
from thetadot.watching.microbatches import MicroBatches
from thetadot.watching.pool import BETWEEN, MOST, Pool

if TYPE_CHECKING:
    from torch import Tensor, nn

    from thetadot.records import Noise
    from thetadot.watching.layers import Layout

REMEDY = (
    "no noise is taken from passes. Give reference=(inputs, target) with 16 or more samples and the whole loss, on "
    "which it is measured instead"
)


class Passes:
    """Micro-batches of a step and what is known of them."""

    def __init__(self, model: nn.Module, layout: Layout, ranks: int) -> None:
        self.model = model
        self.ranks = ranks
        self.micro = MicroBatches(model, layout, ranks)
        self.pool = Pool(ranks)
        self.rows: list[Tensor] = []
        self.tests = 0
        self.alike: bool | None = None
        self.unlike = ""  # why passes are no equal draws

    @property
    def joined(self) -> bool:
        """Whether the model is under torch's Join, where a rank may have ended: it answers no collective of ours."""
        model: Any = self.model
        while model is not None:
            if getattr(getattr(model, "_join_config", None), "enable", False):
                return True
            model = getattr(model, "_orig_mod", None)
        return False

    def step(self, samples: int, step: int, cost: float) -> Noise | None:
        """Read what was armed: a pooled estimate every few steps, once passes are known to be equal draws.

        Args:
            samples: of one pass.
            step: now.
            cost: so far.
        """
        found = self.micro.after() if self.micro.handles else None
        if found is None:
            return None
        rows = self.micro.rows()
        if rows is not None:
            if self.rows and self.rows[-1].shape != rows.shape:
                self.rows = []
            self.rows = [*self.rows, rows][-MOST:]
        noise = self.pool.add(found, samples, step, cost)
        if self.pool.added >= BETWEEN * 2**self.tests and self.rows:
            self.tests += 1
            self._ask()
        return noise if self.alike and not self.unlike else None

    def _ask(self) -> None:
        if len(self.rows) < BETWEEN or self.unlike:
            return
        told = exchangeability(np.stack([row.cpu().numpy() for row in self.rows]))
        self.alike = told.alike if told.alike is not None else self.alike
        if told.alike is False:
            which = "ranks and passes" if self.ranks > 1 else "passes"
            self.unlike = (
                f"the {which} of a step are not draws of one law (labels explain {told.share:.0%} of their scatter, "
                f"p = {told.chance:.2g}): {REMEDY}"
            )
