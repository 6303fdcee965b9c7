"""A run's folder: made, claimed and remembered."""

from __future__ import annotations

import os
import shlex
import tempfile
import warnings
from pathlib import Path

from thetadot import report
from thetadot.errors import DamagedFile, RunFolderError
from thetadot.training import checkpoint

RECORD = "record.jsonl"


def claim(out: str | Path) -> Path:
    """An empty, writable folder for a new run.

    Raises:
        RunFolderError: it holds a run already, is a file, or cannot be written.
    """
    folder = Path(out)
    record = folder / RECORD
    try:
        held = os.path.lexists(folder / checkpoint.NAME) or (record.is_file() and record.stat().st_size > 0)
        if not held:
            _require_writable(folder)
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be written ({error.strerror}). Name a folder that you may write to."
        ) from error
    if held:
        raise RunFolderError(
            f"{folder} already holds a run. Continue it with --resume {folder}, or name another --out."
        )
    return folder


def _require_writable(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def draw(folder: Path) -> str | None:
    """Write the page of a run that is whole without it; why that failed is warned of, and returned."""
    try:
        report.write(folder)
    except (DamagedFile, RunFolderError):
        raise
    except OSError as error:
        why = (
            f"the run is whole, but {folder / 'report.html'} cannot be written ({error.strerror or error}). "
            f"Make room, and draw it with: thetadot report {shlex.quote(str(folder))}"
        )
        warnings.warn(why, RuntimeWarning, stacklevel=2)
        return why
    return None


def fresh(name: str) -> Path:
    """runs/NAME, runs/NAME-2, ...: the first that holds no run."""
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-") or "run"
    number = 1
    while True:
        folder = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        if not folder.exists():
            return folder
        number += 1
