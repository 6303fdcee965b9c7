"""Paths and their weights: the harmonic closed form, the cost of a climb, geometric Brownian motion's law."""

import math

import pytest
import torch

from thetadot.density import OrnsteinUhlenbeck, action, most_probable_path
from thetadot.errors import InadmissibleValue, NotConverged
from thetadot.integrators import EulerMaruyama
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import SDE, Langevin, Problem

WELL = DoubleWell()


def slide(x):
    return -WELL.gradient(x)


def test_the_harmonic_path_is_a_hyperbolic_sine_at_second_order():
    h, time = 1.5, 2.0
    errors = []
    for points in (101, 201):
        path = most_probable_path(
            lambda x: -h * x, (0.4,), (1.0,), time=time, temperature=0.5, points=points, volume=False
        )
        t = torch.linspace(0, time, points, dtype=torch.float64)
        exact = (0.4 * torch.sinh(h * (time - t)) + torch.sinh(h * t)) / math.sinh(h * time)
        errors.append(float((path[:, 0] - exact).abs().max()))
    assert errors[1] < 2e-5
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.05)


def test_the_action_of_the_harmonic_path_is_the_exponent_of_its_transition():
    process = OrnsteinUhlenbeck.of(Problem(Langevin(0.5), Harmonic(1.5)))
    start, end, time = 0.4, 1.0, 2.0
    path = most_probable_path(lambda x: -1.5 * x, (start,), (end,), time=time, temperature=0.5, points=801)
    mean = float(process.mean(time, torch.tensor([start])))
    exact = (end - mean) ** 2 / (2 * float(process.covariance(time)))
    assert float(action(path, lambda x: -1.5 * x, 0.5, time, volume=False)) == pytest.approx(exact, rel=1e-5)
    volume = float(action(path, lambda x: -1.5 * x, 0.5, time)) - float(
        action(path, lambda x: -1.5 * x, 0.5, time, volume=False)
    )
    assert volume == pytest.approx(-1.5 * time / 2, rel=1e-12)


def test_the_path_over_a_barrier_costs_its_height_and_is_the_descent_reversed():
    """ΔU/T as the time grows; on the way up ẋ = +∇U, on the way down ẋ = -∇U."""
    costs = []
    for time in (2.0, 4.0, 8.0):
        path = most_probable_path(slide, (-1.0,), (0.0,), time=time, temperature=0.05, points=601, volume=False)
        costs.append(float(action(path, slide, 0.05, time, volume=False)))
    assert costs[0] > costs[1] > costs[2]
    assert costs[2] == pytest.approx(0.25 / 0.05, rel=2e-3)
    middle = (path[1:] + path[:-1]) / 2
    slope = path.diff(dim=0) / (8.0 / 600)
    assert float((slope + slide(middle)).abs().max()) < 1.5e-2
    assert float(slope.max()) > 0.3


def test_over_two_dimensions_the_path_goes_by_the_saddle():
    def field(x):
        return -torch.stack((x[..., 0] ** 3 - x[..., 0], 4 * (x[..., 1] - 1 + x[..., 0] ** 2)), -1)

    # the well's valley is bent: y = 1 - x²
    path = most_probable_path(field, (-1.0, 0.0), (1.0, 0.0), time=16.0, temperature=0.05, points=161)
    assert float((path - torch.tensor([0.0, 1.0])).norm(dim=1).min()) < 0.06
    assert float(path[:, 1].max()) < 1.06


def test_without_the_volume_term_paths_have_the_wrong_weight():
    """The Radon-Nikodym weight of small steps against free motion: E[e^(-S)] = 1 needs the midpoint's ½∇·f."""
    temperature, time, steps, paths = 0.5, 1.0, 64, 100_000
    generator = torch.Generator().manual_seed(0)
    kicks = torch.randn(paths, steps, generator=generator, dtype=torch.float64)
    x = torch.cat((torch.zeros(paths, 1).double(), kicks.cumsum(1) * math.sqrt(2 * temperature * time / steps)), 1)
    middle, step = (x[:, 1:] + x[:, :-1]) / 2, time / steps

    def drift(y):
        return -(y**3) / 2

    excess = (x.diff(dim=1) / step - drift(middle)) ** 2 - (x.diff(dim=1) / step) ** 2
    bare = step * excess.sum(1) / (4 * temperature)
    volume = step * (-1.5 * middle**2).sum(1) / 2
    weight, wrong = torch.exp(-bare - volume), torch.exp(-bare)
    assert abs(float(weight.mean()) - 1) < 4 * float(weight.std()) / math.sqrt(paths) + 2e-3
    assert abs(float(wrong.mean()) - 1) > 0.1
    one = x[0][:, None]
    both = action(one, drift, temperature, time) - action(one, torch.zeros_like, temperature, time)
    assert float(both) == pytest.approx(float(bare[0] + volume[0]), rel=1e-10)


def test_geometric_brownian_motion_has_sigma_squared_in_its_law():
    """ln S(T) ~ N((μ - σ²/2)T, σ²T): with σ = .4 and T = 2 the variance is .32 (not σT = .8)."""
    motion = SDE(lambda x: 0.1 * x, lambda x: 0.4 * x)
    generator, steps, paths = torch.Generator().manual_seed(0), 100, 40_000
    rule = EulerMaruyama()
    scales, state = rule.prepare(motion, 2.0 / steps), {"position": torch.ones(paths, 1)}
    for _ in range(steps):
        state = rule.advance(scales, state, state["position"], lambda: torch.randn(paths, 1, generator=generator))
    log = state["position"].log()
    assert float(log.var()) == pytest.approx(0.32, rel=4 * math.sqrt(2 / paths) + 0.01)
    assert float(log.mean()) == pytest.approx((0.1 - 0.08) * 2, abs=4 * math.sqrt(0.32 / paths) + 2e-3)


PATH = torch.zeros(5, 1)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: action(PATH, slide, 0.0, 1.0), InadmissibleValue, "temperature=0"),
        (lambda: action(PATH, slide, 1.0, 0.0), InadmissibleValue, "time=0"),
        (lambda: action(PATH[:1], slide, 1.0, 1.0), InadmissibleValue, "n >= 2"),
        (lambda: most_probable_path(slide, (0.0,), (1.0, 1.0), time=1, temperature=1), InadmissibleValue, "two points"),
        (
            lambda: most_probable_path(slide, (0.0,), (1.0,), time=1, temperature=1, points=2),
            InadmissibleValue,
            "below",
        ),
        (
            lambda: most_probable_path(slide, (0.0,), (1.0,), time=1, temperature=1, guess=PATH),
            InadmissibleValue,
            "guess of shape",
        ),
        (
            lambda: most_probable_path(lambda x: x / (x - x), (0.0,), (1.0,), time=1, temperature=1),
            NotConverged,
            "Pass a guess",
        ),
    ],
)
def test_what_has_no_path_is_refused_in_one_sentence(make, error, said):
    with pytest.raises(error, match=said):
        make()
