"""What ``thetadot export`` does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from thetadot import records
from thetadot.cli.streams import for_data
from thetadot.core.files import put_text
from thetadot.errors import ThetadotError
from thetadot.records.table import KINDS

if TYPE_CHECKING:
    import argparse


def act(options: argparse.Namespace) -> int:
    """Export and say what could not be read."""
    if options.tensorboard is not None and options.kind is not None:
        raise ThetadotError(
            f"--kind {options.kind} is for --csv and --json: TensorBoard gets every number. Leave it out."
        )
    record = records.read(options.run)
    if options.tensorboard is not None:
        from thetadot.integrations import tensorboard

        count = tensorboard.export(record, options.tensorboard)
        print(f"{count} steps written to {options.tensorboard}")
    elif options.csv is not None:
        _write_text(options.csv, records.to_csv(record, KINDS[options.kind or "motion"]))
    else:
        _write_text(options.json, records.to_json(record, None if options.kind is None else KINDS[options.kind]))
    if record.damage:
        print(
            f"thetadot: {len(record.damage)} damaged lines were left out, first {record.damage[0][:120]!r}",
            file=sys.stderr,
        )
    return 0


def _write_text(target: str, text: str) -> None:
    if target == "-":
        for_data()
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        return
    try:
        put_text(Path(target), text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ThetadotError(f"{target} cannot be written ({reason}). Name a file that you may write to.") from error
