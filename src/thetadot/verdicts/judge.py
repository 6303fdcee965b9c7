"""All verdicts on a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thetadot.records import Record
    from thetadot.verdicts.base import Verdict


def judge(record: Record) -> tuple[Verdict, ...]:
    """What a record says."""
    del record
    return ()
