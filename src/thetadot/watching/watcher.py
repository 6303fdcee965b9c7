r"""Read a training loop of one's own as motion, from hooks alone.

    with thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(x, y), out="runs/a") as probe:
        for x, y in loader:
            ...                      # the loop as it was
            optimizer.step()

Nothing of the run changes: parameters, gradients, all that model and loss hold and random numbers are bit for bit
those without it. Whatever cannot be measured is named in the record and left out; an error in a measurement never
reaches the loop.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from msgspec.structs import replace as replaced
from torch import distributed, nn

from thetadot.errors import InadmissibleValue, require
from thetadot.kinds import require_count, require_whole, require_word
from thetadot.probes.heat import drawn
from thetadot.records import End, Remark
from thetadot.watching.book import Book, describe
from thetadot.watching.cadence import PLANS, Every, Level, forwards
from thetadot.watching.company import Company
from thetadot.watching.gauge import Gauge
from thetadot.watching.hold import Hold, Row
from thetadot.watching.layers import Layout
from thetadot.watching.passes import Passes
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
MOST_SAMPLES = 2**53
"""Of a pass: what a float still counts."""


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
        batch_dim: the axis of the model's first input along which samples lie. Where it is None, that is found: on the
            reference by agreement with the target and by what a mean over samples does; else it is the first.
        samples: how many samples a pass averages, or a function of the model's arguments that says it, where no axis
            does (graphs).
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

    def __init__(  # noqa: PLR0915 - it sets up what it has
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
        batch_dim: int | None = None,
        samples: int | Callable[..., int] | None = None,
    ) -> None:
        if batch_dim is not None:
            require_whole(batch_dim=batch_dim)
        if samples is not None and not callable(samples):
            require_whole(samples=samples)
            require(samples >= 1, f"samples={samples}", "is below 1", "Pass the samples of a pass.")
        require_word(tuple(PLANS), level=level)
        if not isinstance(model, nn.Module):
            raise InadmissibleValue(f"model is of type {type(model).__name__}. Pass a torch.nn.Module.")
        if isinstance(loss_fn, type):
            raise InadmissibleValue(f"loss_fn is the class {loss_fn.__name__}, not one that is made. Call it: add ().")
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
        self.reference = None if reference is None else Reference(model, loss_fn, reference, self.layout, batch_dim)
        self.gauge = Gauge(self.layout, away=self.plan.away, pairs=self.plan.pairs)
        self.together = Passes(model, self.layout, self.ranks, self.plan.noise)
        self.hold = Hold(self.layout)
        self.soundings = Soundings(self.layout, self.reference, dataset_size, sampling)
        self.book = Book(Path(out) if out is not None and self.rank == 0 else None, resume=resume)
        self.step = self.book.last_step
        self.level = level
        self.batch: int | None = None
        self.usual = 0  # batch of steps that were not measured
        self.told: int | None = None
        self.work = self.clock = 0.0  # work in samples
        self.counted = self.step
        self.following: float = self.step
        self.passes = 2  # of the last measured step; at first, whatever it may be
        self.every: dict[str, Every] = {}
        self.silent: set[str] = set()
        self.alarmed = False
        self.windows = 0
        self.estimated = 0
        self.armed = False
        self.unfit = self.summed = False  # the reference is not measured; the loss is a sum
        self.ahead: RemovableHandle | None = None
        self.last_clocked = self.step
        self.started = time.monotonic()
        self.closed = self.opened = False
        self.traffic = Traffic(model, loss_fn, self.layout.parameters, self._dropped, batch_dim, samples)
        self.handles: list[RemovableHandle] = []

    # What the user may call.

    def start(self) -> Self:
        """Begin to watch, where a ``with`` does not fit; end with :meth:`close`. Before it there is no hook."""
        if self.closed:
            raise InadmissibleValue("this watch is closed. Make another one, with resume=True to continue its record.")
        if not self.opened:
            self.opened = True
            self.company.join()
            self._arm()
            self.handles = [self.optimizer.register_step_post_hook(self._after)]
        return self

    def loss(self, value: Tensor | float) -> None:
        """Tell the training loss of this step, where neither a loss module nor an output's ``.loss`` shows it."""
        self.traffic.loss(value)

    def samples_of(self, count: int) -> None:
        """Tell how many samples this step's gradient averages, where the model's first tensor does not show it."""
        require_count(1, MOST_SAMPLES, count=count)
        self.told = int(count)

    def passed(self, samples: int | Tensor, loss: Tensor | float | None = None, *, batch_dim: int = 0) -> None:
        """Tell one pass of this step before its backward pass, where the loop does not go through ``model(...)``.

        Args:
            samples: how many it averages, or its input.
            loss: of the pass.
            batch_dim: the axis of the input along which samples lie.
        """
        if isinstance(samples, torch.Tensor) and samples.dim():
            require_count(-samples.dim(), samples.dim() - 1, batch_dim=batch_dim)
            samples = samples.shape[batch_dim]
        elif isinstance(samples, torch.Tensor):
            samples = samples.item()  # type: ignore[assignment]
        require_count(1, MOST_SAMPLES, samples=samples)
        self.traffic.passed(int(samples))
        if loss is not None:
            self.traffic.loss(loss)

    @property
    def record(self) -> Record:
        """The record so far."""
        self._begin()
        self._fetch()
        return self.book.record()

    def verdicts(self) -> tuple[Verdict, ...]:
        """Return the verdicts on the record so far."""
        from thetadot.verdicts import judge  # noqa: PLC0415 - a run that is only recorded needs none of it

        return judge(self.record)

    def close(self, because: Literal["closed", "exception"] = "closed") -> None:
        """Take the hooks away and end the record; what is in it stays readable whatever happens."""
        if self.closed:
            return
        self.closed = True
        self._begin()
        if not self.opened:
            warnings.warn("this watch was never entered: nothing was seen. Write `with thetadot.watch(...) as probe:`, "
                          "or call probe.start() before the loop.", stacklevel=2)  # fmt: skip
        for handle in self.handles:
            handle.remove()
        self._count()
        self._stand_back()
        self.traffic.rest()
        self.together.micro.disarm()
        self._guarded("motion", self._fetch)
        if self.plan.away:
            self._guarded("equilibrium", self._estimate)
        self.book.write(
            End(self.step, because, self.extra, self.work, seconds=time.monotonic() - self.started)
        )  # fmt: skip
        self.book.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("closed" if error is None else "exception")

    # What the hooks call.

    def _before(self, *_: object) -> None:
        with torch.no_grad():
            self._guarded("motion", self.gauge.before)
            if self.traffic.keeping:
                self._guarded("micro-batches", self._resample)

    def _resample(self) -> None:
        """The noise of a step whose passes are of several kinds, while parameters are what they were in them."""
        self.traffic.quiet = True
        try:
            self.soundings.spent += self.together.resample(self.traffic, self.step + 1)
        finally:
            self.traffic.quiet = False

    def _after(self, *_: object) -> None:
        self.step += 1
        if self.ranks > 1 and "micro-batches" not in self.silent and self.together.joined:
            self._under_join()
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
        first = self.step == self.book.last_step + 1
        self._stand_back()
        if first:
            self._meet()
            self._settle()
        seen = self.traffic.taken()
        sizes, loss = seen.sizes, seen.loss
        self.passes = max(seen.passes, 1)
        batch = self._batch(sizes)
        self.usual = self._usual(batch or 0)
        self.batch = batch
        self._count(unread=1)
        self.work += self.batch or 0
        self.counted = self.step
        if first:
            self._plan()
            self._draws()
            self._unseen(loss)
        if seen.doubt and self.told is None:
            self._say("samples", f"{seen.doubt}. Pass batch_dim= or samples= to thetadot.watch")
        self._guarded("micro-batches", lambda: self._passes(sizes, seen.unlike))
        if self.rank_reads:
            self._guarded("motion", lambda: self._row(loss))

    def _stand_back(self) -> None:
        """Look no longer at what comes before a step."""
        if self.ahead is not None:
            self.ahead.remove()
            self.ahead = None

    def _dropped(self) -> None:
        """Discard passes whose step was skipped by the loss scaler."""
        if self.together.micro.handles:
            self.together.micro.disarm()
            self.together.micro.arm()

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

    def _usual(self, batch: int) -> int:
        """The batch of an epoch's other steps: the last one may be smaller, and may be the one that is always read."""
        size = self.soundings.dataset_size
        if self.usual and size and batch == size % self.usual:
            return self.usual
        return max(self.batch or 0, batch)

    def _meet(self) -> None:
        """Disable collective measurements unless every rank is being watched."""
        if self.company.whole():
            return
        self.together.micro.disarm()
        why = "not every rank watches. Open the watch on every rank; only the first writes"
        for name in ("micro-batches", *(("motion", *MEASUREMENTS) if self.layout.sharded else ())):
            self._lack(name, why)

    def _under_join(self) -> None:
        """Ranks that have ended answer no collective: from here on nothing is taken together, on no rank."""
        self.together.micro.disarm()
        self.company.leave()
        self._lack(
            "micro-batches",
            "the model is under torch's Join, where ranks may end before others: their noise is not taken, and a batch "
            "is counted as if all took part",
        )

    def _begin(self) -> None:
        """Write the header."""
        if not self.book.begun:
            self.book.begin(
                describe(
                    self.layout, self.optimizer, self.level, self.reference, self.name, self.dataset_size, self.ranks
                )
            )

    def _settle(self) -> None:
        """Before the first measurement: what a pass would leave behind, and where the samples of the reference lie."""
        reference = self.reference
        if reference is not None and self.rank_reads and not self.unfit:
            self.traffic.quiet = True
            try:
                self._prepare(reference)
            finally:
                self.traffic.quiet = False
            self.traffic.called, self.traffic.made = reference.called, reference.made
            self.soundings.samples = reference.samples
        self._begin()
        if getattr(self.traffic.loss_fn, "reduction", None) == "sum":
            self._sum("loss_fn has reduction='sum': the step and all that is measured depend on the batch size")

    def _prepare(self, reference: Reference) -> None:
        with torch.enable_grad():
            try:
                left = reference.changed()
            except Exception:  # noqa: BLE001 - the loss cannot be computed: measurements will say so
                left = []
            if left:
                self.unfit = True
                why = "; ".join(map(str, left[:3])) + ("" if len(left) <= 3 else f"; {len(left) - 3} more")
                self._say(
                    "reference",
                    f"nothing is measured on it: a pass changes {why}, which cannot be put back. Keep such state in "
                    "buffers or plain attributes of the module, or pass a reference loss that does not change it",
                )
                return
            try:
                said = reference.settle()
                reference.notice_autocast()
            except InadmissibleValue as error:
                self._sum(str(error))
                return
            except Exception as error:  # noqa: BLE001
                said = f"where its samples lie was not found ({type(error).__name__}: {error})"[:500]
        self.soundings.spent += forwards(reference.samples, 16, self.usual or reference.samples or 1)
        if said:
            self._say("reference", said)

    def _sum(self, why: str) -> None:
        """A loss that is a sum has no curvature nor noise of its own."""
        if not self.summed:
            self.unfit = self.summed = True
            self.together.micro.disarm()
            self._say("loss", why.removesuffix(".") + ": nothing is measured by it")
            self.silent.add("micro-batches")

    def _say(self, about: str, why: str) -> None:
        """In the record, and once to the user."""
        if f"said {about}" in self.silent:
            return
        self.silent.add(f"said {about}")
        self.book.write(Remark(self.step, about, why))
        if self.rank == 0:
            warnings.warn(f"thetadot.watch, {about}: {why}.", stacklevel=2)

    def _plan(self) -> None:
        """Periods from what the first step's batch and the reference cost; the same on every rank."""
        if self.layout.sharded and "motion" in self.silent:
            return  # whatever is read of shards is read together
        batch = float((self.batch or 0) / self.ranks or self.soundings.samples or 1)
        if self.layout.sharded:
            agreed = [batch]
            distributed.broadcast_object_list(agreed, src=0)
            batch = agreed[0]
        if self.unfit:
            return
        self.every = self.soundings.plan(
            self.plan, self.step, batch, preconditioned=self.settings.reading().preconditioner is not None
        )

    def _draws(self) -> None:
        """How batches are drawn, where it was not told."""
        found = self.soundings.draws or drawn()
        if found is not None:
            size = self.soundings.dataset_size or found.dataset_size
            self.soundings.dataset_size = size
            self.soundings.draws = replaced(found, step=self.step, dataset_size=size)
            if self.rank == 0:
                self.book.write(self.soundings.draws)
        elif self.rank == 0 and self.reference is not None:
            says = (
                "how batches are drawn is not known: temperatures are those of independent draws. Under shuffled "
                "epochs flat directions are colder; pass sampling='epochs' and dataset_size=N then"
            )
            self.book.write(Remark(self.step, "sampling", says))

    def _unseen(self, loss: Tensor | None) -> None:
        """Say what the first step did not show."""
        missing = unseen(self.batch, loss, self.traffic.evaluating)
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
            self.traffic.keeping = "micro-batches" not in self.silent and self.together.wants(following)
            if self.rank_reads:
                self.ahead = self.optimizer.register_step_pre_hook(self._before)
            if self.step and self.rank_reads:
                self._guarded("motion", self.gauge.prelude)
            if self.passes * self.ranks > 1 and "micro-batches" not in self.silent:
                self._guarded("micro-batches", self.together.micro.arm)

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
            temperature=self.soundings.temperature(reading, self.usual or None),
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

    def _passes(self, sizes: list[int], unlike: str) -> None:
        if self.company.left():
            self._under_join()
            return
        unlike = unlike if self.ranks == 1 else ""
        noise = self.together.step(sizes, unlike, self.step, self.work + self.extra)
        self.together.micro.disarm()
        self.traffic.parted = bool(self.together.unlike)
        if self.together.untold:
            self._lack("micro-batches", self.together.untold)
            return
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
            if name == "noise" and self.together.resolved:
                continue
            self.traffic.quiet = True
            try:
                self._guarded(name, lambda name=name: self._measure(name))  # type: ignore[misc]
            finally:
                self.traffic.quiet = False

    def _measure(self, name: str) -> None:
        self._fetch()
        assert self.reference is not None  # noqa: S101 - planned only with one
        with self.reference.kept():
            found = self.soundings.measure(
                name, self.step, self.settings.reading(), self.usual or None, self.work + self.extra
            )  # fmt: skip
        for entry in found:
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
