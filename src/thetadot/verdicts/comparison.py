"""Several runs compared by their loss: runs of the same settings and other seeds are repetitions.

Intervals are Student's (:mod:`thetadot.core.intervals`): of the losses of n seeds, of differences between two settings
at the same seeds, and Welch's of means at other seeds. A difference is resolved where its interval does not hold 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.formatting import count, plain
from thetadot.core.intervals import interval, welch
from thetadot.records import Epoch, Setting
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.facts import Facts, number
from thetadot.verdicts.headline import loss_ends

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thetadot.verdicts.base import State

WORST: tuple[State, ...] = ("bad", "attention", "unknown", "good")
"""Of several headlines the first of these is the state of all."""


@dataclass(frozen=True)
class Scored:
    """A run as it is compared.

    Attributes:
        name: of the run on its page.
        seed: of the run.
        loss: the validation loss of the returned state, without one the mean training loss over the last tenth; None
            where neither is known.
        judged: which of both: "validation" or "training".
        settings: what the runs that repeat it have in common.
        task: what the runs that it is compared with have in common.
    """

    name: str
    seed: int
    loss: float | None
    judged: str
    settings: tuple[str, ...]
    task: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Runs of the same settings.

    Attributes:
        runs: in the order of the page.
        mean: of their losses.
        half: half the 95% interval of the mean; None for one run.
        difference: of the mean to the lowest one; None for the lowest itself.
        low, high: ends of its 95% interval; None where there is none.
    """

    runs: tuple[Scored, ...]
    mean: float
    half: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def resolved(self) -> bool:
        """Whether the difference to the lowest is told from zero."""
        return self.low is not None and self.low > 0

    @property
    def name(self) -> str:
        """The runs' names, of many the first."""
        return _names_in_words([run.name for run in self.runs])


def scored(name: str, facts: Facts) -> Scored:
    """Read what a run is compared by."""
    header, result = facts.record.header, facts.record.result
    epochs = facts.record.of(Epoch)
    valid = result.valid_loss if result is not None else epochs[-1].valid_loss if epochs else None
    judged, loss = "validation", number(valid)
    if loss is None:
        judged, loss = "training", ends[1] if (ends := loss_ends(facts.record)) is not None else None
    if header.watched is None:
        settings = tuple(f"{key}={value}" for key, value in sorted(header.asked.items()) if key != "seed")
        task: tuple[str, ...] = (header.task,)
    else:
        given = [f"{e.group}: {sorted(e.values.items(), key=str)}" for e in facts.record.of(Setting) if e.step <= 1]
        settings = (header.watched.optimizer, *given, f"batch_size={facts.batch}")
        task = (str(header.parameters), header.watched.reference)
    size = (str(header.train_samples), str(header.valid_samples), judged)
    return Scored(name, header.seed, loss, judged, settings, (*task, *size))


def groups(runs: Sequence[Scored]) -> tuple[Group, ...]:
    """Group runs by their settings, lowest mean loss first, with differences to the lowest.

    Returns:
        One group a setting; () where the runs are of several tasks, or fewer than two settings have a loss.

    Example:
        >>> a = [Scored(f"a{seed}", seed, 0.5 + 0.01 * seed, "validation", ("a",), ()) for seed in range(3)]
        >>> b = [Scored(f"b{seed}", seed, 0.8 + 0.01 * seed, "validation", ("b",), ()) for seed in range(3)]
        >>> [(g.name, round(g.mean, 2), g.resolved) for g in groups(b + a)]
        [('a0 and 2 more', 0.51, False), ('b0 and 2 more', 0.81, True)]
    """
    known = [run for run in runs if run.loss is not None]
    if len({run.task for run in known}) != 1:
        return ()
    by_settings: dict[tuple[str, ...], list[Scored]] = {}
    for run in known:
        repeats = by_settings.setdefault(run.settings, [])
        if all(run.seed != other.seed for other in repeats):
            repeats.append(run)
        else:  # the same seed again is no repetition
            by_settings[(*run.settings, run.name)] = [run]
    if len(by_settings) < 2:
        return ()
    found = sorted((_group(repeats) for repeats in by_settings.values()), key=lambda group: group.mean)
    return (found[0], *(_against(found[0], group) for group in found[1:]))


def _losses(runs: Sequence[Scored]) -> dict[int, float]:
    return {run.seed: run.loss for run in runs if run.loss is not None}


def _group(runs: Sequence[Scored]) -> Group:
    return Group(tuple(runs), *interval(list(_losses(runs).values())))


def _against(best: Group, group: Group) -> Group:
    ours, theirs = _losses(group.runs), _losses(best.runs)
    difference = group.mean - best.mean
    if len(ours) > 1 and ours.keys() == theirs.keys():
        _, half = interval([ours[seed] - theirs[seed] for seed in ours])
    else:
        half = welch(list(ours.values()), list(theirs.values()))
    low, high = (None, None) if half is None else (difference - half, difference + half)
    return Group(group.runs, group.mean, group.half, difference, low, high)


def compare_headlines(headlines: Mapping[str, Verdict], found: Sequence[Group]) -> Verdict:
    """Say several runs in one sentence: how many are fine, and which settings are lowest.

    Args:
        headlines: of the runs, by name.
        found: by :func:`groups`.
    """
    total = len(headlines)
    wrong = [name for name, verdict in headlines.items() if verdict.state == "bad"]
    doubtful = [name for name, verdict in headlines.items() if verdict.state == "attention"]
    fine = sum(verdict.state == "good" for verdict in headlines.values())
    parts = [f"{plain(fine)} of {count(total, 'run')} {'is' if fine == 1 else 'are'} fine" if fine < total else ""]
    parts += [f"{_names_in_words(wrong)} {'is' if len(wrong) == 1 else 'are'} wrong"] if wrong else []
    parts += [f"{_names_in_words(doubtful)} could be better"] if doubtful else []
    begin = ", ".join(part for part in parts if part) or f"All {plain(total)} runs are fine"
    state = next(state for state in WORST if any(verdict.state == state for verdict in headlines.values()))
    return Verdict("comparison", "compared", state, f"{begin}{_lowest(found)}.")


def _names_in_words(names: Sequence[str], most: int = 2) -> str:
    return " and ".join(names) if len(names) <= most else f"{names[0]} and {len(names) - 1} more"


def _lowest(found: Sequence[Group]) -> str:
    """Which settings have the lowest loss, and whether that is told from chance."""
    if not found:
        return ""
    best, second = found[0], found[1]
    said = f"; the lowest {best.runs[0].judged} loss, {plain(best.mean)}, is that of {best.name}"
    if second.low is None:
        return f"{said}, though without repeated seeds chance may do that"
    if all(group.resolved for group in found[1:]):
        return f"{said}, lower than all others beyond chance"
    return f"{said}, by too little to tell it from chance"
