"""Results of a simulation: its saved series and its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from thetadot.core.formatting import html_table, plain
from thetadot.core.plotting import axes
from thetadot.errors import InadmissibleValue
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from thetadot.core.annotations import State


@dataclass(frozen=True)
class Series:
    """Saved values of one schedule.

    Attributes:
        times: (n,), float64.
        values: positions (n, paths, dim), or what the statistic gave, (n, *).
        variables: the system's other tensors, where states were saved: (n, paths, dim) each, as the rule keeps them (a
            staggered velocity is half a step late, a splitting word's stands in the middle of its cycle).
    """

    times: Tensor
    values: Tensor
    variables: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """End of a simulation, with all that is needed to resume.

    Attributes:
        state: every variable, as the rule keeps it.
        time: that has passed.
        steps: that were taken.
        key: of the noise.
        rule: that alone can continue it, where variables are kept at other times than the position; else empty.
        memory: of an adaptive integrator: its next steps, last errors and counts, (paths, 1) each.
    """

    state: State
    time: float
    steps: int
    key: int
    rule: str = ""
    memory: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Trajectory:
    """An ensemble in motion.

    Attributes:
        series: what was saved, by the schedules' names.
        end: where it ended; give the trajectory to :func:`simulate` as ``initial``, to continue from there, exactly.
        engine: which one it was: "plain", "in place", "compiled", "staged" (an adaptive integrator's steps
            compiled, its drift torch's), or one that was passed.
        remark: why the engine is not a faster one, or why it works on whole tensors; empty where nothing is to be said.
        counts: of an adaptive integrator, (paths,) each: steps "accepted" and "rejected", and the "shortest" and
            "longest" of those accepted that no time asked for cut short (inf and 0 where all were).
    """

    series: Mapping[str, Series]
    end: End
    engine: str
    remark: str = ""
    counts: Mapping[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Series:
        """The series of a schedule."""
        if name not in self.series:
            raise InadmissibleValue(f"there is no series {name!r}. Those saved are {', '.join(self.series)}.")
        return self.series[name]

    def _repr_html_(self) -> str:
        rows = [
            (name, f"{len(each.times)} times, shape {tuple(each.values.shape)}") for name, each in self.series.items()
        ]
        rows += [("end", f"time {plain(self.end.time)}, {plain(self.end.steps)} steps, key {self.key}")]
        rows += [("engine", self.engine), ("remark", self.remark)]
        return html_table((name, value) for name, value in rows if value)

    @property
    def key(self) -> int:
        """Key of the noise: give it as ``key`` to simulate the same paths again."""
        return self.end.key

    @property
    def first(self) -> Series:
        """The first schedule's, which is the only one where ``save`` named none."""
        return next(iter(self.series.values()))

    @property
    def times(self) -> Tensor:
        """(n,), of the first schedule."""
        return self.first.times

    @property
    def states(self) -> Tensor:
        """Positions (n, paths, dim), or what the statistic gave, of the first schedule."""
        return self.first.values

    @property
    def variables(self) -> Mapping[str, Tensor]:
        """The other variables, of the first schedule."""
        return self.first.variables

    @property
    def final(self) -> Tensor:
        """The last position saved, (paths, dim), or the last statistic."""
        return self.states[-1]

    def plot(self, ax: Any = None, *, paths: int = 50) -> Any:
        """Draw what was saved: components over time, for one component or a statistic; paths in the plane for two.

        Args:
            ax: matplotlib axes; new ones if None.
            paths: at most so many are drawn.

        Returns:
            The axes.
        """
        ax = axes(ax)
        values = self.states.detach().cpu()
        if values.ndim == 3 and values.shape[-1] >= 2:
            for path in range(min(paths, values.shape[1])):
                ax.plot(values[:, path, 0], values[:, path, 1], linewidth=0.8, alpha=0.7)
            ax.set_xlabel(f"{POSITION} 1")
            ax.set_ylabel(f"{POSITION} 2")
            return ax
        flat = values.reshape(len(values), -1)[:, :paths]
        ax.plot(self.times, flat, linewidth=0.8, alpha=0.7)
        ax.set_xlabel("time")
        ax.set_ylabel(POSITION if values.ndim == 3 else "statistic")
        return ax
