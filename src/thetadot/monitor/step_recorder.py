"""Rows of the measured steps, and the estimates over windows of them, on their way to the record."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from thetadot.monitor.pending import PendingRows, Row
from thetadot.monitor.settings import clock_step, friction
from thetadot.monitor.window import FEWEST, EstimationWindow, equilibrium
from thetadot.records import Remark

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.monitor.layers import Layout
    from thetadot.monitor.measurements import ReferenceMeasurements
    from thetadot.monitor.progress import Progress
    from thetadot.monitor.recorder import RunRecorder
    from thetadot.monitor.remarks import Remarks
    from thetadot.monitor.settings import Settings
    from thetadot.monitor.step_statistics import StepStatistics
    from thetadot.reading import Reading

ON_DEVICE = 16
"""Readings kept on an accelerator before they are fetched together."""
BETWEEN = 10
"""Readings between two estimates of equilibrium."""


class StepRecorder:
    """Writes what was measured of steps.

    Args:
        layout: the watched parameters.
        settings: of the optimizer.
        statistics: what measures a step.
        measurements: what knows the temperature and what was spent.
        recorder: the record.
        progress: steps and work.
        remarks: what is left out.
        dataset_size: N, for epochs.
        estimates: whether windows are estimated.
    """

    def __init__(
        self,
        *,
        layout: Layout,
        settings: Settings,
        statistics: StepStatistics,
        measurements: ReferenceMeasurements,
        recorder: RunRecorder,
        progress: Progress,
        remarks: Remarks,
        dataset_size: int | None,
        estimates: bool,
    ) -> None:
        self.layout, self.settings, self.statistics, self.measurements = layout, settings, statistics, measurements
        self.recorder, self.progress, self.remarks = recorder, progress, remarks
        self.dataset_size = dataset_size
        self.estimates = estimates
        self.pending = PendingRows(layout)
        self.window = EstimationWindow()
        self.clock = 0.0
        self._clocked = progress.step
        self._alarmed = False
        self._estimated = 0

    def row(self, loss: Tensor | None) -> None:
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
        row = Row(
            step=progress.step,
            numbers=numbers,
            loss=loss,
            reading=replace(reading, preconditioner=None, friction=friction(reading)),
            lr=self.settings.lr,
            batch=progress.batch,
            epoch=progress.work / self.dataset_size if self.dataset_size else None,
            temperature=self.measurements.temperature(reading, progress.usual or None),
            time_step=step,
            clock=self.clock,
            cost=progress.work + self.measurements.spent,
        )
        self.pending.rows.append(row)
        if len(self.pending.rows) >= (1 if numbers.device.type == "cpu" else ON_DEVICE):
            self.fetch()

    def fetch(self) -> None:
        """Write the rows that were kept, and what they complete."""
        for sample, motion, layers in self.pending.fetch():
            self.recorder.write(motion)
            self.recorder.write(layers)
            self.window.append(sample)
            lost = motion.gradient_norm is None or math.isinf(sample.loss)
            if lost and not self._alarmed:
                self._alarmed = True
                self.recorder.write(Remark(motion.step, "loss", "the loss or its gradient is not finite", alarm=True))
            if self.estimates:
                self.remarks.guarded("equilibrium", self._window)

    def end(self) -> None:
        """Write what is left."""
        self.remarks.guarded("motion", self.fetch)
        if self.estimates:
            self.remarks.guarded("equilibrium", self._estimate)

    def _note(self, reading: Reading) -> None:
        for entry in self.settings.changed(self.progress.step):
            self.recorder.write(entry)
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
            self.recorder.write(found)
