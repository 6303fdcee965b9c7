"""A periodic axis holds periodic potentials alone, however fine its cells."""

import math

import pytest
import torch

from thetadot.density import FokkerPlanck, Gibbs, Grid, Kinetic
from thetadot.errors import InadmissibleValue

TURN = 2 * math.pi
RESOLUTIONS = (64, 166, 452, 1600)


def ring(cells, low=0.0):
    return Grid((low, low + TURN), cells, periodic=True)


def tilted(slope):
    return lambda x: torch.cos(x[..., 0]) - slope * x[..., 0]


@pytest.mark.parametrize("cells", RESOLUTIONS)
@pytest.mark.parametrize("slope", [0.7, -0.7, 1e-3, 50.0])
@pytest.mark.parametrize("law", [FokkerPlanck, Gibbs])
def test_a_tilt_is_refused_at_every_resolution(law, slope, cells):
    with pytest.raises(InadmissibleValue, match=r"the potential is not periodic along axis 0.*pass drift="):
        law(tilted(slope), 0.3, ring(cells))


@pytest.mark.parametrize("cells", [24, 96])
def test_a_tilt_is_refused_where_there_is_a_velocity(cells):
    grid = Grid(((0.0, TURN), (-4.0, 4.0)), (cells, 24), periodic=(True, False))
    with pytest.raises(InadmissibleValue, match="not periodic along axis 0"):
        Kinetic(tilted(0.7), 0.5, 1.0, grid)


@pytest.mark.parametrize("cells", [16, 64])
@pytest.mark.parametrize("wraps", [(True, False), (False, True), (True, True)])
def test_a_tilt_along_one_of_two_axes_is_refused_there(cells, wraps):
    grid = Grid(((0.0, TURN), (0.0, TURN)), cells, periodic=wraps)
    for axis in (0, 1):

        def leaning(x, axis=axis):
            return torch.cos(x[..., 0]) + torch.sin(x[..., 1]) - 0.5 * x[..., axis]

        if wraps[axis]:
            with pytest.raises(InadmissibleValue, match=f"not periodic along axis {axis}"):
                Gibbs(leaning, 1.0, grid)
        else:
            FokkerPlanck(leaning, 1.0, grid)


def test_a_tilt_that_depends_on_the_other_axis_is_refused():
    grid = Grid(((0.0, TURN), (-1.0, 1.0)), 32, periodic=(True, False))
    with pytest.raises(InadmissibleValue, match="not periodic along axis 0"):
        FokkerPlanck(lambda x: x[..., 0] * x[..., 1], 1.0, grid)  # level at the middle of the second axis


@pytest.mark.parametrize(
    "potential",
    [
        lambda x: 200.0 * torch.cos(x[..., 0]),
        lambda x: 200.0 * torch.sin(x[..., 0]) + 1e6,
        lambda x: torch.tanh(1e5 * torch.sin(x[..., 0])),
        lambda x: torch.sin(x[..., 0]).sign(),
        lambda x: (x[..., 0] / TURN) % 1.0,
        lambda x: (x[..., 0] - math.pi) ** 2,
        lambda x: torch.cos(x[..., 0].float()),
        lambda x: 0.0 * x[..., 0],
    ],
    ids=["high", "high-on-an-offset", "a-cliff-at-the-seam", "steps", "saw", "a-kink", "single-precision", "flat"],
)
def test_what_is_periodic_is_taken_however_steep(potential):
    for low in (0.0, -3.0 * TURN):
        moved = FokkerPlanck(lambda x, low=low: potential(x - low), 1.0, ring(4000, low))
        assert float(moved.grid.integrate(moved.steady_state())) == pytest.approx(1.0)


def test_where_a_force_drives_round_the_drift_gives_the_current():
    driven = FokkerPlanck(None, 0.3, ring(400), drift=lambda x: 0.7 + torch.sin(x))
    current = driven.current(driven.steady_state())[0]
    assert float(current.std() / current.mean()) < 1e-6
    assert float(current.mean()) == pytest.approx(0.0389, rel=0.3)
