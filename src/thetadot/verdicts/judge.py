"""All verdicts of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thetadot.records import Record
    from thetadot.verdicts.base import Verdict


def judge(record: Record) -> tuple[Verdict, ...]:  # noqa: ARG001
    """What the record says, question by question."""
    return ()
