"""The Dirac game: what is conserved, what falls, and what one step does to a mode."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shared.motion import end, path

from thetadot.analysis import describe, exponential_average, field_of, jacobian, local_spectral_radius, step_of
from thetadot.errors import InadmissibleValue
from thetadot.integrators import Euler, SemiImplicitEuler
from thetadot.systems import DiracGAN

START = (0.2, 0.1, 0.1, 0.2)  # θ, φ
ORIGIN = torch.zeros(4, dtype=torch.float64)

PLAIN = [DiracGAN(kind) for kind in ("non-saturating", "min-max", "linear")]
CONSERVING = [*PLAIN, *(DiracGAN(game.kind, penalty="qp", weight=0.3) for game in PLAIN)]

coordinates = st.lists(st.floats(-2.0, 2.0), min_size=4, max_size=4)


def halves(points):
    return points[..., :2], points[..., 2:]


def rate_of(quantity, game, points):
    """d/dt of a quantity along the field, by autograd."""
    points = torch.tensor([points], dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(quantity(*halves(points)).sum(), points)
    return float((slope * field_of(game)(points)).sum().detach())


@given(coordinates)
def test_angular_momentum_is_conserved_by_every_game_without_friction(points):
    for game in CONSERVING:
        assert rate_of(game.angular, game, points) == pytest.approx(0.0, abs=1e-12)


@given(coordinates, st.floats(0.01, 2.0), st.floats(0.0, 2.0), st.floats(0.0, 2.0))
def test_penalty_and_decay_make_it_fall_at_their_own_rate(points, weight, centre, decay):
    length = math.hypot(*points[2:])
    if length < 1e-3:
        return
    for kind in ("non-saturating", "min-max", "linear"):
        game = DiracGAN(kind, penalty="gp", weight=weight, centre=centre, decay=decay)
        angular = float(game.angular(*halves(torch.tensor(points, dtype=torch.float64))))
        rate = 2 * weight * (1 - centre / length) + decay
        assert rate_of(game.angular, game, points) == pytest.approx(-rate * angular, abs=1e-9)


@given(coordinates)
def test_min_max_conserves_the_radius_and_non_saturating_shrinks_it(points):
    u = points[0] * points[2] + points[1] * points[3]
    expected = {"min-max": 0.0, "linear": 0.0, "non-saturating": 2 * (1 - 2 / (1 + math.exp(-u))) * u}
    for kind, value in expected.items():
        game = DiracGAN(kind)
        assert rate_of(game.radius_square, game, points) == pytest.approx(value, abs=1e-12)
        assert value <= 0


@pytest.mark.slow
def test_wgan_runs_on_closed_orbits():
    game = DiracGAN("wgan")
    generator, critic = halves(path(game, START, 40.0))
    level = game.orbit(generator, critic)
    assert float(level[0]) == pytest.approx(0.1254345880, abs=5e-11)
    assert float((level - level[0]).abs().max()) < 1e-9
    lengths = critic.norm(dim=-1)
    assert float((lengths - lengths[0]).abs().max()) < 1e-9
    # the circle |q| = |φ|, θ across φ, is the one orbit of one radius
    on_circle = path(game, (0.0, 0.5, 0.5, 0.0), 20.0)
    assert torch.allclose(on_circle[:, :2].norm(dim=-1), torch.full((len(on_circle),), 0.5).double(), atol=1e-9)


@pytest.mark.slow
def test_the_non_saturating_game_ends_on_the_circle_of_its_angular_momentum():
    """r² → 2|J|, and where J = 0, as on the line, r² ~ 8/t."""
    assert (end(DiracGAN(), START, 100.0) ** 2).sum() == pytest.approx(0.0671395, abs=5e-8)
    game = DiracGAN()
    wide = end(game, (2.0, 0.0, 0.5, 1.5), 400.0, rtol=1e-8)
    assert (wide**2).sum() == pytest.approx(2 * 3.0, rel=1e-3)
    assert 4000 * (end(game, (1.0, 1.0), 4000.0, rtol=1e-8) ** 2).sum() == pytest.approx(7.99159, abs=1e-4)


@pytest.mark.slow
def test_where_penalties_lead():
    """Centre 1 keeps the critic's slope, and so the game, alive; centre 0 ends it."""
    alive = end(DiracGAN("linear", penalty="gp", weight=0.1, centre=1.0), START, 200.0)
    assert math.hypot(*alive[2:]) == pytest.approx(0.99999982, abs=1e-8)
    assert math.hypot(*alive[:2]) == pytest.approx(1.0000009, abs=1e-7)
    ended = end(DiracGAN("linear", penalty="gp", weight=0.1), START, 40.0)
    assert math.hypot(*ended[:2]) == pytest.approx(0.00241150, abs=1e-8)


@pytest.mark.slow
def test_gan_qp_ends_on_the_same_circle_and_the_decay_at_the_solution():
    start = (2.0, 0.0, 0.5, 1.5)  # J = 3
    circle = end(DiracGAN("linear", penalty="qp", weight=0.5), start, 300.0, rtol=1e-8)
    assert (circle**2).sum() == pytest.approx(6.0, rel=1e-3)
    for kind in ("non-saturating", "min-max", "linear"):
        assert (end(DiracGAN(kind, decay=0.5), start, 200.0, rtol=1e-8) ** 2).sum() < 1e-8


@pytest.mark.parametrize("weight", [0.1, 0.5, 3.0])
def test_eigenvalues_of_the_damped_game(weight):
    """-λ ± √(λ²-1)."""
    values = describe(DiracGAN("linear", penalty="gp", weight=weight), ORIGIN).eigenvalues.numpy()
    root = np.emath.sqrt(weight**2 - 1)
    assert np.sort_complex(values) == pytest.approx(np.sort_complex([-weight + root, -weight - root] * 2), abs=1e-9)


def test_spectral_radii_of_the_simultaneous_and_the_alternating_game():
    gentle = DiracGAN("linear", penalty="gp", weight=0.1)
    for game, step, simultaneous, alternating in (
        (gentle, 0.1, 0.9949874, 0.9899495),
        (gentle, 0.3, 1.0148892, 0.9695360),
        (DiracGAN(), 0.1, 1.0012492, 1.0),
        (DiracGAN(), 1.0, 1.1180340, 1.0),
        (DiracGAN(), 4.1, math.sqrt(1 + 4.1**2 / 4), 1.5625),
    ):
        assert local_spectral_radius(game, Euler(), ORIGIN, step=step) == pytest.approx(simultaneous, abs=1e-7)
        assert local_spectral_radius(game, SemiImplicitEuler(), ORIGIN, step=step) == pytest.approx(
            alternating, abs=1e-7
        )


@settings(max_examples=30)
@given(st.floats(0.01, 0.9), st.floats(0.01, 1.9))
def test_radii_in_closed_form_while_modes_turn(weight, step):
    game = DiracGAN("linear", penalty="gp", weight=weight)
    together = local_spectral_radius(game, Euler(), ORIGIN, step=step)
    assert together == pytest.approx(math.sqrt(1 - 2 * weight * step + step**2), rel=1e-7)
    trace, determinant = 2 - 2 * weight * step - step**2, 1 - 2 * weight * step
    if trace**2 < 3.99 * determinant:
        in_turn = local_spectral_radius(game, SemiImplicitEuler(), ORIGIN, step=step)
        assert in_turn == pytest.approx(math.sqrt(determinant), rel=1e-7)


def test_the_alternating_game_is_the_semi_implicit_step_critic_first():
    theta, phi, step = torch.tensor([[0.3, -0.7]]).double(), torch.tensor([[1.1, 0.4]]).double(), 0.2
    sigmoid = torch.sigmoid
    phi_new = phi - step * sigmoid((theta * phi).sum()) * theta
    theta_new = theta + step * sigmoid(-(theta * phi_new).sum()) * phi_new
    ours = step_of(DiracGAN(), SemiImplicitEuler(), step=step)(torch.cat((theta, phi), -1))
    assert torch.allclose(ours, torch.cat((theta_new, phi_new), -1), atol=1e-15)


@settings(max_examples=20)
@given(st.floats(0.05, 1.0), st.floats(0.9, 0.999))
def test_the_average_keeps_of_a_turning_game_what_its_frequency_response_says(step, decay):
    """Alternating steps of the linear game turn by ω, 2cos ω = 2-γ²: kept |(1-d)/(1-d e^{-iω})|."""
    advance = step_of(DiracGAN("linear"), SemiImplicitEuler(), step=step)
    angle = math.acos(1 - step**2 / 2)
    count = int(40 / (1 - decay)) + 1
    matrix = jacobian(advance, torch.zeros(1, 2, dtype=torch.float64))[0].numpy()
    values, vectors = np.linalg.eig(matrix)
    states = vectors[:, 0] * values[0] ** np.arange(1, count + 1)[:, None]
    whole = torch.from_numpy(np.concatenate([states.real, states.imag], -1))
    average = exponential_average(whole, decay)[-1]
    kept = abs((1 - decay) / (1 - decay * np.exp(-1j * angle)))
    assert float(average.norm() / whole[-1].norm()) == pytest.approx(kept, rel=1e-6)


@given(coordinates, st.floats(0, 2 * math.pi))
def test_the_game_turns_with_its_plane(points, angle):
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    if math.hypot(*points[2:]) < 1e-3 or math.hypot(*points[:2]) < 1e-3:
        return
    x = torch.tensor([points], dtype=torch.float64)
    both = torch.block_diag(turn, turn)
    for game in (*CONSERVING, DiracGAN("wgan"), DiracGAN("linear", penalty="gp", centre=1.0, decay=0.2)):
        field = field_of(game)
        assert torch.allclose(field(x @ both.T), field(x) @ both.T, atol=1e-9)


@pytest.mark.parametrize("game", [*CONSERVING, DiracGAN("linear", penalty="gp", decay=0.1)])
def test_dtype_is_kept_and_the_solution_stands_still(game):
    for dtype in (torch.float32, torch.float64):
        at_rest = field_of(game)(torch.zeros(3, 4, dtype=dtype))
        assert at_rest.dtype == dtype
        assert bool((at_rest == 0).all())
        assert bool(jacobian(field_of(game), torch.zeros(1, 4, dtype=dtype)).isfinite().all())


def test_on_the_line_there_is_no_angular_momentum_and_in_space_more_than_one():
    assert DiracGAN.angular(torch.ones(2, 1), torch.ones(2, 1)).tolist() == [0.0, 0.0]
    with pytest.raises(InadmissibleValue, match="dim=3 has an angular momentum in every plane"):
        DiracGAN.angular(torch.ones(2, 3), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "lsgan"}, "kind='lsgan' is unknown. Pass 'non-saturating'"),
        ({"penalty": "l1"}, "penalty='l1' is unknown"),
        ({"kind": "wgan", "penalty": "gp"}, "has no effect on a critic whose slope is 1"),
        ({"penalty": "qp", "centre": 1.0}, "centre=1 belongs to penalty='gp'"),
        ({"weight": 0.0}, "weight=0 is not positive"),
        ({"decay": -0.1}, "decay=-0.1 is negative"),
        ({"penalty": "gp", "centre": math.nan}, "centre=nan is negative or not finite"),
    ],
)
def test_settings_out_of_range_are_refused(options, said):
    with pytest.raises(InadmissibleValue, match=said):
        DiracGAN(**options)
