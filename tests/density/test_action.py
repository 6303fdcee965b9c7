"""Paths and their weights: the harmonic closed form, the cost of a climb, geometric Brownian motion's law."""

import math

import pytest
import torch

from thetadot.density import OrnsteinUhlenbeck, action, most_probable_path
from thetadot.errors import InadmissibleValue, NotConverged
from thetadot.integrators import EulerMaruyama
from thetadot.potentials import DoubleWell, Harmonic, Ring, gradient_of
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


def muller_brown(x):
    """Müller, Brown, Theor. Chim. Acta 53, 75 (1979), times 0.05."""
    shape = torch.tensor(
        [[-200.0, -100.0, -170.0, 15.0], [-1, -1, -6.5, 0.7], [0, 0, 11, 0.6], [-10, -10, -6.5, 0.7]]
    ).double()
    dx = x[..., :1] - torch.tensor([1.0, 0.0, -0.5, -1.0]).double()
    dy = x[..., 1:] - torch.tensor([0.0, 0.5, 1.5, 1.0]).double()
    return 0.05 * (shape[0] * torch.exp(shape[1] * dx * dx + shape[2] * dx * dy + shape[3] * dy * dy)).sum(-1)


def falling(x):
    return -gradient_of(muller_brown)(x)


REACTANT, PRODUCT = (-0.5582236346, 1.4417258418), (0.6234994049, 0.0280377585)


def slope_of(path, drift, temperature, time, *, volume=True):
    """|∂S/∂x| at inner points, in units of what one step of free motion weighs."""
    path = path.clone().requires_grad_()
    action(path, drift, temperature, time, volume=volume).backward()
    unit = math.sqrt(2 * temperature * time / (len(path) - 1))
    return float(path.grad[1:-1].abs().max()) * unit


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.02, 0.001])
def test_over_muller_browns_landscape_the_path_is_a_minimum_at_every_temperature(temperature):
    path = most_probable_path(falling, REACTANT, PRODUCT, time=2.0, temperature=temperature, points=101)
    assert slope_of(path, falling, temperature, 2.0) < 1e-6
    least = float(action(path, falling, temperature, 2.0))
    generator = torch.Generator().manual_seed(0)
    unit = math.sqrt(2 * temperature * 2.0 / 100)
    for size in (1e-2, 1e-1):
        for _ in range(20):
            kicks = torch.randn(99, 2, generator=generator, dtype=torch.float64)
            other = path.clone()
            other[1:-1] += size * unit * kicks
            assert float(action(other, falling, temperature, 2.0)) > least


@pytest.mark.slow
def test_over_muller_browns_landscape_the_climb_costs_both_barriers_at_second_order():
    """The pass at (-0.822, 0.624) from the reactant, and the one at (0.212, 0.293) from the well between."""
    points = torch.tensor(
        [REACTANT, (-0.8220015587, 0.6243128029), (-0.0500108228, 0.4666941049), (0.21248658, 0.29298833)]
    )
    bottom, high, between, low = muller_brown(points.double()).tolist()
    exact = high - bottom + low - between
    far = []
    for count in (101, 201, 401):
        path = most_probable_path(falling, REACTANT, PRODUCT, time=1.5, temperature=0.02, points=count, volume=False)
        far.append(0.02 * float(action(path, falling, 0.02, 1.5, volume=False)) - exact)
    assert 0 < far[2] < 0.01 * exact
    assert math.log2((far[0] - far[1]) / (far[1] - far[2])) == pytest.approx(2, abs=0.25)


@pytest.mark.parametrize("temperature", [1.0, 0.001])
def test_the_harmonic_path_is_the_same_at_every_temperature(temperature):
    drift = lambda x: -1.5 * x
    path = most_probable_path(drift, (0.4, 0.0), (1.0, -1.0), time=2.0, temperature=temperature, points=201)
    t = torch.linspace(0, 2, 201, dtype=torch.float64)
    exact = -torch.sinh(1.5 * t) / math.sinh(3.0)
    assert float((path[:, 1] - exact).abs().max()) < 2e-5


def test_a_path_that_symmetry_holds_on_a_ridge_leaves_it():
    """Round the hill in the middle of a ring: straight over its top the sum is stationary, and no minimum."""
    ring = Ring()
    path = most_probable_path(
        lambda x: -ring.gradient(x), (-1.0, 0.0), (1.0, 0.0), time=8.0, temperature=0.05, points=101
    )
    straight = torch.stack((path[:, 0], torch.zeros(101).double()), 1)
    assert float(path[:, 1].abs().max()) > 0.5
    assert action(path, lambda x: -ring.gradient(x), 0.05, 8.0) < action(
        straight, lambda x: -ring.gradient(x), 0.05, 8.0
    )


@pytest.mark.slow
def test_points_that_jump_a_barrier_are_refused():
    with pytest.raises(InadmissibleValue, match=r"too few: .* Pass at least"):
        most_probable_path(falling, REACTANT, PRODUCT, time=20.0, temperature=0.02, points=201, volume=False)


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
