"""The cards of all scenes: what the list shows, without loading what simulates them."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING

from thetadot.scenes.scene import Parameter, Scene, SceneSettings, Setup

if TYPE_CHECKING:
    from collections.abc import Callable

_PERIOD = 2.0 * math.pi / 500.0
"""Of the pivot in the scene of Mathieu, by default."""


def _late(module: str) -> Callable[[SceneSettings], Setup]:
    """The scene's ``make``, its module loaded when it is called: that needs torch, and bokeh for the pictures."""

    def make(settings: SceneSettings) -> Setup:
        setup: Setup = importlib.import_module(f"thetadot.scenes.library.{module}").make(settings)
        return setup

    return make


_CARDS = (
    Scene(
        "double-well",
        "The double well: escape and equilibrium",
        "Heated paths leave one well for the other, now and then, until both hold half of them: Gibbs' law.",
        _late("double_well"),
        paths=10_000,
        time=30.0,
        step=0.02,
        integrator="euler-maruyama",
        temperature=0.15,
        heated=True,
        damped=True,
        parameters={
            "barrier": Parameter(0.25, "b > 0, height of the barrier"),
            "half_width": Parameter(1.0, "a > 0, distance of a well from it"),
        },
    ),
    Scene(
        "quartic-2d",
        "Four wells in the plane",
        "Paths let go from one well find the other three, over four saddles, until Gibbs' law holds.",
        _late("quartic_2d"),
        paths=5_000,
        time=20.0,
        step=0.02,
        integrator="euler-maruyama",
        temperature=0.2,
        heated=True,
        damped=True,
        parameters={
            "coupling": Parameter(0.1, "c of c·xy"),
            "tilt": Parameter(0.0, "a of a·x"),
            "x": Parameter(-1.0, "where every path begins"),
            "y": Parameter(-1.0, "where every path begins"),
        },
    ),
    Scene(
        "harmonic",
        "A harmonic well, with friction and heat",
        "A ball on a spring, damped and shaken: its law is a Gaussian, and that of the simulation is known exactly "
        "too.",
        _late("harmonic"),
        paths=10_000,
        time=40.0,
        step=0.5,
        integrator="BAOAB",
        temperature=0.5,
        friction=1.0,
        heated=True,
        damped=True,
        parameters={
            "curvature": Parameter(1.0, "h > 0 of L = h x²/2"),
            "start": Parameter(3.0, "where every path begins, at rest"),
        },
    ),
    Scene(
        "dirac-gan",
        "The Dirac GAN",
        "The smallest game: one point of a generator against a linear critic. Does it converge, or circle without end?",
        _late("dirac_gan"),
        paths=12,
        time=30.0,
        step=0.05,
        integrator="rk4",
        parameters={
            "kind": Parameter("min-max", "non-saturating, min-max, linear or wgan"),
            "penalty": Parameter("none", "none, gp or qp"),
            "weight": Parameter(0.1, "λ > 0 of the penalty"),
            "centre": Parameter(0.0, "c of gp, the slope that it asks for"),
            "decay": Parameter(0.0, "κ of the critic's weights"),
            "dim": Parameter(1, "1 or 2"),
        },
    ),
    Scene(
        "wgan-div",
        "WGAN-div on the Dirac game",
        "A penalty of the critic's slope to the power p: it ends the game, but for p > 2 only as a power of time.",
        _late("wgan_div"),
        paths=12,
        time=100.0,
        step=0.05,
        integrator="rk4",
        parameters={
            "weight": Parameter(2.0, "k > 0"),
            "power": Parameter(6.0, "p > 1"),
            "radius": Parameter(0.5, "where paths begin, from the solution"),
        },
    ),
    Scene(
        "simsiam",
        "SimSiam: who collapses?",
        "One encoder weight, one predictor weight: whether the representation collapses is decided by the start.",
        _late("simsiam"),
        paths=600,
        time=200.0,
        step=0.02,
        integrator="rk4",
        parameters={
            "kept": Parameter("stop", "which gradient: stop, full or second"),
            "reach": Parameter(1.5, "of the starts about (0, 0.5)"),
        },
    ),
    Scene(
        "competition",
        "Two species on the same food",
        "Each grows where it is alone; together they live on both, or the start decides who does.",
        _late("competition"),
        paths=40,
        time=300.0,
        step=0.1,
        integrator="rk4",
        parameters={
            "growth1": Parameter(0.1, "r₁ > 0"),
            "growth2": Parameter(0.3, "r₂ > 0"),
            "capacity1": Parameter(500.0, "N₁ > 0"),
            "capacity2": Parameter(1000.0 / 3.0, "N₂ > 0"),
            "harm1": Parameter(1e-4, "a₁ >= 0, what the second costs the first"),
            "harm2": Parameter(2e-4, "a₂ >= 0, what the first costs the second"),
        },
    ),
    Scene(
        "mathieu",
        "The inverted pendulum that stands",
        "Shaken fast enough at its pivot, a pendulum stands on its head.",
        _late("mathieu"),
        paths=6,
        time=8.0 * 64 * _PERIOD,
        step=_PERIOD / 32,
        integrator="rk4",
        damped=True,
        parameters={
            "frequency": Parameter(500.0, "ω > 0 of the pivot"),
            "height": Parameter(0.01, "h >= 0, how far it goes up and down"),
            "length": Parameter(1.0, "l > 0"),
            "gravity": Parameter(10.0, "g"),
            "linear": Parameter(1, "1: θ in place of sin θ"),
            "angle": Parameter(0.1, "at the start, in radians"),
        },
    ),
    Scene(
        "geometric-brownian",
        "Geometric Brownian motion",
        "Growth at a random rate: the mean outgrows the typical path, and a call has its price.",
        _late("geometric_brownian"),
        paths=20_000,
        time=1.0,
        step=0.005,
        integrator="euler-maruyama",
        parameters={
            "growth": Parameter(0.05, "μ, also the rate of interest"),
            "volatility": Parameter(0.4, "σ > 0"),
            "spot": Parameter(100.0, "S₀ > 0"),
            "strike": Parameter(100.0, "K > 0 of the call"),
        },
    ),
    Scene(
        "jacobi",
        "Mechanics as geometry",
        "Rays of one energy pass a hollow: Newton's paths are the straightest lines of a bent plane, which focuses "
        "them.",
        _late("jacobi"),
        paths=13,
        time=8.0,
        step=0.004,
        integrator="rk4",
        parameters={
            "energy": Parameter(1.0, "E, above the potential where paths begin"),
            "depth": Parameter(1.0, "d of the hollow; a hill where it is negative"),
            "width": Parameter(1.5, "of the beam"),
        },
    ),
    Scene(
        "descent-flows",
        "Four ways down",
        "Gradient, sign, normalized and Polyak's flow on a loss with a good and a bad minimum.",
        _late("descent_flows"),
        paths=8,
        time=10.0,
        step=0.01,
        integrator="euler",
        parameters={
            "flow": Parameter("polyak", "which one all paths follow: gradient, sign, normalized or polyak"),
            "start": Parameter(4.0, "where the first path begins"),
        },
    ),
)

SCENES: dict[str, Scene] = {scene.name: scene for scene in _CARDS}
"""All scenes by the names that the command takes."""
