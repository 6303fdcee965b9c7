"""The scenes as functions: of their settings, to an experiment."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.signatures import checked
from thetadot.scenes.catalogue import SCENES
from thetadot.scenes.experiment import Experiment
from thetadot.scenes.request import request_of
from thetadot.scenes.scene import FRAMES

if TYPE_CHECKING:
    from thetadot.scenes.scene import Scene, Value


@dataclass(frozen=True, repr=False)
class Named:
    """A scene that is called with its settings and gives an experiment.

    Attributes:
        scene: its defaults, and what its parameters mean.

    Example:
        >>> import thetadot
        >>> thetadot.scenes.harmonic.scene.parameters["curvature"].meaning
        'h > 0 of L = h x²/2'
        >>> thetadot.scenes.harmonic(curvature=4.0, temperature=0.2).request.values
        {'curvature': 4.0, 'start': 3.0}
    """

    scene: Scene

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
        numerics = {"paths": paths, "time": time, "step": step, "integrator": integrator, "tolerance": tolerance}
        common = {"temperature": temperature, "friction": friction, "seed": seed, "save": save}
        return Experiment(self.scene, request_of(self.scene, {**numerics, **common}, values))

    def __repr__(self) -> str:
        return f"<{self.scene.name.replace('-', '_')}{self.__signature__}: {self.scene.says}>"

    @property
    def __signature__(self) -> inspect.Signature:
        """The arguments with this scene's defaults, its own parameters first."""
        scene = self.scene
        common = {
            "paths": scene.paths,
            "time": scene.time,
            "step": scene.step,
            "integrator": scene.integrator,
            "tolerance": None,
            **({"temperature": scene.temperature} if scene.heated or scene.own else {}),
            **({"friction": scene.friction} if scene.damped or scene.own else {}),
            "seed": 0,
            "save": FRAMES,
        }
        defaults = {name: parameter.default for name, parameter in scene.parameters.items()} | common
        return inspect.Signature(
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in defaults.items()]
        )


double_well = Named(SCENES["double-well"])
quartic_2d = Named(SCENES["quartic-2d"])
harmonic = Named(SCENES["harmonic"])
dirac_gan = Named(SCENES["dirac-gan"])
wgan_div = Named(SCENES["wgan-div"])
simsiam = Named(SCENES["simsiam"])
competition = Named(SCENES["competition"])
mathieu = Named(SCENES["mathieu"])
geometric_brownian = Named(SCENES["geometric-brownian"])
jacobi = Named(SCENES["jacobi"])
descent_flows = Named(SCENES["descent-flows"])
