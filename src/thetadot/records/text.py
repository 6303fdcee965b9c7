"""A record as text: CSV and JSON."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec

from thetadot.core.signatures import checked
from thetadot.records.step_losses import Losses
from thetadot.records.table import each_step

if TYPE_CHECKING:
    from thetadot.records.reader import Record


@checked
def to_csv(record: Record, kind: type[msgspec.Struct]) -> str:
    """Comma-separated lines under the fields' names; empty where a value is missing.

    Lists and mappings are JSON in their cell. A text that a spreadsheet would take for a formula is led by an
    apostrophe: a record may come from anybody.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if kind is Losses:
        columns = each_step(record.of(Losses))
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


def _cell(value: Any) -> Any:
    if isinstance(value, tuple | dict):
        return msgspec.json.encode(value).decode()
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r"):
        return f"'{value}"
    return value
