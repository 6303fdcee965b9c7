"""A record as columns: arrays for numpy, a frame for pandas, text for CSV and JSON."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_type_hints

import msgspec
import numpy as np

from thetadot.core.signatures import checked
from thetadot.errors import ThetadotError
from thetadot.records.columns import EXACT, options
from thetadot.records.schema import Entry
from thetadot.records.step_losses import Losses
from thetadot.records.units import tag

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from thetadot.records.reader import Record
    from thetadot.records.rows import Rows


Column: TypeAlias = "NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_] | list[Any]"

KINDS: dict[str, type[msgspec.Struct]] = {tag(kind): kind for kind in get_args(Entry) if tag(kind) != "header"}
"""Every kind of line after the header, by the name that it has in the file."""


def table(record: Record, kind: type[msgspec.Struct]) -> dict[str, Column]:
    """One array or list a field, in the order of the record.

    Numbers become float64, counts int64 and truths bool; a number that is missing or that float64 does not hold is
    NaN, and a count that may be missing or is beyond int64 makes its column float64. Numbers by layer become one
    array (entries, longest list), shorter lists ended with NaN. Texts and mappings stay lists. Of ``Losses`` there is
    one value a step: the columns "step" and "loss".

    Args:
        record: what :func:`thetadot.records.read` gave.
        kind: one of the entries' classes, such as ``Motion``.

    Returns:
        Columns of equal length, also where there is no entry.

    Raises:
        ThetadotError: ``kind`` is no kind of entry.
    """
    if kind not in KINDS.values():
        raise ThetadotError(
            f"kind={getattr(kind, '__name__', kind)!r} is no kind of entry. Pass one of "
            f"{', '.join(known.__name__ for known in KINDS.values())} from thetadot.records."
        )
    rows = record.of(kind)
    if kind is Losses:
        return _each_step(record.of(Losses))
    hints = get_type_hints(kind)
    return {name: _column(rows, name, options(hints[name])) for name in kind.__struct_fields__}


def frame(record: Record, kind: type[msgspec.Struct]) -> pd.DataFrame:
    """Return entries as a pandas frame; a list of numbers by layer is one object of its cell.

    Raises:
        ThetadotError: pandas is not installed, or ``kind`` is no kind of entry.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ThetadotError(
            "frame needs pandas, which is not installed. Run: pip install 'thetadot[pandas]', or use table."
        ) from error
    columns = table(record, kind)
    tables = {name for name, c in columns.items() if isinstance(c, np.ndarray) and c.ndim == 2}
    return pd.DataFrame({name: list(c) if name in tables else c for name, c in columns.items()})


@checked
def to_csv(record: Record, kind: type[msgspec.Struct]) -> str:
    """Comma-separated lines under the fields' names; empty where a value is missing.

    Lists and mappings are JSON in their cell. A text that a spreadsheet would take for a formula is led by an
    apostrophe: a record may come from anybody.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if kind is Losses:
        columns = _each_step(record.of(Losses))
        writer.writerow(columns)
        known = ["" if loss != loss else loss for loss in columns["loss"]]  # noqa: PLR0124 - only NaN is not itself
        writer.writerows(zip(columns["step"], known, strict=True))
        return out.getvalue()
    writer.writerow(kind.__struct_fields__)
    for entry in record.of(kind):
        writer.writerow([_cell(getattr(entry, name)) for name in kind.__struct_fields__])
    return out.getvalue()


@checked
def to_json(record: Record, kind: type[msgspec.Struct] | None = None) -> str:
    """The header and the entries, all or of one kind, as one JSON object; numbers as the record has them."""
    encoder = msgspec.json.Encoder()
    entries = b",".join(map(encoder.encode, record.entries if kind is None else record.of(kind)))
    whole = {"header": record.header, "entries": msgspec.Raw(b"[%b]" % entries), "damage": record.damage}
    return encoder.encode(whole).decode()


def _each_step(rows: Rows[Losses]) -> dict[str, Column]:
    """The losses of all lines, one after another, with their steps."""
    entries = list(rows)
    steps = [np.arange(entry.first, entry.step + 1) for entry in entries]
    losses = [entry.numbers.astype(np.float64) for entry in entries]
    return {
        "step": np.concatenate([np.zeros(0, dtype=np.int64), *steps]),
        "loss": np.concatenate([np.zeros(0), *losses]),
    }


def _column(rows: Rows[Any], name: str, admitted: frozenset[Any]) -> Column:
    how = rows.layout
    if name in how.lists:
        counts = rows.counts(name)
        padded = np.full((len(rows), counts.max(initial=0)), np.nan)
        for places, (part,) in rows.tables(name):
            padded[places, : part.shape[1]] = part
        return padded
    if name in how.others:
        return rows.objects(name)
    found = rows.column(name)
    if admitted == {bool}:
        truths: Column = found != 0
        return truths
    if admitted == {int}:
        large = np.flatnonzero(~(np.abs(found) < EXACT)).tolist()
        values = {at: getattr(rows[at], name) for at in large}
        if all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in values.values()):
            whole = np.where(np.abs(found) < EXACT, found, 0.0).astype(np.int64)
            for at, value in values.items():
                whole[at] = value
            return whole
    return found.copy()


def _cell(value: Any) -> Any:
    if isinstance(value, tuple | dict):
        return msgspec.json.encode(value).decode()
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r"):
        return f"'{value}"
    return value
