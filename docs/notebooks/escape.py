# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Escape over a barrier
# A particle in the double well V(x) = (x² - 1)²/4 with noise of temperature T crosses the barrier of height 1/4 at a
# rate that is exponentially small in 1/T. Three answers to one question: counted paths, Kramers' formula, and the
# spectral gap of the Fokker-Planck equation.

# %%
import torch

import thetadot
from thetadot.density import FokkerPlanck, Grid, escape_rate
from thetadot.integrators import EulerMaruyama
from thetadot.potentials import DoubleWell
from thetadot.systems import Langevin, Problem

grid = Grid((-2.5, 2.5), 200)


# %%
def rates(temperature, time=40.0, paths=20_000):
    """Kramers' rate, half of the spectral gap, and the rate that relaxes the counted share of crossed paths."""
    problem = Problem(Langevin(temperature=temperature), DoubleWell())
    kramers = escape_rate(problem, (-1.0,), (0.0,))
    gap = FokkerPlanck.of(problem, grid).spectral_gap() / 2
    run = thetadot.simulate(problem, EulerMaruyama(), torch.tensor([-1.0]), paths=paths, time=time, step=0.01, key=1)
    crossed = float((run.final > 0).double().mean())
    counted = -torch.log(torch.tensor(1 - 2 * crossed)).item() / (2 * time)  # share on the right is (1 - e^(-2rt))/2
    return kramers, gap, counted


# %%
table = {temperature: rates(temperature) for temperature in (0.08, 0.1, 0.125)}
print("T      Kramers  gap/2    counted")
for temperature, (kramers, gap, counted) in table.items():
    print(f"{temperature:<6} {kramers:.5f}  {gap:.5f}  {counted:.5f}")
    assert abs(counted / gap - 1) < 0.1

# %% [markdown]
# Kramers' formula is the limit of low temperature. The logarithm of the rate over 1/T has the barrier as its slope.

# %%
import math  # noqa: E402 - where it is needed first

hot, cold = 0.125, 0.08
slope = math.log(table[hot][1] / table[cold][1]) / (1 / cold - 1 / hot)
print(f"barrier from the slope: {slope:.3f} (it is 0.25)")
