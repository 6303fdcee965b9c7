"""When the reference is measured: prepared once, then as its cadence says and the run's work pays for.

Where work is capped, preparing and the first measurements take a batch of it at most, evenly spread: so a reference of
any size is first read after as many steps. An entry says how many samples it is of.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from msgspec.structs import replace
from torch import distributed

from thetadot.errors import InadmissibleValue
from thetadot.monitor.cadence import GRACE, YOUNG, Every
from thetadot.monitor.draws import drawn
from thetadot.monitor.measurements import MEASUREMENTS, Moment
from thetadot.monitor.reference import PARTS
from thetadot.monitor.restoring import restore

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from thetadot.monitor.cadence import Plan
    from thetadot.monitor.layers import Layout
    from thetadot.monitor.progress import Progress
    from thetadot.monitor.reference import Reference
    from thetadot.monitor.reference_state import ReferenceState
    from thetadot.monitor.remarks import Remarks
    from thetadot.monitor.settings import OptimizerSettings
    from thetadot.records import Entry

PLAIN = ("told", "unfit", "summed", "prepared", "_batch", "_ended")


class ReferenceReadings:
    """Noise, curvature and barriers of one watch.

    Args:
        plan: shares.
        layout: the watched parameters.
        settings: of the optimizer.
        reference: None measures nothing.
        state: what measurements leave to one another.
        quiet: entered while they call the model.
        write: receives the entries.
        progress: steps and work.
        remarks: what is left out.
        fetch: writes what was kept of steps before.
        level: its name.
        planned: work of the whole run, over which readings are spread and out of which they are paid from the start; 0
            where it is not known.
        cost: gradient evaluations so far, in samples.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        layout: Layout,
        settings: OptimizerSettings,
        reference: Reference | None,
        state: ReferenceState,
        quiet: Callable[[], AbstractContextManager[Any]],
        write: Callable[[Entry], None],
        progress: Progress,
        remarks: Remarks,
        fetch: Callable[[], None],
        level: str,
        planned: float,
        cost: Callable[[], float],
    ) -> None:
        self.plan, self.layout, self.settings = plan, layout, settings
        self.reference, self.state, self.quiet = reference, state, quiet
        self.measurements = {name: kind(state) for name, kind in MEASUREMENTS.items()}
        self.write, self.progress, self.remarks = write, progress, remarks
        self.fetch, self.cost, self.planned = fetch, cost, planned
        self.level = level
        self.every: dict[str, Every] = {}
        self.told = False  # whether the passes themselves tell the noise
        self.unfit = self.summed = False  # the reference is not measured; the loss is a sum
        self.prepared = reference is None
        self._batch = 0.0  # of a step on this rank
        self._ended = False

    # Before the first of them.

    def begin(self) -> None:
        """At the first step: how batches are drawn and where samples lie, unless that is plain and can wait."""
        self._draws()
        if self.reference is None:
            return
        if math.isinf(self.plan.cap) or not self.reference.plain:
            self._settle(self.reference)

    def schedule(self, batch: int | None) -> None:
        """When what is due, by the first step's batch."""
        if self.reference is None:
            return
        if self.layout.sharded and "motion" in self.remarks.silent:
            return  # whatever is read of shards is read together
        batch_here = float((batch or 0) / self.progress.ranks or self.state.samples or 1)
        if self.layout.sharded:
            agreed = [batch_here]
            distributed.broadcast_object_list(agreed, src=0)
            batch_here = agreed[0]
        self._batch = batch_here
        self._schedule()

    def sum(self, why: str) -> None:
        """A loss that is a sum has no curvature nor noise of its own."""
        if not self.summed:
            self.unfit = self.summed = True
            self.every = {}
            self.remarks.say("loss", why.removesuffix(".") + ": nothing is measured by it")
            self.remarks.silent.add("micro-batches")

    def _schedule(self) -> None:
        self.every = {}
        if self.unfit or self.reference is None:
            return
        state = self.state
        state.batch = self._batch
        if state.left is None:
            state.left_at = self.progress.step
        size = state.samples or self._batch
        steps = int(self.planned / self._batch)
        preconditioned = self.settings.reading().preconditioner is not None
        cut = bool(self.reference.parts()[0])
        self.every = {
            name: measurement.every(self.plan, size, preconditioned=preconditioned, steps=steps)
            for name, measurement in self.measurements.items()
            if cut or not measurement.in_parts
        }

    def _settle(self, reference: Reference) -> None:
        """What a pass would leave behind, and where the samples of the reference lie."""
        self.prepared = True
        if self.unfit:
            return
        size = self._size(preparing=True)
        with self.quiet(), torch.enable_grad(), reference.portion(size):
            self._prepare(reference)
        self.state.spent += reference.preparing(size, self._batch or float(size))
        self.state.samples = reference.samples

    def _prepare(self, reference: Reference) -> None:
        try:
            left = reference.changed()
        except Exception:  # noqa: BLE001 - the loss cannot be computed: measurements will say so
            left = []
        if left:
            self.unfit = True
            why = "; ".join(map(str, left[:3])) + ("" if len(left) <= 3 else f"; {len(left) - 3} more")
            does = "may change, and on shards that is not tried," if self.layout.sharded else "changes"
            self.remarks.say(
                "reference",
                f"nothing is measured on it: a pass {does} {why}, which cannot be put back. Keep such state in "
                "buffers or plain attributes of the module, or pass a reference loss that does not change it",
            )
            return
        try:
            said = reference.settle()
            reference.notice_autocast()
        except InadmissibleValue as error:
            self.sum(str(error))
            return
        except Exception as error:  # noqa: BLE001
            said = f"where its samples lie was not found ({type(error).__name__}: {error})"[:500]
        if said:
            self.remarks.say("reference", said)

    def _draws(self) -> None:
        """How batches are drawn, where it was not told."""
        state = self.state
        found = state.draws or drawn()
        if found is not None:
            size = state.dataset_size or found.dataset_size
            state.dataset_size = size
            state.draws = replace(found, step=self.progress.begun + 1, dataset_size=size)
            if self.remarks.rank == 0:
                self.write(state.draws)
        elif self.remarks.rank == 0 and self.reference is not None:
            self.remarks.note(
                "sampling",
                "how batches are drawn is not known: temperatures are those of independent draws. Under shuffled "
                "epochs flat directions are colder; pass sampling='epochs' and dataset_size=N then",
            )

    def _size(self, *, preparing: bool = False) -> int:
        """Samples that it is first measured on, where work is capped a batch of it at most, or prepared on, fewer."""
        assert self.reference is not None  # noqa: S101 - asked only with one
        whole = self.reference.samples or math.ceil(self._batch) or 1
        if math.isinf(self.plan.cap) or self.layout.sharded or self.planned:
            return whole
        return min(whole, 2 * PARTS if preparing else max(2 * PARTS, math.ceil(self._batch)))

    # When.

    def following(self) -> float:
        """The next step after which something is due."""
        begun = self.progress.begun
        return min(
            (begun + every.following(self.progress.step - begun) for every in self.every.values()), default=math.inf
        )

    def wait(self, cost: float) -> int:
        """Steps until the run's work pays for that; 0 now. Shards count the same steps on every rank."""
        progress = self.progress
        done = (progress.step - progress.begun) * self._batch
        if not self.layout.sharded:
            done = progress.work / progress.ranks
        batch = self._batch or float(progress.usual or 1) / progress.ranks
        needed = (self.state.spent + cost) / self.plan.cap
        return 0 if needed <= (self.planned or max(done, GRACE * batch)) else max(1, math.ceil((needed - done) / batch))

    def measure_due(self) -> None:
        """Measure what is due after this step; noise is left out where passes have told it."""
        steps = self.progress.step - self.progress.begun
        for name in list(self.every):
            every = self.every.get(name)
            if every is None or name in self.remarks.silent or not every.due(steps) or self._told(name):
                continue
            wait = self._affords(name, every)
            if wait:
                every.put_off(steps + wait)
                continue
            if name not in self.plan.every:
                every.put_off(None)
            self._ready()
            every = self.every.get(name)
            if every is None:
                continue
            self._sound(name, every)

    def _told(self, name: str) -> bool:
        return self.told and self.measurements[name].told_by_passes

    def _affords(self, name: str, every: Every) -> int:
        """Steps to wait until the run's work pays for a measurement."""
        assert self.reference is not None  # noqa: S101 - planned only with one
        if name in self.plan.every:
            return 0
        size = self.reference.samples or self._batch if every.done else self._size()
        before = 0.0 if self.prepared else self.reference.preparing(self._size(preparing=True), self._batch)
        return self.measurements[name].wait(size, lambda cost: self.wait(before + cost))

    def _ready(self) -> None:
        if self.prepared or self.reference is None:
            return
        before = self.every
        self._settle(self.reference)
        self._schedule()
        for name, every in self.every.items():
            every.go_on(before.get(name, every))

    def _sound(self, name: str, every: Every) -> None:
        with self.quiet():
            self.remarks.guarded(name, lambda: self._measure(name, first=not every.done))
        every.done = True

    def _measure(self, name: str, *, first: bool) -> None:
        self.fetch()
        assert self.reference is not None  # noqa: S101 - planned only with one
        progress, reference, state = self.progress, self.reference, self.state
        with reference.kept(), reference.portion(self._size() if first and not self._ended else reference.samples):
            state.samples = reference.samples
            moment = Moment(progress.step, self.settings.reading(), progress.usual or None, self.cost())
            found = self.measurements[name].measure(moment)
        state.samples = reference.samples
        for entry in found:
            self.write(entry)

    def state_dict(self) -> dict[str, Any]:
        """Return what is due when, and what is known of the reference."""
        every = {name: every.state_dict() for name, every in self.every.items()}
        known = None if self.reference is None else self.reference.state_dict()
        return {name: getattr(self, name) for name in PLAIN} | {"every": every, "reference": known}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        restore(self, {name: state[name] for name in PLAIN})
        if self.reference is not None:
            self.reference.load_state_dict(state["reference"])
        self.every = {str(name): Every.of(told) for name, told in state["every"].items()}

    def end(self) -> None:
        """A run that ends within its first steps is measured where it ended; a longer one is told what it lacks."""
        steps = self.progress.step - self.progress.begun
        if steps < 1 or self.layout.sharded:
            return
        self._ended = True
        with torch.no_grad():
            for name, measurement in self.measurements.items():
                every = self.every.get(name) if measurement.from_start else None
                if every is None or every.done or name in self.remarks.silent or self._told(name):
                    continue
                if steps > GRACE:
                    self.remarks.lack(
                        name,
                        f"a run of {steps} steps does not pay for it"
                        + (
                            ""
                            if self.planned
                            else f" at level {self.level!r}. Pass level='full', or a smaller reference"
                        ),
                    )
                elif steps >= min(every.first, YOUNG):
                    self._ready()
                    every = self.every.get(name)
                    if every is not None:
                        self.state.most = None
                        self._sound(name, every)
