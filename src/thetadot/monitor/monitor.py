"""Measure a training loop step by step: what `run` calls around its steps, and hooks around those of anybody else."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from thetadot.monitor.progress import Progress
from thetadot.monitor.reference_readings import ReferenceReadings
from thetadot.monitor.reference_state import ReferenceState
from thetadot.monitor.remarks import Remarks
from thetadot.monitor.settings import OptimizerSettings
from thetadot.monitor.step_recorder import StepRecorder
from thetadot.monitor.step_statistics import StepStatistics
from thetadot.records.step_losses import StepLosses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from thetadot.monitor.cadence import Plan
    from thetadot.monitor.layers import Layout
    from thetadot.monitor.reference import Reference
    from thetadot.probes.heat import Sampling
    from thetadot.records import Entry, Losses, Noise


SOON = 5
"""The second step that is measured comes after this part of a period: a run that is shorter than one is known by more
than its first step, whose lr is often that of a warm-up."""


class Monitor:
    """Measures the steps of one training loop; nothing of the run changes.

    A loop calls :meth:`begin_step` before the optimizer moves and :meth:`end_step` after. Steps are measured as the
    plan says, and the reference as its cadence says and the run's work pays for.

    Args:
        layout: the parameters that are trained, by layer.
        optimizer: moves them.
        write: receives the entries.
        plan: shares of the work, and the steps between two measured ones.
        level: the plan's name.
        reference: the fixed batch that noise and curvature are measured on; None measures neither.
        dataset_size: N, for epochs.
        sampling: how batches are drawn; None where it is not known.
        step: of a record that is continued, else 0.
        ranks: that train one model together.
        rank: of this process.
        planned: work of the whole run, in gradients of one sample; 0 where it is not known beforehand.
        others: gradient evaluations that the run spent elsewhere, in samples; None: the work of the steps themselves.
        quiet: entered while measurements call the model.
    """

    def __init__(
        self,
        layout: Layout,
        optimizer: Any,
        write: Callable[[Entry], None],
        *,
        plan: Plan,
        level: str,
        reference: Reference | None = None,
        dataset_size: int | None = None,
        sampling: Sampling | None = None,
        step: int = 0,
        ranks: int = 1,
        rank: int = 0,
        planned: float = 0.0,
        others: Callable[[], float] | None = None,
        quiet: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.layout, self.plan, self.write, self.reference = layout, plan, write, reference
        self.reads = rank == 0 or layout.sharded
        """Whether this rank measures: one does for replicas, all do for shards."""
        self.settings = OptimizerSettings(optimizer, layout)
        self.progress = Progress(step, ranks)
        self.remarks = Remarks(write, self.progress, rank)
        self.statistics = StepStatistics(layout, away=plan.away, pairs=plan.pairs)
        self.state = ReferenceState(layout, reference, dataset_size, sampling)
        self.others = others or (lambda: self.progress.work)
        parts: dict[str, Any] = {
            name: getattr(self, name) for name in ("layout", "settings", "state", "write", "progress", "remarks")
        }
        self.losses = StepLosses(fetched)
        self.steps = StepRecorder(
            **parts,
            statistics=self.statistics,
            dataset_size=dataset_size,
            estimates=plan.away,
            cost=self.cost,
        )
        self.readings = ReferenceReadings(
            **parts,
            plan=plan,
            reference=reference,
            quiet=quiet,
            fetch=self.steps.fetch,
            level=level,
            planned=planned,
            cost=self.cost,
        )
        self.measuring = self.opened = False
        self.following: float = step
        self.last = 0
        self.prepare()

    def cost(self) -> float:
        """Gradient evaluations so far, measuring included, in samples."""
        return self.others() + self.state.spent

    # The steps.

    def prepare(self) -> None:
        """Decide, before a step's gradient is taken, whether the step is measured."""
        step = self.progress.step
        begun, period = self.progress.begun, self.plan.motion
        singled = (begun + period // SOON, self.last)
        self.measuring = (step + 1) % period == 0 or step <= begun or step + 1 in singled
        if not self.measuring:
            ahead = (step + 1) // period * period + period - 1
            before = min((one - 1 for one in singled if one > step + 1), default=math.inf)
            self.following = min(ahead, before, self.readings.following())
            return
        self.following = step + 1
        if step and self.reads:
            with torch.no_grad():
                self.remarks.guarded("motion", self.statistics.prelude)

    def ends_at(self, step: int) -> None:
        """Measure that step, the last one of the run, whatever the cadence; to be called before its gradient."""
        self.last = step
        if not self.measuring:
            self.measuring = step == self.progress.step + 1  # without the gradient before it, which may be gone
            self.following = min(self.following, step if self.measuring else step - 1)

    def open(self) -> None:
        """Prepare the reference, at the end of the first step; :meth:`end_step` does where nothing else has."""
        if not self.opened:
            self.opened = True
            if self.reads:
                self.readings.begin()

    def begin_step(self) -> None:
        """Keep where a measured step begins; to be called with its gradient, before the optimizer moves."""
        if self.measuring and self.reads:
            with torch.no_grad():
                self.remarks.guarded("motion", self.statistics.before)

    def end_step(
        self,
        loss: Tensor | float | None = None,
        batch: Sequence[int] = (),
        passes: Callable[[], Noise | None] | None = None,
    ) -> bool:
        """Read what a measured step did, and measure on the reference what is due.

        Args:
            loss: of the step; None where it is not known.
            batch: samples of its passes; () where the step was not looked at.
            passes: returns the noise of the passes themselves, where that is to be had.

        Returns:
            Whether the step was measured.
        """
        progress = self.progress
        progress.step += 1
        measured = self.measuring
        line = self.losses.add(progress.step, loss)
        if line is not None:
            self._keep(line)
        if batch and not measured:
            progress.add(sum(batch))
        if progress.step < self.following:
            return False
        with torch.no_grad():
            if measured:
                self._read(loss, list(batch), passes)
            else:
                progress.count()
            if self.reads:
                self.readings.measure_due()
            self.prepare()
        return measured

    def _keep(self, line: Losses | None) -> None:
        if line is not None and self.remarks.rank == 0:
            self.write(line)

    def _read(self, loss: Tensor | float | None, batch: list[int], passes: Callable[[], Noise | None] | None) -> None:
        self.open()
        self.progress.read(batch, self.state.dataset_size)
        if self.progress.first and self.reads:
            self.readings.schedule(self.progress.batch)
        if passes is not None:
            self.remarks.guarded("micro-batches", lambda: self._adopt(passes()))
        if self.reads:
            self.remarks.guarded("motion", lambda: self.steps.row(loss))

    def _adopt(self, noise: Noise | None) -> None:
        if noise is not None:  # on every rank: their sums are the same, and so what is due next
            self.state.adopt(noise)
            if self.remarks.rank == 0:
                self.write(noise)

    def end(self, *, whole: bool = True) -> None:
        """Write what is left; measure a run that ended within its first steps, unless it was cut off."""
        self.progress.count()
        self.steps.end()
        self._keep(self.losses.end())
        if whole and self.reads:
            self.readings.end()

    # For a loop that goes back, or on.

    def passed(self, losses: Sequence[float], samples: int) -> None:
        """Follow steps that were made unseen, and which certainly stand.

        Args:
            losses: of each of them.
            samples: of all of them together.
        """
        self.steps.fetch()
        for loss in losses:
            self.progress.step += 1
            self._keep(self.losses.add(self.progress.step, loss))
        self.progress.add(samples)
        self.following = self.progress.step
        self.prepare()

    def rewind(self, step: int, optimizer: Any) -> None:
        """Follow a loop that has gone back to an earlier step, and may have another optimizer."""
        self.steps.fetch()
        self._keep(self.losses.end())
        self.progress.rewind(step)
        self.settings.optimizer = optimizer
        self.following = step
        self.prepare()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later measurements depend on."""
        self.steps.fetch()
        names = ("settings", "progress", "remarks", "statistics", "state", "steps", "readings")
        return {name: getattr(self, name).state_dict() for name in names} | {
            "losses": self.losses.state,
            "measuring": self.measuring,
            "opened": self.opened,
            "following": self.following,
            "last": self.last,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`, bit for bit."""
        for name in ("settings", "progress", "remarks", "statistics", "state", "steps", "readings"):
            getattr(self, name).load_state_dict(state[name])
        self.losses.state = state["losses"]
        self.measuring, self.opened = bool(state["measuring"]), bool(state["opened"])
        self.following, self.last = float(state["following"]), int(state["last"])


def fetched(losses: list[Tensor]) -> list[float]:
    """Bring losses of many steps from their device at once."""
    return [float(loss) for loss in torch.stack([loss.reshape(()).double() for loss in losses]).tolist()]
