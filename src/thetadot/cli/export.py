"""``thetadot export``: a run's record as CSV, JSON or TensorBoard scalars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

NAME = "export"


HELP = "Write what a run recorded as CSV, as JSON or for TensorBoard."


EPILOG = """examples:
  thetadot export runs/a --csv motion.csv
  thetadot export runs/a --kind noise --csv -
  thetadot export runs/a --json run.json
  thetadot export runs/a --tensorboard logs/a

CSV holds one kind of entry (--kind, motion if not given); JSON holds all, or one; TensorBoard gets every number.
"-" is standard output."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    from thetadot.records.table import KINDS

    parser.add_argument("run", metavar="RUN", type=Path, help="a run's folder, or its record.jsonl")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--csv", metavar="FILE", help="where to write CSV")
    target.add_argument("--json", metavar="FILE", help="where to write JSON")
    target.add_argument("--tensorboard", metavar="DIR", help="where to write TensorBoard's events")
    parser.add_argument("--kind", choices=sorted(KINDS), help="which entries")
