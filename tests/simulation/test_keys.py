"""Without a key: one of torch's default generator, which the result keeps."""

import pytest
import torch

from thetadot.integrators import EulerMaruyama, Splitting
from thetadot.potentials import DoubleWell
from thetadot.simulation import simulate
from thetadot.systems import SDE, Kramers, Problem

WIENER = SDE(lambda x: 0 * x, 1.0)
MOTIONS = {
    "Wiener": (WIENER, EulerMaruyama()),
    "Kramers": (Problem(Kramers(1.0, 0.3), DoubleWell()), Splitting("BAOAB")),
}
RUN = {"time": 1.0, "step": 0.1}


@pytest.mark.parametrize("case", MOTIONS)
def test_torchs_seed_decides_the_noise_and_the_key_repeats_it(case):
    found = {}
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        run = simulate(*MOTIONS[case], torch.zeros(4, 1), **RUN)
        assert seed not in found or torch.equal(run.final, found[seed].final)
        found[seed] = run
    assert found[1].key != found[2].key
    assert not torch.equal(found[1].final, found[2].final)
    again = simulate(*MOTIONS[case], torch.zeros(4, 1), key=found[1].key, **RUN)
    assert torch.equal(again.final, found[1].final)


def test_parts_joined_by_hand_are_independent():
    """Wiener: the variance of ten parts of time 1 is 10."""
    torch.manual_seed(0)
    x, paths = torch.zeros(1, 1).expand(20_000, 1), 20_000
    for _ in range(10):
        x = simulate(WIENER, EulerMaruyama(), x, **RUN).final
    assert abs(float(x.var()) / 10 - 1) < 5 * (2 / paths) ** 0.5


def test_a_trajectory_goes_on_with_its_own_key():
    torch.manual_seed(5)
    whole = simulate(WIENER, EulerMaruyama(), torch.zeros(50, 1), **RUN)
    torch.manual_seed(5)
    half = simulate(WIENER, EulerMaruyama(), torch.zeros(50, 1), time=0.5, step=0.1)
    before = torch.get_rng_state()
    rest = simulate(WIENER, EulerMaruyama(), half, time=0.5, step=0.1)
    assert torch.equal(before, torch.get_rng_state())
    assert rest.key == half.key == whole.key
    assert torch.equal(rest.final, whole.final)
