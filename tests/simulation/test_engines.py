"""The same motion by every engine: to rounding where the noise is the same, in law where it is not."""

import pytest
import torch

from thetadot.fusion.compiler import compiler
from thetadot.integrators import SRA1, Euler, EulerMaruyama, Heun, Leapfrog, RungeKutta, SemiImplicitEuler, Splitting
from thetadot.potentials import DoubleWell
from thetadot.simulation.engines import Compiled, InPlace, Plain, Randomness
from thetadot.simulation.motion import posed
from thetadot.simulation.noise import PATHS
from thetadot.systems import (
    ODE,
    SDE,
    DampedNewton,
    GradientFlow,
    Kramers,
    Langevin,
    NormalizedFlow,
    PolyakFlow,
    Problem,
    SignFlow,
)


def pendulum(t, x):
    return torch.stack([x[:, 1], -torch.sin(x[:, 0]) + 0.3 * torch.cos(t)], -1)


def mixing(x):
    return torch.stack([x, torch.sin(x.flip(-1)), 0.3 + 0 * x], -1)


MOTIONS = {
    "Langevin": (Problem(Langevin(0.2), DoubleWell()), EulerMaruyama()),
    "Kramers, word": (Problem(Kramers(1.0, 0.5), DoubleWell()), Splitting("BAOAB")),
    "Kramers, two stages": (Problem(Kramers(1.0, 0.5), DoubleWell()), Splitting("BABOBAB")),
    "Kramers, leapfrog": (Problem(Kramers(1.0, 0.5), DoubleWell()), Leapfrog()),
    "Newton, RK4": (Problem(DampedNewton(0.2), DoubleWell()), RungeKutta()),
    "Newton, semi-implicit": (Problem(DampedNewton(0.2), DoubleWell()), SemiImplicitEuler()),
    "a loss": (Problem(GradientFlow(), lambda x: torch.logsumexp(x, -1) + x.square().sum(-1)), Euler()),
    "signs": (Problem(SignFlow(), DoubleWell()), Euler()),
    "norms": (Problem(NormalizedFlow(), DoubleWell()), Euler()),
    "Polyak": (Problem(PolyakFlow(), DoubleWell()), Euler()),
    "time": (ODE(pendulum), RungeKutta()),
    "multiplicative": (SDE(lambda x: 0.1 * x, lambda x: 0.4 * x), EulerMaruyama()),
    "three sources": (SDE(lambda x: 0.1 * x, mixing, sources=3), EulerMaruyama()),
    "one source, Heun": (
        SDE(lambda x: 0 * x, lambda x: torch.stack([-x[:, 1:], x[:, :1]], 1), "stratonovich", sources=1),
        Heun(),
    ),
    "correlated": (SDE(lambda x: -x, torch.tensor([[1.0, 0.0, 0.3], [0.5, 0.2, 0.0]])), SRA1()),
    "one source, in Itô's sense": (
        SDE(lambda x: 0 * x, lambda x: torch.sin(x)[..., None], "stratonovich", sources=1).in_ito(),
        EulerMaruyama(),
    ),
}


def begun(case, paths=777, dim=2, dtype=torch.float32):
    system, integrator = MOTIONS[case]
    motion = posed(system, integrator, 0.05)
    x = torch.linspace(0.3, 1.7, paths * dim, dtype=dtype).reshape(paths, dim)
    state, _ = integrator.open(
        motion.system, 0.05, motion.begin({"position": x}), motion.force, lambda: torch.ones_like(x)
    )
    return motion, x, state


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", MOTIONS)
def test_in_place_is_plain_to_rounding(case, dtype):
    motion, x, state = begun(case, dtype=dtype)
    own = Randomness(3)
    steps = 3 if case == "norms" else 20  # near a minimum it jumps about, and rounding grows
    plain, inplace = Plain(motion, own).march(state, 0, steps), InPlace(motion, own, x).march(state, 0, steps)
    for name in motion.tensors:
        assert torch.allclose(plain[name], inplace[name], rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-13)


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", MOTIONS)
def test_compiled_is_plain_with_counters_to_rounding(case, dtype):
    motion, x, state = begun(case, dtype=dtype)
    plain = Plain(motion, Randomness(3, counters=True)).march(state, 0, 20)
    compiled = Compiled(motion, Randomness(3), x).march(state, 0, 20)
    for name in motion.tensors:
        assert torch.allclose(plain[name], compiled[name], rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-13)


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("case", ["Langevin", "Kramers, word", "multiplicative"])
def test_rules_of_elementary_operations_are_equal_bit_for_bit(case):
    motion, x, state = begun(case)
    plain = Plain(motion, Randomness(3, counters=True)).march(state, 0, 20)
    compiled = Compiled(motion, Randomness(3), x).march(state, 0, 20)
    for name in motion.tensors:
        assert torch.equal(plain[name], compiled[name])


def engines(motion, x, noise="normal"):
    made = [Plain(motion, Randomness(3, noise)), InPlace(motion, Randomness(3, noise), x)]
    return [*made, Compiled(motion, Randomness(3, noise), x)] if compiler() is not None else made


@pytest.mark.parametrize("cut", [1, 63, 64, 65])
def test_a_march_may_be_cut_anywhere(cut):
    motion, x, state = begun("Kramers, word", paths=50)
    for engine in engines(motion, x):
        whole = engine.march(state, 0, 130)
        parts = engine.march(engine.march(state, 0, cut), cut, 130 - cut)
        assert torch.equal(whole["position"], parts["position"]), engine.name


def test_paths_do_not_depend_on_those_beside_them():
    motion, x, state = begun("Langevin", paths=PATHS + 100, dim=1)
    rest = {"position": x[PATHS:].contiguous()}
    for kind in (Plain, lambda m, r: InPlace(m, r, x), *([lambda m, r: Compiled(m, r, x)] if compiler() else [])):
        whole = kind(motion, Randomness(3)).march(state, 0, 7)["position"]
        part = kind(motion, Randomness(3, first=PATHS)).march(rest, 0, 7)["position"]
        assert torch.equal(whole[PATHS:], part)


def test_a_state_that_was_marched_is_as_it_was():
    motion, x, state = begun("Kramers, word")
    before = {name: value.clone() for name, value in state.items()}
    for engine in engines(motion, x):
        engine.march(state, 0, 3)
        for name in motion.tensors:
            assert torch.equal(state[name], before[name]), engine.name


@pytest.mark.parametrize("noise", ["normal", "rademacher"])
def test_both_kinds_of_noise_have_mean_0_and_variance_1(noise):
    motion = posed(SDE(lambda x: 0.0 * x, 1.0), EulerMaruyama(), 1.0)
    x = torch.zeros(200_000, 1)
    for engine in engines(motion, x, noise):
        drawn = engine.march(motion.begin({"position": x}), 0, 1)["position"]
        assert abs(float(drawn.mean())) < 5 / 200_000**0.5
        assert abs(float(drawn.square().mean()) - 1) < 5 * 2**0.5 / 200_000**0.5
        later = engine.march(motion.begin({"position": x}), 1, 1)["position"]
        assert abs(float((drawn * later).mean())) < 5 / 200_000**0.5
        if noise == "rademacher":
            assert set(drawn.unique().tolist()) == {-1.0, 1.0}
