"""Entries of a record that remain valid after its rollbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from thetadot.core.signatures import checked
from thetadot.records.schema import Rollback

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from thetadot.records.reader import Record
    from thetadot.records.rows import Rows

E = TypeVar("E", bound=msgspec.Struct)

_LOOK = 64
"""So many entries before a rollback are looked at first, then ever more: most undo few."""


@checked
def standing(record: Record, kind: type[E]) -> tuple[Rows[E], Rows[E]]:
    """Entries of one kind that stand, and those that a rollback undid, each in order."""
    known: dict[type, tuple[Any, Any]] = vars(record).setdefault("_standing", {})
    if kind not in known:  # a page asks for the same kinds dozens of times
        known[kind] = _sorted_out(record, kind)
    return known[kind]


def _sorted_out(record: Record, kind: type[E]) -> tuple[Rows[E], Rows[E]]:
    rows, rollbacks = record.of(kind), record.of(Rollback)
    nothing = np.zeros(0, dtype=np.int64)
    if not len(rows) or not len(rollbacks) or kind is Rollback or "step" not in kind.__struct_fields__:
        return rows, rows.at(nothing)
    steps = rows.ordered("step")
    if "when" in kind.__struct_fields__:  # what was measured before training is not part of it
        training = np.array([when == "training" for when in rows.objects("when")])
        steps = np.where(training, steps, -np.inf)
    before = np.searchsorted(record.columns.places(kind), record.columns.places(Rollback))
    undone = _undone(steps, before, rollbacks.ordered("back_to"))
    if not len(undone):
        return rows, rows.at(nothing)
    kept = np.ones(len(rows), dtype=np.bool_)
    kept[undone] = False
    return rows.where(kept), rows.at(undone[np.argsort(rows.ordered("step")[undone], kind="stable")])


def _undone(steps: NDArray[Any], before: NDArray[np.int64], back_to: NDArray[Any]) -> NDArray[np.int64]:
    """Places of what rollbacks undid, as they did: each from its own place backwards, while steps are beyond it.

    Args:
        steps: of the entries.
        before: how many entries stand before each rollback.
        back_to: of each rollback.
    """
    standing: list[tuple[int, int]] = []  # stretches of places, in order
    found = []
    seen = 0
    for end, target in zip(before.tolist(), back_to.tolist(), strict=True):
        if end > seen:
            standing.append((seen, end))
            seen = end
        while standing:
            low, high = standing.pop()
            cut = _reaches(steps, low, high, target)
            if cut < high:
                found.append(np.arange(high - 1, cut - 1, -1))
            if cut > low:
                standing.append((low, cut))
                break
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _reaches(steps: NDArray[Any], low: int, high: int, target: float) -> int:
    """Where the last entries of a stretch begin whose steps are all beyond the target."""
    look = _LOOK
    while high > low:
        begin = max(high - look, low)
        within = np.flatnonzero(~(steps[begin:high] > target))
        if len(within):
            return begin + int(within[-1]) + 1
        high, look = begin, 2 * look
    return low
