"""All verdicts on a run: a pure function of its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.verdicts.advice import advise
from thetadot.verdicts.damping import damped
from thetadot.verdicts.edge import closeness
from thetadot.verdicts.facts import Facts
from thetadot.verdicts.noise import limited, wasted
from thetadot.verdicts.pace import paced
from thetadot.verdicts.stationarity import rest

if TYPE_CHECKING:
    from thetadot.records import Record
    from thetadot.verdicts.base import Verdict

QUESTIONS = (closeness, limited, wasted, damped, paced, rest)


def judge(record: Record) -> tuple[Verdict, ...]:
    """Edge, noise, batch, damping, pace, stationarity; advice comes first.

    Args:
        record: what :func:`thetadot.records.read` gave, also of a run that goes on, was cut off or is damaged.

    Returns:
        One verdict a question, in this order; "unknown", with the reason, where the record does not tell.
    """
    facts = Facts(record)
    verdicts = {verdict.name: verdict for verdict in (question(facts) for question in QUESTIONS)}
    return (advise(facts, verdicts), *verdicts.values())
