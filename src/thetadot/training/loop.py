"""The loop: from a plan to a trained model, guarded, recorded, resumable at any step."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from thetadot.errors import Diverged
from thetadot.records import Curvature, Epoch, Noise, Rollback
from thetadot.training.forward import judge, loss_of
from thetadot.training.guard import BEHIND, CHANCE, MOST_ROLLBACKS, Guard
from thetadot.training.learned import learned
from thetadot.training.plan import put
from thetadot.training.progress import Progress
from thetadot.training.snapshot import Snapshot, clone

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.monitor.monitor import Monitor
    from thetadot.optim import Flow
    from thetadot.probes.heat import Estimate
    from thetadot.records import Entry
    from thetadot.tasks.task import Metric, Task
    from thetadot.training.data import Batch, Source
    from thetadot.training.instruments import Cost
    from thetadot.training.plan import Plan

GOOD_EVERY = 0.02, 20  # share of the run between two good states, and least number of steps
LOST = 0.02, 100
"""Most that a kill loses: a share of the run's steps, or so many steps, whichever is more. Counts, so that a run is
saved at the same steps wherever it runs."""


class _Rewound(Exception):  # noqa: N818 - control flow, never seen outside
    """The guard has put the run back."""


class Loop:
    """Train one task by one plan.

    Args:
        task: what is trained; its model moves in place.
        plan: by which settings.
        source: training batches.
        valid: validation batches.
        metric: judged beside the loss; may be None.
        epochs: passes over the data.
        monitor: makes what measures the run, of its optimizer, where entries go and what the run has cost otherwise.
        cost: counts evaluations.
        write: receives record entries.
        checkpoint: called where the run may be cut off and resumed, with whether a power cut must not lose it.
        noise: measured before training.
        start_loss: loss before the first step, and its standard error.
        expected: loss that the best trial came to, and its steps.
        minutes: no epoch begins later than this.
        began: when the run began, on the monotonic clock; measuring and trials count.
    """

    def __init__(
        self,
        *,
        task: Task,
        plan: Plan,
        source: Source,
        valid: Source,
        metric: Metric | None,
        epochs: int,
        monitor: Callable[[Flow, Callable[[Entry], None], Callable[[], float]], Monitor],
        cost: Cost,
        write: Callable[[Entry], None],
        checkpoint: Callable[[bool], None],
        noise: Noise | None,
        start_loss: tuple[float, float],
        expected: tuple[float, int],
        minutes: float | None = None,
        began: float | None = None,
    ) -> None:
        self.task, self.plan, self.source, self.valid, self.metric = task, plan, source, valid, metric
        self.epochs, self.cost, self.write, self.checkpoint = epochs, cost, write, checkpoint
        self.total = epochs * source.size
        self.parameters = learned(task)
        self.optimizer = plan.build(self.parameters)
        self.monitor = monitor(self.optimizer, self.note, lambda: self.cost.samples)
        self.progress = Progress()
        steps = max(1, self.total // plan.batch_size)
        self.start_loss = start_loss[0]
        start = start_loss[0] + 4.0 * start_loss[1]  # so that a lucky sample does not make the run look bad
        self.guard = Guard(memory=max(5, min(100, steps // 50)), start=start, expected=expected[0])
        self.guard.chance = start_loss[0] - 0.01 * abs(start_loss[0])
        self.guard.patience = max(2 * expected[1], steps // 10) + self.guard.memory + int(plan.warmup * steps)
        self.noise = noise
        self.sharpness: float | None = None
        self.best_state: dict[str, Any] | None = None
        self.save_every = max(int(LOST[0] * steps), LOST[1])
        self.unsaved = 0  # steps that a kill would lose now
        self.epoch_steps = 0  # of the last epoch
        self.last_epoch: Epoch | None = None
        self.diverged = False
        self.minutes = minutes
        self.began = time.monotonic() if began is None else began
        self.seconds_before = 0.0

    def run(self) -> None:
        """Train to the end."""
        if self.guard.good is None:
            self._keep_good()
        if self.last_epoch is None:
            self._validate(0, self.start_loss)
            self._checkpoint(durable=True)
        while self.progress.epoch < self.epochs and not self._late():
            try:
                self._epoch()
            except _Rewound:
                continue
            # the end of the next epoch were too late, and after the last one all is written anyway
            if self.unsaved + self.epoch_steps > self.save_every and self.progress.epoch < self.epochs:
                self._checkpoint(durable=True)
        self.monitor.end()
        self._end_no_worse_than_the_start()
        self.optimizer.zero_grad(set_to_none=False)  # the last step's are nobody's any more

    def _end_no_worse_than_the_start(self) -> None:
        """A run that even the guard could not save gives back its last good state."""
        last, good = self.last_epoch, self.guard.good
        if last is None or good is None or self.diverged or not self.guard.lost(last.train_loss):
            return
        self.diverged = True
        good.restore(self.task.model, loss=self.task.loss)
        why = "the run ended above its start"
        self.write(Rollback(self.progress.step, self.guard.good_progress["step"], why, self.guard.shrink))
        self._validate(self.progress.epoch, self.start_loss)

    def _checkpoint(self, *, durable: bool) -> None:
        self.unsaved = 0
        self.checkpoint(durable)

    # One epoch, one step.

    def _epoch(self) -> None:
        progress = self.progress
        before = progress.epoch * self.source.size
        requests = self.source.plan(progress.epoch, lambda taken: self.plan.batch_at((before + taken) / self.total))
        self.task.model.train()
        self.epoch_steps = len(requests)
        for request, batch in zip(
            requests[progress.place :], self.source.load(requests[progress.place :]), strict=True
        ):
            self._step(batch, request.indices)
        self._close_epoch()

    def _step(self, batch: Batch, indices: list[int]) -> None:
        progress = self.progress
        settings = self.plan.at((progress.samples + batch.size) / self.total, self.guard.shrink)
        put(self.optimizer, settings)
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(self.task.model, self.task.loss, batch)
        value = float(loss.detach())
        because = self.guard.tripped(value)
        if because is not None:
            self._go_back(because, batch, indices)
        loss.backward()  # type: ignore[no-untyped-call]
        self.monitor.begin_step()
        self.optimizer.step()
        self.cost.gradient(batch.size)
        progress.step += 1
        self.unsaved += 1
        progress.place += 1
        progress.samples += batch.size
        progress.loss_sum += value * batch.size
        progress.loss_count += batch.size
        self.monitor.end_step(value, (batch.size,))
        if progress.samples % self._good_every() < batch.size and self.guard.healthy() and self._finite():
            self._keep_good()
        if self.unsaved >= self.save_every:
            self._checkpoint(durable=False)

    def _close_epoch(self) -> None:
        progress = self.progress
        mean = progress.loss_sum / max(1, progress.loss_count)
        progress.epoch += 1
        progress.place = 0
        progress.loss_sum, progress.loss_count = 0.0, 0
        self._validate(progress.epoch, mean)

    def _validate(self, epoch: int, train_loss: float) -> None:
        progress = self.progress
        valid, score = judge(self.task, self.valid.load(self.valid.whole(512)), self.metric)
        if not math.isfinite(valid):
            raise Diverged(
                f"after epoch {epoch}: the validation loss is {valid} while the training loss is finite. "
                f"{self.valid.not_finite() or 'Look at the loss'} in the validation data. "
                "The last good state is in the checkpoint."
            )
        if valid < progress.best_valid and epoch:
            progress.best_valid, progress.best_epoch = valid, epoch
            self.best_state = clone(self.task.model.state_dict())
        self.last_epoch = Epoch(epoch, progress.step, train_loss, valid, score, self.spent, self.seconds)
        self.write(self.last_epoch)

    def _late(self) -> bool:
        return self.minutes is not None and self.progress.epoch > 0 and self.seconds > 60.0 * self.minutes

    @property
    def seconds(self) -> float:
        """Time spent, resumed parts included."""
        return self.seconds_before + time.monotonic() - self.began

    # The guard.

    def _go_back(self, because: str, batch: Batch, indices: list[int]) -> None:
        """Restore the last good state; raise Diverged where a smaller step cannot help."""
        good = self.guard.good
        assert good is not None  # noqa: S101 - kept before the first step
        step = self.progress.step
        good.restore(self.task.model, loss=self.task.loss)
        at_good = self._loss_at_good(batch)
        if not math.isfinite(at_good) or self.guard.rollbacks >= MOST_ROLLBACKS:
            raise Diverged(f"step {step}: {self._blame(at_good, indices)} The last good state is in the checkpoint.")
        patience = self.guard.patience
        self.guard.rewind(0.25 if because in (BEHIND, CHANCE) else 0.5)
        if because == CHANCE:  # a run that does not move needs no more time to show it
            self.guard.patience = patience
        # best_state stays, so what it was stays with it
        best = {name: getattr(self.progress, name) for name in ("best_valid", "best_epoch")}
        self.progress = Progress(**(self.guard.good_progress | best))
        self.optimizer = self.plan.build(self.parameters)  # at rest
        good.restore(self.task.model, loss=self.task.loss)
        self.monitor.rewind(self.progress.step, self.optimizer)
        self.write(Rollback(step=step, back_to=self.progress.step, because=because, lr_factor=self.guard.shrink))
        raise _Rewound

    def _blame(self, at_good: float, indices: list[int]) -> str:
        if math.isfinite(at_good):
            return (
                f"{MOST_ROLLBACKS} ever smaller steps did not help. "
                "A gradient may be infinite where the loss is finite: look for square roots and logarithms near 0."
            )
        return self.source.fault(at_good, indices) or (
            f"the loss is {at_good} on this batch (training samples {_some(indices)}) at the last good "
            "parameters too, although its data are finite: the model or the loss is at fault, not the step."
        )

    def _loss_at_good(self, batch: Batch) -> float:
        with torch.no_grad():
            value = float(loss_of(self.task.model, self.task.loss, batch))
        self.cost.forward(batch.size)
        return value

    def _good_every(self) -> int:
        return max(GOOD_EVERY[1] * self.plan.batch_size, int(GOOD_EVERY[0] * self.total))

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.parameters)

    def _keep_good(self) -> None:
        self.guard.good = Snapshot.take(self.task.model, loss=self.task.loss)
        self.guard.good_progress = asdict(self.progress)

    # What is measured.

    @property
    def spent(self) -> float:
        """Gradient evaluations so far, measuring included, in samples."""
        return self.cost.samples + self.monitor.state.spent

    def note(self, entry: Entry) -> None:
        """Keep the latest reading of its kind, and write it."""
        if isinstance(entry, Curvature):
            self.sharpness = entry.sharpness
        elif isinstance(entry, Noise):
            self.noise = entry
        self.write(entry)

    def temperature(self) -> Estimate | None:
        """The temperature of the first settings, at the sharpest curvature; Adam is heavy ball at lr(1-β₁) behind P."""
        plan = self.plan
        rate = plan.lr if plan.optimizer == "heavy-ball" else plan.lr * (1.0 - plan.momentum)
        reading = replace(self.monitor.settings.reading(), rate=rate, memory=plan.momentum)
        return self.monitor.state.temperature(reading, plan.batch_size)

    # Checkpoints.

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "now": Snapshot.take(self.task.model, self.optimizer, loss=self.task.loss).pack(),
            "progress": asdict(self.progress),
            "guard": self.guard.state_dict(),
            "monitor": self.monitor.state_dict(),
            "noise": _packed(self.noise),
            "last_epoch": _packed(self.last_epoch),
            "sharpness": self.sharpness,
            "start_loss": self.start_loss,
            "best_state": self.best_state,
            "cost": self.cost.samples,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`, bit for bit."""
        self.progress = msgspec.convert(state["progress"], Progress)
        self.guard.load_state_dict(state["guard"])
        self.monitor.load_state_dict(state["monitor"])
        self.noise = msgspec.convert(state["noise"], Noise | None)
        self.last_epoch = msgspec.convert(state["last_epoch"], Epoch | None)
        self.sharpness = msgspec.convert(state["sharpness"], float | None)
        self.best_state = msgspec.convert(state["best_state"], dict[str, Any] | None)
        self.start_loss, self.cost.samples, self.seconds_before = (
            float(state[name]) for name in ("start_loss", "cost", "seconds")
        )
        Snapshot.unpack(state["now"]).restore(self.task.model, self.optimizer, loss=self.task.loss)
        self.unsaved = 0


_SAMPLES_SHOWN = 8


def _packed(entry: Noise | Epoch | None) -> dict[str, Any] | None:
    """An entry as plain numbers, for a checkpoint."""
    return None if entry is None else {name: getattr(entry, name) for name in entry.__struct_fields__}


def _some(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:_SAMPLES_SHOWN]))
    return shown + (", …" if len(indices) > _SAMPLES_SHOWN else "")
