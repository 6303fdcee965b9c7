"""What a comparison is asked for: runs, seeds and counts, refused with what is admissible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from thetadot.comparing.spec import Spec, parse_spec
from thetadot.core.validation import WHOLE, refuse
from thetadot.errors import InadmissibleValue, require
from thetadot.tasks.task import Task

CHOOSERS = 1 << 20
"""First of the seeds that choose; those that score begin at 0, so that more of them can be added."""
MOST_SEEDS, MOST_JOBS, MOST_RUNS = 10_000, 1024, 100


def require_maker(task: object) -> None:
    """Refuse what makes no task."""
    if isinstance(task, Task):
        raise InadmissibleValue(
            "task is a Task. Pass the function that makes it: each run begins from parameters of its own."
        )
    if not isinstance(task, str) and not callable(task):
        raise InadmissibleValue(
            f"task is a {type(task).__name__}. Pass a function that makes a Task, a built-in name, or "
            "'file.py:function'."
        )


def specs_of(runs: Sequence[str] | Mapping[str, str]) -> list[Spec]:
    """Return what is compared, each once."""
    named = runs.items() if isinstance(runs, Mapping) else ((None, text) for text in runs)
    found = []
    for name, text in named:
        if not isinstance(text, str):
            raise InadmissibleValue(f"run {text!r} is a {type(text).__name__}. Pass a SPEC as text, as sgd:lr=0.1.")
        found.append(parse_spec(text, name))
    require(bool(found), "no run", "leaves nothing to compare", "Pass at least one, as untuned or sgd:lr=0.1.")
    require(len(found) <= MOST_RUNS, f"{len(found)} runs", f"are more than {MOST_RUNS}", "Pass fewer.")
    seen: set[frozenset[str]] = set()
    for spec in found:
        identity = frozenset(point.identity for point in spec.points)
        if identity in seen:
            raise InadmissibleValue(f"run {spec.name!r} is given twice. Leave one of them out.")
        seen.add(identity)
    names = Counter(spec.name for spec in found)
    return [spec if names[spec.name] == 1 else replace(spec, name=spec.text) for spec in found]


def require_counts(**given: tuple[int, int | None]) -> None:
    """Refuse a number below 1, or above the most that it may be."""
    for name, (value, most) in given.items():
        require(value >= 1, f"{name}={value}", "is below 1", f"Pass {name} >= 1.")
        require(most is None or value <= most, f"{name}={value}", f"is above {most}", "Pass fewer.")


def seeds_of(seeds: int | range, choosing: int | range) -> tuple[range, range]:
    """Return the seeds that score and those that choose, which are others.

    Example:
        >>> seeds_of(3, range(10, 12))
        (range(0, 3), range(10, 12))
    """
    scoring, choosers = _range("seeds", seeds, 0), _range("choosing", choosing, CHOOSERS)
    if scoring.start < choosers.stop and choosers.start < scoring.stop:
        raise InadmissibleValue(
            f"seeds {text_of(scoring)} and choosing {text_of(choosers)} overlap: what was chosen on a seed would be "
            "scored on it. Pass ranges that do not."
        )
    return scoring, choosers


def _range(name: str, given: int | range, first: int) -> range:
    if not isinstance(given, range):
        if not WHOLE.fits(given):
            refuse(name, given, "a whole number or a range", "Pass one, such as 5 or range(10, 15).")
        require_counts(**{name: (given, MOST_SEEDS)})
        return range(first, first + given)
    plain = given.step == 1 and given.start >= 0 and given.stop <= 2**63
    require(plain, f"{name}={given}", "is no range of whole seeds from 0 on", "Pass one, as range(10, 15).")
    require_counts(**{f"the number of {name}": (min(given.stop - given.start, MOST_SEEDS + 1), MOST_SEEDS)})
    return given


def text_of(seeds: int | range) -> str:
    """Return a number of seeds, or a range of them, as the command takes it.

    Example:
        >>> text_of(5), text_of(range(10, 15))
        ('5', '10:15')
    """
    return f"{seeds.start}:{seeds.stop}" if isinstance(seeds, range) else str(seeds)
