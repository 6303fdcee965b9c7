"""Whether the run learns: the loss against where it began, and against the best constant output.

What did not come below these is not called good, whatever else is; why it did not is said only on evidence of its own:
a loss that is lost, or layers that nothing reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.core.formatting import plain, share
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.course import course, ends, unlowered
from thetadot.verdicts.dead import dead
from thetadot.verdicts.loss import stuck
from thetadot.verdicts.sureness import confidence
from thetadot.verdicts.thresholds import GAINED

if TYPE_CHECKING:
    from thetadot.verdicts.course import Course
    from thetadot.verdicts.facts import Facts
    from thetadot.verdicts.loss import Loss


def learning(facts: Facts, loss: Loss | None = None) -> Verdict:
    """Judge whether the loss came lower, and still does."""
    gone = dead(facts)
    if gone is not None:
        said = f"Dead: {gone.says}. What it gives no longer depends on most of it."
        sure = confidence("high", "the gradients themselves say so")
        return Verdict("learning", "dead", "bad", said, (gone.says,), sure)
    if loss is not None:
        return Verdict("learning", "lost", "bad", f"The loss is lost: {loss.why}.", (), confidence("high", "the loss"))
    found, way = course(facts), ends(facts)
    if found is None or way is None:
        why = facts.lacking("training loss", otherwise="too few losses were seen")
        return Verdict("learning", "unknown", "unknown", f"Not known whether it learns: {why}.")
    first, last = plain(way[0]), plain(way[1])
    evidence = (f"loss: {first} at first, {last} at last",)
    if unlowered(facts) and not stuck(facts) and found.fall > 0:
        said = f"Not resolved whether it learns: the loss scatters by more than it fell, from {first} to {last}."
        return Verdict("learning", "unresolved", "unknown", said, evidence)
    if unlowered(facts):
        said = f"Not learning yet: the loss is at {last}, and began at {first}."
        return Verdict("learning", "plateau", "attention", said, evidence, confidence("moderate", "the losses say so"))
    return _judged_lowered(facts, found, evidence)


def _judged_lowered(facts: Facts, found: Course, evidence: tuple[str, ...]) -> Verdict:
    """Of a loss that came below where it began."""
    constant = facts.constant
    sure = confidence("high", "the losses say so")
    if constant is not None and found.end >= constant:
        said = f"The loss is at {plain(found.end)}, and the best constant output has {plain(constant)}: nothing that "
        said += "helps was learned from the inputs."
        return Verdict("learning", "no better than a constant", "attention", said, evidence, sure)
    if found.gaining > GAINED:
        late = share(found.gain or 0.0)
        said = f"Learning: {late} of the fall came in the last two thirds, and the loss still falls."
        return Verdict("learning", "still falling", "good", said, evidence, sure)
    said = f"Learned: the loss came from {plain(found.start)} to {plain(found.end)}, and hardly falls any more."
    return Verdict("learning", "levelled off", "good", said, evidence, sure)


def learned(facts: Facts) -> bool:
    """Whether the loss came below where it began, and below that of a constant output."""
    found = course(facts)
    if found is None or unlowered(facts):
        return False
    return facts.constant is None or found.end < facts.constant
