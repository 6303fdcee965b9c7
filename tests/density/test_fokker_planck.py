"""Densities in time: exact references on the same cells, closed forms off them, and laws that hold to rounding."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.linalg import eig, eigvals, expm

from thetadot.density import FokkerPlanck, Gibbs, Grid, OrnsteinUhlenbeck
from thetadot.density.chebyshev import chebyshev
from thetadot.density.uniformization import uniformization
from thetadot.errors import InadmissibleValue, IncompatiblePair, NotConverged
from thetadot.integrators import EulerMaruyama
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import SDE, Kramers, Langevin, Problem

SCHEMES = ["scharfetter-gummel", "holubec"]


def swirl(x):
    """A trap that turns: no gradient."""
    a, b = x.unbind(-1)
    return torch.stack((-a - 2 * b, 2 * a - b), -1)


def coupled(x):
    return (x[..., 0] ** 2 - 1) ** 2 / 4 + (x[..., 1:] ** 2).sum(-1) / 2 + 0.3 * x[..., 0] * x[..., -1]


def driven_on_a_ring(x):
    return 1.0 + 0.5 * x.sin()


def motions(scheme="scharfetter-gummel"):
    """Every kind: walls and wraps, one to three dimensions, with a potential and without."""
    ring = Grid((0.0, 2 * math.pi), 40, periodic=True)
    square = Grid(((-2.0, 2.0), (-2.2, 2.2)), (14, 16))
    cylinder = Grid(((-2.0, 2.0), (0.0, 2 * math.pi)), (14, 12), periodic=(False, True))
    return {
        "well": FokkerPlanck(DoubleWell(), 0.2, Grid((-2.0, 2.0), 50), scheme=scheme),
        "ring": FokkerPlanck(lambda x: x.cos().sum(-1), 0.5, ring, scheme=scheme),
        "plane": FokkerPlanck(coupled, 0.8, square, scheme=scheme),
        "cylinder": FokkerPlanck(lambda x: x[..., 0] ** 2 / 2 + x[..., 1].sin(), 0.5, cylinder, scheme=scheme),
        "space": FokkerPlanck(coupled, 1.0, Grid(((-1.5, 1.5),) * 3, (7, 6, 5)), scheme=scheme),
        "driven": FokkerPlanck(None, 0.3, ring, driven_on_a_ring, scheme),
        "swirl": FokkerPlanck(None, 0.4, square, swirl, scheme),
    }


KINDS = list(motions())


def start(motion):
    """Uneven, positive and not symmetric."""
    ramp = torch.arange(1.0, math.prod(motion.grid.shape) + 1, dtype=torch.float64).reshape(motion.grid.shape)
    return ramp / motion.grid.integrate(ramp)


def distance(grid, p, q):
    return float(grid.integrate((p.double() - q).abs()))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", KINDS)
def test_time_is_that_of_the_dense_exponential(kind, scheme):
    motion = motions(scheme)[kind]
    p = start(motion)
    exact = expm(motion.rates.matrix().toarray() * 0.7) @ p.numpy().ravel()
    found = motion.propagate(p, 0.7)
    assert distance(motion.grid, found, torch.from_numpy(exact).reshape(p.shape)) < 1e-13
    assert float(motion.grid.integrate(found)) == pytest.approx(1, abs=1e-14)
    assert float(found.min()) >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_is_the_divergence_of_the_currents_and_keeps_mass(kind):
    motion = motions()[kind]
    p = start(motion)
    change = motion.rates.matrix() @ p.numpy().ravel()
    flows = motion.current(p)
    divergence = sum(
        (flow - flow.roll(1, a)) / h for a, (flow, h) in enumerate(zip(flows, motion.grid.spacing, strict=True))
    )
    scale = abs(change).max()
    assert np.abs(change + divergence.numpy().ravel()).max() < 1e-13 * scale
    assert np.abs(np.asarray(motion.rates.matrix().sum(0))).max() < 1e-13 * motion.rates.radius()
    assert motion.rates.positive
    for axis, flow in enumerate(flows):
        if not motion.grid.wraps[axis]:
            assert not flow.select(axis, -1).any()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["well", "ring", "plane", "cylinder", "space"])
def test_gibbs_is_stationary_to_1e_13(kind, scheme):
    """By three ways: nothing flows, nothing moves it, and long times end there."""
    motion = motions(scheme)[kind]
    gibbs = torch.exp(-motion.potential(motion.grid.points) / motion.temperature)
    gibbs /= motion.grid.integrate(gibbs)
    assert distance(motion.grid, motion.steady_state(), gibbs) < 1e-13
    for flow, ahead, step in zip(motion.current(gibbs), motion.rates.forward, motion.grid.spacing, strict=True):
        assert bool((flow.abs() <= 1e-13 * step * ahead * gibbs).all())  # beside what flows one way
    assert distance(motion.grid, motion.propagate(gibbs, 1.0), gibbs) < 1e-13
    assert distance(motion.grid, motion.propagate(start(motion), 500.0), gibbs) < 1e-12


@pytest.mark.parametrize("kind", ["driven", "swirl"])
def test_a_drift_without_potential_has_the_null_vector_for_its_law(kind):
    motion = motions()[kind]
    values, vectors = eig(motion.rates.matrix().toarray())
    null = torch.from_numpy(np.real(vectors[:, np.argmin(np.abs(values))])).reshape(motion.grid.shape)
    law = motion.steady_state()
    assert distance(motion.grid, law, null / motion.grid.integrate(null)) < 1e-11
    assert float(law.min()) > 0
    gap = np.sort(-values.real)[1]
    assert motion.spectral_gap() == pytest.approx(gap, rel=1e-8)


@pytest.mark.parametrize("kind", ["well", "ring", "plane", "cylinder", "space"])
def test_the_gap_is_the_second_eigenvalue(kind):
    motion = motions()[kind]
    exact = np.sort(-eigvals(motion.rates.matrix().toarray()).real)[1]
    assert motion.spectral_gap() == pytest.approx(exact, rel=1e-9)


def tilted(x):
    return -DoubleWell().gradient(x) - 0.01


def test_a_law_that_is_reached_after_ages_is_found_and_one_that_rounding_hides_is_refused():
    """Against Gibbs; the drift on a face is the potential's difference to second order."""
    ratios = []
    for cells in (200, 400):
        grid = Grid((-1.7, 1.7), cells)
        gibbs = FokkerPlanck(lambda x: DoubleWell()(x) + 0.01 * x.sum(-1), 0.015, grid).steady_state()
        ratios.append(distance(grid, FokkerPlanck(None, 0.015, grid, tilted).steady_state(), gibbs))
    assert ratios[1] < 0.4 * ratios[0] < 1e-3
    with pytest.raises(NotConverged, match="hardly any mass passes"):
        FokkerPlanck(None, 0.006, Grid((-1.4, 1.4), 400), tilted).steady_state()


def test_a_driven_ring_carries_one_current_all_round():
    """Closed form for a constant drift: the law is even, and J = f/2π."""
    grid = Grid((0.0, 2 * math.pi), 32, periodic=True)
    even = FokkerPlanck(None, 0.3, grid, lambda x: torch.full_like(x, 0.7))
    assert even.steady_state().tolist() == pytest.approx([1 / (2 * math.pi)] * 32, rel=1e-12)
    assert even.current(even.steady_state())[0].tolist() == pytest.approx([0.7 / (2 * math.pi)] * 32, rel=1e-11)
    uneven = motions()["driven"]
    flow = uneven.current(uneven.steady_state())[0]
    assert float(flow.max() - flow.min()) < 1e-11 * float(flow.mean())
    assert float(flow.mean()) > 0.1


def test_a_drift_that_is_a_gradient_moves_as_its_potential_does():
    """A harmonic drift on the face is the difference of the potential over it, exactly."""
    grid = Grid((-3.0, 3.0), 60)
    p = grid.normal(1.0, 0.3)
    one = FokkerPlanck(Harmonic(2.0), 0.3, grid).propagate(p, 0.5)
    other = FokkerPlanck(None, 0.3, grid, lambda x: -2.0 * x).propagate(p, 0.5)
    assert distance(grid, other, one) < 1e-13


@pytest.mark.parametrize("scheme", SCHEMES)
def test_cells_are_of_second_order(scheme):
    """Closed form: the Ornstein-Uhlenbeck Gaussian."""
    process = OrnsteinUhlenbeck.of(Problem(Langevin(0.32), Harmonic()))
    errors = []
    for cells in (100, 200, 400):
        grid = Grid((-5.0, 5.0), cells)
        found = FokkerPlanck(Harmonic(), 0.32, grid, scheme=scheme).propagate(grid.normal(2.0, math.sqrt(0.1)), 1.0)
        variance = process.covariance(1.0, torch.tensor([[0.1]]))
        mean = process.mean(1.0, torch.tensor([2.0]))
        errors.append(distance(grid, found, grid.normal(mean.tolist(), float(variance.sqrt()))))
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([2, 2], abs=0.05)


def test_a_separable_square_is_the_product_of_its_sides():
    """256 x 256 to t = 1: L1 error within 1e-12 of the exact exponential, mass within 1e-12."""
    side, square = Grid((-2.5, 2.5), 256), Grid(((-2.5, 2.5),) * 2, 256)
    step = torch.from_numpy(expm(FokkerPlanck(DoubleWell(), 0.3, side).rates.matrix().toarray()))
    p = square.normal((1.0, -0.5), 0.2)
    found = FokkerPlanck(DoubleWell(), 0.3, square).propagate(p, 1.0)
    assert distance(square, found, step @ p @ step.T) < 1e-12
    assert abs(float(square.integrate(found)) - 1) < 1e-12
    assert float(found.min()) >= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_start_high_on_the_potential_is_carried_in_shorter_times(dtype):
    """A point at 46 T: one sweep would lose e^23 of the precision."""
    grid = Grid((-2.5, 2.5), 128)
    motion = FokkerPlanck(DoubleWell(), 0.15, grid)
    p = grid.delta(2.49)
    exact = torch.from_numpy(expm(motion.rates.matrix().toarray() * 0.5) @ p.numpy())
    found = motion.propagate(p.to(dtype), 0.5)
    assert found.dtype == dtype
    assert distance(grid, found, exact) < 5e3 * torch.finfo(dtype).eps
    assert float(found.min()) >= 0


def test_frames_are_the_densities_at_their_times():
    motion = motions()["well"]
    p = start(motion)
    frames = motion.propagate(p, (0.0, 0.5, 0.5, 2.0))
    assert frames.shape == (4, 50)
    assert torch.equal(frames[0], p)
    assert torch.equal(frames[1], frames[2])
    assert distance(motion.grid, frames[3], motion.propagate(p, 2.0)) < 1e-13
    assert torch.equal(p, start(motion))


def test_free_energy_falls_by_the_fisher_information():
    """dF/dt = -T² ∫ p |∇ log(p/π)|², differences against the cells' own, of second order."""
    residuals = []
    for cells in (100, 200):
        grid = Grid((-2.5, 2.5), cells)
        motion, law = FokkerPlanck(DoubleWell(), 0.3, grid), Gibbs(DoubleWell(), 0.3, grid)
        frames = motion.propagate(grid.normal(0.8, 0.3), (0.1, 0.1 + 5e-4, 0.1 + 1e-3))
        fall = (law.free_energy(frames[2]) - law.free_energy(frames[0])) / 1e-3
        slope = (frames[1] / law.density).log().diff() / grid.spacing[0]
        fisher = float(((frames[1][1:] + frames[1][:-1]) / 2 * slope**2).sum()) * grid.volume
        assert fall < 0
        residuals.append(abs(fall + 0.3**2 * fisher))
    assert residuals[1] < 0.3 * residuals[0] < 1e-2


@pytest.mark.parametrize("drift", [False, True])
def test_means_of_test_functions_move_by_the_generator(drift):
    """d/dt E[φ] = E[f·∇φ + T Δφ], second order in the cells, for a drift that is a gradient and one that is not."""
    residuals = []
    for cells in (40, 80):
        grid = Grid(((-3.0, 3.0), (-3.0, 3.0)), cells)
        x, y = grid.points.unbind(-1)
        field = swirl(grid.points) if drift else -torch.stack((x**3 - x, y**3 - y), -1)
        motion = FokkerPlanck(None, 0.4, grid, swirl) if drift else FokkerPlanck(DoubleWell(), 0.4, grid)
        p = grid.normal((0.4, -0.3), 0.3)
        change = motion.rates.change(p)
        exact = grid.integrate(p * (field[..., 0] * y * y + field[..., 1] * 2 * x * y + 0.4 * 2 * x))
        residuals.append(abs(float(grid.integrate(change * x * y * y) - exact)))
    assert math.log2(residuals[0] / residuals[1]) == pytest.approx(2, abs=0.1)


def test_paths_of_euler_maruyama_have_the_density():
    """Monte Carlo: the histogram of 1e5 paths is the density within what chance makes, and the step's own error."""
    paths, step, steps = 100_000, 0.005, 160
    problem = Problem(Langevin(0.3), DoubleWell())
    rule, generator = EulerMaruyama(), torch.Generator().manual_seed(0)
    scales = rule.prepare(problem.system, step)
    state = {"position": torch.full((paths, 1), 0.5)}
    for _ in range(steps):
        state = rule.advance(
            scales,
            state,
            problem.gradient(state["position"]),
            lambda: torch.randn(paths, 1, generator=generator),
        )
    grid = Grid((-2.5, 2.5), 50)
    fine = Grid((-2.5, 2.5), 800)
    p = FokkerPlanck.of(problem, fine).propagate(fine.normal(0.5, fine.spacing[0]), step * steps)
    p = p.reshape(50, 16).mean(1)  # the cells' means
    share = p * grid.volume
    chance = float((2 * share * (1 - share) / (math.pi * paths)).sqrt().sum())
    assert distance(grid, grid.histogram(state["position"]), p) < 1.3 * chance + step
    assert chance + step < 0.03


def test_both_series_agree_where_both_are_allowed():
    motion = motions()["plane"]
    p = start(motion)
    one, other = chebyshev(motion.rates, p, 1.0), uniformization(motion.rates, p, 1.0)
    assert distance(motion.grid, one, other) < 1e-13


def test_sde_and_problem_say_the_same():
    grid = Grid((-3.0, 3.0), 60)
    one = FokkerPlanck.of(SDE(lambda x: -2.0 * x, 0.8), grid)
    other = FokkerPlanck.of(Problem(Langevin(0.32), Harmonic(2.0)), grid)
    assert distance(grid, one.steady_state(), other.steady_state()) < 1e-10


WALLED = Grid((-2.0, 2.0), 64)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: FokkerPlanck(DoubleWell(), 0.0, WALLED), InadmissibleValue, "temperature=0 is not positive"),
        (lambda: FokkerPlanck(DoubleWell(), math.nan, WALLED), InadmissibleValue, "temperature=nan"),
        (lambda: FokkerPlanck(None, 1.0, WALLED), InadmissibleValue, "either a potential or a drift"),
        (lambda: FokkerPlanck(DoubleWell(), 1.0, WALLED, torch.sin), InadmissibleValue, "either a potential or"),
        (lambda: FokkerPlanck(DoubleWell(), 1e-4, WALLED), InadmissibleValue, "too coarse"),
        (lambda: FokkerPlanck(None, 1e-3, WALLED, lambda x: -x), InadmissibleValue, "diffuse more than the temp"),
        (lambda: FokkerPlanck(None, 1.0, WALLED, lambda x: x.sum(-1)), InadmissibleValue, r"their shape, \(..., dim\)"),
        (lambda: FokkerPlanck(DoubleWell(), 1.0, WALLED, scheme="upwind"), InadmissibleValue, "is unknown"),
        (lambda: motions()["well"].propagate(torch.ones(3), 1.0), InadmissibleValue, "Pass one of the grid's"),
        (lambda: motions()["well"].propagate(torch.ones(50), 1.0), InadmissibleValue, "not normalised"),
        (lambda: motions()["well"].propagate(start(motions()["well"]), -1.0), InadmissibleValue, "time=-1"),
        (lambda: motions()["well"].propagate(start(motions()["well"]), (1.0, 0.5)), InadmissibleValue, "Sort the"),
        (lambda: FokkerPlanck.of(Problem(Kramers(1.0, 1.0), DoubleWell()), WALLED), IncompatiblePair, "use Kinetic"),
        (lambda: FokkerPlanck.of(SDE(torch.sin, torch.cos), WALLED), IncompatiblePair, "a noise that is no number"),
        (lambda: FokkerPlanck.of(SDE(lambda t, x: -t * x, 0.6), WALLED), IncompatiblePair, "a drift of time"),
    ],
)
def test_what_has_no_density_is_refused_in_one_sentence(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_precision_that_does_not_suffice_is_said(monkeypatch):
    monkeypatch.setattr("thetadot.density.chebyshev._MOST_HALVINGS", 1)
    grid = Grid((-2.5, 2.5), 128)
    motion = FokkerPlanck(DoubleWell(), 0.15, grid)
    with pytest.raises(NotConverged, match=r"of the mass negative.*Pass float64"):
        motion.propagate(grid.delta(2.49).float(), 0.5)


@pytest.mark.parametrize("kind", ["well", "swirl"])
def test_a_time_that_would_never_end_is_refused(kind):
    motion = motions()[kind]
    with pytest.raises(InadmissibleValue, match=r"more than 1e8 products.*steady_state"):
        motion.propagate(start(motion), 1e12)


def test_pictures_are_drawn_on_the_axes_given():
    figure = pytest.importorskip("matplotlib.figure")
    for kind in ("well", "plane", "space"):
        motion = motions()[kind]
        ax = figure.Figure().subplots()
        assert motion.plot(motion.steady_state(), ax) is ax
        assert ax.has_data()
    ax = figure.Figure().subplots()
    motions()["well"].plot(motions()["well"].propagate(start(motions()["well"]), (0.0, 1.0, 2.0)), ax)
    assert len(ax.lines) == 3
    with pytest.raises(InadmissibleValue, match="on a grid of"):
        motions()["plane"].plot(torch.ones(3, 14, 16), ax)
