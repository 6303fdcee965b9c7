r"""A density on 256 x 256 cells to t = 1: CPU seconds, wall seconds, error and mass, of us and of peers.

    python benchmarks/fokker_planck.py                     # the target: L1 <= 1e-12 in 1/20 of the peers' CPU time
    python benchmarks/fokker_planck.py --cells 128 --rounds 5
    python benchmarks/fokker_planck.py --kinetic           # of position and velocity

    ∂p/∂t = ∇·(p ∇U) + T Δp,  U = (x² - 1)²/4 + (y² - 1)²/4 on [-2.5, 2.5]², T = .3, reflecting walls

The potential is separable, so that exp(A) p exp(A)ᵀ, A the rates of one side, is exact for the cells: the reference.
All routes have Holubec's rates, which are fplanck's. One thread; every round runs each route once, in random order; a
route's figure is its median over rounds, a ratio is the median over rounds of ratios within a round. Rates and matrices
are built anew in every run of ours and of fplanck; scipy is given its matrix ready. fplanck is measured where it is
installed (before 1.0 it needs np.product, which numpy 2 has no longer: it is lent).
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply

from thetadot.density import FokkerPlanck, Grid, Kinetic
from thetadot.potentials import DoubleWell

if TYPE_CHECKING:
    from collections.abc import Callable

HALF, TEMPERATURE, TIME = 2.5, 0.3, 1.0
LARGEST_ERROR, LARGEST_RATIO = 1e-12, 1 / 20


def motion(cells: int, dim: int = 2) -> FokkerPlanck:
    """The equation."""
    return FokkerPlanck(DoubleWell(), TEMPERATURE, Grid(((-HALF, HALF),) * dim, cells), scheme="holubec")


def routes(cells: int, start: torch.Tensor) -> dict[str, Any]:
    """What is timed: functions that return the density at t = 1."""
    matrix = motion(cells).rates.matrix()
    flat = start.numpy().ravel()
    narrow = start.float()
    found: dict[str, Any] = {
        "thetadot": lambda: motion(cells).propagate(start, TIME).numpy(),
        "thetadot float32": lambda: motion(cells).propagate(narrow, TIME).double().numpy(),
        "scipy expm_multiply": lambda: expm_multiply(matrix * TIME, flat).reshape(start.shape),
    }
    if importlib.util.find_spec("fplanck"):
        found["fplanck"] = fplanck(cells, start)
    else:
        print("fplanck is not installed: not measured (pip install fplanck)")
    return found


def fplanck(cells: int, start: torch.Tensor) -> Any:
    """Fplanck in its own units: drag 1 and k_B T = .3."""
    name = "product"
    if not hasattr(np, name):
        setattr(np, name, np.prod)
    import fplanck as peer
    from scipy import constants

    step = 2 * HALF / cells

    def potential(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x * x - 1) ** 2 / 4 + (y * y - 1) ** 2 / 4

    def run() -> np.ndarray:
        build = getattr(peer, "FokkerPlanck", None) or peer.fokker_planck
        simulation = build(
            temperature=TEMPERATURE / constants.k,
            drag=1.0,
            extent=[2 * HALF, 2 * HALF],
            resolution=step,
            boundary=peer.boundary.reflecting,
            potential=potential,
        )
        begin = start.numpy() * step * step
        mass: np.ndarray = simulation.propagate(lambda *_: begin, TIME, normalize=False)
        return mass / (step * step)

    return run


def once(run: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    """CPU seconds, wall seconds, result."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def kinetic(rounds: int) -> None:
    """The kinetic equation, λ = 1/2, T = .3, central: CPU seconds beside scipy's, A B A B, its matrix ready."""
    print("kinetic equation: ours and scipy expm_multiply, CPU s")
    for cells, time_ in ((128, 1.0), (256, 1.0), (128, 10.0)):
        equation = Kinetic(DoubleWell(), 0.5, TEMPERATURE, Grid(((-HALF, HALF), (-3.0, 3.0)), cells))
        start, matrix = equation.grid.normal((-1.0, 0.0), (0.2, 0.3)), equation._rates.matrix()  # noqa: SLF001
        pairs, apart = [], 0.0
        for _ in range(rounds):
            ours = once(lambda: equation.propagate(start, time_).numpy())  # noqa: B023
            other = once(lambda: expm_multiply(matrix * time_, start.numpy().ravel()))  # noqa: B023
            pairs.append((ours[0], other[0]))
            apart = float(np.abs(ours[2].ravel() - other[2]).sum() * equation.grid.volume)
        mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{cells:5d}² to t = {time_:4g}{mine:9.3f}{theirs:9.3f}   ratio {ratio:.2f}, L1 apart {apart:.1e}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinetic", action="store_true", help="the kinetic equation beside scipy, alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.kinetic:
        kinetic(options.rounds)
        return

    grid = Grid(((-HALF, HALF),) * 2, options.cells)
    start = grid.normal((1.0, -0.5), 0.2)
    side = expm(motion(options.cells, 1).rates.matrix().toarray() * TIME)
    exact = side @ start.numpy() @ side.T
    runs = routes(options.cells, start)
    for name in ("thetadot", "thetadot float32"):
        runs[name]()  # what torch loads at its first use is not counted
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    errors: dict[str, tuple[float, float]] = {}
    for turn in range(options.rounds):
        for name in random.Random(turn).sample(list(runs), len(runs)):
            cpu, wall, result = once(runs[name])
            figures[name].append((cpu, wall))
            errors[name] = float(np.abs(result - exact).sum() * grid.volume), float(result.sum() * grid.volume - 1)
    print(
        f"{options.cells} x {options.cells} to t = {TIME:g}, T = {TEMPERATURE:g}; {options.rounds} rounds, one thread"
    )
    print(f"{'':22}{'CPU s':>9}{'wall s':>9}{'L1 error':>10}{'mass - 1':>10}{'CPU ratio':>11}")
    for name, rounds in figures.items():
        cpu, wall = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(own[0] / other[0] for own, other in zip(figures["thetadot"], rounds, strict=True))
        distance, mass = errors[name]
        print(f"{name:22}{cpu:9.3f}{wall:9.3f}{distance:10.1e}{mass:10.1e}{ratio:11.4f}")
        if name in ("scipy expm_multiply", "fplanck"):
            share = f"1/{1 / ratio:.0f} of its CPU time"
            verdict = "met" if ratio <= LARGEST_RATIO and errors["thetadot"][0] <= LARGEST_ERROR else "missed"
            target = f"; target 1/20 at L1 <= 1e-12: {verdict}" if options.cells == 256 else ""
            print(f"{'':22}{share}{target}")


if __name__ == "__main__":
    main()
