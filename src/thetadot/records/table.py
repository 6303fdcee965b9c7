"""Entries as columns: arrays for numpy, a frame for pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_type_hints

import numpy as np

from thetadot.errors import ThetadotError
from thetadot.records.columns import EXACT, options
from thetadot.records.schema import Entry
from thetadot.records.step_losses import Losses
from thetadot.records.units import tag

if TYPE_CHECKING:
    import msgspec
    import pandas as pd
    from numpy.typing import NDArray

    from thetadot.records.entries import Entries
    from thetadot.records.rows import Rows


Column: TypeAlias = "NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_] | list[Any]"

KINDS: dict[str, type[msgspec.Struct]] = {tag(kind): kind for kind in get_args(Entry) if tag(kind) != "header"}
"""Every kind of line after the header, by the name that it has in the file."""


def table(entries: Entries, kind: type[msgspec.Struct]) -> dict[str, Column]:
    """One array or list a field, in the order of the record.

    Numbers become float64, counts int64 and truths bool; a number that is missing or that float64 does not hold is
    NaN, and a count that may be missing or is beyond int64 makes its column float64. Numbers by layer become one
    array (entries, longest list), shorter lists ended with NaN. Texts and mappings stay lists. Of ``Losses`` there is
    one value a step: the columns "step" and "loss".

    Args:
        entries: of a record.
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
    rows = entries.of_kind(kind)
    if kind is Losses:
        return each_step(entries.of_kind(Losses))
    hints = get_type_hints(kind)
    return {name: _column(rows, name, options(hints[name])) for name in kind.__struct_fields__}


def frame(entries: Entries, kind: type[msgspec.Struct]) -> pd.DataFrame:
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
    columns = table(entries, kind)
    tables = {name for name, c in columns.items() if isinstance(c, np.ndarray) and c.ndim == 2}
    return pd.DataFrame({name: list(c) if name in tables else c for name, c in columns.items()})


def each_step(rows: Rows[Losses]) -> dict[str, Column]:
    """Return the losses of all lines, one after another, with their steps."""
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
