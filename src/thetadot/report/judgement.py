"""Verdicts as the page shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.report.names import clean
from thetadot.verdicts import judge

if TYPE_CHECKING:
    from thetadot.records import Record
    from thetadot.verdicts import Verdict

STATES = {
    "good": ("✓", "good"),
    "attention": ("!", "worth attention"),
    "bad": ("✕", "bad"),
    "unknown": ("?", "not told"),
}
"""Icon and word of each state: colour alone tells nothing to many."""
MOST = 40


def judged(record: Record) -> list[tuple[str, str, str, Verdict]]:
    """Icon, word and question of every verdict, and the verdict."""
    return [
        (*STATES[verdict.state], clean(verdict.name, 60).replace("_", " "), verdict) for verdict in judge(record)[:MOST]
    ]
