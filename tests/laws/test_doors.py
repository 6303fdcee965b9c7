"""What is wrong is said in one sentence: wrong kinds of arguments at public doors.

A door is a call that succeeds. Each of its arguments in turn is replaced by what is of no kind that it takes; the door
answers with an error of ours that names what came and says what to pass.
"""

import math

import pytest
import torch

from thetadot import analysis, density, integrators, potentials, simulation, systems
from thetadot.density import Gibbs, Grid, OrnsteinUhlenbeck, Saddle
from thetadot.errors import InadmissibleValue, ThetadotError
from thetadot.integrators import Euler, EulerMaruyama, Leapfrog
from thetadot.integrators.tableaus import RK4
from thetadot.potentials import DoubleWell, Harmonic
from thetadot.systems import ODE, SDE, DampedNewton, DiracGAN, GradientFlow, Kramers, Langevin, Problem

WELL, LINE, PLANE = DoubleWell(), Grid((-2.5, 2.5), 64), Grid(((-3.0, 3.0), (-3.0, 3.0)), 32)
HOT = Problem(Langevin(0.3), Harmonic(2.0))
BALL = Problem(DampedNewton(0.5), WELL)


def falls(x):
    return -x


def bowl(x):
    return (x * x).sum(-1)


def ones(*shape):
    return torch.ones(*shape, dtype=torch.float64)


def door(enter, /, **arguments):
    return pytest.param(enter, arguments, id=enter.__qualname__)


STEPPED = {"system": DampedNewton(0.5), "integrator": Leapfrog(), "step": 0.1, "curvature": 1.0}
MOVED = {"system": GradientFlow(), "integrator": Euler(), "gradient": falls, "initial": ones(1)}
DOORS = [
    door(density.action, path=0 * ones(5, 1), drift=falls, temperature=0.5, time=1.0),
    door(density.most_probable_path, drift=falls, start=(0.0,), end=(1.0,), time=1.0, temperature=0.5, points=11),
    door(density.carry, field=falls, position=ones(2, 1), log_density=ones(2), time=1.0, tolerance=1e-6),
    door(density.log_volume, field=falls, position=ones(2, 1), time=1.0),
    door(Saddle, potential=WELL, minimum=(-1.0,), saddle=(0.0,)),
    door(Saddle(WELL, (-1.0,), (0.0,)).rate, temperature=0.05, friction=10.0),
    door(
        density.count_escapes,
        times=[0.0, 1.0, 2.0],
        states=torch.tensor([-1.0, -1.0, 1.0]).reshape(3, 1, 1),
        departure=lambda x: x[..., 0] < -0.5,
        arrival=lambda x: x[..., 0] > 0.5,
    ),
    door(density.escape_rate, problem=Problem(Langevin(0.05), WELL), minimum=(-1.0,), saddle=(0.0,)),
    door(density.mean_first_passage_time, potential=WELL, temperature=0.3, start=-1.0, target=0.0, wall=-2.0),
    door(density.FokkerPlanck, potential=Harmonic(2.0), temperature=0.3, grid=LINE),
    door(density.FokkerPlanck.of, motion=HOT, grid=LINE),
    door(density.FokkerPlanck.of(HOT, LINE).propagate, density=LINE.normal(0.0, 0.3), time=0.1),
    door(Gibbs, potential=Harmonic(2.0), temperature=0.1, grid=LINE),
    door(Gibbs.of, problem=Problem(Langevin(0.1), Harmonic(2.0)), grid=LINE),
    door(Gibbs(Harmonic(2.0), 0.1, LINE).sample, count=3, key=0),
    door(Gibbs(Harmonic(2.0), 0.1, LINE).mean, function=bowl),
    door(Gibbs(Harmonic(2.0), 0.1, LINE).log_density, position=ones(2, 1)),
    door(Grid, box=(-1.0, 1.0), cells=8, periodic=False),
    door(LINE.normal, mean=0.0, deviation=0.3),
    door(LINE.histogram, samples=ones(5, 1)),
    door(density.Kinetic, potential=bowl, friction=0.5, temperature=0.3, grid=PLANE),
    door(density.Kinetic.of, problem=Problem(Kramers(0.5, 0.3), Harmonic(2.0)), grid=PLANE),
    door(OrnsteinUhlenbeck, matrix=-ones(1, 1), noise=ones(1, 1)),
    door(OrnsteinUhlenbeck.of(HOT).sample, time=1.0, start=ones(3, 1), key=0),
    door(density.ParticleFlow, potential=bowl, temperature=1.0),
    door(density.jko_gaussian, mean=0.0, deviation=1.0, step=1.0),
    door(density.natural_gradient, gradient=ones(2), fisher=torch.eye(2).double()),
    door(density.proximal_step, loss=bowl, position=ones(2), step=1.0),
    door(density.steepest_direction, gradient=ones(2), p=2.0),
    door(analysis.basins, step=lambda x: 0.5 * x, starts=ones(3, 1), attractors=0 * ones(1, 1), steps=9, radius=0.1),
    door(analysis.describe, motion=falls, point=ones(2)),
    door(analysis.divergence, motion=falls, points=ones(3, 2)),
    door(analysis.exponential_average, states=ones(3, 1), decay=0.5),
    door(analysis.find_fixed_points, motion=falls, starts=ones(3, 2), tolerance=1e-9, iterations=9),
    door(analysis.floquet, coefficients=lambda t: -torch.eye(2) + 0 * t, period=1.0, tolerance=1e-6),
    door(analysis.gradient_penalty, lr=0.1, momentum=0.5),
    door(analysis.ModifiedLoss, loss=bowl, lr=0.1, momentum=0.5),
    door(analysis.iterated_field, step_of_points=falls, step=0.1, terms=3),
    door(analysis.jacobian, function=falls, points=ones(3, 2)),
    door(analysis.linearize, **STEPPED),
    door(analysis.slowest_rate, **STEPPED),
    door(analysis.modified_generator, **STEPPED),
    door(analysis.stationary_variance, **{**STEPPED, "system": Kramers(0.5, 0.3), "batch_size": 1.0}),
    door(analysis.local_spectral_radius, motion=DiracGAN(), integrator=Euler(), point=ones(4), step=0.1),
    door(analysis.log_volume, motion=BALL, integrator=Leapfrog(), points=ones(2, 2), step=0.1, steps=3),
    door(analysis.loss_rate, problem=BALL, points=ones(2, 2)),
    door(analysis.measured_order, **MOVED, time=1.0, steps=(10, 20), reference=ones(1)),
    door(analysis.trajectory, **MOVED, step=0.1, steps=3),
    door(analysis.modified_field, motion=falls, step=0.1, order=2, tableau=RK4),
    door(analysis.phase_portrait, motion=falls, x_range=(-1.0, 1.0), y_range=(-1.0, 1.0), points=5),
    door(DoubleWell, barrier=0.25, half_width=1.0),
    door(Harmonic, curvature=1.0),
    door(potentials.Quartic2d, coupling=0.1, tilt=0.1),
    door(potentials.Ring, coupling=0.1, tilt=0.1),
    door(potentials.UnevenWells, offset=1.0),
    door(potentials.gradient_of, potential=bowl),
    door(Problem, system=Langevin(0.1), potential=WELL),
    door(ODE, f=falls),
    door(SDE, f=falls, g=0.3),
    door(Langevin, temperature=0.1),
    door(Kramers, friction=0.5, temperature=0.1),
    door(integrators.RungeKutta, tableau=RK4),
    door(integrators.Splitting, word="BAOAB"),
    door(simulation.simulate, system=ODE(falls), integrator=Euler(), initial=ones(2, 1), time=1.0, step=0.5, save=2),
    door(simulation.simulate, system=HOT, integrator=EulerMaruyama(), initial=ones(2, 1), time=1.0, step=0.5, key=0),
    door(simulation.Save, count=3),
]
WRONG = {"a word": "a", "a class": DoubleWell, "a mapping": {}, "a complex number": 1j, "an object": object()}


def said_in_one_sentence(error):
    return str(error).endswith((".", ")")) and "\n" not in str(error) and ". " in str(error)


@pytest.mark.parametrize(("enter", "arguments"), DOORS)
def test_what_is_of_the_wrong_kind_is_refused(enter, arguments):
    enter(**arguments)
    for name in arguments:
        for kind, wrong in WRONG.items():
            with pytest.raises(ThetadotError) as caught:
                pytest.fail(f"{name}={enter(**{**arguments, name: wrong})}: {kind} was taken")
            assert said_in_one_sentence(caught.value), (name, kind, str(caught.value))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: density.FokkerPlanck(LINE, 0.3, Harmonic(2.0)), "grid=Harmonic"),
        (lambda: density.FokkerPlanck(0.3, Harmonic(2.0), LINE), "temperature=Harmonic"),
        (lambda: Gibbs(LINE, 0.1, LINE), "potential=Grid"),
        (lambda: Problem(WELL, Langevin(0.1)), "Pass first what moves"),
        (lambda: analysis.log_volume(Leapfrog(), BALL, ones(2, 2), step=0.1, steps=1), "motion=Leapfrog"),
        (lambda: density.Kinetic(bowl, PLANE, 0.3, 0.5), "friction=Grid"),
    ],
)
def test_swapped_arguments_are_told_by_name(make, said):
    with pytest.raises(InadmissibleValue, match=said):
        make()


@pytest.mark.parametrize("result", [None, "a", 1.0, torch.ones(3, 3)])
@pytest.mark.parametrize(
    "use",
    [
        lambda f: density.action(ones(5, 1), f, 0.5, 1.0),
        lambda f: density.most_probable_path(f, (0.0,), (1.0,), time=1.0, temperature=0.5, points=5),
        lambda f: density.carry(f, ones(2, 1), ones(2), 1.0),
        lambda f: density.FokkerPlanck(f, 0.3, LINE),
        lambda f: density.FokkerPlanck(None, 0.3, LINE, f),
        lambda f: Gibbs(f, 0.3, LINE),
        lambda f: density.Kinetic(f, 0.5, 0.3, PLANE),
        lambda f: Saddle(f, (-1.0,), (0.0,)),
        lambda f: density.mean_first_passage_time(f, 0.3, -1.0, 0.0, -2.0),
        lambda f: analysis.find_fixed_points(f, ones(2, 2)),
        lambda f: analysis.phase_portrait(f, (-1.0, 1.0), (-1.0, 1.0), points=5),
        lambda f: analysis.basins(f, ones(2, 1), ones(1, 1), steps=1, radius=0.1),
        lambda f: simulation.simulate(Problem(Langevin(0.1), f), EulerMaruyama(), ones(2, 1), time=1.0, step=0.5),
    ],
)
def test_a_function_that_gives_back_the_wrong_thing_is_told(use, result):
    with pytest.raises(InadmissibleValue, match=r"gives|gave|planar"):
        use(lambda x: result)


def lorenz(x):
    return torch.stack((10 * (x[..., 1] - x[..., 0]), x[..., 0] * (28 - x[..., 2]) - x[..., 1], x[..., 2]), -1)


@pytest.mark.parametrize("motion", [lorenz, ODE(lorenz)])
def test_a_portrait_of_three_dimensions_is_refused(motion):
    with pytest.raises(InadmissibleValue, match="not planar"):
        analysis.phase_portrait(motion, (-1.0, 1.0), (-1.0, 1.0), points=5)


def test_a_drift_that_autograd_does_not_see_is_no_straight_line():
    with pytest.raises(InadmissibleValue, match="not differentiable"):
        density.most_probable_path(lambda x: -x.detach(), (0.0,), (1.0,), time=1.0, temperature=0.5)
    free = density.most_probable_path(torch.ones_like, (0.0,), (1.0,), time=1.0, temperature=0.5, points=5)
    assert free[:, 0].tolist() == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("number", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize(
    "make",
    [
        lambda n: density.action(ones(5, 1), falls, n, 1.0),
        lambda n: density.most_probable_path(falls, (0.0,), (1.0,), time=n, temperature=0.5),
        lambda n: density.gaussian_divergence(0.0, n),
        lambda n: analysis.step_of(BALL, Leapfrog(), step=n),
        lambda n: analysis.slowest_rate(**{**STEPPED, "step": n}),
        lambda n: analysis.modified_field(falls, step=n),
        lambda n: analysis.trajectory(**MOVED, step=n, steps=3),
        lambda n: SDE(falls, n),
        lambda n: systems.Langevin(-1.0 if n != n else n),  # noqa: PLR0124
    ],
)
def test_a_number_out_of_range_is_refused_rather_than_carried_along(make, number):
    with pytest.raises(InadmissibleValue):
        make(number)
