"""A heated ensemble in a double well against its law: histogram, mean energy and the rate at which it forgets."""

import torch

from thetadot.density import FokkerPlanck, Gibbs, Grid
from thetadot.integrators import EulerMaruyama
from thetadot.potentials import DoubleWell
from thetadot.simulation import Save, simulate
from thetadot.systems import Langevin, Problem

paths, temperature = 4_000, 0.2
problem = Problem(Langevin(temperature), DoubleWell())
grid = Grid((-2.6, 2.6), 200)

run = simulate(
    problem,
    EulerMaruyama(),
    torch.tensor([-1.0], dtype=torch.float64),
    time=20.0,
    step=0.02,
    paths=paths,
    save={"states": 10, "side": Save(lambda _, now: now["position"].sign().mean(), count=100)},
)

# the law at the end: the Fokker-Planck equation carries the same start to the same time
equation = FokkerPlanck.of(problem, grid)
density = equation.propagate(grid.normal(-1.0, grid.spacing[0]), 20.0)
for name, measured, weight in (
    ("x", run.final, grid.axes[0]),
    ("U", problem.potential(run.final), problem.potential(grid.points)),
):
    error = float(measured.std()) / paths**0.5
    expected = float(grid.integrate(density * weight))
    print(f"mean of {name}: {float(measured.mean()):.4f} ± {error:.4f}; Fokker-Planck {expected:.4f}")
    assert abs(float(measured.mean()) - expected) < 4 * error + 0.01

# the rate of escape: half of the rate at which the wells forget where the paths began
side = run["side"]
early, late = (int((side.times - t).abs().argmin()) for t in (4.0, 12.0))
a, b = -float(side.values[early]), -float(side.values[late])
rate = float(torch.tensor(a / b).log()) / (2 * float(side.times[late] - side.times[early]))
error = ((1 / b**2 - 1 / a**2) / paths) ** 0.5 / (2 * float(side.times[late] - side.times[early]))
exact = equation.spectral_gap() / 2
print(f"escapes per time: {rate:.4f} ± {error:.4f}; half the spectral gap {exact:.4f}")
assert abs(rate - exact) < 4 * error + 0.03 * exact

distance, chance = Gibbs.of(problem, grid).discrepancy(run.final)
print(f"distance from Gibbs' law {distance:.3f}; by chance {chance:.3f}")
