"""All verdicts on a run, as a pure function of its record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003 - asked at run time
from typing import TYPE_CHECKING

from thetadot.core.formatting import plain
from thetadot.core.signatures import checked
from thetadot.records import Record, opened
from thetadot.verdicts.advice import advise, rescue_advice
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.damping import damped
from thetadot.verdicts.edge import closeness
from thetadot.verdicts.facts import Facts
from thetadot.verdicts.headline import lowered
from thetadot.verdicts.learning import learning
from thetadot.verdicts.loss import lost
from thetadot.verdicts.noise import limited, wasted
from thetadot.verdicts.overfitting import generalization
from thetadot.verdicts.pace import paced
from thetadot.verdicts.scaled_inputs import inputs
from thetadot.verdicts.spike import spikes
from thetadot.verdicts.stationarity import rest

if TYPE_CHECKING:
    from thetadot.verdicts.loss import Loss

SETTINGS = (limited, wasted, damped, paced)
DATA = (inputs, generalization, spikes)
CAUSES = {"ringing", "too long"}
"""Findings that may be what lost the loss."""


@checked
def judge(record: Record | str | Path) -> tuple[Verdict, ...]:
    """Advice, learning, edge, noise, batch, damping, pace, stationarity, inputs, generalization, spikes.

    Of a run whose loss is lost, noise, batch, damping and pace are those before; none of them is then good.

    Args:
        record: of a run, or its folder or file; the run may be in progress, cut off or damaged.

    Returns:
        One verdict a question, in this order; "unknown", with the reason, where the record does not tell.
    """
    facts = Facts(opened(record))
    loss = lost(facts)
    if loss is None:
        questions = (learning, closeness, *SETTINGS, rest, *DATA)
        verdicts = {verdict.name: verdict for verdict in (question(facts) for question in questions)}
        return (advise(facts, verdicts), *verdicts.values())
    before = facts.until(loss.before)
    said = "The loss is lost: where the motion came to rest says nothing of it."
    found = [
        learning(facts, loss),
        closeness(facts),
        *(_judged_before_loss(question(before), loss) for question in SETTINGS),
    ]
    found += [Verdict("stationarity", "lost", "unknown", said), *(question(facts) for question in DATA[:-1])]
    found.append(Verdict("spikes", "lost", "unknown", "The loss is lost: no spike came back."))
    verdicts = {verdict.name: verdict for verdict in found}
    return (rescue_advice(before, verdicts), *verdicts.values())


def _judged_before_loss(verdict: Verdict, loss: Loss) -> Verdict:
    """A verdict on the part before the loss was lost: nothing there is well, and no advice but on what lost it."""
    if verdict.finding == "unknown":
        return verdict
    says = f"Until step {plain(loss.before)}, before the loss was lost: {lowered(verdict.says)}"
    if verdict.finding in CAUSES and verdict.state != "good":
        return replace(verdict, says=says)
    return replace(verdict, says=says, state="unknown", advice="")
