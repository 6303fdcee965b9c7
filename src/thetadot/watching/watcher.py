r"""Read a training loop of one's own as motion, from hooks alone.

    with thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(x, y), out="runs/a") as probe:
        for x, y in loader:
            ...                      # the loop as it was
            optimizer.step()

Nothing of the run changes: parameters, gradients, buffers and random numbers are bit for bit those without it. Whatever
cannot be measured is named in the record and left out; an error in a measurement never reaches the loop.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import distributed, nn

from thetadot.errors import InadmissibleValue, require
from thetadot.kinds import require_whole
from thetadot.probes.heat import drawn
from thetadot.records import End, Remark
from thetadot.watching.book import Book, describe
from thetadot.watching.cadence import PLANS, Every, Level
from thetadot.watching.company import Company
from thetadot.watching.gauge import Gauge
from thetadot.watching.hold import Hold, Row
from thetadot.watching.layers import Layout
from thetadot.watching.microbatches import MicroBatches
from thetadot.watching.pool import Pool
from thetadot.watching.reference import Reference
from thetadot.watching.settings import Settings, clock_step, friction
from thetadot.watching.soundings import MEASUREMENTS, Soundings
from thetadot.watching.traffic import Traffic, unseen
from thetadot.watching.window import FEWEST, add, equilibrium, over, readings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from thetadot.reading import Reading
    from thetadot.records import Record
    from thetadot.verdicts import Verdict

ON_DEVICE = 16
"""Readings kept on an accelerator before they are fetched together."""
BETWEEN = 10
"""Readings between two estimates of equilibrium."""


class Watch:
    r"""Watch a training loop; a context manager.

    Every few steps: loss, lengths and angles by layer, both vocabularies of the settings, kinetic energy. More rarely,
    on the reference batch: gradient noise, curvature and its limit, barriers. ``level`` sets the share of the
    training's gradient work that this may take: "light" about 1%, "default" 3%, "full" as much as the training.

    Args:
        model: what is trained, as the loop calls it (compiled or wrapped).
        optimizer: any torch optimizer; what an unknown one does not tell is named in the record.
        loss_fn: ``loss_fn(output, target)``, a mean over the batch; None where the model's output carries the loss:
            ``.loss``, "loss", or the only number in a tuple.
        reference: the fixed batch that curvature and noise are measured on: (inputs, target), a dict of keyword
            arguments, a :class:`Batch`, or a function of the model that returns the loss (curvature alone). Without it
            neither is measured.
        out: folder of the record; None keeps it in memory (:attr:`Watch.record`).
        level: "light", "default" or "full".
        name: of the run; the folder's where it is None.
        dataset_size: N, for the count of epochs, and for the temperature where batches are those of shuffled epochs.
        sampling: how batches are drawn: "epochs", each of a shuffled epoch, or independently, "replacement". None: as
            the DataLoader that is being iterated at the first step tells; where none does, independence is assumed.
        resume: continue the record in ``out``, as a run that was stopped goes on.

    Raises:
        InadmissibleValue: the optimizer holds no parameter of the model, or an argument is of the wrong kind.
        RunFolderError: ``out`` holds a record already, or cannot be written.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> x, y = torch.eye(2).repeat(8, 1), torch.zeros(16, 1)
        >>> mse = torch.nn.MSELoss()
        >>> with watch(model, optimizer, loss_fn=mse, reference=(x, y)) as probe:
        ...     mse(model(x), y).backward()
        ...     optimizer.step()
        >>> from thetadot.records import Curvature
        >>> found = probe.record.of(Curvature)[0]
        >>> round(found.sharpness, 4), round(found.limit, 4)  # λmax of |w|²/2; 2/lr
        (1.0, 20.0)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        loss_fn: Any = None,
        reference: Any = None,
        out: str | Path | None = None,
        level: Level = "default",
        name: str | None = None,
        dataset_size: int | None = None,
        sampling: Literal["replacement", "epochs"] | None = None,
        resume: bool = False,
    ) -> None:
        require(level in PLANS, f"level={level!r}", "is unknown", f"Pass one of {', '.join(PLANS)}.")
        if not isinstance(model, nn.Module):
            raise InadmissibleValue(f"model is of type {type(model).__name__}. Pass a torch.nn.Module.")
        if out is not None and not isinstance(out, str | Path):
            raise InadmissibleValue(f"out={out!r} is no folder. Pass its path.")
        if dataset_size is not None:
            require_whole(dataset_size=dataset_size)
            require(dataset_size >= 1, f"dataset_size={dataset_size}", "is below 1", "Pass the number of samples.")
        if not hasattr(optimizer, "param_groups"):
            raise InadmissibleValue(f"optimizer is of type {type(optimizer).__name__}. Pass a torch.optim.Optimizer.")
        self.model, self.plan = model, PLANS[level]
        self.optimizer: Any = getattr(optimizer, "optimizer", optimizer)
        self.layout = Layout(model, self.optimizer)
        self.settings = Settings(self.optimizer, self.layout)
        self.name = name or self._name(out)
        self.company = Company(model, self.name, sharded=self.layout.sharded)
        self.ranks, self.rank = self.company.ranks, self.company.rank
        self.dataset_size = dataset_size
        self.reference = None if reference is None else Reference(model, loss_fn, reference, self.layout)
        self.gauge = Gauge(self.layout, away=self.plan.away, pairs=self.plan.pairs)
        self.micro = MicroBatches(model, self.layout, self.ranks)
        self.hold = Hold(self.layout)
        self.soundings = Soundings(self.layout, self.reference, dataset_size, sampling)
        self.book = Book(Path(out) if out is not None and self.rank == 0 else None, resume=resume)
        self.step = self.book.last_step
        header = describe(self.layout, self.optimizer, level, self.reference, self.name, dataset_size, self.ranks)
        self.book.begin(header)
        self.batch: int | None = None
        self.usual = 0  # batch of steps that were not measured
        self.told: int | None = None
        self.work = self.clock = 0.0  # work in samples
        self.counted = self.step
        self.following: float = self.step
        self.passes = 2  # of the last measured step; at first, whatever it may be
        self.every: dict[str, Every] = {}
        self.silent: set[str] = set()
        self.pool = Pool(self.ranks)
        self.alarmed = False
        self.windows = 0
        self.estimated = 0
        self.armed = False
        self.ahead: RemovableHandle | None = None
        self.last_clocked = self.step
        self.started = time.monotonic()
        self.closed = False
        self.traffic = Traffic(model, loss_fn, self.layout.parameters, self._dropped)
        self._arm()
        self.handles = [self.optimizer.register_step_post_hook(self._after)]

    # What the user may call.

    def loss(self, value: Tensor | float) -> None:
        """Tell the training loss of this step, where neither a loss module nor an output's ``.loss`` shows it."""
        self.traffic.loss(value)

    def samples_of(self, count: int) -> None:
        """Tell how many samples this step's gradient averages, where the model's first tensor does not show it."""
        require(count >= 1, f"count={count}", "is below 1", "Pass the samples of a step.")
        self.told = int(count)

    def passed(self, samples: int, loss: Tensor | float | None = None) -> None:
        """Tell one pass of this step before its backward pass, where the loop does not go through ``model(...)``."""
        require(samples >= 1, f"samples={samples}", "is below 1", "Pass the samples of a pass.")
        self.traffic.passed(int(samples))
        if loss is not None:
            self.traffic.loss(loss)

    @property
    def record(self) -> Record:
        """What was recorded so far."""
        self._fetch()
        return self.book.record()

    def verdicts(self) -> tuple[Verdict, ...]:
        """What the record says so far."""
        from thetadot.verdicts import judge  # noqa: PLC0415 - a run that is only recorded needs none of it

        return judge(self.record)

    def close(self, because: Literal["closed", "exception"] = "closed") -> None:
        """Take the hooks away and end the record; what is in it stays readable whatever happens."""
        if self.closed:
            return
        self.closed = True
        for handle in self.handles:
            handle.remove()
        self._count()
        self._stand_back()
        self.traffic.rest()
        self.micro.disarm()
        self._guarded("motion", self._fetch)
        if self.plan.away:
            self._guarded("equilibrium", self._estimate)
        self.book.write(
            End(self.step, because, self.extra, self.work, seconds=time.monotonic() - self.started)
        )  # fmt: skip
        self.book.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("closed" if error is None else "exception")

    # What the hooks call.

    def _before(self, *_: object) -> None:
        with torch.no_grad():
            self._guarded("motion", self.gauge.before)

    def _after(self, *_: object) -> None:
        self.step += 1
        if self.step < self.following:
            return
        with torch.no_grad():
            if self.armed:
                self._read()
            else:
                self._count()
            self._sound()
            self._arm()
        self.following = self._next()

    def _next(self) -> float:
        """The next step after which there is something to do."""
        if self.armed:
            return self.step + 1
        begun = self.book.last_step
        arm = (self.step + 1) // self.plan.motion * self.plan.motion + self.plan.motion - 1
        return min([arm, *(begun + every.following(self.step - begun) for every in self.every.values())])

    def _count(self, unread: int = 0) -> None:
        """The work of the steps since the last count but the last ``unread``, taken to have the usual batch."""
        steps = self.step - unread - self.counted
        self.counted += steps
        self.work += steps * self.usual

    def _read(self) -> None:
        """What was kept of a measured step."""
        sizes, loss = self.traffic.taken()
        self._stand_back()
        self.passes = len(sizes)
        batch = self._batch(sizes)
        self.usual = max(self.batch or 0, batch or 0)  # the last batch of an epoch may be smaller
        self.batch = batch
        self._count(unread=1)
        self.work += self.batch or 0
        self.counted = self.step
        if self.step == self.book.last_step + 1:
            self._meet()
            self._plan()
            self._draws()
            self._unseen(loss)
        self._guarded("micro-batches", lambda: self._passes(sizes))
        if self.rank_reads:
            self._guarded("motion", lambda: self._row(loss))

    def _stand_back(self) -> None:
        """Look no longer at what comes before a step."""
        if self.ahead is not None:
            self.ahead.remove()
            self.ahead = None

    def _dropped(self) -> None:
        """The passes since the last step were for nothing: a loss scaler skipped it."""
        if self.micro.handles:
            self.micro.disarm()
            self.micro.arm()

    @property
    def extra(self) -> float:
        """Gradient evaluations of one sample that measuring took."""
        return self.soundings.spent

    @property
    def rank_reads(self) -> bool:
        """Whether this rank measures: one does for replicas, all do for shards."""
        return self.rank == 0 or self.layout.sharded

    def _batch(self, sizes: list[int]) -> int | None:
        if self.told is not None:
            return self.told * self.ranks
        return sum(sizes) * self.ranks or None

    def _meet(self) -> None:
        """What is taken together is left out where a rank does not watch."""
        if self.company.whole():
            return
        self.micro.disarm()
        why = "not every rank watches. Open the watch on every rank; only the first writes"
        for name in ("micro-batches", *(("motion", *MEASUREMENTS) if self.layout.sharded else ())):
            self._lack(name, why)

    def _plan(self) -> None:
        """Periods from what the first step's batch and the reference cost; the same on every rank."""
        if self.layout.sharded and "motion" in self.silent:
            return  # whatever is read of shards is read together
        batch = float((self.batch or 0) / self.ranks or self.soundings.samples or 1)
        if self.layout.sharded:
            agreed = [batch]
            distributed.broadcast_object_list(agreed, src=0)
            batch = agreed[0]
        self.every = self.soundings.plan(
            self.plan, self.step, batch, preconditioned=self.settings.reading().preconditioner is not None
        )

    def _draws(self) -> None:
        """How batches are drawn, where it was not told."""
        if self.soundings.sampling is not None or self.reference is None:
            return
        found = drawn()
        if found is not None:
            self.soundings.sampling, size = found
            self.soundings.dataset_size = self.soundings.dataset_size or size
        elif self.rank == 0:
            says = (
                "how batches are drawn is not known: temperatures are those of independent draws. Under shuffled "
                "epochs flat directions are colder; pass sampling='epochs' and dataset_size=N then"
            )
            self.book.write(Remark(self.step, "sampling", says))

    def _unseen(self, loss: Tensor | None) -> None:
        """Say what the first step did not show."""
        missing = unseen(self.batch, loss)
        for name, why in missing.items():
            self._lack(name, why)
            if self.rank == 0:
                warnings.warn(f"thetadot.watch does not see the {name}: {why}.", stacklevel=2)

    def _arm(self) -> None:
        following = self.step + 1
        self.armed = following % self.plan.motion == 0 or following <= self.book.last_step + 1
        if not self.armed:
            self.traffic.rest()
        else:
            self.traffic.listen()  # through measured steps without a pause: new hooks are a new trace to torch 2.9
            if self.rank_reads:
                self.ahead = self.optimizer.register_step_pre_hook(self._before)
            if self.step and self.rank_reads:
                self._guarded("motion", self.gauge.prelude)
            if self.passes * self.ranks > 1 and "micro-batches" not in self.silent:
                self._guarded("micro-batches", self.micro.arm)

    def _row(self, loss: Tensor | None) -> None:
        reading = self.settings.reading()
        numbers = self.gauge.after(reading)
        if numbers is None:
            return
        self._note(reading)
        step = clock_step(reading)
        self.clock += step * (self.step - self.last_clocked)
        self.last_clocked = self.step
        row = Row(
            step=self.step,
            numbers=numbers,
            loss=loss,
            reading=replace(reading, preconditioner=None, friction=friction(reading)),
            lr=self.settings.lr,
            batch=self.batch,
            epoch=self.work / self.dataset_size if self.dataset_size else None,
            temperature=self.soundings.temperature(reading, self.batch),
            time_step=step,
            clock=self.clock,
            cost=self.work + self.extra,
        )
        self.hold.rows.append(row)
        if len(self.hold.rows) >= (1 if numbers.device.type == "cpu" else ON_DEVICE):
            self._fetch()

    def _fetch(self) -> None:
        for sample, motion, layers in self.hold.fetch():
            self.book.write(motion)
            self.book.write(layers)
            add(self.hold.samples, sample)
            lost = motion.gradient_norm is None or math.isinf(sample.loss)
            if lost and not self.alarmed:
                self.alarmed = True
                self.book.write(Remark(motion.step, "loss", "the loss or its gradient is not finite", alarm=True))
            if self.plan.away:
                self._guarded("equilibrium", self._window)

    def _window(self) -> None:
        """An estimate every few readings and at the window's end."""
        samples = self.hold.samples
        count, ended = readings(samples), over(samples, self.windows)
        if count >= FEWEST and (ended or count % (BETWEEN * samples[0].count) == 0):
            self._estimate()
        if ended:
            self.windows += 1
            self.hold.samples.clear()
            self.gauge.drop_anchor()

    def _estimate(self) -> None:
        found = equilibrium(self.hold.samples, self.layout.count)
        if found is not None and found.step > self.estimated:
            self.estimated = found.step
            self.book.write(found)

    def _passes(self, sizes: list[int]) -> None:
        found = self.micro.after() if self.micro.handles else None
        if found is None or not sizes or len(set(sizes)) > 1:
            return
        noise = self.pool.add(found, sizes[0], self.step, self.work + self.extra)
        if noise is not None:  # on every rank: their sums are the same, and so what is due next
            self.soundings.adopt(noise)
            if self.rank == 0:
                self.book.write(noise)

    def _sound(self) -> None:
        if not self.rank_reads:
            return
        for name, every in self.every.items():
            if name in self.silent or not every.due(self.step - self.book.last_step):
                continue
            if name == "noise" and self.pool.resolved:
                continue
            self.traffic.quiet = True
            try:
                self._guarded(name, lambda name=name: self._measure(name))  # type: ignore[misc]
            finally:
                self.traffic.quiet = False

    def _measure(self, name: str) -> None:
        self._fetch()
        for entry in self.soundings.measure(
            name, self.step, self.settings.reading(), self.batch, self.work + self.extra
        ):
            self.book.write(entry)

    def _note(self, reading: Reading) -> None:
        for entry in self.settings.changed(self.step):
            self.book.write(entry)
        for what, why in reading.lacks.items():
            self._lack(what, why)

    def _lack(self, name: str, why: str) -> None:
        if name not in self.silent:
            self.silent.add(name)
            self.book.write(Remark(self.step, name, why))

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        """An error of a measurement is said once and ends that measurement, not the run."""
        if name in self.silent:
            return
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever a model or a device throws
            why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:500]
            self._lack(name, why)
            warnings.warn(f"thetadot.watch no longer measures {name} ({why}). Training goes on.", stacklevel=3)

    def _name(self, out: str | Path | None) -> str:
        return Path(out).name if out is not None else type(self.model).__name__


watch = Watch
