"""Oracles: the dense covariance of all steps, a shuffled ridge regression, the limits of slow and fast modes."""

import numpy as np
import pytest
import torch

from thetadot.core.epochs import (
    EpochDivision,
    epoch_share,
    flat_share,
    heavy_ball_covariance,
    heavy_ball_variance,
    remainder_share,
)
from thetadot.errors import InadmissibleValue
from thetadot.translation import temperature


def dense(matrix, kick, epoch, epochs=400):
    """Powers of the matrix on each epoch's noise, B/b_k on the diagonal less B/N everywhere, without a doubling."""
    batches, last, held = epoch
    noise = np.diag([*[1.0] * (batches - 1), 1.0 / last]) - 1.0 / (held or batches - 1 + last)
    size = len(kick)
    start = np.zeros((size, size))
    for _ in range(epochs):
        mean, cov = np.zeros((size, size)), start
        response = np.zeros((size, batches))
        power = np.eye(size)
        for k in range(batches):
            mean += (power @ start @ power.T + response @ noise @ response.T) / batches
            response = matrix @ response
            response[:, k] += kick
            power = matrix @ power
        cov = power @ start @ power.T + response @ noise @ response.T
        start = cov
    return mean


@pytest.mark.parametrize(
    "epoch", [
        *map(EpochDivision, (1, 2, 3, 8, 13)),
        *(EpochDivision.of(*sizes) for sizes in ((10, 4), (10, 8), (70, 8))),
        *(EpochDivision.of(*sizes, drop_last=True) for sizes in ((9, 4), (70, 8), (15, 8))),
    ]
)  # fmt: skip
@pytest.mark.parametrize(("lr", "momentum", "h"), [(0.1, 0.0, 1.0), (0.3, 0.9, 2.0), (0.5, 0.5, 0.3), (0.2, 0.9, 0.05)])
def test_epochs_by_doubling_are_epochs_step_by_step(lr, momentum, h, epoch):
    matrix, kick = np.array([[1 - lr * h, momentum], [-lr * h, momentum]]), np.array([-lr, -lr])
    xx, xy, yy = heavy_ball_covariance(lr, momentum, h, epoch)
    assert np.array([[xx, xy], [xy, yy]]) == pytest.approx(dense(matrix, kick, epoch), rel=1e-9, abs=1e-15)


def test_an_epoch_is_cut_as_a_data_loader_cuts_it():
    for size in range(1, 30):
        for batch in range(1, size + 1):
            for drop_last in (False, True):
                loader = torch.utils.data.DataLoader(range(size), batch_size=batch, drop_last=drop_last)
                sizes = [len(x) for x in loader]
                epoch = EpochDivision.of(size, batch, drop_last=drop_last)
                assert (epoch.batches, epoch.size) == (len(sizes), size / batch)
                assert epoch.last * batch == pytest.approx(sizes[-1])


@pytest.mark.parametrize(
    ("batches", "momentum", "flat", "crossing", "variance"),
    [(1000, 0.0, 1.001, 0.545, 1.0), (1000, 0.9, 0.991, 0.543, 0.972), (10, 0.0, 1.1, 0.604, 0.99),
     (10, 0.9, 0.793, 0.456, 0.216)],
)  # fmt: skip
def test_the_articles_two_regimes_are_limits_of_the_exact_law(batches, momentum, flat, crossing, variance):
    lr = 0.01
    cross = 3 * (1 - momentum) / (lr * batches)

    def correlation_time(h):
        place, _, step = heavy_ball_covariance(lr, momentum, h, batches)
        return 2 * place / step

    slow = batches / 3 * (1 + momentum) / (1 - momentum)
    assert correlation_time(1e-6 * cross) / slow == pytest.approx(flat, abs=1e-3)
    assert correlation_time(cross) / ((1 + momentum) / (lr * cross)) == pytest.approx(crossing, abs=1e-3)
    assert correlation_time(cross) / slow == pytest.approx(crossing, abs=1e-3)
    theirs = lr**2 * batches / (6 * (1 - momentum) ** 2)
    assert heavy_ball_variance(lr, momentum, 1e-6 * cross, batches) / theirs == pytest.approx(variance, abs=1e-3)
    assert flat_share(lr, momentum, batches) / (lr * batches / (3 * (1 - momentum))) == pytest.approx(
        variance, abs=1e-3
    )


def test_the_articles_autocorrelation_is_that_of_an_epochs_noise():
    generator, batches, epochs = np.random.default_rng(0), 6, 40_000
    noise = generator.standard_normal((epochs, batches))
    noise = (noise - noise.mean(1, keepdims=True)).reshape(-1)
    for n in range(1, batches):
        expected = -(batches - n) / (batches * (batches - 1))
        found = noise[:-n] @ noise[n:] / (noise @ noise)
        assert found == pytest.approx(expected, abs=4 / noise.size**0.5)


@pytest.mark.parametrize("slow", [1e-3, 1e-6, 1e-9, 1e-12])
def test_slow_modes_of_descent_are_colder_by_a_third_of_alpha_h_m_plus_one(slow):
    batches, lr = 50, 0.1
    h = slow / (lr * batches)
    true = temperature(lr, 0.0, 1.0, 4, sampling="epochs", dataset_size=4 * batches, curvature=h)
    recorded = temperature(lr, 0.0, 1.0, 4) * (1 - 1 / batches)
    assert recorded / true == pytest.approx(3 / (lr * h * (batches + 1)), rel=max(slow, 1e-5))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_many_batches_on_a_steep_direction_are_draws_with_replacement(momentum):
    given = {"gradient_variance": 3.0, "batch_size": 4, "curvature": 0.5}
    epochs = temperature(0.2, momentum, sampling="epochs", dataset_size=4 * 10**6, **given)
    assert epochs == pytest.approx(temperature(0.2, momentum, **given), rel=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_shuffled_ridge_regression_has_the_temperature_of_epochs(momentum):
    generator = torch.Generator().manual_seed(3)
    samples, batch, dim, lr = 64, 8, 3, 0.02 * (1 - momentum)
    x = torch.randn(samples, dim, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 1.0, 0.3])
    x = x - x.mean(0)
    y = torch.randn(samples, generator=generator, dtype=torch.float64)
    hessian = x.T @ x / samples + 0.01 * torch.eye(dim, dtype=torch.float64)
    best = torch.linalg.solve(hessian, x.T @ y / samples)
    values, vectors = torch.linalg.eigh(hessian)
    noise = (x * (x @ best - y)[:, None]) @ vectors  # of each sample, at the minimum, along each direction
    variance = noise.var(0, correction=1)
    paths, epochs, burn = 400, 120, 60
    w, v = best.repeat(paths, 1), torch.zeros(paths, dim, dtype=torch.float64)
    squares = torch.zeros(paths, dim, dtype=torch.float64)
    for epoch in range(epochs):
        order = torch.rand(paths, samples, generator=generator).argsort(1)
        for part in order.split(batch, dim=1):
            if epoch >= burn:
                squares += ((w - best) @ vectors) ** 2
            # the noise of the minimum: what is asked for is the law for noise that does not depend on w
            grad = (w - best) @ hessian + (x * (x @ best - y)[:, None] + 0.01 * best)[part].mean(1)
            v = momentum * v - lr * grad
            w = w + v
    measured = values * squares / ((epochs - burn) * samples // batch)
    mean, error = measured.mean(0), measured.std(0) / paths**0.5
    for i in range(dim):
        expected = temperature(
            lr, momentum, float(variance[i]), batch, sampling="epochs", dataset_size=samples, curvature=float(values[i])
        )
        slowest = (1 - lr * float(values[i]) / (1 - momentum)) ** (2 * burn * samples // batch)
        assert float(mean[i]) == pytest.approx(expected, abs=4 * float(error[i]) + slowest * expected)
    hot = temperature(lr, momentum, float(variance[0]), batch)
    assert hot > 3 * float(mean[0])  # draws with replacement would be hotter along the flat direction


def test_heavy_balls_memory_beyond_the_epoch_averages_the_noise_away():
    assert heavy_ball_variance(0.01, 0.99, 1.0, 4) < 0.1 * 0.01 * 1.99 / (0.01 * (2 * 1.99 - 0.01))


def test_what_epochs_need_is_asked_for():
    with pytest.raises(InadmissibleValue, match="curvature"):
        temperature(0.1, 0.0, 1.0, 4, sampling="epochs", dataset_size=64)
    with pytest.raises(InadmissibleValue, match="dataset_size"):
        temperature(0.1, 0.0, 1.0, 4, sampling="epochs", curvature=1.0)
    with pytest.raises(InadmissibleValue, match="dataset_size"):
        temperature(0.1, 0.0, 1.0, 4, dataset_size=64)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(
    ("size", "batch", "drop_last"), [(1000, 32, False), (1000, 32, True), (10, 4, False), (7, 5, True)]
)
def test_batches_that_do_not_divide_an_epoch_leave_flat_directions_a_temperature(momentum, size, batch, drop_last):
    epoch = EpochDivision.of(size, batch, drop_last=drop_last)
    assert epoch_share(0.1, momentum, 1e-9, epoch) == pytest.approx(remainder_share(epoch), rel=1e-4)
