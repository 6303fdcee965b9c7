"""Validation at an epoch's end: of the parameters, or of their running mean; the best of both is what a run returns.

Each epoch is validated once. The mean (:mod:`thetadot.training.mean`) takes the validation of an epoch that follows one
at which the parameters came no lower; the last epoch's is the parameters'. Only the parameters' own losses can trip the
guard: a mean that lags behind says nothing of the run, and one that is lower is no level that the run had reached.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from thetadot.errors import Diverged
from thetadot.records import Epoch
from thetadot.training.decaying import look
from thetadot.training.forward import judge
from thetadot.training.levels import bound
from thetadot.training.snapshot import Snapshot
from thetadot.training.steering import Steered

if TYPE_CHECKING:
    from thetadot.records import Constant
    from thetadot.tasks.task import Metric, Task
    from thetadot.training.cost import Cost
    from thetadot.training.data import Source
    from thetadot.training.mean import RunningMean
    from thetadot.training.steering import Steering

LOST_VALID = "the validation loss had lost a quarter of what was gained"

Judged = tuple[float, float | None]
"""Validation loss and metric."""


class Validated(Steered, Protocol):
    """A run as its validation sees it.

    Attributes:
        task: what is trained.
        valid: validation batches.
        metric: judged beside the loss.
        epochs: passes over the data.
        cost: counts evaluations.
        steering: what changes its rate on the way.
        constant: the best constant output.
        mean: of the parameters, validated in some epochs.
        best: the state that was best.
        last_epoch: the last one that was judged.
        valid_scale: the loss that gains are counted from.
    """

    task: Task
    valid: Source
    metric: Metric | None
    epochs: int
    cost: Cost
    steering: Steering
    constant: Constant | None
    mean: RunningMean | None
    best: Snapshot | None
    last_epoch: Epoch | None
    valid_scale: float

    @property
    def seconds(self) -> float:
        """Return the time spent so far, in seconds."""

    def back_to_the_best(self, because: str) -> None:
        """Go back to the best validated state."""


def validate(loop: Validated, epoch: int, train_loss: float) -> None:
    """Judge the state after an epoch, and keep it where it is the best.

    Args:
        loop: the run.
        epoch: that has ended; 0 before the first step.
        train_loss: mean over it.

    Raises:
        Diverged: the validation loss is not finite.
        Rewound: a fork was open, and its branch is lost by that.
    """
    progress = loop.progress
    if progress.mean_next and epoch < loop.epochs and _validate_mean(loop, epoch, train_loss):
        return
    valid, score = _of_the_model(loop, epoch)
    if not epoch:
        loop.valid_scale = valid
        if loop.constant is not None and 0.0 < loop.constant.valid_loss < valid:
            loop.valid_scale = loop.constant.valid_loss
    _write(loop, Epoch(epoch, progress.step, train_loss, valid, score, loop.spent, loop.seconds))
    look(loop, train_loss, valid, hidden=loop.steering.hidden)
    better = valid < progress.best_valid
    progress.mean_next = not better and loop.mean is not None
    if better:
        _keep(loop, (valid, score))
    elif not loop.steering.hidden and valid > bound(progress.lowest, loop.valid_scale):
        loop.back_to_the_best(LOST_VALID)
    progress.lowest = min(progress.lowest, valid)


def of_the_parameters(loop: Validated) -> Epoch:
    """The last epoch, judged by the last parameters: again, where time ran out at one that judged their mean."""
    last = loop.last_epoch
    assert last is not None  # noqa: S101 - epoch 0 is always judged
    if not last.mean:
        return last
    valid, score = _of_the_model(loop, last.epoch)
    loop.cost.forward(loop.valid.size)
    if valid < loop.progress.best_valid:
        _keep(loop, (valid, score))
    return replace(last, valid_loss=valid, metric=score, mean=False)


def _validate_mean(loop: Validated, epoch: int, train_loss: float) -> bool:
    """Judge the running mean in the parameters' place; False where its loss is not finite: then they are judged."""
    progress, mean = loop.progress, loop.mean
    assert mean is not None  # noqa: S101 - only then is it next
    with mean.put():
        judged = _judged(loop)
        if not math.isfinite(judged[0]):
            return False
        if judged[0] < progress.best_valid:
            _keep(loop, judged, mean=True)
    progress.mean_next = False
    _write(loop, Epoch(epoch, progress.step, train_loss, *judged, loop.spent, loop.seconds, mean=True))
    return True


def _of_the_model(loop: Validated, epoch: int) -> Judged:
    """Judge the model as it is; a loss that is not finite ends the run, or the branch."""
    valid, score = _judged(loop)
    if not math.isfinite(valid):
        loop.steering.failed(loop)
        raise Diverged(
            f"after epoch {epoch}: the validation loss is {valid} while the training loss is finite. "
            f"{loop.valid.not_finite() or 'Look at the loss'} in the validation data. "
            "The last good state is in the checkpoint."
        )
    return valid, score


def _judged(loop: Validated) -> Judged:
    return judge(loop.task, loop.valid.load(loop.valid.whole(512)), loop.metric)


def _write(loop: Validated, epoch: Epoch) -> None:
    loop.last_epoch = epoch
    loop.steering.write_epoch(loop, epoch)


def _keep(loop: Validated, judged: Judged, *, mean: bool = False) -> None:
    """Keep the model's present state as the best one."""
    progress = loop.progress
    progress.best_valid, progress.best_metric = judged
    progress.best_epoch, progress.best_step, progress.best_mean = progress.epoch, progress.step, mean
    loop.best = Snapshot.take(loop.task.model, loss=loop.task.loss)
