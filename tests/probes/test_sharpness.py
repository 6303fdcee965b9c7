"""λmax against the dense Hessian's eigenvalues, in float64."""

import math

import pytest
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call, grad, jacrev

from thetadot.errors import InadmissibleValue
from thetadot.probes import Objective, sharpness


class Once(torch.autograd.Function):
    """x³, whose backward has no derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @once_differentiable
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return slope * 3.0 * x**2


class Hidden(torch.autograd.Function):
    """x³, whose backward is computed outside autograd and says nothing of it."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return torch.from_numpy(slope.detach().numpy() * 3.0 * x.detach().numpy() ** 2)


class Cube(nn.Module):
    def __init__(self, function=None):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function.apply(x) if self.function else x**3


def network(make, seed=0, gain=1.0):
    """A regression net of under a thousand parameters and its loss."""
    torch.manual_seed(seed)
    model = nn.Sequential(*make()).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(gain)
    x, y = torch.randn(40, 4, dtype=torch.float64), torch.randn(40, 2, dtype=torch.float64)
    return model, x, y


def dense(model, x, y):
    """The whole Hessian."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]

    def loss(flat):
        parts = flat.split([shape.numel() for shape in shapes])
        values = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return nn.functional.mse_loss(functional_call(model, values, x), y)

    return jacrev(grad(loss))(torch.cat([p.detach().reshape(-1) for p in model.parameters()]))


def found_on(model, x, y, iterations=60, start=None, **options):
    objective = Objective(model, lambda: nn.functional.mse_loss(model(x), y))
    d = sum(p.numel() for p in model.parameters())
    if start is None:
        start = torch.randn(d, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with objective.hessian() as product:
        return sharpness(product, start, iterations, **options)


def mlp():
    return nn.Linear(4, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 2)


@pytest.mark.parametrize("gain", [0.3, 1.0, 3.0])
def test_sharpness_is_the_largest_eigenvalue_of_the_dense_hessian(gain):
    model, x, y = network(mlp, gain=gain)
    values = torch.linalg.eigvalsh(dense(model, x, y))
    found = found_on(model, x, y, tolerance=1e-8)
    assert found.value == pytest.approx(float(values[-1]), rel=1e-6)
    assert found.vector.norm().item() == pytest.approx(1.0)


def test_it_is_not_the_eigenvalue_largest_in_size():
    """Predictions of zero against targets: at a saddle λmin is -λmax."""
    model, x, y = network(lambda: (nn.Linear(4, 15, bias=False), nn.Linear(15, 2, bias=False)), gain=0.02)
    values = torch.linalg.eigvalsh(dense(model, x, y))
    assert abs(float(values[0])) > 0.95 * float(values[-1])
    found = found_on(model, x, y, tolerance=1e-8)
    assert found.value == pytest.approx(float(values[-1]), rel=1e-6)


@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 8, 13])
def test_an_eigenvalue_lies_within_the_residual_however_early_it_stops(iterations):
    model, x, y = network(mlp, seed=iterations)
    values = torch.linalg.eigvalsh(dense(model, x, y))
    found = found_on(model, x, y, iterations, tolerance=0.0)
    assert found.products == iterations
    assert float((values - found.value).abs().min()) <= found.residual * (1 + 1e-9)
    assert found.value <= float(values[-1]) + 1e-12  # Ritz values never overshoot
    objective = Objective(model, lambda: nn.functional.mse_loss(model(x), y))
    with objective.hessian() as product:
        assert float((product(found.vector) - found.value * found.vector).norm()) == pytest.approx(found.residual)


def test_a_warm_start_needs_few_products():
    model, x, y = network(mlp)
    cold = found_on(model, x, y, tolerance=1e-3)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.001)
    warm = found_on(model, x, y, 6, warm=cold.restart, tolerance=1e-2)
    assert warm.products <= 6 < cold.products
    assert warm.value == pytest.approx(float(torch.linalg.eigvalsh(dense(model, x, y))[-1]), rel=1e-2)


def test_a_warm_start_notices_that_another_eigenvalue_has_overtaken():
    values = torch.linspace(0.0, 1.0, 50, dtype=torch.float64)
    values[0] = 3.0
    vector = torch.full((50,), 1e-3, dtype=torch.float64)
    vector[-1] = 1.0  # nearly the eigenvector of 1, which was the largest
    readings = []
    for _ in range(3):
        found = sharpness(lambda v: values * v, vector, iterations=4, tolerance=1e-2)
        vector = found.vector
        readings.append(found.value)
    assert readings[-1] == pytest.approx(3.0, rel=1e-2)


COVER = 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)  # of 400 draws, three standard errors below


def draws(values, iterations, warm=None):
    """400 measurements of a diagonal Hessian, a start each."""
    generator = torch.Generator().manual_seed(5)
    starts = torch.randn(400, len(values), generator=generator, dtype=torch.float64)
    return [sharpness(lambda v: values * v, start, iterations, warm=warm, tolerance=0.0) for start in starts]


@pytest.mark.slow
@pytest.mark.parametrize("iterations", [1, 3, 6])
@pytest.mark.parametrize("spectrum", ["even", "power", "outlier", "negative", "double"])
def test_monte_carlo_the_interval_covers_the_largest_eigenvalue_whatever_the_spectrum(spectrum, iterations):
    rank = torch.arange(1, 201, dtype=torch.float64)
    values = {
        "even": rank / 200,
        "power": 1 / rank,
        "outlier": torch.where(rank == 7, 1.0, rank / 400),
        "negative": -rank,
        "double": torch.where(rank < 3, 1.0, 0.98 - rank / 500),
    }[spectrum]
    top = float(values.max())
    found = draws(values, iterations)
    assert all(one.value <= top + 1e-12 for one in found)
    assert sum(one.high >= top for one in found) >= 400 * COVER


@pytest.mark.parametrize("iterations", [2, 4])
def test_monte_carlo_it_covers_where_a_warm_start_knows_the_wrong_eigenvector(iterations):
    """The residual does not: from the eigenvector alone it is 0, and so is what is known of the eigenvalue above."""
    values = torch.linspace(0.0, 1.0, 200, dtype=torch.float64)
    values[0] = 1.5
    wrong = torch.zeros_like(values)
    wrong[-1] = 1.0
    found = draws(values, iterations, warm=wrong)
    assert sum(one.high >= 1.5 for one in found) >= 400 * COVER
    assert sum(one.value + one.residual >= 1.5 for one in found) < 400 * COVER


@pytest.mark.slow
def test_the_interval_covers_the_dense_eigenvalue_of_every_reading_of_a_training():
    """Twelve products, then six of a warm start: as a watched run is measured, on 4 networks, 40 readings."""
    widths = []
    for seed in range(4):
        model, x, y = network(mlp, seed=seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        warm = None
        for reading in range(10):
            start = torch.randn(562, generator=torch.Generator().manual_seed(reading), dtype=torch.float64)
            found = found_on(model, x, y, 12 if warm is None else 6, start=start, warm=warm, tolerance=1e-2, count=3)
            top = float(torch.linalg.eigvalsh(dense(model, x, y))[-1])
            assert found.value <= top * (1 + 1e-12)
            assert top <= found.high
            widths.append(found.high / found.value - 1)
            warm = found.restart
            for _ in range(30):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
    assert sorted(widths)[20] < 0.15


def test_all_of_a_small_space_leaves_no_doubt():
    found = sharpness(lambda v: torch.tensor([2.0, 7.0, 3.0]) * v, torch.ones(3), iterations=9)
    assert found.high == pytest.approx(found.value, rel=1e-5)


def test_preconditioned_it_is_the_curvature_that_an_adaptive_step_sees():
    model, x, y = network(mlp)
    matrix = dense(model, x, y)
    p = torch.rand(len(matrix), dtype=torch.float64, generator=torch.Generator().manual_seed(4)) * 9 + 0.1
    seen = torch.linalg.eigvalsh(matrix / (p.sqrt()[:, None] * p.sqrt()))
    found = found_on(model, x, y, preconditioner=p, tolerance=1e-8)
    assert found.value == pytest.approx(float(seen[-1]), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [Once, Hidden])
def test_layers_without_a_second_derivative_are_measured_by_differences(function, dtype):
    exact, x, y = network(lambda: (nn.Linear(4, 10), Cube(), nn.Linear(10, 2)))
    expected = float(torch.linalg.eigvalsh(dense(exact, x, y))[-1])
    model, x, y = network(lambda: (nn.Linear(4, 10), Cube(function), nn.Linear(10, 2)))
    model, x, y = model.to(dtype), x.to(dtype), y.to(dtype)
    before = [p.detach().clone() for p in model.parameters()]
    start = torch.randn(sum(p.numel() for p in before), generator=torch.Generator().manual_seed(2)).to(dtype)
    found = found_on(model, x, y, 20, start=start)
    assert found.value == pytest.approx(expected, rel=1e-2)
    assert all(map(torch.equal, before, (p.detach() for p in model.parameters())))


def test_every_kind_of_network_has_a_hessian_product_that_is_the_slope_of_its_gradient(net, build):
    model, loss = build(net, torch.float64)
    if net == "spectral norm":
        model.eval()  # in training it holds a vector fixed that moves with the weights
    objective = Objective(model, loss)
    v = torch.randn(sum(p.numel() for p in objective.parameters), dtype=torch.float64)
    with objective.hessian() as product:
        found = product(v)
    moved = []
    for sign in (1.0, -1.0):
        parts = v.split([p.numel() for p in objective.parameters])
        for p, part in zip(objective.parameters, parts, strict=True):
            p.data.add_(part.view_as(p), alpha=sign * 1e-5)
        moved.append(objective.gradient())
        for p, part in zip(objective.parameters, parts, strict=True):
            p.data.sub_(part.view_as(p), alpha=sign * 1e-5)
    slope = (moved[0] - moved[1]) / 2e-5
    assert float(slope.norm()) > 1e-3
    assert float((found - slope).norm()) < 1e-4 * float(slope.norm())


def test_differences_see_the_same_buffers_as_the_gradient_they_are_taken_from():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 6)), Cube(Once), nn.Linear(6, 2)
    ).double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64)
    objective = Objective(model, lambda: nn.functional.mse_loss(model(x), y))
    d = sum(p.numel() for p in model.parameters())
    with objective.hessian() as product:
        assert float(product(torch.zeros(d, dtype=torch.float64)).norm()) == 0.0
        v = torch.randn(d, dtype=torch.float64)
        assert float((product(v) - product(2.0 * v) / 2.0).norm()) < 1e-3 * float(product(v).norm())


def test_a_loss_linear_in_its_parameters_has_no_curvature():
    model = nn.Linear(3, 1).double()
    objective = Objective(model, lambda: model(torch.ones(2, 3, dtype=torch.float64)).mean())
    with objective.hessian() as product:
        found = sharpness(product, torch.ones(4, dtype=torch.float64))
    assert (found.value, found.residual) == (0.0, 0.0)


def test_curvature_that_is_not_finite_is_said_and_does_not_raise():
    found = sharpness(lambda v: v * math.nan, torch.ones(5))
    assert math.isnan(found.value)
    assert math.isnan(found.residual)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e12])
def test_it_scales_with_the_hessian(scale):
    values = torch.linspace(-1, 1, 30, dtype=torch.float64)
    start = torch.ones(30, dtype=torch.float64)
    one = sharpness(lambda v: values * v, start, 8)
    other = sharpness(lambda v: scale * values * v, start, 8)
    assert other.value == pytest.approx(scale * one.value, rel=1e-9)
    assert other.products == one.products


def test_more_products_than_dimensions_are_not_made():
    found = sharpness(lambda v: torch.tensor([2.0, 7.0]) * v, torch.tensor([1.0, 1.0]), iterations=50)
    assert found.products == 2
    assert found.value == pytest.approx(7.0)


@pytest.mark.parametrize("start", [torch.zeros(3), torch.full((3,), math.nan)])
def test_a_start_without_direction_is_refused(start):
    with pytest.raises(InadmissibleValue, match="has no direction"):
        sharpness(lambda v: v, start)
    with pytest.raises(InadmissibleValue, match="has no direction"):
        sharpness(lambda v: v, torch.ones(3), warm=start)
    with pytest.raises(InadmissibleValue, match="iterations=0"):
        sharpness(lambda v: v, torch.ones(3), iterations=0)


@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("gain", [0.02, 1.0])
def test_the_spectrum_is_the_largest_eigenvalues_of_the_dense_hessian(gain, preconditioned):
    model, x, y = network(mlp, gain=gain)
    matrix = dense(model, x, y)
    p = torch.rand(len(matrix), dtype=torch.float64, generator=torch.Generator().manual_seed(4)) * 9 + 0.1
    scale = p.rsqrt() if preconditioned else torch.ones_like(p)
    values = torch.linalg.eigvalsh(scale[:, None] * matrix * scale).flip(0)
    found = found_on(model, x, y, 120, preconditioner=p if preconditioned else None, tolerance=1e-6, count=4)
    assert len(found.spectrum) == len(found.residuals) == 4
    assert found.spectrum == pytest.approx(values[:4].tolist(), rel=1e-5)
    assert found.spectrum[0] == found.value
    assert found.residuals[0] == found.residual


@pytest.mark.parametrize("iterations", [4, 6, 9])
def test_every_ritz_value_has_an_eigenvalue_within_its_residual(iterations):
    model, x, y = network(mlp, seed=iterations)
    values = torch.linalg.eigvalsh(dense(model, x, y))
    found = found_on(model, x, y, iterations, tolerance=0.0, count=3)
    assert list(found.spectrum) == sorted(found.spectrum, reverse=True)
    for value, residual in zip(found.spectrum, found.residuals, strict=True):
        assert float((values - value).abs().min()) <= residual * (1 + 1e-9)


def test_a_warm_start_is_rayleigh_ritz_on_three_vectors():
    """The best of span(v, Hv, H²v), by a dense generalised eigenproblem."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    matrix = matrix + matrix.T
    v = torch.randn(30, generator=generator, dtype=torch.float64)
    span, _ = torch.linalg.qr(torch.stack([v, matrix @ v, matrix @ (matrix @ v)], dim=1))
    best = float(torch.linalg.eigvalsh(span.T @ matrix @ span)[-1])
    found = sharpness(lambda u: matrix @ u, v, iterations=3, tolerance=0.0)
    assert found.value == pytest.approx(best, rel=1e-10)
    assert found.products == 3


def test_restarting_finds_the_others_again_where_one_eigenvector_does_not():
    model, x, y = network(mlp)
    cold = found_on(model, x, y, 120, tolerance=1e-6, count=3)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.001)
    values = torch.linalg.eigvalsh(dense(model, x, y)).flip(0)[:3].tolist()
    warm = found_on(model, x, y, 6, start=cold.restart, tolerance=1e-2, count=3)
    assert warm.spectrum == pytest.approx(values, rel=2e-2)
    lone = found_on(model, x, y, 6, start=cold.vector, tolerance=0.0, count=3)
    assert lone.spectrum != pytest.approx(values, rel=2e-2)


def test_nothing_wanted_is_refused_and_more_than_there_is_is_not_made_up():
    with pytest.raises(InadmissibleValue, match="count=0"):
        sharpness(lambda v: v, torch.ones(3), count=0)
    found = sharpness(lambda v: torch.tensor([2.0, 7.0]) * v, torch.ones(2), iterations=9, count=5)
    assert found.spectrum == pytest.approx((7.0, 2.0))
