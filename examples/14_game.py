"""A game goes round for ever; small steps of Euler drive it apart, a penalty ends it, and its end can be foretold."""

import math

import torch

from thetadot.analysis import local_spectral_radius, phase_portrait
from thetadot.integrators import Euler, RungeKutta, SemiImplicitEuler
from thetadot.simulation import simulate
from thetadot.systems import DiracGAN

start = {"position": torch.tensor([[1.0]]).double(), "critic": torch.tensor([[0.0]]).double()}
game, step, time = DiracGAN("min-max"), 0.1, 20.0


def radius(motion, integrator) -> float:
    """How far from the solution the game is at its end; it begins at 1."""
    end = simulate(motion, integrator, start, time=time, step=step).end.state
    return float((end["position"] ** 2 + end["critic"] ** 2).sum()) ** 0.5


found = {
    "exactly (Runge-Kutta)": radius(game, RungeKutta()),
    "both at once (Euler)": radius(game, Euler()),
    "in turn (semi-implicit Euler)": radius(game, SemiImplicitEuler()),
    "with a gradient penalty": radius(DiracGAN("min-max", penalty="gp", weight=0.3), RungeKutta()),
}
for how, distance in found.items():
    print(f"{how:32s} {distance:.4f}")

origin = torch.zeros(2, dtype=torch.float64)
factor = local_spectral_radius(game, Euler(), origin, step=step)
print(f"one step of Euler multiplies by {factor:.7f} near the solution, √(1+γ²/4) = {math.hypot(1, step / 2):.7f}")
portrait = phase_portrait(game, (-2.0, 2.0), (-2.0, 2.0), points=41)
print("the solution is a", *{one.kind for one in portrait.fixed_points})

assert abs(found["exactly (Runge-Kutta)"] - 1) < 1e-4
assert found["both at once (Euler)"] > 1.1
assert abs(found["in turn (semi-implicit Euler)"] - 1) < 0.1
assert found["with a gradient penalty"] < 0.1
assert abs(factor - math.hypot(1, step / 2)) < 1e-9
assert [one.kind for one in portrait.fixed_points] == ["centre"]
