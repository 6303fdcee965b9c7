"""The last bias is moved by exactly the mean residual, where the loss is a squared error, and nowhere else."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import thetadot
from thetadot import Task
from thetadot.records import Choice, Remark
from thetadot.training.cost import Cost
from thetadot.training.cure import cured, is_squared_error, last_bias, squared_error
from thetadot.training.data import Source

G = torch.Generator().manual_seed(0)
X = torch.randn(256, 3, generator=G)
CPU = torch.device("cpu")
MSE = nn.functional.mse_loss


class Squeezed(nn.Module):
    """Outputs (batch,), and a bias that is not the last parameter."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 1)
        self.body = nn.Sequential(nn.Linear(3, 8), nn.Tanh())

    def forward(self, x):
        return self.head(self.body(x)).squeeze(-1)


class Planes(nn.Module):
    """Outputs (batch, channel, place, place)."""

    def __init__(self):
        super().__init__()
        self.body, self.out = nn.Linear(3, 16), nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x):
        return self.out(torch.relu(self.body(x)).reshape(-1, 1, 4, 4))


class Steps(nn.Module):
    """Outputs (batch, place, channel)."""

    def __init__(self):
        super().__init__()
        self.body, self.out = nn.Linear(3, 4), nn.Linear(1, 2)

    def forward(self, x):
        return self.out(self.body(x)[..., None])


def perceptron():
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


SHAPES = {
    "a perceptron": (perceptron, (2,), (0,)),
    "outputs without a dimension of their own": (Squeezed, (), (0,)),
    "images": (Planes, (2, 4, 4), (0, 2, 3)),
    "sequences": (Steps, (4, 2), (0, 1)),
}


def treated(model, y, loss=MSE, x=X, samples=10**6):
    task = Task(model, loss, TensorDataset(x, y), TensorDataset(x, y))
    written, cost = [], Cost()
    moved = cured(task, Source(task.train, 0, CPU), samples, cost, written.append)
    return moved, written, cost


@pytest.mark.parametrize("samples", [1_000, 21_000, 100_000, 10**7])
def test_the_mean_output_costs_a_fifth_of_a_percent_of_the_run_at_most(samples):
    g = torch.Generator().manual_seed(3)
    x, y = torch.randn(1024, 3, generator=g), 800.0 + torch.randn(1024, 2, generator=g)
    moved, _, cost = treated(perceptron().eval(), y, x=x, samples=samples)
    assert moved is not None
    assert 0 < cost.samples <= max(64 / 3, 0.002 * samples) + 1e-9


@pytest.mark.parametrize("kind", SHAPES)
def test_the_mean_output_becomes_the_mean_target(kind):
    make, shape, dims = SHAPES[kind]
    torch.manual_seed(0)
    model = make().eval()
    y = 800.0 + 3.0 * torch.randn(256, *shape, generator=torch.Generator().manual_seed(1))
    before = {name: p.clone() for name, p in model.state_dict().items()}
    moved, (choice,), cost = treated(model, y)
    changed = [name for name, p in model.state_dict().items() if not torch.equal(p, before[name])]
    with torch.no_grad():
        assert torch.allclose(model.train()(X).mean(dims), y.mean(dims), rtol=1e-5)
    assert [f"first {name}" for name in changed] == [choice.setting]
    assert moved is dict(model.named_parameters())[changed[0]]
    assert cost.samples == pytest.approx(256 / 3)


def test_it_is_left_where_it_matters_little_and_where_the_loss_is_another():
    model = perceptron()
    small = torch.randn(256, 2, generator=G)
    with torch.no_grad():
        small += 0.05 - small.mean(0) + model(X)
    assert treated(model, small)[0] is None
    task = Task(model, nn.functional.l1_loss, TensorDataset(X, small + 800), TensorDataset(X, small))
    assert not squared_error(task, Source(task.train, 0, CPU))


class Sigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 1)

    def forward(self, x):
        return torch.sigmoid(self.body(x))


@pytest.mark.parametrize(
    "model", [Sigmoid(), nn.Linear(3, 1, bias=False), nn.Sequential(nn.Linear(3, 1), nn.LayerNorm(1))]
)
def test_a_bias_that_does_not_shift_the_output_is_none(model):
    with torch.no_grad():
        found = last_bias(model, X)
    assert found is None or found.name == "1.bias"


def test_a_squared_error_is_known_by_its_values():
    x, y = torch.randn(8, 2, generator=G), 800 + torch.randn(8, 2, generator=G)
    assert is_squared_error(MSE, x, y)
    assert is_squared_error(lambda o, t: 0.5 * ((o - t) ** 2).mean(), x, y)
    assert is_squared_error(nn.MSELoss(), x, y)
    weights = torch.tensor([1.0, 3.0])
    for other in (
        nn.functional.l1_loss,
        nn.functional.huber_loss,
        nn.functional.smooth_l1_loss,
        lambda o, t: ((o - t) ** 2 * weights).mean(),
        lambda o, t: ((o - t) ** 4).mean(),
        lambda o, t: ((o - t) ** 2).mean().sqrt(),
    ):
        assert not is_squared_error(other, x, y)


def raw():
    torch.manual_seed(0)
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(2))
    y = 800.0 + (x * torch.tensor([1.0, -2.0, 0.5])).sum(1, keepdim=True)
    train, valid = TensorDataset(x[:300], y[:300]), TensorDataset(x[300:], y[300:])
    return Task(nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1)), MSE, train, valid)


def test_raw_targets_are_learned_with_it_said_aloud_and_it_can_be_refused(tmp_path):
    with_it = thetadot.run(raw, out=tmp_path / "a", epochs=8).record
    without = thetadot.run(raw, out=tmp_path / "b", epochs=8, cure=False).record
    assert with_it.result.learned
    assert with_it.result.valid_loss < 0.1 * without.result.valid_loss
    (choice,) = (c for c in with_it.of(Choice) if c.setting.startswith("first "))
    assert "--no-cure" in choice.because
    assert not [c for c in without.of(Choice) if c.setting.startswith("first ")]
    assert without.header.asked["cure"] == "False"
    assert any(r.about == "targets" and "800" in r.says for r in with_it.of(Remark))
