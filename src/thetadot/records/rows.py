"""Entries of one kind, in order: a sequence that builds each entry on demand, with columns of all."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import msgspec
import numpy as np

from thetadot.records.columns import layout, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from thetadot.records.columns import Array, Block, ColumnLayout

E = TypeVar("E", bound=msgspec.Struct)

_AT_ONCE = 4096
"""So many entries are made at a time where all are gone through."""


class Rows(Sequence[E], Generic[E]):
    """All entries of one kind of a record, or some of them.

    It is indexed, cut, counted, gone through and compared as a tuple of them would be. An entry exists only while
    somebody holds it: two that are asked for at one place are equal, and not the same.

    Args:
        kind: their class.
        blocks: where they lie.
        places: those that are of it, counted through all blocks; None are all.
    """

    def __init__(self, kind: type[E], blocks: Sequence[Block] = (), places: NDArray[np.int64] | None = None) -> None:
        self.kind = kind
        self._blocks = tuple(blocks)
        self._starts = [0, *accumulate(block.size for block in self._blocks)]
        self._places = places

    def __len__(self) -> int:
        return self._starts[-1] if self._places is None else len(self._places)

    @overload
    def __getitem__(self, at: int) -> E: ...
    @overload
    def __getitem__(self, at: slice) -> Rows[E]: ...
    def __getitem__(self, at: int | slice) -> E | Rows[E]:
        if isinstance(at, slice):
            return self.at(np.arange(len(self))[at])
        place = range(len(self))[at]  # IndexError beyond
        place = place if self._places is None else int(self._places[place])
        which = bisect_right(self._starts, place) - 1
        made: E = self._blocks[which].entry(place - self._starts[which])
        return made

    def __iter__(self) -> Iterator[E]:
        for begin in range(0, len(self), _AT_ONCE):
            yield from self._made(self._placed(begin, begin + _AT_ONCE))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} {self.kind.__name__} entries>"

    @property
    def layout(self) -> ColumnLayout:
        """Layout of the fields."""
        return layout(self.kind)

    def at(self, places: NDArray[np.int64]) -> Rows[E]:
        """Return the entries at the given places, in the order of the places."""
        return Rows(self.kind, self._blocks, places if self._places is None else self._places[places])

    def where(self, mask: NDArray[np.bool_]) -> Rows[E]:
        """Return the entries at which a mask is true."""
        return self if mask.all() else self.at(np.flatnonzero(mask))

    def column(self, name: str) -> Array:
        """Return one field of every entry as float64; NaN where the number is missing or no float."""
        columns = [block.numbers[name] for block in self._blocks]
        if not columns:
            return np.zeros(0)
        if not any(column.strides[0] for column in columns):
            firsts = np.array([column[0] for column in columns])
            if (firsts == firsts[0]).all() or np.isnan(firsts).all():  # it never varies
                return np.broadcast_to(firsts[:1], (len(self),))
        whole = np.concatenate(columns) if len(columns) > 1 else columns[0]
        return whole if self._places is None else whole[self._places]

    def ordered(self, name: str) -> Array:
        """Return one field of every entry for comparison, infinite where an integer is too large for a float."""
        found = self.column(name)
        beyond = np.flatnonzero(np.isnan(found))
        if not len(beyond):
            return found
        values = [getattr(self[at], name) for at in beyond.tolist()]
        found = found.copy()
        found[beyond] = [np.nan if value is None else np.inf if value > 0 else -np.inf for value in values]
        return found

    def objects(self, name: str) -> list[Any]:
        """Return one field of every entry, unconverted."""
        if name in self.layout.others:
            values = [value for block in self._blocks for value in block.others[name]]
            return values if self._places is None else [values[at] for at in self._places.tolist()]
        return [getattr(entry, name) for entry in self]

    def counts(self, name: str) -> NDArray[np.int64]:
        """Return the number of list elements of every entry."""
        counts = [block.lists[name][1] for block in self._blocks]
        whole = np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64)
        return whole if self._places is None else whole[self._places]

    def tables(self, *names: str) -> Iterator[tuple[slice, tuple[Array, ...]]]:
        """Iterate over lists as arrays (entries, longest list), padded with NaN, some thousands at a time."""
        for begin in range(0, len(self), _AT_ONCE):
            places = self._placed(begin, begin + _AT_ONCE)
            parts = [[block.padded(name, inside) for block, inside in self._cut(places)] for name in names]
            yield slice(begin, begin + len(places)), tuple(map(_stacked, parts))

    def _placed(self, begin: int, end: int) -> NDArray[np.int64]:
        end = min(end, len(self))
        return np.arange(begin, end) if self._places is None else self._places[begin:end]

    def _cut(self, places: NDArray[np.int64]) -> Iterator[tuple[Block, slice | NDArray[np.int64]]]:
        """The blocks of these places, and the places within each."""
        begin = 0
        while begin < len(places):
            which = bisect_right(self._starts, int(places[begin])) - 1
            low, high = self._starts[which], self._starts[which + 1]
            left = np.flatnonzero((places[begin:] < low) | (places[begin:] >= high))
            end = begin + int(left[0]) if len(left) else len(places)
            inside = places[begin:end] - low
            straight = inside[-1] - inside[0] == len(inside) - 1 and (np.diff(inside) == 1).all()
            yield self._blocks[which], slice(int(inside[0]), int(inside[-1]) + 1) if straight else inside
            begin = end

    def _made(self, places: NDArray[np.int64]) -> Iterator[E]:
        for block, inside in self._cut(places):
            yield from block.entries(inside)


def _stacked(parts: Sequence[Array]) -> Array:
    longest = max((part.shape[1] for part in parts), default=0)
    padded = [np.pad(p, ((0, 0), (0, longest - p.shape[1])), constant_values=np.nan) for p in parts]
    return np.concatenate(padded) if padded else np.zeros((0, 0))


def column_of(entries: Sequence[Any], name: str) -> Array:
    """Return one field of some entries as float64; NaN where the number is missing or no float."""
    if isinstance(entries, Rows):
        return entries.column(name)
    return np.array([number(getattr(entry, name)) for entry in entries], dtype=np.float64)
