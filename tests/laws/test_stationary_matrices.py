"""Oracles: the Lyapunov equation of the whole state, solved densely; the scalar law, where matrices are numbers."""

import pytest
import torch

from thetadot.analysis import stationary_variance
from thetadot.errors import InadmissibleValue
from thetadot.integrators import Euler, Leapfrog, Splitting
from thetadot.systems import DampedNewton, GradientFlow, Kramers

H = torch.tensor([[2.0, 0.7, 0.0], [0.7, 1.0, 0.2], [0.0, 0.2, 0.5]], dtype=torch.float64)
C = torch.tensor([[1.0, -0.4, 0.3], [-0.4, 2.0, 0.1], [0.3, 0.1, 0.5]], dtype=torch.float64)


def dense(matrix, noise):
    """P = A P Aᵀ + Q."""
    size = len(matrix)
    operator = torch.eye(size * size, dtype=torch.float64) - torch.kron(matrix, matrix)
    return torch.linalg.solve(operator, noise.reshape(-1)).reshape(size, size)


def test_descent_with_matrices_that_do_not_commute():
    assert not torch.allclose(H @ C, C @ H)
    found = stationary_variance(GradientFlow(), Euler(), step=0.3, curvature=H, gradient_variance=C, batch_size=4)
    torch.testing.assert_close(found, dense(torch.eye(3, dtype=torch.float64) - 0.3 * H, 0.09 * C / 4))


def test_heavy_ball_with_matrices_that_do_not_commute():
    lr, beta, eye = 0.2, 0.8, torch.eye(3, dtype=torch.float64)
    step, friction = (2 * lr / (1 + beta)) ** 0.5, (1 - beta) * (2 / (lr * (1 + beta))) ** 0.5
    whole = torch.cat([torch.cat([eye - lr * H, beta * eye], 1), torch.cat([-lr * H, beta * eye], 1)])
    kick = torch.cat([-lr * eye, -lr * eye])
    expected = dense(whole, kick @ C @ kick.T)[:3, :3]
    found = stationary_variance(DampedNewton(friction), Leapfrog(), step=step, curvature=H, gradient_variance=C)
    torch.testing.assert_close(found, expected)


def test_heat_alone_is_gibbs_law():
    found = stationary_variance(Kramers(1.0, 0.3), Splitting("BAOAB"), step=0.5, curvature=H)
    torch.testing.assert_close(found, 0.3 * torch.linalg.inv(H))


def test_a_matrix_of_one_direction_is_the_number():
    given = {"step": 0.3, "gradient_variance": 1.0}
    one = stationary_variance(GradientFlow(), Euler(), curvature=torch.tensor([[2.0]]), **given)
    assert float(one) == pytest.approx(stationary_variance(GradientFlow(), Euler(), curvature=2.0, **given))


@pytest.mark.parametrize(
    ("curvature", "variance", "said"),
    [
        (torch.ones(2, 3), 1.0, "no symmetric finite matrix"),
        (torch.tensor([[1.0, 2.0], [0.0, 1.0]]), 1.0, "no symmetric finite matrix"),
        (torch.eye(2) * float("nan"), 1.0, "no symmetric finite matrix"),
        (torch.eye(2), torch.eye(3), "no covariance of 2 directions"),
        (torch.eye(2), torch.diag(torch.tensor([1.0, -1.0])), "no covariance of 2 directions"),
        (torch.eye(2), -1.0, "no covariance of 2 directions"),
        (-torch.eye(2), 1.0, "is not stable"),
    ],
)
def test_what_is_no_matrix_of_its_kind_is_refused(curvature, variance, said):
    with pytest.raises(InadmissibleValue, match=said):
        stationary_variance(GradientFlow(), Euler(), step=0.3, curvature=curvature, gradient_variance=variance)
