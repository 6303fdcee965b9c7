"""The training loss along a run: of every step where the record has it, else of the steps that were recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thetadot.core.signatures import checked
from thetadot.records.schema import Motion, Rollback
from thetadot.records.standing import standing
from thetadot.records.step_losses import Losses

if TYPE_CHECKING:
    from thetadot.records.columns import Array
    from thetadot.records.reader import Record

Line = tuple[int, "Array"]
"""The step of the first loss, and the losses of it and the steps after it."""


@dataclass(frozen=True)
class LossCurve:
    """The training loss along a run.

    Attributes:
        steps: ascending.
        losses: of each; NaN where none was seen, infinite where it was.
        undone: the same two for each stretch that a rollback undid, in order.
        every: whether each step from the first to the last is there, among those that stand or those undone.
    """

    steps: Array
    losses: Array
    undone: tuple[tuple[Array, Array], ...]
    every: bool


@checked
def loss_curve(record: Record) -> LossCurve:
    """Return the training loss of every step of a record, or of the steps that it has.

    Steps that no line of losses covers, of older records and at the end of a run in progress, are those of its motions.

    Example:
        >>> from thetadot.records import Header, Losses, Record, Rollback
        >>> head = Header("thetadot.record", 3, "task", 0, 1, 1, 1, 1, "cpu", 1, {}, {})
        >>> record = Record(head, [Losses.of(3, [4, 3, 9]), Rollback(3, 2, "lost", 0.5), Losses.of(4, [2, 1])])
        >>> curve = loss_curve(record)
        >>> curve.steps.tolist(), curve.losses.tolist(), curve.undone[0][1].tolist()
        ([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [9.0])
    """
    known: dict[type, LossCurve] = vars(record).setdefault("_loss_curve", {})
    if LossCurve not in known:  # a page asks for it several times
        known[LossCurve] = _curve(record)
    return known[LossCurve]


def _curve(record: Record) -> LossCurve:
    lines, undone = _lines(record)
    motions, gone = standing(record, Motion)
    if not lines:
        few = ((gone.ordered("step"), gone.column("loss")),) if len(gone) else ()
        return LossCurve(motions.ordered("step"), motions.column("loss"), few, every=False)
    steps = np.concatenate([first + np.arange(len(losses), dtype=np.float64) for first, losses in lines])
    losses = np.concatenate([losses for _, losses in lines])
    rest = motions.where(~np.isin(motions.ordered("step"), steps))
    if len(rest):
        steps = np.concatenate([steps, rest.ordered("step")])
        losses = np.concatenate([losses, rest.column("loss")])
        order = np.argsort(steps, kind="stable")
        steps, losses = steps[order], losses[order]
    stretches = tuple((f + np.arange(len(v), dtype=np.float64), v) for f, v in undone)
    seen = np.unique(np.concatenate([steps, *(gone for gone, _ in stretches)]))
    every = bool(seen[-1] - seen[0] == len(seen) - 1)  # a run whose clock goes on after a rollback leaves a gap
    return LossCurve(steps, losses, stretches, every)


def _lines(record: Record) -> tuple[list[Line], list[Line]]:
    """The lines that stand, ascending, and those undone, each cut where the run went back."""
    rows = record.of(Losses)
    if not rows:
        return [], []
    places, ends = record.columns.places(Losses), record.columns.places(Rollback)
    back = np.searchsorted(places, ends).tolist()
    targets = record.of(Rollback).ordered("back_to")
    kept: list[Line] = []
    undone: list[Line] = []
    at = 0
    for row, entry in enumerate(rows):
        while at < len(back) and back[at] <= row:
            _cut(kept, undone, targets[at] + 1)
            at += 1
        _cut(kept, undone, entry.first)
        kept.append((entry.first, entry.numbers.astype(np.float64)))
    for target in targets[at:]:
        _cut(kept, undone, target + 1)
    return kept, undone


def _cut(lines: list[Line], undone: list[Line], begin: float) -> None:
    """Take away all from step ``begin`` on."""
    gone: list[Line] = []
    while lines and lines[-1][0] + len(lines[-1][1]) > begin:
        first, losses = lines.pop()
        kept = int(max(begin - first, 0))
        gone.append((first + kept, losses[kept:]))
        if kept:
            lines.append((first, losses[:kept]))
    if gone:
        undone.append((gone[-1][0], np.concatenate([losses for _, losses in reversed(gone)])))
