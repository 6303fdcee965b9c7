"""The loop: from a plan to a trained model, guarded, recorded, resumable at any step."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import torch

from thetadot.errors import Diverged
from thetadot.records import Constant, Curvature, Epoch, Noise, Rollback
from thetadot.state import kept
from thetadot.training.blame import blamed
from thetadot.training.decaying import decays
from thetadot.training.forks import packed
from thetadot.training.forward import loss_of
from thetadot.training.learned import learned
from thetadot.training.levels import CHANCE, MOST_ROLLBACKS, Guard, piece_of
from thetadot.training.plan import put
from thetadot.training.progress import Rewound, TrainingProgress
from thetadot.training.snapshot import Snapshot
from thetadot.training.start import SHARE_OF_SIZE, typical_size
from thetadot.training.validating import of_the_parameters, validate

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.monitor.monitor import Monitor
    from thetadot.optim import Flow
    from thetadot.probes.heat import Estimate
    from thetadot.records import Entry
    from thetadot.tasks.task import Metric, Task
    from thetadot.training.beginning import Begun
    from thetadot.training.cost import Cost
    from thetadot.training.data import Source, TrainingBatch
    from thetadot.training.growing import Growing
    from thetadot.training.mean import RunningMean
    from thetadot.training.plan import TrainingPlan
    from thetadot.training.steering import Steering

LOST = 0.02, 100
"""Most that a kill loses: a share of the run's steps, or so many steps, whichever is more. Counts, so that a run is
saved at the same steps wherever it runs."""


NOT_FINITE = "the loss was not finite"


class Loop:
    """Train one task by one plan.

    Args:
        task: what is trained; its model moves in place.
        plan: by which settings.
        source: training batches.
        valid: validation batches.
        metric: judged beside the loss; may be None.
        epochs: passes over the data, earlier plans' included.
        first: of the epochs that this plan is for: earlier ones were another's.
        monitor: makes what measures the run, of its optimizer, where entries go and what the run has cost otherwise.
        cost: counts evaluations.
        write: receives record entries.
        checkpoint: called where the run may be cut off and resumed, with whether a power cut must not lose it.
        steering: forks, or what is done in their place.
        begun: what is known before the first step.
        mean: of the parameters, validated in some epochs; None: in none.
        growing: lets the batch grow on the way; None: it stays what the plan says.
        minutes: no epoch begins later than this.
        began: when the run began, on the monotonic clock; measuring and forks count.
    """

    def __init__(
        self,
        *,
        task: Task,
        plan: TrainingPlan,
        source: Source,
        valid: Source,
        metric: Metric | None,
        epochs: int,
        monitor: Callable[[Flow, Callable[[Entry], None], Callable[[], float]], Monitor],
        cost: Cost,
        write: Callable[[Entry], None],
        checkpoint: Callable[[bool], None],
        steering: Steering,
        begun: Begun,
        mean: RunningMean | None = None,
        growing: Growing | None = None,
        first: int = 0,
        minutes: float | None = None,
        began: float | None = None,
    ) -> None:
        self.task, self.plan, self.source, self.valid, self.metric = task, plan, source, valid, metric
        self.epochs, self.cost, self.write, self.checkpoint = epochs, cost, write, checkpoint
        self.mean, self.growing = mean, growing
        self.first, self.total = first, (epochs - first) * source.size
        self.parameters = learned(task)
        self.optimizer = plan.build(self.parameters)
        self.monitor = monitor(self.optimizer, self.note, lambda: self.cost.samples)
        self.progress = TrainingProgress()
        steps = max(1, self.total // plan.batch_size)
        self.start_loss, error = begun.loss
        self.steering, self.constant, self.offset = steering, begun.constant, begun.offset
        self.guard = Guard(
            piece=piece_of(steps, -(-source.size // plan.batch_size)),
            start=self.start_loss + 4.0 * error,  # so that a lucky sample does not make the run look bad
            scale=self.start_loss,
        )
        if self.constant is not None and 0.0 < self.constant.train_loss < self.start_loss:
            self.guard.scale = self.constant.train_loss
        if self.constant is not None:  # known without the error that the start's sample has
            self.guard.chance = max(self.constant.train_loss, self.start_loss)
        self.noise: Noise | None = None
        self.sharpness: float | None = None
        self.best: Snapshot | None = None
        self.save_every = max(int(LOST[0] * steps), LOST[1])
        self.unsaved = 0  # steps that a kill would lose now
        self.epoch_steps = 0  # of the last epoch
        self.last_epoch: Epoch | None = None
        self.final: Epoch  # of the last parameters, once the run has ended
        self.valid_scale = math.inf
        self.diverged = False
        self.minutes = minutes
        self.began = time.monotonic() if began is None else began
        self.seconds_before = self.seconds_first = 0.0  # of this process's beginning, and of the plan's

    def run(self) -> None:
        """Train to the end."""
        if not self.guard.good:
            self._keep_good()
        if self.last_epoch is None:
            validate(self, 0, self.start_loss)
            self._checkpoint(durable=True)
        while self.progress.epoch < self.epochs and (self.steering.hidden or not self._late()):
            try:
                self._epoch()
            except Rewound:
                continue
            # the end of the next epoch were too late, and after the last one all is written anyway
            if self.unsaved + self.epoch_steps > self.save_every and self.progress.epoch < self.epochs:
                self._checkpoint(durable=True)
        self.monitor.end()
        self.final = of_the_parameters(self)
        self.diverged = self.last_epoch is not None and self.guard.worse(self.last_epoch.train_loss)
        self.optimizer.zero_grad(set_to_none=False)  # the last step's are nobody's any more

    def _checkpoint(self, *, durable: bool) -> None:
        self.unsaved = 0
        self.checkpoint(durable)

    # One epoch, one step.

    def _epoch(self) -> None:
        progress = self.progress
        before = (progress.epoch - self.first) * self.source.size
        requests = self.source.plan(progress.epoch, lambda taken: self.batch_at(before + taken))
        self.task.model.train()
        self.epoch_steps = len(requests)
        if progress.epoch == self.epochs - 1:
            self.monitor.ends_at(progress.step + len(requests) - progress.place)
        for request, batch in zip(
            requests[progress.place :], self.source.load(requests[progress.place :]), strict=True
        ):
            self._step(batch, request.indices)
        self._close_epoch()

    def _step(self, batch: TrainingBatch, indices: list[int]) -> None:
        progress = self.progress
        self.steering.begin(self)
        settings = self.plan.at((self.seen + 0.5 * batch.size) / self.total, progress.factor)
        put(self.optimizer, settings, self.plan.decay if decays(self.progress) else 0.0)
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_of(self.task.model, self.task.loss, batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            self.steering.failed(self)
            self._meet_no_number(batch, indices)
        loss.backward()  # type: ignore[no-untyped-call]
        if not self.steering.hidden:
            self.monitor.begin_step()
        self.optimizer.step()
        if self.mean is not None:
            self.mean.take()
        self.cost.gradient(batch.size)
        progress.step += 1
        self.unsaved += 1
        progress.place += 1
        progress.samples += batch.size
        progress.loss_sum += value * batch.size
        progress.loss_count += batch.size
        if not self.steering.hidden:
            self.monitor.end_step(value, (batch.size,))
            self._guarded(value)
        self.steering.took(self, value)
        if self.unsaved >= self.save_every:
            self._checkpoint(durable=False)

    def _close_epoch(self) -> None:
        progress = self.progress
        mean = progress.loss_sum / max(1, progress.loss_count)
        progress.epoch += 1
        progress.place = 0
        progress.loss_sum, progress.loss_count = 0.0, 0
        validate(self, progress.epoch, mean)
        if self.growing is not None and not self.steering.hidden:
            self.growing.look(self)

    def batch_at(self, seen: float) -> int:
        """Batch size after so many samples of this plan."""
        return self.plan.batch_at(seen / self.total) * self.progress.growth

    def _late(self) -> bool:
        passed = self.seconds - self.seconds_first
        return self.minutes is not None and self.progress.epoch > self.first and passed > 60.0 * self.minutes

    @property
    def seen(self) -> int:
        """Samples seen by this plan."""
        return self.progress.samples - self.first * self.source.size

    @property
    def seconds(self) -> float:
        """Time spent, resumed parts included."""
        return self.seconds_before + time.monotonic() - self.began

    # The guard.

    def _guarded(self, loss: float) -> None:
        """Count a step in; at the end of a piece, go back or keep the state."""
        self.guard.take(loss)
        if not self.guard.full:
            return
        because = self.guard.lost() or (None if self._finite() else NOT_FINITE)
        if because is None:
            self._keep_good()
        elif because == CHANCE:
            self.back_to_the_best(because)
        elif self.guard.rollbacks < MOST_ROLLBACKS:
            step, state, factor = self.guard.rewind()
            if self.guard.stuck and self.best is not None:
                step, state = self.progress.best_step, self.best
            self._go_back(step, state, factor, because)

    def back_to_the_best(self, because: str) -> None:
        """Go back to the best validated state, where the latest ones are none to go back to."""
        if self.guard.rollbacks < MOST_ROLLBACKS and self.best is not None:
            factor = self.guard.restart(self.progress.best_step, self.best)
            self._go_back(self.progress.best_step, self.best, factor, because)

    def _meet_no_number(self, batch: TrainingBatch, indices: list[int]) -> NoReturn:
        """Go back and try the same batch again; raise Diverged where a smaller step cannot help."""
        at = self.progress.step
        step, state, factor = self.guard.rewind()
        state.put(self.task.model, loss=self.task.loss)
        at_good = self._loss_at_good(batch)
        if not math.isfinite(at_good) or self.guard.rollbacks > MOST_ROLLBACKS:
            raise Diverged(
                f"step {at}: {blamed(self.source, at_good, indices)} The last good state is in the checkpoint."
            )
        self._go_back(step, state, factor, NOT_FINITE)
        raise Rewound

    def _go_back(self, step: int, state: Snapshot, factor: float, because: str) -> None:
        """Put the state back, at rest and at a smaller rate; the clock and the generators go on."""
        state.put(self.task.model, loss=self.task.loss)
        self.optimizer = self.plan.build(self.parameters)
        if self.mean is not None:
            self.mean.restart()
        self.progress.mean_next = False
        self.monitor.rewind(self.progress.step, self.optimizer)
        self.progress.factor *= factor
        self.write(Rollback(self.progress.step, step, because, self.progress.factor))

    def _loss_at_good(self, batch: TrainingBatch) -> float:
        with torch.no_grad():
            value = float(loss_of(self.task.model, self.task.loss, batch))
        self.cost.forward(batch.size)
        return value

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.parameters)

    def _keep_good(self) -> None:
        self.guard.keep(self.progress.step, Snapshot.take(self.task.model, loss=self.task.loss))

    # Branches.

    def branch(self) -> dict[str, Any]:
        """Return what tells one branch of the run from another, as plain containers of copies."""
        return {
            "now": Snapshot.take(self.task.model, self.optimizer, loss=self.task.loss).pack(),
            "progress": asdict(self.progress),
            "last_epoch": packed(self.last_epoch),
            "best": self.best and self.best.pack(),
            "mean": self.mean and self.mean.state_dict(),
        }

    def take_branch(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`branch`, bit for bit."""
        self.progress = msgspec.convert(state["progress"], TrainingProgress)
        self.last_epoch = msgspec.convert(state["last_epoch"], Epoch | None)
        self.best = state["best"] and Snapshot.unpack(state["best"])
        if self.mean is not None:
            self.mean.load_state_dict(state["mean"])
        Snapshot.unpack(state["now"]).restore(self.task.model, self.optimizer, loss=self.task.loss)

    def loss_on(self, indices: list[int]) -> float:
        """Mean loss on training samples at the present parameters; nothing of the run is changed."""
        (batch,) = self.source.load(self.source.whole(len(indices), indices))
        self.cost.forward(len(indices))
        with kept(model=self.task.model, loss=self.task.loss), torch.no_grad():
            return float(loss_of(self.task.model, self.task.loss, batch))

    def highest(self) -> float:
        """The highest factor on the plan's rate: of Adam's, which moves each parameter by lr a step."""
        if self.plan.optimizer != "adam":
            return math.inf
        return SHARE_OF_SIZE * typical_size(self.parameters, self.offset) / self.plan.lr

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
            **self.branch(),
            "guard": self.guard.state_dict(),
            "steering": self.steering.state_dict(),
            **self.known(),
        }

    def known(self) -> dict[str, Any]:
        """Return what was measured and counted, whatever plan the run is at."""
        return {
            "monitor": self.monitor.state_dict(),
            "noise": packed(self.noise),
            "sharpness": self.sharpness,
            "constant": packed(self.constant),
            "offset": next((i for i, p in enumerate(self.parameters) if p is self.offset), -1),
            "start_loss": self.start_loss,
            "valid_scale": self.valid_scale,
            "cost": self.cost.samples,
            "seconds": self.seconds,
            "seconds_first": self.seconds_first,
            "first": self.first,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`, bit for bit."""
        self.guard.load_state_dict(state["guard"])
        self.steering.load_state_dict(state["steering"])
        self.load_known(state)
        self.take_branch(state)
        self.unsaved = 0

    def load_known(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`known`."""
        self.monitor.load_state_dict(state["monitor"])
        self.noise = msgspec.convert(state["noise"], Noise | None)
        self.sharpness = msgspec.convert(state["sharpness"], float | None)
        self.constant = msgspec.convert(state["constant"], Constant | None)
        self.offset = self.parameters[state["offset"]] if 0 <= state["offset"] < len(self.parameters) else None
        self.start_loss, self.valid_scale, self.cost.samples, self.seconds_before, self.seconds_first = (
            float(state[name]) for name in ("start_loss", "valid_scale", "cost", "seconds", "seconds_first")
        )
