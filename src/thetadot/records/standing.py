"""Entries of a record that remain valid after its rollbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from thetadot.records.schema import Rollback
from thetadot.signatures import checked

if TYPE_CHECKING:
    from thetadot.records.reader import Record

E = TypeVar("E", bound=msgspec.Struct)


@checked
def standing(record: Record, kind: type[E]) -> tuple[list[E], list[E]]:
    """Entries of one kind that stand, and those that a rollback undid, each in order."""
    known: dict[type, tuple[list[Any], list[Any]]] = vars(record).setdefault("_standing", {})
    if kind not in known:  # a page asks for the same kinds dozens of times
        known[kind] = _sorted_out(record, kind)
    kept, undone = known[kind]
    return list(kept), list(undone)


def _sorted_out(record: Record, kind: type[E]) -> tuple[list[E], list[E]]:
    kept: list[E] = []
    undone: list[E] = []
    for entry in record.entries:
        if isinstance(entry, kind):
            kept.append(entry)
        elif isinstance(entry, Rollback):
            # what was measured before training is not part of it
            while kept and getattr(kept[-1], "when", "training") == "training" and _step(kept[-1]) > entry.back_to:
                undone.append(kept.pop())
    return kept, sorted(undone, key=_step)


def _step(entry: Any) -> int:
    step: int = entry.step
    return step
