"""Result of a run, and how to load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thetadot.core.formatting import duration, html_table, plain
from thetadot.verdicts import headline, judge

if TYPE_CHECKING:
    from torch import nn

    from thetadot.records import Record
    from thetadot.tasks.task import Loss


@dataclass(frozen=True, repr=False)
class Result:
    """A trained model with its states and its record.

    Attributes:
        model: in the state of the lowest validation loss, ``record.result.valid_loss`` after ``best_epoch``; the
            running mean of the parameters where ``record.result.mean``.
        best_state: state dict of that.
        final_state: state dict at the end, of ``record.result.final_valid_loss``.
        record: what happened on the way.
        loss: the task's loss, in the state that belongs to the model's where it is a module.
        unwritten: why the page could not be written, None where it was: all else is kept.
    """

    model: nn.Module
    best_state: dict[str, Any]
    final_state: dict[str, Any]
    record: Record
    loss: Loss
    unwritten: str | None = None

    def __repr__(self) -> str:
        return "\n".join(f"{name:<16} {value}" for name, value in self._lines())

    def _repr_html_(self) -> str:
        return html_table(self._lines())

    def _lines(self) -> list[tuple[str, str]]:
        """What came of the run, in names and values."""
        header, closing, place = self.record.header, self.record.result, self.record.path
        found = [("task", f"{header.task}, seed {header.seed}")]
        if closing is None:
            return [*found, ("state", "not finished")]
        found.append(("in short", headline(self.record, judge(self.record)).says))
        last = closing.final_valid_loss
        other = "" if last is None or last == closing.valid_loss else f"; {plain(last, 4)} after the last one"
        whose = " (running mean of the parameters)" if closing.mean else ""
        reached = f"{plain(closing.valid_loss, 4)} after epoch {closing.best_epoch}{whose}{other}"
        found.append(("validation loss", reached))
        if closing.metric is not None:
            found.append((header.metric or "metric", plain(closing.metric, 4)))
        if closing.test_loss is not None:
            found.append(("test loss", plain(closing.test_loss, 4)))
        settings = f"lr {plain(closing.lr)}, momentum {plain(closing.momentum)}, batch size {plain(closing.batch_size)}"
        found.append(("optimizer", f"{closing.optimizer}, {settings}"))
        prices = f"{plain(closing.steps)}, {plain(round(closing.cost))} gradient evaluations of a sample"
        found.append(("steps", f"{prices}, in {duration(closing.seconds)}"))
        return found if place is None else [*found, ("folder", str(place.parent))]
