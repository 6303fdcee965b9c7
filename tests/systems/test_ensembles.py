"""Every named system and landscape as an ensemble: the compiled march and the plain one are the same motion."""

import pytest
import torch

from thetadot.integrators import Euler, RungeKutta, SemiImplicitEuler
from thetadot.integrators.tableaus import RK4
from thetadot.potentials import Quartic2d, Ring, UnevenWells
from thetadot.simulation import simulate
from thetadot.systems import (
    Competition,
    DiracGAN,
    GradientFlow,
    InvertedPendulum,
    Jacobi,
    PolyakFlow,
    Problem,
    SimSiam,
    WGANDiv,
)

THETA = torch.tensor([[0.2, 0.1], [0.5, -0.3], [-0.4, 0.9]], dtype=torch.float64)
PHI = torch.tensor([[0.1, 0.2], [1.5, 0.4], [0.7, -0.2]], dtype=torch.float64)
GAME = {"position": THETA, "critic": PHI}
GEOMETRY = Jacobi(Quartic2d(0.1), 3.0)

MOTIONS = {
    "non-saturating": (DiracGAN(), GAME),
    "min-max": (DiracGAN("min-max", decay=0.1), GAME),
    "wgan": (DiracGAN("wgan"), GAME),
    "gp": (DiracGAN("linear", penalty="gp", centre=1.0), GAME),
    "qp": (DiracGAN("linear", penalty="qp"), GAME),
    "wgan-div": (WGANDiv(), GAME),
    "simsiam": (SimSiam(), {"position": THETA, "predictor": PHI}),
    "competition": (Competition(), 300 * THETA.abs()),
    "mathieu": (InvertedPendulum(frequency=50.0), THETA),
    "jacobi": (GEOMETRY, GEOMETRY.start(THETA, PHI)),
    "quartic-2d": (Problem(GradientFlow(), Quartic2d(0.1, 0.2)), THETA),
    "ring": (Problem(GradientFlow(), Ring(0.3, 0.1)), THETA),
    "polyak": (Problem(PolyakFlow(floor=-1.0), UnevenWells()), THETA),
}


@pytest.mark.parametrize(
    ("name", "rule"),
    [(name, SemiImplicitEuler()) for name in MOTIONS]
    + [(name, RungeKutta(RK4)) for name in ("gp", "jacobi", "mathieu")],
)
def test_compiled_and_plain_are_the_same_motion(name, rule):
    system, start = MOTIONS[name]
    compiled, plain = (
        simulate(system, rule, start, time=0.2, step=0.01, compile=compiled).states[-1] for compiled in (True, False)
    )
    assert not torch.equal(plain, start["position"] if isinstance(start, dict) else start)
    assert torch.allclose(compiled, plain, rtol=1e-12, atol=1e-12)


def momentum(_, variables):
    return DiracGAN.angular(variables["position"], variables["critic"])


def test_in_turn_every_path_keeps_its_angular_momentum_and_together_none_does():
    """φ' = φ-aθ, θ' = θ+bφ': J' = J exactly. Both at once: J' = (1+ab)J, ab = γ²σ(u)σ(-u) <= γ²/4."""
    for game, most in ((DiracGAN(), 0.01 / 4), (DiracGAN("linear"), 0.01)):
        in_turn, together = (
            simulate(game, rule, GAME, time=5.0, step=0.1, save=momentum).first.values
            for rule in (SemiImplicitEuler(), Euler())
        )
        assert torch.allclose(in_turn, in_turn[0].expand_as(in_turn), rtol=0, atol=1e-13)
        growth = (together[1:] / together[:-1]).abs()
        assert bool((growth > 1.0).all())
        assert float(growth.max()) <= 1 + most + 1e-12
    assert torch.allclose(growth, torch.full_like(growth, 1.01), atol=1e-12)
