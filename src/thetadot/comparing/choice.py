"""Choose from a grid by seeds of its own, and say where the choice lies at its edge."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.comparing.job import untested

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thetadot.comparing.job import Measure, Outcome
    from thetadot.comparing.spec import GridPoint, Spec


@dataclass(frozen=True)
class Tried:
    """A point of a grid and what it came to on the seeds that choose.

    Attributes:
        point: of the grid.
        mean: of its losses; None where it diverged on a seed.
    """

    point: GridPoint
    mean: float | None


def rank_points(spec: Spec, outcomes: Mapping[GridPoint, Sequence[Outcome]], by: Measure) -> list[Tried]:
    """Return the points of a grid from the best to the worst, of equal ones as they were given.

    Args:
        spec: the grid.
        outcomes: of each point, on the seeds that choose.
        by: what is compared; nothing is ever chosen by test data, but by the validation loss of the same state.
    """
    measure = untested(by)
    found = []
    for point in spec.points:
        scores = [outcome.score(measure) for outcome in outcomes[point]]
        good = [score for score in scores if score is not None]
        found.append(Tried(point, statistics.fmean(good) if good and len(good) == len(scores) else None))
    return sorted(found, key=lambda each: math.inf if each.mean is None else each.mean)


def edges(spec: Spec, chosen: GridPoint) -> list[str]:
    """Sentences on settings whose chosen value is the least or largest of three or more that were tried.

    Example:
        >>> from thetadot.comparing.spec import parse_spec
        >>> spec = parse_spec("sgd:lr=0.01|0.1|1")
        >>> edges(spec, spec.points[2])
        ['lr=1 is the largest that was tried: a better one may lie beyond.']
    """
    found = []
    here = dict(chosen.settings)
    for name, own in here.items():
        alike = [dict(point.settings) for point in spec.points if point.optimizer == chosen.optimizer]
        values = {settings[name] for settings in alike if name in settings}
        if len(values) < 3 or not all(type(value) in (int, float) for value in values):
            continue
        for extreme, said in ((min(values), "least"), (max(values), "largest")):
            if own == extreme:
                found.append(f"{name}={own:g} is the {said} that was tried: a better one may lie beyond.")
    return found
