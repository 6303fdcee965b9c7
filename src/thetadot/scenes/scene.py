"""A scene: a motion with its defaults, the quantities that are known of it, and its pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from thetadot.integrators import Integrator
    from thetadot.integrators.adaptive import Embedded
    from thetadot.report.figures.picture import Picture
    from thetadot.scenes.rows import SceneRow
    from thetadot.simulation import Save, Trajectory
    from thetadot.systems import Problem, System

Value = float | int | str
FRAMES = 40
"""Times at which all paths are saved, unless told otherwise."""


@dataclass(frozen=True)
class Parameter:
    """A number or word of a scene, with its default."""

    default: Value
    meaning: str


@dataclass(frozen=True)
class SceneSettings:
    """Settings of a scene, defaults included; ``step`` is None where the method chooses its own steps."""

    paths: int
    time: float
    step: float | None
    rule: Integrator | Embedded
    temperature: float | None
    friction: float | None
    key: int
    values: Mapping[str, Value]

    def number(self, name: str) -> float:
        """A parameter that is a number."""
        return float(self.values[name])

    def word(self, name: str) -> str:
        """A parameter that is a word."""
        return str(self.values[name])


@dataclass(frozen=True)
class Setup:
    """A motion ready to be simulated.

    Attributes:
        motion: what moves.
        initial: where from: a tensor (paths, dim), or variables by name.
        save: schedules beside those of every simulation.
        rows: of a trajectory: the table.
        pictures: of a trajectory: those of this scene alone, shown first.
        names: of the position's coordinates.
        shown: pictures of every simulation that are worth showing here: "fan", "energy".
    """

    motion: Problem | System
    initial: torch.Tensor | Mapping[str, torch.Tensor]
    rows: Callable[[Trajectory], list[SceneRow]]
    pictures: Callable[[Trajectory], list[Picture]]
    save: Mapping[str, Save] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    shown: tuple[str, ...] = ("fan", "energy")


@dataclass(frozen=True)
class Scene:
    """A named motion with its defaults.

    Attributes:
        name: as the command calls it.
        title: heading of its page.
        says: one sentence of what it is.
        make: builds it.
        paths, time, step, integrator: defaults.
        temperature, friction: defaults; None where there is none unless given.
        heated, damped: whether it can have them.
        parameters: what is its own, by name.
        rule: an integrator without a name, where "integrator" is empty.
        own: whether it is a user's, which has taken its parameters already.
    """

    name: str
    title: str
    says: str
    make: Callable[[SceneSettings], Setup]
    paths: int
    time: float
    step: float
    integrator: str
    temperature: float | None = None
    friction: float | None = None
    heated: bool = False
    damped: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    rule: Integrator | Embedded | None = None
    own: bool = False
