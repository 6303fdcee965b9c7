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

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import nn

from thetadot.core.validation import require_count
from thetadot.errors import InadmissibleValue
from thetadot.monitor.arguments import require_kinds_of, require_numbers_of, require_periods
from thetadot.monitor.cadence import PLANS, Every, Level
from thetadot.monitor.hooks import ForwardHooks
from thetadot.monitor.inputs import ill
from thetadot.monitor.layers import Layout
from thetadot.monitor.measurements import MEASUREMENTS
from thetadot.monitor.measurements.noise import NoiseMeasurement
from thetadot.monitor.monitor import Monitor
from thetadot.monitor.passes import Passes
from thetadot.monitor.process_group import WatchingRanks
from thetadot.monitor.recorder import RunRecorder, watched_header
from thetadot.monitor.reference import Reference
from thetadot.monitor.unseen import unseen
from thetadot.records import End
from thetadot.records.live import LiveSeries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from thetadot.records import Entry, Noise, Record
    from thetadot.verdicts import Verdict

MOST_SAMPLES = 2**53
"""Of a pass: what a float still counts."""


class Watch:
    r"""Watch a training loop; a context manager.

    Of every step: the loss. Every few steps: lengths and angles by layer, both vocabularies of the settings, kinetic
    energy. More rarely, on the reference batch: gradient noise, curvature and its limit, barriers. ``level`` sets how
    much of the training's gradient work so far this may have taken, from the hundredth step on: "light" 1%, "default"
    3%, "full" as much as the training.

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
        every: steps between two measured ones; or by name: "steps", "noise", "curvature", "curvature-weighted noise",
            "barrier". What is named comes whatever it costs; the rest as ``level`` says.
        name: of the run; the folder's where it is None.
        dataset_size: N, for the count of epochs, and for the temperature where batches are those of shuffled epochs.
        sampling: how batches are drawn: "epochs", each of a shuffled epoch, or independently, "replacement". None: as
            the DataLoader that is being iterated at the first step tells; where none does, independence is assumed.
        batch_dim: the axis of the model's first input along which samples lie. Where it is None, that is found: on the
            reference by agreement with the target and by what a mean over samples does; else it is the first.
        samples: how many samples a pass averages, or a function of the model's arguments that says it, where no axis
            does (graphs).
        resume: continue the record in ``out``, as a run that was stopped goes on.
        log: called with the numbers of each measured step and the step: ``wandb.log``, ``trackio.log``, a function.
            Names are those of :func:`thetadot.records.export`. An error of it ends the logging, not the loop.

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
        every: int | Mapping[str, int] | None = None,
        name: str | None = None,
        dataset_size: int | None = None,
        sampling: Literal["replacement", "epochs"] | None = None,
        resume: bool = False,
        batch_dim: int | None = None,
        samples: int | Callable[..., int] | None = None,
        log: Callable[[dict[str, float], int], object] | None = None,
    ) -> None:
        require_kinds_of(model, optimizer, loss_fn, out, level, log)
        require_numbers_of(dataset_size, batch_dim, samples)
        if every is not None:
            require_periods(every)
        self.model, self.level, self.plan = model, level, PLANS[level].at(every)
        self.optimizer: Any = getattr(optimizer, "optimizer", optimizer)
        self.layout = Layout(model, self.optimizer, loss_fn)
        self.name = name or (Path(out).name if out is not None else type(model).__name__)
        self.group = WatchingRanks(model, self.name, sharded=self.layout.sharded)
        self.ranks, self.rank = self.group.ranks, self.group.rank
        self.dataset_size = dataset_size
        self.reference = None if reference is None else Reference(model, loss_fn, reference, self.layout, batch_dim)
        self.hooks = ForwardHooks(
            model, loss_fn, self.layout.parameters, self._dropped, batch_dim, samples, self.reference
        )
        self.together = Passes(
            model, self.layout, self.ranks, self.plan.share(NoiseMeasurement.name, NoiseMeasurement.shares)
        )
        self.recorder = RunRecorder(Path(out) if out is not None and self.rank == 0 else None, resume=resume)
        self.live = None if log is None or self.rank else LiveSeries(log, self.layout.layers)
        self.monitor = Monitor(
            self.layout,
            self.optimizer,
            self.recorder.write if self.live is None else self._write,
            plan=self.plan,
            level=level,
            reference=self.reference,
            dataset_size=dataset_size,
            sampling=sampling,
            step=self.recorder.last_step,
            ranks=self.ranks,
            rank=self.rank,
            quiet=self.hooks.silenced,
        )
        self.remarks, self.progress = self.monitor.remarks, self.monitor.progress
        self.passes = 2  # of the last measured step; at first, whatever it may be
        self.closed = self.opened = False
        self.ahead: RemovableHandle | None = None
        self.started = time.monotonic()
        self.handles: list[RemovableHandle] = []

    # What the user may call.

    def start(self) -> Self:
        """Begin to watch, where a ``with`` does not fit; end with :meth:`close`. Before it there is no hook."""
        if self.closed:
            raise InadmissibleValue("this watch is closed. Make another one, with resume=True to continue its record.")
        if not self.opened:
            self.opened = True
            self.group.join()
            self.hooks.follow()
            self._arm()
            self.handles = [self.optimizer.register_step_post_hook(self._after)]
        return self

    def loss(self, value: Tensor | float) -> None:
        """Tell the training loss of this step, where neither a loss module nor an output's ``.loss`` shows it."""
        self.hooks.loss(value)

    def samples_of(self, count: int) -> None:
        """Tell how many samples this step's gradient averages, where the model's first tensor does not show it."""
        require_count(1, MOST_SAMPLES, count=count)
        self.progress.told = int(count)

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
        self.hooks.passed(int(samples))
        if loss is not None:
            self.hooks.loss(loss)

    @property
    def record(self) -> Record:
        """The record so far."""
        self._begin()
        self.monitor.steps.fetch()
        return self.recorder.record()

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
        self._stand_back()
        self.hooks.leave()
        self.together.micro.disarm()
        self.monitor.end(whole=because == "closed")
        self._flush()
        self.recorder.write(End(self.step, because, self.extra, self.work, seconds=time.monotonic() - self.started))
        self.recorder.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("closed" if error is None else "exception")

    # What was counted.

    @property
    def step(self) -> int:
        """Steps that the watch has seen so far."""
        return self.progress.step

    @property
    def work(self) -> float:
        """Gradient work of the training, in gradients of one sample."""
        return self.progress.work

    @property
    def extra(self) -> float:
        """Gradient evaluations of one sample that measuring took."""
        return self.monitor.state.spent

    @property
    def every(self) -> dict[str, Every]:
        """When measurements on the reference are due."""
        return self.monitor.readings.every

    # What the hooks call.

    def _write(self, entry: Entry) -> None:
        """Record an entry, and log it."""
        self.recorder.write(entry)
        live = self.live
        if live is not None:
            self.remarks.guarded("log", lambda: live.add(entry))

    def _flush(self) -> None:
        if self.live is not None:
            self.remarks.guarded("log", self.live.flush)

    def _before(self, *_: object) -> None:
        self.monitor.begin_step()
        if self.hooks.keeping:
            with torch.no_grad():
                self.remarks.guarded("micro-batches", self._resample)

    def _resample(self) -> None:
        """The noise of a step whose passes are of several kinds, while parameters are what they were in them."""
        with self.hooks.silenced():
            self.monitor.state.spent += self.together.resample(self.hooks, self.step + 1)

    def _after(self, *_: object) -> None:
        if self.ranks > 1 and "micro-batches" not in self.remarks.silent and self.together.joined:
            self._under_join()
        lately, armed = self.hooks.latest(), self.monitor.measuring
        if armed:
            self._read()
        else:
            self.monitor.end_step(lately)
        if armed or self.monitor.measuring:
            self._arm()

    def _read(self) -> None:
        """What was kept of a measured step."""
        self._stand_back()
        first = self.step == self.progress.begun
        if first:
            self._meet()
            self.monitor.open()
            if getattr(self.hooks.loss_fn, "reduction", None) == "sum":
                self.monitor.readings.sum(
                    "loss_fn has reduction='sum': the step and all that is measured depend on the batch size"
                )
        seen = self.hooks.taken()
        self.passes = max(seen.passes, 1)
        if seen.doubt and self.progress.told is None:
            self.remarks.say("samples", f"{seen.doubt}. Pass batch_dim= or samples= to thetadot.watch")
        self.monitor.end_step(seen.loss, seen.sizes, lambda: self._passes(seen.sizes, seen.unlike))
        self.together.micro.disarm()
        self._flush()
        if first:
            self._begin()
            self.remarks.guarded("inputs", self._inputs)
            self.remarks.unseen(unseen(self.progress.batch, seen.loss, self.hooks.evaluating, self.hooks.loss_fn))

    def _inputs(self) -> None:
        """Say what is wrong with the size of the reference's inputs."""
        said = None if self.reference is None or callable(self.reference.held) else ill(self.model, self.reference.held)
        if said is not None:
            self.remarks.note("inputs", said)

    def _stand_back(self) -> None:
        """Look no longer at what comes before a step."""
        if self.ahead is not None:
            self.ahead.remove()
            self.ahead = None

    def _dropped(self, begun: bool) -> None:  # noqa: FBT001 - called by the hooks alone
        """Discard passes whose step was skipped by the loss scaler."""
        if self.together.micro.handles:
            self.together.micro.disarm()
            self.together.micro.square = None
            if not begun:  # else the next backward pass would be read by half
                self.together.micro.arm()

    def _meet(self) -> None:
        """Disable collective measurements unless every rank is being watched."""
        if self.group.whole():
            return
        self.together.micro.disarm()
        why = "not every rank watches. Open the watch on every rank; only the first writes"
        for name in ("micro-batches", *(("motion", *MEASUREMENTS) if self.layout.sharded else ())):
            self.remarks.lack(name, why)

    def _under_join(self) -> None:
        """Ranks that have ended answer no collective: from here on nothing is taken together, on no rank."""
        self.together.micro.disarm()
        self.group.leave()
        self.remarks.lack(
            "micro-batches",
            "the model is under torch's Join, where ranks may end before others: their noise is not taken, and a batch "
            "is counted as if all took part",
        )

    def _begin(self) -> None:
        """Write the header."""
        if not self.recorder.begun:
            self.recorder.begin(
                watched_header(
                    self.layout, self.optimizer, self.level, self.reference, self.name, self.dataset_size, self.ranks
                )
            )

    def _arm(self) -> None:
        if not self.monitor.measuring:
            self.hooks.rest()
            return
        self.hooks.listen()  # through measured steps without a pause: new hooks are a new trace to torch 2.9
        if self.monitor.reads:
            self.ahead = self.optimizer.register_step_pre_hook(self._before)
        together = self.passes * self.ranks > 1 and "micro-batches" not in self.remarks.silent
        if together:
            self.remarks.guarded("micro-batches", self.together.micro.arm)
        cost = self.together.cost(float(self.progress.batch or 1), self.passes)
        wanted = together and self.together.wants(self.step + 1)
        self.hooks.keeping = wanted and not self.monitor.readings.wait(cost)

    def _passes(self, sizes: list[int], unlike: str) -> Noise | None:
        """The noise of a step's passes, once they are known to be draws of one law."""
        if self.group.left():
            self._under_join()
            return None
        unlike = unlike if self.ranks == 1 else ""
        noise = self.together.step(sizes, unlike, self.step, self.monitor.cost())
        self.together.micro.disarm()
        self.hooks.parted = bool(self.together.unlike)
        self.monitor.readings.told = self.together.resolved
        if self.together.untold:
            self.remarks.lack("micro-batches", self.together.untold)
            return None
        return noise


watch = Watch
