"""Rows of the measured steps, and the estimates over windows of them, on their way to the record."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from thetadot.monitor.pending import MeasuredRow, PendingRows
from thetadot.monitor.restoring import restore
from thetadot.monitor.settings import clock_step, friction
from thetadot.monitor.window import FEWEST, EstimationWindow, equilibrium
from thetadot.records import Remark

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.reading import Reading
    from thetadot.monitor.layers import Layout
    from thetadot.monitor.progress import Progress
    from thetadot.monitor.reference_state import ReferenceState
    from thetadot.monitor.remarks import Remarks
    from thetadot.monitor.settings import OptimizerSettings
    from thetadot.monitor.step_statistics import StepStatistics
    from thetadot.records import Entry

ON_DEVICE = 16
"""Readings kept on an accelerator before they are fetched together."""
PLAIN = ("clock", "_clocked", "_alarmed", "_estimated")
BETWEEN = 10
"""Readings between two estimates of equilibrium."""


class StepRecorder:
    """Writes what was measured of steps.

    Args:
        layout: the watched parameters.
        settings: of the optimizer.
        statistics: what measures a step.
        state: what knows the temperature.
        write: receives the entries.
        cost: gradient evaluations so far, in samples.
        progress: steps and work.
        remarks: what is left out.
        dataset_size: N, for epochs.
        estimates: whether windows are estimated.
    """

    def __init__(
        self,
        *,
        layout: Layout,
        settings: OptimizerSettings,
        statistics: StepStatistics,
        state: ReferenceState,
        write: Callable[[Entry], None],
        progress: Progress,
        remarks: Remarks,
        dataset_size: int | None,
        estimates: bool,
        cost: Callable[[], float],
    ) -> None:
        self.layout, self.settings, self.statistics, self.state = layout, settings, statistics, state
        self.write, self.progress, self.remarks, self.cost = write, progress, remarks, cost
        self.dataset_size = dataset_size
        self.estimates = estimates
        self.pending = PendingRows(layout)
        self.window = EstimationWindow()
        self.clock = 0.0
        self._clocked = progress.step
        self._alarmed = False
        self._estimated = 0

    def row(self, loss: Tensor | float | None) -> None:
        """The step that was just made."""
        reading = self.settings.reading()
        numbers = self.statistics.after(reading)
        if numbers is None:
            return
        self._note(reading)
        progress = self.progress
        step = clock_step(reading)
        self.clock += step * (progress.step - self._clocked)
        self._clocked = progress.step
        row = MeasuredRow(
            step=progress.step,
            numbers=numbers,
            loss=loss,
            reading=replace(reading, preconditioner=None, friction=friction(reading)),
            lr=self.settings.lr,
            batch=progress.batch,
            epoch=progress.work / self.dataset_size if self.dataset_size else None,
            temperature=self.state.temperature(reading, progress.usual or None),
            time_step=step,
            clock=self.clock,
            cost=self.cost(),
        )
        self.pending.rows.append(row)
        if len(self.pending.rows) >= (1 if numbers.device.type == "cpu" else ON_DEVICE):
            self.fetch()

    def fetch(self) -> None:
        """Write the rows that were kept, and what they complete."""
        for sample, motion, layers in self.pending.fetch():
            self.write(motion)
            self.write(layers)
            self.window.append(sample)
            lost = motion.gradient_norm is None or math.isinf(sample.loss)
            if lost and not self._alarmed:
                self._alarmed = True
                self.write(Remark(motion.step, "loss", "the loss or its gradient is not finite", alarm=True))
            if self.estimates:
                self.remarks.guarded("equilibrium", self._window)

    def end(self) -> None:
        """Write what is left."""
        self.remarks.guarded("motion", self.fetch)
        if self.estimates:
            self.remarks.guarded("equilibrium", self._estimate)

    def state_dict(self) -> dict[str, Any]:
        """Return the clock and the window."""
        return {name: getattr(self, name) for name in PLAIN} | {"window": self.window.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        restore(self, {name: state[name] for name in PLAIN})
        self.window.load_state_dict(state["window"])

    def _note(self, reading: Reading) -> None:
        for entry in self.settings.changed(self.progress.step):
            self.write(entry)
        for what, why in reading.lacks.items():
            self.remarks.lack(what, why)

    def _window(self) -> None:
        """An estimate every few readings and at the window's end."""
        count, ended = self.window.readings, self.window.complete
        if count >= FEWEST and (ended or count % (BETWEEN * self.window.samples[0].count) == 0):
            self._estimate()
        if ended:
            self.window.clear()
            self.statistics.drop_anchor()

    def _estimate(self) -> None:
        found = equilibrium(self.window.samples, self.layout.count)
        if found is not None and found.step > self._estimated:
            self._estimated = found.step
            self.write(found)
