"""Write the page of runs to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from thetadot.files import place_text, put_text
from thetadot.records import read
from thetadot.report.page import render
from thetadot.signatures import checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.records import Record


@checked
def write(run_folder_or_record_path: str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a run, beside its record where ``out`` is None, and return where it is.

    Raises:
        DamagedFile: this is not the record of a run.
        OSError: the page cannot be written.
    """
    record = read(run_folder_or_record_path)
    if out is not None:
        put(Path(out), record)
        return Path(out)
    place = (record.path or Path(run_folder_or_record_path)).parent / "report.html"
    place_text(place, render(record))
    return place


@checked
def put(
    place: Path, records: Record | Sequence[Record], title: str | None = None, *, unreadable: Sequence[str] = ()
) -> None:
    """Write a page, of which readers never see only a half.

    Raises:
        OSError: it cannot be written; an older page is still there.
    """
    put_text(place, render(records, title, unreadable=unreadable))
