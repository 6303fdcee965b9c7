"""Entries of a record after its header: columns by kind, and the order of the kinds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeVar, get_args, overload

import msgspec
import numpy as np

from thetadot.errors import InadmissibleValue
from thetadot.records.columns import decoded, given, join_blocks
from thetadot.records.rows import Rows
from thetadot.records.schema import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from thetadot.records.columns import Block

E = TypeVar("E", bound=msgspec.Struct)

BLOCK = 2048
"""Entries of a block: so many objects live at once while a record is read."""
_KINDS: tuple[type[Any], ...] = get_args(Entry)
_CODES = {kind: code for code, kind in enumerate(_KINDS)}


class Entries(Sequence[Entry]):
    """All entries in order, each made when it is asked for; of one kind, :class:`~thetadot.records.rows.Rows`.

    Args:
        order: the kind of each, by its place among the kinds.
        rows: those of each kind that there is.
    """

    def __init__(self, order: NDArray[np.uint8], rows: dict[type[Any], Rows[Any]]) -> None:
        self._order = order
        self._rows = rows

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Entries:
        """Entries that somebody made.

        Raises:
            InadmissibleValue: one is of no kind that a record has.
        """
        growing = GrowingEntries(given)
        growing.take(list(entries))
        return growing.entries()

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> Entries: ...
    def __getitem__(self, at: int | slice) -> Entry | Entries:
        if isinstance(at, slice):
            return self.at(np.arange(len(self))[at])
        place = range(len(self))[at]
        code = self._order[place]
        found: Entry = self._rows[_KINDS[code]][int(np.count_nonzero(self._order[:place] == code))]
        return found

    def __iter__(self) -> Iterator[Entry]:
        made = {_CODES[kind]: iter(rows) for kind, rows in self._rows.items()}
        for begin in range(0, len(self), BLOCK):
            for code in self._order[begin : begin + BLOCK].tolist():
                yield next(made[code])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} entries: {', '.join(f'{len(r)} {kind.__name__}' for kind, r in self._rows.items())}>"

    def of_kind(self, kind: type[E]) -> Rows[E]:
        """Return the entries of one kind, in order."""
        return self._rows.get(kind) or Rows(kind)

    def kinds(self) -> Iterator[tuple[type[Any], Rows[Any]]]:
        """Iterate over the kinds present, with the entries of each."""
        yield from self._rows.items()

    def places(self, kind: type[msgspec.Struct]) -> NDArray[np.int64]:
        """Return the places of one kind's entries among all entries."""
        return np.flatnonzero(self._order == _CODES[kind]) if kind in self._rows else np.zeros(0, dtype=np.int64)

    def at(self, places: NDArray[np.int64]) -> Entries:
        """Return the entries at the given places, in the order of the places."""
        order = self._order[places]
        rows = {}
        for kind, of_kind in self._rows.items():
            rank = np.searchsorted(self.places(kind), places[order == _CODES[kind]])
            if len(rank):
                rows[kind] = of_kind.at(rank)
        return Entries(order, rows)


class GrowingEntries:
    """Entries that arrive in sequence, packed into columns some thousands at a time."""

    def __init__(self, pack: Any = decoded) -> None:
        self._pack = pack
        self._order = bytearray()
        self._blocks: dict[type[Any], list[Block]] = {}

    def take(self, entries: Sequence[Entry]) -> None:
        """Append entries, in order."""
        for begin in range(0, len(entries), BLOCK):
            self._take(entries[begin : begin + BLOCK])

    def _take(self, entries: Sequence[Entry]) -> None:
        try:
            codes = bytes(map(_CODES.__getitem__, map(type, entries)))
        except KeyError as error:
            raise InadmissibleValue(
                f"{error.args[0].__name__} is no kind of entry. Pass those of thetadot.records, such as Motion."
            ) from error
        self._order += codes
        for code in dict.fromkeys(codes):
            kind, some = _KINDS[code], list(compress(entries, map(code.__eq__, codes)))
            blocks, block = self._blocks.setdefault(kind, []), self._pack(kind, some)
            if blocks and blocks[-1].size + block.size <= BLOCK:  # of a record that grows line by line
                block = join_blocks(blocks.pop(), block)
            blocks.append(block)

    def entries(self) -> Entries:
        """Return all entries so far, which later ones leave unchanged."""
        order = np.frombuffer(bytes(self._order), dtype=np.uint8)
        return Entries(order, {kind: Rows(kind, blocks) for kind, blocks in self._blocks.items()})
