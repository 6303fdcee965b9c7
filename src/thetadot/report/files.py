"""Write the page of runs to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from thetadot.core.files import place_text, put_text
from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue
from thetadot.records import Record, opened
from thetadot.report.page import render

if TYPE_CHECKING:
    from collections.abc import Sequence


@checked
def write(record: Record | str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a run, beside its record where ``out`` is None, and return where it is.

    Args:
        record: of the run, or its folder or file.
        out: the file to write.

    Raises:
        DamagedFile: this is not the record of a run.
        InadmissibleValue: the record has no file, and no ``out`` is given.
        OSError: the page cannot be written.
    """
    read = opened(record)
    if out is not None:
        put(Path(out), read)
        return Path(out)
    if read.path is None:
        raise InadmissibleValue("out=None: the record was never in a file, beside which its page would be. Pass out.")
    place = read.path.parent / "report.html"
    place_text(place, render(read))
    return place


@checked
def put(
    place: Path,
    records: Record | str | Path | Sequence[Record | str | Path],
    title: str | None = None,
    *,
    unreadable: Sequence[str] = (),
) -> None:
    """Write a page, of which readers never see only a half.

    Raises:
        OSError: it cannot be written; an older page is still there.
    """
    put_text(place, render(records, title, unreadable=unreadable))
