"""The main job: begin safely, train and steer, show."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from thetadot.core import signatures
from thetadot.core.files import Claim
from thetadot.core.terminal import console, watched
from thetadot.errors import Diverged, require
from thetadot.monitor.layers import layers_of
from thetadot.records import SCHEMA, UNITS, VERSION, Entry, Header, Remark, Writer, read
from thetadot.tasks.task import Task
from thetadot.training import checkpoint
from thetadot.training.arguments import EPOCHS, FORK_MEMORY, Arguments, require_same
from thetadot.training.beginning import Begun, RunBeginning
from thetadot.training.closing import closing
from thetadot.training.cost import Cost
from thetadot.training.data import Source
from thetadot.training.extending import ended, extension, first_epoch, go_on, lengthened
from thetadot.training.fingerprint import fingerprint, require_same_data
from thetadot.training.folder import RECORD, claim, draw, fresh
from thetadot.training.forward import judge
from thetadot.training.learned import learned
from thetadot.training.loop import Loop
from thetadot.training.monitoring import monitor_of, reference_of
from thetadot.training.plan import TrainingPlan
from thetadot.training.result import Result
from thetadot.training.setting import device_of, seed_all
from thetadot.training.snapshot import Snapshot
from thetadot.training.spec import address, checked, users_code
from thetadot.training.trying import tried
from thetadot.training.units import Coordinates
from thetadot.version import __version__

if TYPE_CHECKING:
    from thetadot.training.plan import Annealing, Family, Preference
    from thetadot.training.validating import Judged

_LOST = (
    "is written by a pass through model and loss and is not kept: a resumed run continues without it. "
    "Keep it in a buffer, tensor, number or random generator of the module."
)
Show = Callable[[Entry], None]


@signatures.checked
def run(
    task: Task | Callable[[], Task],
    *,
    out: str | Path | None = None,
    name: str | None = None,
    epochs: int = EPOCHS,
    minutes: float | None = None,
    seed: int = 0,
    optimizer: Family | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    workers: int = 0,
    threads: int | None = None,
    annealing: Annealing | None = None,
    cure: bool = True,
    fork_memory: int = FORK_MEMORY,
    prefer: Preference = "samples",
    resume: bool = False,
    new_data: bool = False,
    extend: int | None = None,
    show: Show | None = None,
    progress: bool | None = None,
    page: bool = True,
) -> Result:
    """Train a task without tuning, and write record, checkpoint and report.

    What is not given starts from a safe rule; the rate is then decided on the way, by forks of the run itself. The best
    validated state is returned.

    Args:
        task: a Task, or a function that makes one; the function is called after the seeds are set, so that the model's
            first parameters follow from ``seed``.
        out: folder for record.jsonl, checkpoint.pt and report.html; runs/NAME if None.
        name: what the task is called; the function's name if None.
        epochs: passes over the training data.
        minutes: stop after the first epoch that ends later than this; an outer limit, it decides nothing else.
        seed: of parameters, order, dropout.
        optimizer: "heavy-ball" or "adam" (which is taken where neither it nor ``lr`` is given).
        lr: α > 0 instead of a rule; the run then does not fork.
        momentum: 0 <= β < 1 (β₁ of Adam) instead of 0.9.
        batch_size: B >= 1 instead of a rule; stays fixed.
        device: where to train.
        workers: loader processes.
        threads: of torch; None leaves them as they are. A resumed run takes as many as it began with.
        annealing: "linear" is constant, then falls in a straight line to 0 in the last 40%; "cosine" falls all along;
            "coupled" raises momentum as lr falls, at fixed friction. None: coupled for heavy ball, linear for Adam.
        cure: train badly scaled inputs and targets in their own units, and begin with the targets' mean, where that is
            exact; False leaves all as it is.
        fork_memory: bytes of parameters up to which the run forks, which copies its state twice; a larger model is
            steered by its mean motion, which copies the parameters three times and nothing else.
        prefer: "samples": few samples, by many small steps. "wall": few steps, by batches as large as the measured
            noise of the gradient allows, which grow with it; sooner where a step's time hardly depends on its batch.
        resume: continue the run in ``out``, bit for bit.
        new_data: resume although the data are others than those that the run was begun with.
        extend: with ``resume``, of a run that has finished: go on for so many more epochs, at the rate that it had
            found, warmed up and annealed again. The best validated state is that of both.
        show: receives every record entry as it is written, instead of a display of progress.
        progress: on stderr; None: in a terminal or a notebook.
        page: draw report.html at the end (``thetadot report DIR`` draws it at any time).

    Returns:
        The model in its best validated state, that state, the last one, and the record.

    Raises:
        InadmissibleValue, TaskError, RunFolderError, DamagedFile: bad input; nothing is lost.
        Diverged: the loss is not finite whatever the step; the last good state is in the checkpoint.
    """
    called = name or str(getattr(task, "__name__", "task"))
    require(out is not None or not resume, "resume=True", "needs the run's folder", "Pass out.")
    require(
        resume or extend is None, f"extend={extend}", "is of a run that has finished", "Pass out= and resume=True too."
    )
    folder = fresh(called) if out is None else Path(out)
    asked = Arguments(
        called, epochs, minutes, seed, optimizer, lr, momentum, batch_size, device, workers, threads, annealing, cure,
        fork_memory, prefer,
    )  # fmt: skip
    before = torch.get_num_threads()
    try:
        with ExitStack() as held:
            say = show or _shown(folder, held, wanted=watched() if progress is None else progress)
            return _Run(
                task, folder, asked, say, held, resume=resume, new_data=new_data, extend=extend, page=page
            ).result()
    finally:
        torch.set_num_threads(before)


def _shown(folder: Path, held: ExitStack, *, wanted: bool) -> Show:
    """A display of progress on stderr, which ends with the run; nothing where it is not wanted."""
    if not wanted:
        return lambda _: None
    from thetadot.training.display import Display  # noqa: PLC0415 - loads what few calls need

    return held.enter_context(Display(console(sys.stderr), folder))


class _Run:
    """One run from its folder to its result."""

    def __init__(
        self,
        task: Task | Callable[[], Task],
        out: Path,
        asked: Arguments,
        show: Show,
        held: ExitStack,
        *,
        resume: bool,
        new_data: bool,
        extend: int | None,
        page: bool,
    ) -> None:
        self.began = time.monotonic()
        self.device = device_of(asked.device)
        if resume:
            held.enter_context(Claim(out))
        self.saved = checkpoint.load(out) if resume else None
        if self.saved is not None:
            require_same(asked, self.saved["arguments"], out)
            asked = lengthened(asked, self.saved, extend, out)
        self.extending = extend is not None
        self.asked, self.show, self.out, self.page = asked, show, out, page
        self.address = address(task, asked.task)
        threads = self.saved["threads"] if self.saved else asked.threads
        if threads is not None:
            torch.set_num_threads(threads)
        seed_all(asked.seed)
        made = task if isinstance(task, Task) else None
        if made is None:
            with users_code():
                made = task()  # type: ignore[operator]
        self.task = checked(made)
        self.task.model.to(self.device)
        if isinstance(self.task.loss, nn.Module):
            self.task.loss.to(self.device)
        self.source = Source(self.task.train, asked.seed, self.device, asked.workers)
        self.valid = Source(self.task.valid, asked.seed, self.device, asked.workers)
        self.cost, self.coordinates, self.held = Cost(), Coordinates(self.task.model), held
        self.samples = asked.epochs * self.source.size
        self.tried = tried(self.task, self.source, self.valid, asked.batch_size)
        with users_code():
            self.data = fingerprint(self.task, asked.seed)
        if self.saved is not None and not new_data:
            require_same_data(self.data, self.saved["data"], out)
        if not resume:
            held.enter_context(Claim(claim(out)))
            claim(out)  # another run may have begun here in between
        self.writer = Writer(out / RECORD, self.saved["offset"] if self.saved else 0)

    def result(self) -> Result:
        """Do what is still to be done."""
        with self.writer:
            if self.saved is None:
                # before the first line, so that no kill leaves a folder that cannot be resumed
                self._save("measuring", {"start": Snapshot.take(**self._parts()).pack()})
            elif self.saved["phase"] == "done" and not self.extending:
                return self._finished()
            if self.writer.offset == 0:
                self._write(self._header())
                for change in self.tried.lost:
                    self._write(Remark(0, "resume", f"{change} {_LOST}"))
            loop = self._loop()
            self._train(loop)
            final = Snapshot.take(**self._parts())
            best = loop.best or final
            best.put(**self._parts())
            self._write(closing(loop, self._tested()))
            self._save(
                "done",
                {"final": final.pack(), "best": best.pack(), "plan": asdict(loop.plan), "loop": ended(loop)},
            )
            final, best = self.coordinates.left(self.task, final, best)
        return Result(self.task.model, best.model, final.model, read(self.out), self.task.loss, unwritten=self._drawn())

    # Steps.

    def _parts(self) -> dict[str, Any]:
        return {"model": self.task.model, "loss": self.task.loss}

    def _loop(self) -> Loop:
        """The loop at its start, where the checkpoint left it, or at the start of an extension."""
        saved = self.saved
        beginning = RunBeginning(
            self.task, self.source, self.valid, self.asked, least=self.tried.least, cost=self.cost, write=self._write
        )
        first, begun = 0, Begun()
        with users_code():
            if saved is not None and saved["phase"] != "measuring":
                plan = checkpoint.converted(saved["plan"], TrainingPlan, self.out / checkpoint.NAME)
                first = first_epoch(saved, self.out)
                with checkpoint.same_model(self.out):
                    begun = Begun(coordinates=Coordinates.unpack(self.task.model, saved.get("units", [])))
                if self.extending:
                    added = self.asked.extended[-1] * self.source.size
                    plan = plan.again(float(saved["loop"]["progress"]["factor"]), added)
            else:
                if saved is not None:
                    with checkpoint.same_model(self.out):
                        Snapshot.unpack(saved["start"]).restore(**self._parts())
                plan, begun = beginning.settle()
            self.coordinates = self.held.enter_context(begun.coordinates or self.coordinates)
            loop = self._made(beginning, plan, begun, first)
        if saved is not None and saved["phase"] == "training":
            with checkpoint.same_model(self.out):
                loop.load_state_dict(saved["loop"])
        elif saved is not None and self.extending:
            with checkpoint.same_model(self.out):
                go_on(loop, saved["loop"], *(Snapshot.unpack(saved[name]) for name in ("final", "best")))
            self._write(extension(loop, self.asked.extended[-1]))
            loop.checkpoint(True)  # noqa: FBT003 - durable
        return loop

    def _made(self, beginning: RunBeginning, plan: TrainingPlan, begun: Begun, first: int) -> Loop:
        """A loop from its first step on."""
        epochs = first + self.asked.extended[-1] if self.asked.extended else self.asked.epochs
        measured = [] if self.tried.lost else reference_of(self.source, 0, self.samples)
        loop = Loop(
            task=self.task,
            plan=plan,
            source=self.source,
            valid=self.valid,
            metric=self.tried.metric,
            epochs=epochs,
            first=first,
            monitor=partial(
                monitor_of,
                self.task,
                self.source,
                measured,
                samples=epochs * self.source.size,
                batch=plan.batch_size,
                changes=self.tried.changes,
            ),
            cost=self.cost,
            write=self._write,
            checkpoint=lambda durable: self._save(
                "training", {"plan": asdict(plan), "loop": loop.state_dict()}, durable=durable
            ),
            steering=beginning.steering(plan, (epochs - first) * self.source.size),
            begun=begun,
            mean=beginning.mean(),
            growing=beginning.growing(plan),
            minutes=self.asked.minutes,
            began=self.began,
        )
        return loop

    def _train(self, loop: Loop) -> None:
        try:
            with users_code():
                loop.run()
        except Diverged:
            self._drawn()  # the way there is worth looking at
            raise

    # Entries.

    def _header(self) -> Header:
        return Header(
            schema=SCHEMA,
            version=VERSION,
            task=self.asked.task,
            seed=self.asked.seed,
            parameters=sum(p.numel() for p in learned(self.task)),
            train_samples=self.source.size,
            valid_samples=self.valid.size,
            epochs=self.asked.epochs,
            device=str(self.device),
            threads=torch.get_num_threads(),
            software={"thetadot": __version__, "torch": str(torch.__version__)},
            quantities=UNITS,
            layers=layers_of(self.task.model, self.task.loss),
            metric=self.tried.metric_name,
            started=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            asked=self.asked.options(),
            address=self.address,
        )

    def _tested(self) -> Judged | None:
        """Judge the returned state on the test data."""
        if self.task.test is None:
            return None
        source = Source(self.task.test, self.asked.seed, self.device, self.asked.workers)
        return judge(self.task, source.load(source.whole(512)), self.tried.metric)

    def _drawn(self) -> str | None:
        return draw(self.out) if self.page else None

    def _write(self, entry: Entry) -> None:
        self.writer.write(entry)
        self.show(entry)

    def _save(self, phase: str, content: dict[str, Any], *, durable: bool = True) -> None:
        if durable:
            self.writer.sync()
        checkpoint.save(
            self.out,
            {
                "phase": phase,
                "arguments": asdict(self.asked),
                "threads": torch.get_num_threads(),
                "offset": self.writer.offset,
                "data": self.data,
                "units": self.coordinates.pack(),
                **content,
            },
            durable=durable,
        )

    def _finished(self) -> Result:
        assert self.saved is not None  # noqa: S101 - only a loaded run is finished
        with checkpoint.same_model(self.out):
            states = (Snapshot.unpack(self.saved[name]) for name in ("final", "best"))
            final, best = Coordinates.unpack(self.task.model, self.saved.get("units", [])).left(self.task, *states)
        record = read(self.out)
        if record.result is not None:
            self.show(record.result)
        return Result(self.task.model, best.model, final.model, record, self.task.loss, self._drawn())
