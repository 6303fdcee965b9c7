"""The law of a heated motion on a line, at any time: by the equation of its density, on cells.

overdamped   the Fokker-Planck equation
with friction   the kinetic equation, twice: on cells h and 2h, of second order, (4 m_h - m_2h)/3 is of the next one
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from thetadot.density import FokkerPlanck, Grid, Kinetic
from thetadot.errors import InadmissibleValue
from thetadot.systems import Kramers

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.systems import Problem

CELLS = 400
KINETIC = ((100, 60), (50, 30))
"""Cells of position and velocity."""
_FAST = 4.5  # standard deviations of the velocity to the wall
_WEAKEST = 0.05  # friction over a well's frequency: below, the cells' own is not small beside it
_MOST = 5e4  # jumps of the fastest cell until the end: some ten seconds


@dataclass(frozen=True, eq=False)
class Laws:
    """Densities of the position over time, from a start at rest in one point.

    Args:
        name: of the equation.
        equations: the same on ever wider cells.
        start: position.
    """

    name: str
    equations: tuple[FokkerPlanck | Kinetic, ...]
    start: float
    known: dict[tuple[float, ...], list[torch.Tensor]] = field(default_factory=dict)

    def densities(self, times: torch.Tensor) -> torch.Tensor:
        """Return the density of the position on the finest cells: (n, cells)."""
        return self._marginals(times)[0]

    def mean(
        self, times: torch.Tensor, of: Callable[[torch.Tensor], torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean of a function of the position, (n,), and its discretization error."""
        found = []
        for equation, density in zip(self.equations, self._marginals(times), strict=True):
            x, width = equation.grid.axes[0], equation.grid.spacing[0]
            found.append((density * of(x)).sum(-1) * width)
        if len(found) == 1:
            return found[0], torch.zeros_like(found[0])
        change = (found[0] - found[1]) / 3.0  # what is left after it falls twice as fast: a quarter
        return found[0] + change, change.abs() / 4.0

    def _marginals(self, times: torch.Tensor) -> list[torch.Tensor]:
        at = tuple(times.tolist())
        if at not in self.known:
            self.known[at] = [self._marginal(equation, at) for equation in self.equations]
        return self.known[at]

    def _marginal(self, equation: FokkerPlanck | Kinetic, times: tuple[float, ...]) -> torch.Tensor:
        grid = equation.grid
        if grid.dim == 1:
            return equation.propagate(grid.normal(self.start, grid.spacing[0]), times)
        return equation.propagate(grid.delta((self.start, 0.0)), times).sum(-1) * grid.spacing[1]


def laws(problem: Problem, sides: tuple[float, float], start: float, time: float, pace: float) -> Laws | None:
    """Return the laws of a problem on a line; None where they would be too costly or the cells too coarse.

    Args:
        problem: Langevin or Kramers, heated.
        sides: of the box.
        start: position of all paths, at rest.
        time: how long.
        pace: frequency at the bottom of a well.
    """
    system = problem.system
    if not isinstance(system, Kramers):
        return Laws("Fokker-Planck equation", (FokkerPlanck.of(problem, Grid(sides, CELLS)),), start)
    fast = _FAST * math.sqrt(float(system.temperature))
    try:
        equations = tuple(Kinetic.of(problem, Grid((sides, (-fast, fast)), cells), "central") for cells in KINETIC)
    except InadmissibleValue:  # wells narrower than cells
        return None
    weak, long = equations[0].friction < _WEAKEST * pace, equations[0].rates.fastest() * time > _MOST
    return None if weak or long else Laws("kinetic equation", equations, start)
