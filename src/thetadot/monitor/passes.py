"""Noise from the passes of a step: micro-batches where they are draws of one law, else kinds of pass.

Passes and ranks are micro-batches only if they are equal draws. What tells before any number: they see the same inputs,
their inputs are of different structure, they never have equal numbers of samples, or a loss module is not called once a
pass. What tells by numbers: :func:`~thetadot.probes.exchangeability.exchangeability`, after 10, 20, 40 ... measured
steps. Until it has told, there is no noise from them. Where they are of several kinds, the step's whole gradient is
resampled now and then (:mod:`~thetadot.monitor.resampling`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.monitor.cadence import gradients
from thetadot.monitor.microbatches import MicroBatches
from thetadot.monitor.pooled_noise import BETWEEN, MOST, NoisePool, pooled
from thetadot.monitor.resampling import SIGNS, TRIES, StepResampling
from thetadot.probes.exchangeability import exchangeability

if TYPE_CHECKING:
    from torch import Tensor, nn

    from thetadot.monitor.hooks import ForwardHooks
    from thetadot.monitor.layers import Layout
    from thetadot.records import Noise

REMEDY = (
    "no noise is taken from passes. Give reference=(inputs, target) with 16 or more samples and the whole loss, on "
    "which it is measured instead"
)


class Passes:
    """Micro-batches of a step and their statistics.

    Args:
        model: as the loop calls it.
        layout: the watched parameters.
        ranks: that train it together.
        share: of the training's work that resampling may take.
    """

    def __init__(self, model: nn.Module, layout: Layout, ranks: int, share: float) -> None:
        self.model = model
        self.layout = layout
        self.ranks = ranks
        self.share = share
        self.micro = MicroBatches(model, layout, ranks)
        self.pooled = NoisePool(ranks)
        self.rows: list[Tensor] = []
        self.tests = 0
        self.alike: bool | None = None
        self.unlike = ""  # why passes are no equal draws
        self.unequal = 0  # measured steps in a row whose passes had unequal numbers of samples
        self.untold = ""  # why no noise is taken from them at all
        self.resampling: StepResampling | None = None
        self.found: list[tuple[int, tuple[float, float]]] = []  # resampled steps, by number of the measured step
        self.measured = 0
        self.variance: float | None = None  # of the present step's gradient, as its passes made it
        self.due = self.readings = 0
        self.spent = 0.0  # by the last resampled step

    @property
    def joined(self) -> bool:
        """Whether the model is under torch's Join, where a rank may have ended: it answers no collective of ours."""
        model: Any = self.model
        while model is not None:
            if getattr(getattr(model, "_join_config", None), "enable", False):
                return True
            model = getattr(model, "_orig_mod", None)
        return False

    @property
    def resolved(self) -> bool:
        """Whether the passes determine the noise, so that the reference is not needed."""
        return bool(self.found) if self.unlike else bool(self.pooled.resolved and self.alike)

    def step(self, sizes: list[int], unlike: str, step: int, cost: float) -> Noise | None:
        """Read what was armed: a pooled estimate every few steps.

        Args:
            sizes: samples of the passes.
            unlike: what the form of the passes tells against equal draws.
            step: now.
            cost: so far.
        """
        self.measured += 1
        self.unequal = self.unequal + 1 if len(set(sizes)) > 1 else 0
        found = self.micro.after() if self.micro.handles and sizes else None
        if not unlike and self.ranks == 1 and self.micro.square is not None and max(self.micro.calls) < len(sizes):
            unlike = "passes of one step go into one backward pass"
        if unlike or self.unequal >= BETWEEN:
            self._part(unlike or "passes of one step have unequal numbers of samples")
        if self.unlike:
            return self._resampled(sum(sizes), step, cost)
        if found is None or self.unequal:
            return None
        rows = self.micro.rows()
        if rows is not None:
            if self.rows and self.rows[-1].shape != rows.shape:
                self.rows = []
            self.rows = [*self.rows, rows][-MOST:]
        noise = self.pooled.add(found, sizes[0], step, cost)
        if self.pooled.added >= BETWEEN * 2**self.tests and self.rows:
            self.tests += 1
            self._ask()
        return noise if self.alike and not self.unlike else None

    def _ask(self) -> None:
        if len(self.rows) < BETWEEN:
            return
        told = exchangeability(np.stack([row.cpu().numpy() for row in self.rows]))
        self.alike = told.alike if told.alike is not None else self.alike
        if told.alike is False:
            which = "ranks and passes" if self.ranks > 1 else "passes"
            self._part(
                f"the {which} of a step are not draws of one law (labels explain {told.share:.0%} of their scatter, "
                f"p = {told.chance:.2g})"
            )

    # Kinds of pass.

    def _part(self, why: str) -> None:
        """Passes are of several kinds from here on."""
        if self.unlike:
            return
        self.unlike, self.rows = why, []
        if self.ranks > 1 or self.layout.sharded:
            self.untold = f"{why}: {REMEDY}"
        else:
            self.resampling = StepResampling(self.model, self.layout)

    def wants(self, step: int) -> bool:
        """Whether the passes of that step are to be kept."""
        return self.resampling is not None and not self.untold and step >= self.due

    def resample(self, hooks: ForwardHooks, step: int) -> float:
        """Estimate the variance of a step's gradient before the step; return the cost in samples' gradients."""
        calls, sizes, axis = hooks.calls()
        self.variance = None
        if self.resampling is None or not calls:
            return 0.0
        try:
            self.variance = self.resampling.read(calls, sizes, axis, self.micro.totals, step)
            why = "what was made again from its passes is not the gradient of a step"
        except Exception as error:  # noqa: BLE001 - whatever a model throws
            self.resampling.failed, why = TRIES, str(error).splitlines()[0] if str(error) else type(error).__name__
        if self.resampling.failed >= TRIES:
            self.untold = f"{self.unlike}, and {why[:300]}: {REMEDY}"
        whole = float(sum(sizes))
        self.spent = _cost(whole, len(calls))
        self._put_off(step, self.spent / whole)
        return self.spent

    def cost(self, batch: float, passes: int) -> float:
        """Cost of resampling a step: as the last time; at first, as if every pass were a batch."""
        return self.spent or _cost(batch * passes, passes)

    def _put_off(self, step: int, steps: float) -> None:
        """Next after as many steps as pay for a reading; sooner at first."""
        period = max(1, math.ceil(steps / self.share))
        self.due = step + min(period, max(1, period // 16) * 4**self.readings)
        self.readings += 1

    def _resampled(self, samples: int, step: int, cost: float) -> Noise | None:
        """The entry: trΣ = B·Var G in the units of the step, c² times those of its passes; |G|² less its noise."""
        variance, self.variance = self.variance, None
        if variance is None or self.micro.factor is None or self.micro.square is None:
            return None
        variance, square = variance * float(self.micro.factor), float(self.micro.square)
        if not (math.isfinite(variance) and math.isfinite(square)):
            return None
        self.found = [pair for pair in self.found if pair[0] > self.measured - MOST]
        self.found.append((self.measured, (samples * variance, square - variance)))
        return pooled([pair for _, pair in self.found], "samples", samples, step, cost)


def _cost(samples: float, passes: int) -> float:
    """A forward pass is a third of a gradient, and the unsigned gradient is sent back, too."""
    return (2 * SIGNS + 3) / 3.0 * gradients(samples, passes, samples / passes)
