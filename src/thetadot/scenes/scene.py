"""A scene: a motion with its defaults, the quantities that are known of it, and its pictures."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from thetadot.signatures import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from thetadot.integrators import Integrator
    from thetadot.integrators.adaptive import Embedded
    from thetadot.report.figures.picture import Picture
    from thetadot.scenes.experiment import Experiment
    from thetadot.scenes.rows import Row
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
class Settings:
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
    rows: Callable[[Trajectory], list[Row]]
    pictures: Callable[[Trajectory], list[Picture]]
    save: Mapping[str, Save] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    shown: tuple[str, ...] = ("fan", "energy")


@dataclass(frozen=True, repr=False)
class Scene:
    """A named motion with its defaults; called, it gives an experiment.

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

    Example:
        >>> import thetadot
        >>> thetadot.scenes.harmonic.parameters["curvature"].meaning
        'h > 0 of L = h x²/2'
        >>> thetadot.scenes.harmonic(curvature=4.0, temperature=0.2).request.values
        {'curvature': 4.0, 'start': 3.0}
    """

    name: str
    title: str
    says: str
    make: Callable[[Settings], Setup]
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

    @checked
    def __call__(
        self,
        *,
        paths: int | None = None,
        time: float | None = None,
        step: float | None = None,
        integrator: str | None = None,
        tolerance: float | None = None,
        temperature: float | None = None,
        friction: float | None = None,
        seed: int = 0,
        save: int = FRAMES,
        **values: Value,
    ) -> Experiment:
        """Choose the settings of an experiment; nothing is simulated yet.

        Args:
            paths: how many; this and what follows is the scene's default where it is None.
            time: how long, a whole number of steps if they are of one length.
            step: time step; none for an integrator that finds its own.
            integrator: by name: "rk4", "euler-maruyama", ..., or a splitting word such as "BAOAB".
            tolerance: relative, of an integrator that finds its steps; the absolute one is a thousandth of it.
            temperature: T >= 0, in units of the loss.
            friction: λ >= 0, in 1/time, of a motion with inertia.
            seed: of all noise, 0 to 2⁶³-1.
            save: times at which all paths are saved.
            **values: the scene's own parameters (``parameters``).

        Raises:
            InadmissibleValue: a number out of range, a parameter that the scene does not have, or settings that do not
                go together.
            TooLarge: more paths than fit into memory.
        """
        from thetadot.scenes.experiment import Experiment  # loads torch, which a list of scenes does not need
        from thetadot.scenes.request import request_of

        numerics = {"paths": paths, "time": time, "step": step, "integrator": integrator, "tolerance": tolerance}
        common = {"temperature": temperature, "friction": friction, "seed": seed, "save": save}
        return Experiment(self, request_of(self, {**numerics, **common}, values))

    def __repr__(self) -> str:
        return f"<{self.name.replace('-', '_')}{self.__signature__}: {self.says}>"

    @property
    def __signature__(self) -> inspect.Signature:
        """The arguments with this scene's defaults, its own parameters first."""
        common = {
            "paths": self.paths,
            "time": self.time,
            "step": self.step,
            "integrator": self.integrator,
            "tolerance": None,
            **({"temperature": self.temperature} if self.heated or self.own else {}),
            **({"friction": self.friction} if self.damped or self.own else {}),
            "seed": 0,
            "save": FRAMES,
        }
        defaults = {name: parameter.default for name, parameter in self.parameters.items()} | common
        return inspect.Signature(
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in defaults.items()]
        )
