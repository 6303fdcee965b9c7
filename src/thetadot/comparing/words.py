"""Differences in words: cells of a table, and the sentence that a comparison comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.comparing.paired import MOST_SEEDS
from thetadot.core.formatting import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from thetadot.comparing.compared_run import ComparedRun
    from thetadot.comparing.job import Measure
    from thetadot.comparing.paired import Difference


def cell_of_difference(found: Difference) -> tuple[str, str]:
    """A difference and a ratio, each with its interval, as text.

    Example:
        >>> from thetadot.comparing.paired import difference
        >>> cell_of_difference(difference("a", "b", [2.0, 2.0], [1.0, 1.0]))
        ('+1 ± 0', '2 (2 to 2)')
    """
    if found.mean is None:
        return "–", "–"
    half = "" if found.half is None else f" ± {plain(found.half, 2)}"
    ratio = "–" if found.ratio is None else plain(found.ratio)
    if found.ratio_low is not None:
        ratio += f" ({plain(found.ratio_low)} to {plain(found.ratio_high)})"
    return f"{'+' if found.mean > 0 else ''}{plain(found.mean)}{half}", ratio


def resolution_of(found: Difference) -> str:
    """Whether a difference is resolved, and what would resolve it.

    Example:
        >>> from thetadot.comparing.paired import difference
        >>> resolution_of(difference("a", "b", [1.0, 3.0, 2.0], [1.1, 2.8, 2.3]))
        'not resolved: about 114 seeds would'
    """
    if any(found.lost):
        who = [f"{name} on {many}" for name, many in ((found.a, found.lost[0]), (found.b, found.lost[1])) if many]
        return f"diverged: {', '.join(who)} of the seeds"
    if found.half is None:
        return "not known from one seed"
    if found.same:
        return "the same on every seed"
    if found.resolved:
        return f"resolved: {found.a if (found.mean or 0.0) < 0 else found.b} is lower"
    many = f"about {plain(found.needed)}" if found.needed is not None else f"more than {plain(MOST_SEEDS)}"
    return f"not resolved: {many} seeds would"


def sentence(
    rows: Sequence[ComparedRun], by: Measure, against: Callable[[ComparedRun, ComparedRun], Difference]
) -> str:
    """Say who is lowest, from whom that is resolved, and what would resolve the rest."""
    standing = [row for row in rows if row.mean(by) is not None]
    lost = [row.name for row in rows if row.diverged]
    gone = f" {_joined_with_and(lost)} diverged." if lost else ""
    if not standing:
        return f"Every run diverged on a seed at least, so there is nothing to compare: {about(rows[0])}."
    best = min(standing, key=lambda row: row.mean(by) or 0.0)
    others = [row for row in standing if row is not best]
    said = f"{best.name} has the lowest loss, {plain(best.mean(by), 4)}"
    if not others:
        return f"{best.name} comes to a loss of {plain(best.mean(by), 4)}.{gone}"
    if len(rows[0].outcomes) < 2:
        return f"{said}, but one seed tells nothing of chance: pass more seeds.{gone}"
    pairs = [against(best, row) for row in others]
    clear = [pair.b for pair in pairs if pair.resolved]
    open_ = [pair for pair in pairs if not pair.resolved]
    if not open_:
        return f"{said}: lower than {_joined_with_and(clear)}, beyond chance.{gone}"
    rest = f"from {_joined_with_and([pair.b for pair in open_])} it does not differ beyond chance ({_would(open_)})"
    return f"{said}: {f'lower than {_joined_with_and(clear)}, beyond chance; ' if clear else ''}{rest}.{gone}"


def _would(pairs: list[Difference]) -> str:
    """How many seeds would tell."""
    known = [pair.needed for pair in pairs if pair.needed is not None]
    if all(pair.same for pair in pairs):
        return "they are the same on every seed"
    if len(known) < sum(not pair.same for pair in pairs):
        return f"more than {plain(MOST_SEEDS)} seeds would tell"
    low, high = min(known), max(known)
    return f"about {plain(low) if low == high else f'{plain(low)} to {plain(high)}'} seeds would tell"


def _joined_with_and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def about(row: ComparedRun) -> str:
    """What happened to a row, in a sentence; "" where nothing did."""
    reasons = dict.fromkeys(outcome.diverged for outcome in row.outcomes if outcome.diverged)
    return "; ".join(reasons)
