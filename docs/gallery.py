"""Pictures of the gallery, each drawn by the library's own ``plot``.

python docs/gallery.py [NAME ...]       # writes docs/pictures/NAME.png
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "pictures"


def portrait() -> Any:
    """Two species of which either displaces the other."""
    from thetadot.analysis import phase_portrait
    from thetadot.systems import Competition

    return phase_portrait(Competition((0.1, 0.1), (500.0, 500.0), (4e-4, 4e-4)), (0.0, 600.0), (0.0, 600.0)).plot()


def chart() -> Any:
    """Mathieu's equation over the depth and the mean of the shaking."""
    import torch

    from thetadot.analysis import stability_chart
    from thetadot.systems import mathieu_matrix

    return stability_chart(
        lambda t, q, a: mathieu_matrix(t, a, q),
        math.pi,
        x=torch.linspace(0, 1.5, 76),
        y=torch.linspace(-0.5, 1.5, 101),
        names=("q", "a"),
    ).plot()


def density() -> Any:
    """A point in a double well, spread by heat."""
    import torch

    from thetadot.density import FokkerPlanck, Grid
    from thetadot.potentials import DoubleWell

    grid = Grid((-2.5, 2.5), 200)
    equation = FokkerPlanck(DoubleWell(), 0.2, grid)
    return equation.plot(
        torch.stack([equation.propagate(grid.delta(-1.0), time) for time in (0.1, 0.5, 2.0, 10.0, 50.0)])
    )


def paths() -> Any:
    """Overdamped paths in the plane, between four wells."""
    import torch

    from thetadot import simulate
    from thetadot.integrators import EulerMaruyama
    from thetadot.potentials import Quartic2d
    from thetadot.systems import Langevin, Problem

    problem = Problem(Langevin(temperature=0.2), Quartic2d())
    start = torch.zeros(2, dtype=torch.float64)
    run = simulate(problem, EulerMaruyama(), start, paths=6, time=20.0, step=0.01, save=400, key=1)
    return run.plot()


PICTURES = {each.__name__: each for each in (portrait, chart, density, paths)}


def main(names: list[str]) -> None:
    """Draw the pictures that were named, or all."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    FOLDER.mkdir(exist_ok=True)
    for name in names or PICTURES:
        if name not in PICTURES:
            sys.exit(f"{name!r} is no picture. Pass some of: {', '.join(PICTURES)}.")
        axes = PICTURES[name]()
        axes.figure.set_size_inches(6.4, 4.4)
        axes.figure.savefig(FOLDER / f"{name}.png", dpi=120)
        plt.close(axes.figure)


if __name__ == "__main__":
    main(sys.argv[1:])
