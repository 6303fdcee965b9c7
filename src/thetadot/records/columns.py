"""Columns of the entries of one kind: eight bytes a number, where an object takes thirty.

A block holds some thousands of entries. Numbers, counts and truths are columns of float64, a missing one NaN; numbers
by layer lie end to end; texts and mappings stay objects. An entry is made anew when it is asked for, and is equal to
the one that was put in: what columns cannot give back (an integer that float64 does not hold, a NaN that is no missing
number) is kept beside them as it came.
"""

from __future__ import annotations

import math
import sys
import types
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array: TypeAlias = NDArray[np.float64]

EXACT = 2.0**53
"""Whole numbers below it are exact in float64."""


@dataclass(frozen=True)
class ColumnLayout:
    """Layout of a kind's fields, by name.

    Attributes:
        numbers: one number, count or truth each, with what makes the column's values the field's again.
        single: the same for one value.
        whole: those of them that are counts.
        lists: numbers by layer.
        others: what stays an object.
    """

    numbers: dict[str, Callable[[Array], list[Any]]]
    single: dict[str, Callable[[float], Any]]
    whole: tuple[str, ...]
    lists: tuple[str, ...]
    others: tuple[str, ...]


@cache
def layout(kind: type[Any]) -> ColumnLayout:
    """Return the layout of a kind, from its annotations."""
    hints = get_type_hints(kind)
    fields = {name: options(hints[name]) for name in kind.__struct_fields__}
    numbers = {name: _BACK[found] for name, found in fields.items() if found in _BACK}
    lists = tuple(name for name, found in fields.items() if found == {tuple[float, ...]})
    return ColumnLayout(
        numbers,
        {name: _SINGLE[fields[name]] for name in numbers},
        tuple(name for name in numbers if int in fields[name]),
        lists,
        tuple(name for name in fields if name not in numbers and name not in lists),
    )


def options(hint: Any) -> frozenset[Any]:
    """Return the kinds that an annotation allows."""
    union = get_origin(hint) in (types.UnionType, Union)
    return frozenset(get_args(hint)) if union else frozenset({hint})


def _counts(values: Array) -> list[Any]:
    with np.errstate(invalid="ignore"):  # those that are kept apart
        whole: list[Any] = values.astype(np.int64).tolist()
    return whole


def _truths(values: Array) -> list[Any]:
    return list(map(bool, values.tolist()))


def _or_none(back: Callable[[Array], list[Any]]) -> Callable[[Array], list[Any]]:
    def with_none(values: Array) -> list[Any]:
        missing = np.isnan(values)
        if not missing.any():
            return back(values)
        return [None if gone else value for gone, value in zip(missing.tolist(), back(values), strict=True)]

    return with_none


_BACK: dict[frozenset[Any], Callable[[Array], list[Any]]] = {
    frozenset({float}): np.ndarray.tolist,
    frozenset({int}): _counts,
    frozenset({bool}): _truths,
    frozenset({float, types.NoneType}): _or_none(np.ndarray.tolist),
    frozenset({int, types.NoneType}): _or_none(_counts),
}


_SINGLE: dict[frozenset[Any], Callable[[float], Any]] = {
    frozenset({float}): float,
    frozenset({int}): int,
    frozenset({bool}): bool,
    frozenset({float, types.NoneType}): lambda x: x if x == x else None,  # noqa: PLR0124 - only NaN is not itself
    frozenset({int, types.NoneType}): lambda x: int(x) if x == x else None,  # noqa: PLR0124
}


@dataclass(frozen=True)
class Block:
    """Some entries of one kind, in order, as columns.

    Attributes:
        kind: their class.
        size: how many.
        numbers: a column a field; one that does not vary takes the room of one number.
        lists: numbers by layer, end to end, and how many each entry has.
        others: the fields that stay objects.
        kept: entries that columns do not give back, by their place.
    """

    kind: type[msgspec.Struct]
    size: int
    numbers: dict[str, Array]
    lists: dict[str, tuple[Array, NDArray[np.int64]]]
    others: dict[str, list[Any]]
    kept: dict[int, msgspec.Struct] = field(default_factory=dict)

    def entries(self, places: slice | NDArray[np.int64] = slice(None)) -> list[Any]:
        """Rebuild the entries at the given places."""
        how = layout(self.kind)
        fields = {name: back(self.numbers[name][places]) for name, back in how.numbers.items()}
        fields |= {name: _parted(*self.lists[name], places) for name in how.lists}
        where = np.arange(self.size)[places].tolist() if self.kept or how.others else []
        fields |= {name: list(map(self.others[name].__getitem__, where)) for name in how.others}
        made: list[Any] = list(map(self.kind, *(fields[name] for name in self.kind.__struct_fields__)))
        if self.kept:
            return [self.kept.get(place, entry) for place, entry in zip(where, made, strict=True)]
        return made

    def entry(self, place: int) -> Any:
        """The one at this place, made anew."""
        if place in self.kept:
            return self.kept[place]
        how = layout(self.kind)
        fields = {name: back(self.numbers[name].item(place)) for name, back in how.single.items()}
        if how.lists or how.others:
            at = np.array([place])
            fields |= {name: _parted(*self.lists[name], at)[0] for name in how.lists}
            fields |= {name: self.others[name][place] for name in how.others}
        return self.kind(**fields)

    def padded(self, name: str, places: slice | NDArray[np.int64]) -> Array:
        """Return the list of numbers at each of the places, padded with NaN to the longest."""
        flat, counts = self.lists[name]
        begins, sizes = (np.cumsum(counts) - counts)[places, None], counts[places, None]
        along = np.arange(sizes.max(initial=0))
        there = along < sizes
        table = np.full(there.shape, np.nan)
        table[there] = flat[(begins + along)[there]]
        return table


def _parted(flat: Array, counts: NDArray[np.int64], places: slice | NDArray[np.int64]) -> list[tuple[float, ...]]:
    ends = np.cumsum(counts)
    begins, ends = (ends - counts)[places].tolist(), ends[places].tolist()
    if len(begins) * 4 < len(counts):  # a few of them
        return [tuple(flat[begin:end].tolist()) for begin, end in zip(begins, ends, strict=True)]
    values = flat.tolist()
    return [tuple(values[begin:end]) for begin, end in zip(begins, ends, strict=True)]


def decoded(kind: type[msgspec.Struct], entries: Sequence[Any]) -> Block:
    """Build a block from entries of a decoder, whose fields have the annotated kinds."""
    how = layout(kind)
    columns, exact = _columns(entries, tuple(how.numbers))
    large = [np.flatnonzero(np.abs(columns[name]) >= EXACT).tolist() for name in how.whole]
    block = Block(
        kind,
        len(entries),
        {name: _narrow(column) for name, column in columns.items()},
        {name: _flattened(list(map(attrgetter(name), entries))) for name in how.lists},
        {name: _shared(list(map(attrgetter(name), entries))) for name in how.others},
    )
    return _keep(block, entries, sorted({at for places in large for at in places}) if exact else range(len(entries)))


def given(kind: type[msgspec.Struct], entries: Sequence[Any]) -> Block:
    """Build a block from entries of any origin; values that a column would change are kept as objects."""
    return _keep(decoded(kind, entries), entries, range(len(entries)))


def _keep(block: Block, entries: Sequence[Any], places: Sequence[int]) -> Block:
    """Keep the entries at those places that a column would change."""
    if len(places):
        block.kept.clear()
        made = block.entries(np.array(places, dtype=np.int64))
        block.kept.update({at: entries[at] for at, other in zip(places, made, strict=True) if entries[at] != other})
    return block


def _columns(entries: Sequence[Any], names: tuple[str, ...]) -> tuple[dict[str, Array], bool]:
    """All columns at once, where float64 holds them, and whether it does; else one number at a time."""
    if not names:
        return {}, True
    whole = names == entries[0].__struct_fields__
    rows = map(msgspec.structs.astuple if whole else attrgetter(*names), entries)
    flat = list(chain.from_iterable(rows)) if len(names) > 1 or whole else list(rows)
    try:
        values, exact = np.array(flat, dtype=np.float64), True  # None becomes NaN
    except (OverflowError, TypeError, ValueError):
        values, exact = np.array([number(x) for x in flat], dtype=np.float64), False
    table = values.reshape(len(entries), len(names))
    return dict(zip(names, np.ascontiguousarray(table.T), strict=True)), exact


def number(value: Any) -> float:
    """Return a float; NaN for a missing value, for no number, and for an integer too large for a float.

    Example:
        >>> number(3), number(None), number(10**400)
        (3.0, nan, nan)
    """
    try:
        return float("nan") if value is None or isinstance(value, str) else float(value)
    except (OverflowError, TypeError):
        return float("nan")


def comparable(value: float) -> float:
    """Return a number comparable with columns; infinite for an integer too large for a float.

    Example:
        >>> comparable(3), comparable(-(10**400))
        (3, -inf)
    """
    return value if abs(value) <= sys.float_info.max else math.inf if value > 0 else -math.inf


def _narrow(values: Array) -> Array:
    """A column of its own; of one number, if it does not vary."""
    first = values[:1].copy()
    if len(values) and ((values == first).all() or np.isnan(values).all()):
        return np.broadcast_to(first, values.shape)
    return values.copy()


def _flattened(lists: list[tuple[float, ...]]) -> tuple[Array, NDArray[np.int64]]:
    counts = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    try:
        flat = np.fromiter(chain.from_iterable(lists), dtype=np.float64, count=int(counts.sum()))
    except (OverflowError, TypeError):
        flat = np.array([number(x) for x in chain.from_iterable(lists)], dtype=np.float64)
    same = len(counts) and (counts == counts[0]).all()
    return flat, np.broadcast_to(counts[:1].copy(), counts.shape) if same else counts


def _shared(values: list[Any]) -> list[Any]:
    """The same, equal texts being one."""
    pool: dict[str, str] = {}
    return [pool.setdefault(value, value) if type(value) is str else value for value in values]


def join_blocks(one: Block, other: Block) -> Block:
    """Join two blocks of entries."""
    both = {name: _narrow(np.concatenate([one.numbers[name], other.numbers[name]])) for name in one.numbers}
    lists = {
        name: (np.concatenate([flat, other.lists[name][0]]), np.concatenate([counts, other.lists[name][1]]))
        for name, (flat, counts) in one.lists.items()
    }
    others = {name: one.others[name] + other.others[name] for name in one.others}
    kept = one.kept | {one.size + at: entry for at, entry in other.kept.items()}
    return Block(one.kind, one.size + other.size, both, lists, others, kept)
