"""A table of quantities: what was measured beside what is known, and whether they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, overload

from thetadot.core.formatting import plain
from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from thetadot.scenes.rows import SceneRow
    from thetadot.scenes.storage import Line

COLUMNS = ("quantity", "measured", "expected", "agrees", "where that is from")


@dataclass(frozen=True)
class Words:
    """A row of the table in words."""

    quantity: str
    measured: str
    expected: str
    agrees: str
    source: str
    remark: str


def row_in_words(row: SceneRow) -> Words:
    """Put a row of the table into words."""
    digits = 4 if row.error else 7 if row.expected else 4
    error = f" ± {plain(row.error, 2)}" if row.error else ""
    agrees = {True: "yes", False: "no", None: "–"}[row.agrees]
    tolerance = f"± {plain(row.tolerance, 2)}: {row.remark}" if row.remark and row.tolerance > 1e-3 * row.error else ""
    return Words(
        row.quantity,
        plain(row.measured, digits) + error,
        plain(row.expected, digits),
        agrees,
        f"{row.reference}: {row.source}" if row.expected is not None else row.source,
        tolerance,
    )


def verdict(rows: Sequence[SceneRow | Line]) -> tuple[str, str]:
    """A sentence, and how good it is: "finished" or "diverged"."""
    judged = [row for row in rows if row.agrees is not None]
    wrong = [row.quantity for row in judged if row.agrees is False]
    if not judged:
        return "It ran to its end. There is no closed form to compare it with.", "finished"
    kinds = Counter(row.reference for row in judged)
    known = ", ".join(f"{kind}: {number}" for kind, number in kinds.items())
    if not wrong:
        one = len(judged) == 1
        many = "The one quantity that is" if one else f"All {len(judged)} quantities that are"
        return f"{many} known ({known}) came out as {'it' if one else 'they'} should.", "finished"
    said = (
        f"{len(wrong)} of {len(judged)} quantities that are known ({known}) came out otherwise: "
        f"{', '.join(wrong)}. Is the step or the tolerance small enough, and the time long enough?"
    )
    return said, "diverged"


class Table(Sequence["SceneRow"]):
    """Rows of measured against known: by number, or by the name of a quantity.

    Args:
        rows: in order.

    Example:
        >>> from thetadot.scenes import SceneRow
        >>> table = Table([SceneRow("mean of x", 0.01, 0.0, "by symmetry", error=0.02), SceneRow("furthest", 3.0)])
        >>> table.agrees, table["furthest"].measured, len(table)
        (True, 3.0, 2)
        >>> print(table)
        quantity   measured     expected  agrees  where that is from
        mean of x  0.01 ± 0.02  0         yes     closed form: by symmetry
        furthest   3            –         –
        The one quantity that is known (closed form: 1) came out as it should.
    """

    def __init__(self, rows: Sequence[SceneRow]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, place: int | str) -> SceneRow: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[SceneRow]: ...
    def __getitem__(self, place: int | str | slice) -> SceneRow | Sequence[SceneRow]:
        if not isinstance(place, str):
            return self._rows[place]
        found = [row for row in self._rows if row.quantity == place]
        if not found:
            known = ", ".join(repr(row.quantity) for row in self._rows)
            raise InadmissibleValue(f"{place!r} is no quantity of this table. Pass one of {known}.")
        return found[0]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def agrees(self) -> bool | None:
        """Whether all that is known came out as it should; None where nothing is known."""
        judged = [row.agrees for row in self._rows if row.agrees is not None]
        return all(judged) if judged else None

    @property
    def verdict(self) -> str:
        """One sentence: how many quantities are known, how, and which of them came out otherwise."""
        return verdict(self._rows)[0]

    def __repr__(self) -> str:
        cells = [COLUMNS, *self._cells()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells]
        return "\n".join([*(line.rstrip() for line in lines), self.verdict])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self._cells())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{escape(self.verdict)}</p>"

    def _cells(self) -> list[tuple[str, ...]]:
        every = map(row_in_words, self._rows)
        return [(row.quantity, row.measured, row.expected, row.agrees, row.source) for row in every]
