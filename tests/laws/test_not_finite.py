"""What is not finite is refused before linear algebra and solvers see it; what may go on without end has a bound."""

import math

import pytest
import torch

from thetadot import analysis, density
from thetadot.density import FokkerPlanck, Grid, OrnsteinUhlenbeck
from thetadot.density.chain import least_chain
from thetadot.errors import Diverged, InadmissibleValue, NotConverged, ThetadotError
from thetadot.integrators import Euler
from thetadot.systems import ODE

WRONG = [math.nan, math.inf, -math.inf]


def ones(*shape):
    return torch.ones(*shape, dtype=torch.float64)


def everywhere(value):
    return lambda x: torch.full_like(x, value) * x


DOORS = {
    "portrait of a field": lambda w: analysis.phase_portrait(everywhere(w), (-1.0, 1.0), (-1.0, 1.0), points=5),
    "fixed points of a field": lambda w: analysis.find_fixed_points(everywhere(w), ones(3, 2)),
    "fixed points from starts": lambda w: analysis.find_fixed_points(lambda x: -x, w * ones(3, 2)),
    "description of a field": lambda w: analysis.describe(everywhere(w), ones(2)),
    "description at a point": lambda w: analysis.describe(lambda x: -x, w * ones(2)),
    "spectral radius of a field": lambda w: analysis.local_spectral_radius(
        ODE(everywhere(w)), Euler(), ones(2), step=0.1
    ),
    "spectral radius at a point": lambda w: analysis.local_spectral_radius(
        ODE(lambda x: -x), Euler(), w * ones(2), step=0.1
    ),
    "kind of eigenvalues": lambda w: analysis.classify(torch.tensor([w, 1.0])),
    "volume of steps": lambda w: analysis.log_volume(ODE(everywhere(w)), Euler(), ones(1, 2), step=0.1, steps=2),
    "volume at points": lambda w: analysis.log_volume(ODE(lambda x: -x), Euler(), w * ones(1, 2), step=0.1, steps=2),
    "period": lambda w: analysis.floquet(lambda t: torch.where(t > 0.3, w, 1.0) * torch.eye(2).double(), 1.0),
    "carried field": lambda w: density.carry(everywhere(w), ones(1, 1), ones(1), 1.0),
    "carried point": lambda w: density.carry(lambda x: -x, w * ones(1, 1), ones(1), 1.0),
    "carried density": lambda w: density.carry(lambda x: -x, ones(1, 1), w * ones(1), 1.0),
    "flow's volume": lambda w: density.log_volume(everywhere(w), ones(1, 1), 1.0),
    "volume from a point": lambda w: density.log_volume(lambda x: -x, w * ones(1, 1), 1.0),
    "metric": lambda w: density.natural_gradient(ones(2), w * torch.eye(2).double()),
    "gradient": lambda w: density.natural_gradient(w * ones(2), torch.eye(2).double()),
    "direction": lambda w: density.steepest_direction(w * ones(2)),
    "proximal step of a loss": lambda w: density.proximal_step(lambda x: w * x.sum(), ones(2), 1.0),
    "proximal step at a point": lambda w: density.proximal_step(lambda x: (x * x).sum(), w * ones(2), 1.0),
    "linear process": lambda w: OrnsteinUhlenbeck(w * ones(1, 1), ones(1, 1)),
    "saddle": lambda w: density.Saddle(lambda x: w * (x * x).sum(-1), (0.0,), (1.0,)),
    "particles": lambda w: density.ParticleFlow(lambda x: (x * x).sum(-1)).run(w * ones(3, 1), time=1.0, step=0.5),
    "drift": lambda w: FokkerPlanck(None, 1.0, Grid((-1.0, 1.0), 8), drift=everywhere(w)),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())
def test_what_is_not_finite_is_refused(door, wrong):
    with pytest.raises(ThetadotError):
        door(wrong)


def test_a_field_that_ends_on_the_way_is_said_with_its_time():
    with pytest.raises(Diverged, match=r"not finite at time 0\.\d+"):
        density.carry(lambda x: 1.0 + 0.0 * torch.sqrt(0.5 - x), 0.0 * ones(1, 1), ones(1), 5.0)


def test_a_field_that_is_not_smooth_ends_at_the_bound(monkeypatch):
    monkeypatch.setattr("thetadot.density.continuity._MOST", 500)
    with pytest.raises(NotConverged, match=r"500 evaluations of the field reach time 1\.\d+"):
        density.carry(lambda x: -x.sign() + 0.1 * x, ones(1, 1), ones(1), 3.0)


def test_a_linear_process_too_fast_for_numbers_is_refused():
    fast = OrnsteinUhlenbeck(-1e300 * ones(1, 1), ones(1, 1))
    with pytest.raises(InadmissibleValue, match="exponent=-inf is not finite"):
        fast.covariance(1e300)


def test_particles_in_a_plane_of_three_dimensions_are_refused():
    flow = density.ParticleFlow(lambda x: (x * x).sum(-1))
    flat = torch.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]], dtype=torch.float64)
    with pytest.raises(InadmissibleValue, match="lie in fewer dimensions"):
        flow.run(flat, time=1.0, step=0.5)


def test_a_chain_without_an_end_to_its_fall_is_left():
    chain = torch.tensor([[0.0], [0.5], [1.0]], dtype=torch.float64)
    found, _ = least_chain(lambda pairs: -torch.exp(pairs[:, 1] ** 2) * (pairs[:, 0] - 1.0), chain, 1.0, rounds=2000)
    assert found.isfinite().all()


def test_a_root_without_a_derivative_is_degenerate():
    found = analysis.find_fixed_points(lambda x: x.sign() * x.abs().sqrt(), ones(1, 1) * 0.0)
    assert [(one.kind, bool(one.eigenvalues.isfinite().all())) for one in found] == [("degenerate", False)]


def test_a_field_defined_in_a_part_of_the_picture_is_drawn_there():
    portrait = analysis.phase_portrait(torch.log, (-1.0, 2.0), (-1.0, 2.0), points=9)
    assert [(one.kind, one.point.round(decimals=6).tolist()) for one in portrait.fixed_points] == [
        ("unstable node", [1.0, 1.0])
    ]
