"""How sure a verdict is, in a word with its reasons."""

from __future__ import annotations

_SURE = ("low", "moderate", "high")


def confidence(word: str, *reasons: str) -> str:
    """Say how sure a verdict is, and why.

    Example:
        >>> confidence("low", "one measurement", "", "wide interval")
        'low: one measurement, wide interval'
    """
    return f"{word}: {', '.join(reason for reason in reasons if reason)}"


def at_most(limit: tuple[str, str], said: str) -> str:
    """A confidence no higher than a limit's, with its reason.

    Example:
        >>> at_most(("low", "8 samples"), "high: 4 measurements"), at_most(("high", ""), "low: one")
        ('low: 8 samples', 'low: one')
        >>> at_most(("moderate", "64 samples"), "moderate: 2 measurements")
        'moderate: 2 measurements, 64 samples'
    """
    word, _, why = said.partition(": ")
    most, reason = limit
    if not reason or word not in _SURE:
        return said
    if _SURE.index(most) < _SURE.index(word):
        return confidence(most, reason)
    return confidence(word, why, reason)
