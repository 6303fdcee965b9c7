"""Verdicts in the page's form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from thetadot.report.names import clean
from thetadot.verdicts.headline import lowered

if TYPE_CHECKING:
    from thetadot.report.runs import RecordedRun
    from thetadot.verdicts import Verdict

STATES = {
    "good": ("✓", "good"),
    "attention": ("!", "worth attention"),
    "bad": ("✕", "bad"),
    "unknown": ("?", "not known"),
}
"""Icon and word of each state: colour alone tells nothing to many."""
MOST = 40


_LEAD = re.compile(r"^(No advice|Not (known|resolved)[^:]*): ")


def reason(verdict: Verdict) -> str:
    """Why a verdict is not known, without the words that say so.

    Example:
        >>> from thetadot.verdicts import Verdict
        >>> reason(Verdict("damping", "unknown", "unknown", "Not known whether it swings: damping was not recorded."))
        'damping was not recorded'
    """
    return lowered(_LEAD.sub("", verdict.says)).rstrip(".")


def judged(run: RecordedRun) -> list[tuple[str, str, str, Verdict]]:
    """Icon, word and question of every verdict, and the verdict."""
    verdicts = list(run.findings.values())[:MOST]
    return [(*STATES[verdict.state], clean(verdict.name, 60).replace("_", " "), verdict) for verdict in verdicts]
