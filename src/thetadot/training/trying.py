"""One batch through model and loss before anything else, so that a misfit is told before it costs anything."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from thetadot.errors import InadmissibleValue, TaskError
from thetadot.state import changes_of, kept
from thetadot.training.fit import require_fit
from thetadot.training.forward import derived_metric, judging, loss_of
from thetadot.training.learned import require_all_learned
from thetadot.training.spec import users_code

if TYPE_CHECKING:
    from thetadot.state import StateChange
    from thetadot.tasks.task import Metric, Task
    from thetadot.training.data import Source


class TriedRate(NamedTuple):
    """What a trial of one batch told.

    Attributes:
        least: samples that a step takes at least.
        changes: what a pass through model and loss changes.
        metric_name: of the metric; None where there is none.
        metric: the task's own, or derived.
    """

    least: int
    changes: list[StateChange]
    metric_name: str | None
    metric: Metric | None

    @property
    def lost(self) -> list[StateChange]:
        """Changes that cannot be put back."""
        return [change for change in self.changes if not change.kept]


def tried(task: Task, source: Source, valid: Source, batch_size: int | None) -> TriedRate:
    """Try a task out, changing nothing.

    Raises:
        TaskError: model, loss and data do not fit one another.
        InadmissibleValue: the batch is larger than the data.
    """
    if batch_size is not None and batch_size > source.size:
        raise InadmissibleValue(
            f"batch_size={batch_size} is larger than the training data ({source.size} samples). "
            "Pass a smaller batch_size."
        )
    parts: dict[str, Any] = {"model": task.model, "loss": task.loss}
    with kept(**parts), users_code(), warnings.catch_warnings():
        # (B, 1) against (B,): torch broadcasts with a warning, and the run would learn nothing
        warnings.filterwarnings("error", message="Using a target size")
        least = require_fit(task, source, valid, batch_size)
        _require_mean(task, source)
        batch = next(iter(source.load(source.whole(min(2, source.size)))))
        require_all_learned(task, loss_of(task.model, task.loss, batch))
        changes = changes_of(lambda now: loss_of(now["model"], now["loss"], batch), parts)
        return TriedRate(least, changes, *derived_metric(task, batch))


def _require_mean(task: Task, source: Source) -> None:
    """A loss that doubles when every sample is repeated is a sum: its scale, noise and step depend on the batch."""
    pair = list(range(min(2, source.size)))
    with judging(task):
        once, twice = (
            float(loss_of(task.model, task.loss, batch))
            for indices in (pair, pair + pair)
            for batch in source.load(source.whole(len(indices), indices))
        )
    if once != 0 and math.isclose(twice, 2.0 * once, rel_tol=1e-3):
        raise TaskError(
            f"loss(output, target) doubles, from {once:.4g} to {twice:.4g}, when every sample is repeated: "
            "it is a sum. Return a mean over the batch."
        )
