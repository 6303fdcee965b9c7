"""The verdicts in one sentence: fine, wrong (do this, because of that), or not known.

The sentence is made of the verdicts' own: what to do is the advice's, why is the first sentence of the verdict that the
advice rests on. So it cannot say what they do not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from thetadot.core.formatting import plain
from thetadot.verdicts.advice import basis
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.course import ends
from thetadot.verdicts.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thetadot.records import Record
    from thetadot.verdicts.base import State

FINDINGS: dict[State, tuple[str, str]] = {
    "good": ("fine", "Fine"),
    "attention": ("improvable", "Could be better"),
    "bad": ("wrong", "Wrong"),
    "unknown": ("unknown", "Not known"),
}
"""Finding of a headline, and the words that it begins with."""
WITHOUT_SETTINGS = {"leave": "no change", "unknown": "not known", "new start": "start anew from other weights"}
"""What findings of an advice say to do, where these are not the words of it."""
_LABEL = re.compile(r"^[A-Z][a-z]+: ")
"""A finding's word before what it says: "Dead: the gradient of ..."."""
UNITS = {"batch": " samples", "batch_size": " samples"}


def headline(record: Record, verdicts: Sequence[Verdict]) -> Verdict:
    """Say all verdicts on a record in one sentence.

    Args:
        record: what was judged.
        verdicts: of :func:`~thetadot.verdicts.judge`.

    Returns:
        A verdict of the advice's state: "fine", "improvable", "wrong" or "unknown".

    Example:
        >>> from thetadot.records import Header, Record
        >>> from thetadot.verdicts import judge
        >>> record = Record(Header("thetadot.record", 3, "task", 0, 1, 1, 1, 1, "cpu", 1, {}, {}), ())
        >>> headline(record, judge(record)).says
        'Not known: no loss is recorded.'
    """
    by_name = {verdict.name: verdict for verdict in verdicts}
    advice = by_name.pop("advice", Verdict("advice", "unknown", "unknown", "Nothing was judged."))
    finding, begin = FINDINGS[advice.state]
    facts = Facts(record)
    ended = record.result is not None or facts.end is not None
    cut = facts.end is not None and facts.end.because == "exception"
    so_far = " so far" if advice.state == "good" and (cut or not ended) else ""
    says = f"{begin}{so_far}: {_what(facts, advice, by_name)}".replace("Not known: not known ", "Not known ", 1)
    if cut and facts.end is not None:
        says = f"{says.rstrip('.')}; an exception ended the loop at step {plain(facts.end.step)}."
    return Verdict("headline", finding, advice.state, says, confidence=advice.confidence)


def _what(facts: Facts, advice: Verdict, others: Mapping[str, Verdict]) -> str:
    if advice.state == "unknown":
        return lowered(advice.says.removeprefix("No advice: "))
    if advice.finding == "leave" or advice.state == "good":
        way = _way(facts.record)
        return f"{way}, and {lowered(advice.says)}" if way else lowered(advice.says)
    why = _cause(advice, others)
    return f"{to_do(advice)}{f', because {why}' if why else ''}."


def to_do(advice: Verdict) -> str:
    """Say what an advice says to do, in a few words; "no change" where that is nothing.

    Example:
        >>> to_do(Verdict("advice", "lower lr", "bad", "..."))
        'lower lr'
    """
    if advice.finding in WITHOUT_SETTINGS:
        return WITHOUT_SETTINGS[advice.finding]
    settings = getattr(advice, "settings", ())
    if not settings:
        return advice.finding
    (name, value), *more = settings
    first = advice.finding if name in advice.finding.split() else f"{advice.finding}: {name}"
    rest = "".join(f", {other} to {plain(new)}{UNITS.get(other, '')}" for other, new in more)
    return f"{first} to {plain(value)}{UNITS.get(name, '')}{rest}"


def _cause(advice: Verdict, others: Mapping[str, Verdict]) -> str:
    """The first sentence of the verdict that an advice rests on."""
    worst = [verdict for state in ("bad", "attention") for verdict in others.values() if verdict.state == state]
    found = basis(advice.finding, others)
    if worst and (found is None or found.state not in ("bad", "attention") or worst[0].finding == "diverged"):
        found = worst[0]
    if found is None:
        return ""
    said = _LABEL.sub("", first_sentence(found.says))
    return lowered(said).rstrip(".")


def _way(record: Record) -> str:
    """How far the loss fell; "" where there were too few losses, or it did not."""
    way = loss_ends(record)
    if way is None or not way[1] < way[0]:
        return ""
    return f"the training loss fell from {plain(way[0])} to {plain(way[1])}"


def loss_ends(record: Record) -> tuple[float, float] | None:
    """Where the training loss began and where it came to, as all verdicts say it; None of too few."""
    return ends(Facts(record))


def first_sentence(text: str) -> str:
    """Return a text up to the end of its first sentence.

    Example:
        >>> first_sentence("Lower lr to 0.1, e.g. by half. Momentum as it is.")
        'Lower lr to 0.1, e.g. by half.'
    """
    return re.split(r"(?<=[.!?])(?<!e\.g\.) (?=\w)", text, maxsplit=1)[0]


def lowered(text: str) -> str:
    """The text with a small first letter, but for names and symbols."""
    word = text.split(" ", 1)[0]
    return text[:1].lower() + text[1:] if word[1:].islower() or len(word) == 1 else text
