"""Rows of the measured steps, and the estimates over windows of them, on their way to the record."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from thetadot.records import Remark
from thetadot.watching.hold import Hold, Row
from thetadot.watching.settings import clock_step, friction
from thetadot.watching.window import FEWEST, add, equilibrium, over, readings

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.reading import Reading
    from thetadot.watching.book import Book
    from thetadot.watching.gauge import Gauge
    from thetadot.watching.layers import Layout
    from thetadot.watching.progress import Progress
    from thetadot.watching.remarks import Remarks
    from thetadot.watching.settings import Settings
    from thetadot.watching.soundings import Soundings

ON_DEVICE = 16
"""Readings kept on an accelerator before they are fetched together."""
BETWEEN = 10
"""Readings between two estimates of equilibrium."""


class StepRecorder:
    """Writes what was measured of steps.

    Args:
        layout: the watched parameters.
        settings: of the optimizer.
        gauge: what measures a step.
        soundings: what knows the temperature and what was spent.
        book: the record.
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
        gauge: Gauge,
        soundings: Soundings,
        book: Book,
        progress: Progress,
        remarks: Remarks,
        dataset_size: int | None,
        estimates: bool,
    ) -> None:
        self.layout, self.settings, self.gauge, self.soundings = layout, settings, gauge, soundings
        self.book, self.progress, self.remarks = book, progress, remarks
        self.dataset_size = dataset_size
        self.estimates = estimates
        self.hold = Hold(layout)
        self.clock = 0.0
        self._clocked = progress.step
        self._alarmed = False
        self._windows = 0
        self._estimated = 0

    def row(self, loss: Tensor | None) -> None:
        """The step that was just made."""
        reading = self.settings.reading()
        numbers = self.gauge.after(reading)
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
            temperature=self.soundings.temperature(reading, progress.usual or None),
            time_step=step,
            clock=self.clock,
            cost=progress.work + self.soundings.spent,
        )
        self.hold.rows.append(row)
        if len(self.hold.rows) >= (1 if numbers.device.type == "cpu" else ON_DEVICE):
            self.fetch()

    def fetch(self) -> None:
        """Write the rows that were kept, and what they complete."""
        for sample, motion, layers in self.hold.fetch():
            self.book.write(motion)
            self.book.write(layers)
            add(self.hold.samples, sample)
            lost = motion.gradient_norm is None or math.isinf(sample.loss)
            if lost and not self._alarmed:
                self._alarmed = True
                self.book.write(Remark(motion.step, "loss", "the loss or its gradient is not finite", alarm=True))
            if self.estimates:
                self.remarks.guarded("equilibrium", self._window)

    def end(self) -> None:
        """Write what is left."""
        self.remarks.guarded("motion", self.fetch)
        if self.estimates:
            self.remarks.guarded("equilibrium", self._estimate)

    def _note(self, reading: Reading) -> None:
        for entry in self.settings.changed(self.progress.step):
            self.book.write(entry)
        for what, why in reading.lacks.items():
            self.remarks.lack(what, why)

    def _window(self) -> None:
        """An estimate every few readings and at the window's end."""
        samples = self.hold.samples
        count, ended = readings(samples), over(samples, self._windows)
        if count >= FEWEST and (ended or count % (BETWEEN * samples[0].count) == 0):
            self._estimate()
        if ended:
            self._windows += 1
            self.hold.samples.clear()
            self.gauge.drop_anchor()

    def _estimate(self) -> None:
        found = equilibrium(self.hold.samples, self.layout.count)
        if found is not None and found.step > self._estimated:
            self._estimated = found.step
            self.book.write(found)
