"""Write the page of runs to a file."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

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
    place = Path(out) if out is not None else (record.path or Path(run_folder_or_record_path)).parent / "report.html"
    put(place, record)
    return place


@checked
def put(
    place: Path, records: Record | Sequence[Record], title: str | None = None, *, unreadable: Sequence[str] = ()
) -> None:
    """Write a page. Readers never see half of it.

    Raises:
        OSError: it cannot be written; an older page is still there.
    """
    place_text(place, render(records, title, unreadable=unreadable))


def place_text(place: Path, text: str) -> None:
    """Write a text file whole or not at all: beside its place, and moved there.

    Raises:
        OSError: it cannot be written; an older one is still there.
    """
    page = text.encode("utf-8", "replace")
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:100]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(page)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # mkstemp's own mode would hide the page from a group
        os.replace(name, place)  # noqa: PTH105 - one atomic call
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
