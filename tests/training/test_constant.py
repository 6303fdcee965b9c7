"""The best constant output, by closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from thetadot import Task
from thetadot.training.constant import constant
from thetadot.training.data import Source

G = torch.Generator().manual_seed(0)
X = torch.randn(400, 3, generator=G)
SKEWED = torch.randn(400, 1, generator=G).exp()
SHARES = torch.rand(400, 1, generator=G)
CLASSES = torch.randint(4, (400,), generator=G) % 3
CPU = torch.device("cpu")


def found(model, loss, y, cut=300, x=X):
    task = Task(model, loss, TensorDataset(x[:cut], y[:cut]), TensorDataset(x[cut:], y[cut:]))
    return constant(task, *(Source(data, 0, CPU) for data in (task.train, task.valid)))


def entropy(y, seen):
    p = torch.bincount(seen, minlength=3).double() / len(seen)
    return float(-(p.log()[y]).mean())


def test_of_a_squared_error_it_is_the_variance():
    bar = found(nn.Linear(3, 1), nn.functional.mse_loss, SKEWED)
    assert bar.train_loss == pytest.approx(float(SKEWED[:300].var(unbiased=False)), rel=1e-5)
    assert bar.valid_loss == pytest.approx(float((SKEWED[300:] - SKEWED[:300].mean()).square().mean()), rel=1e-5)
    assert (bar.says, bar.samples) == ("the targets' mean", 300)


def test_of_an_absolute_error_it_is_the_deviation_from_the_median():
    bar = found(nn.Linear(3, 1), nn.functional.l1_loss, SKEWED)
    assert bar.train_loss == pytest.approx(float((SKEWED[:300] - SKEWED[:300].median()).abs().mean()), rel=1e-5)
    assert bar.says == "the targets' median"


def test_of_shares_behind_a_sigmoid_it_is_the_entropy_of_the_mean():
    bar = found(nn.Linear(3, 1), nn.functional.binary_cross_entropy_with_logits, SHARES)
    p = float(SHARES[:300].mean())
    assert bar.train_loss == pytest.approx(-(p * math.log(p) + (1 - p) * math.log(1 - p)), rel=1e-5)


@pytest.mark.parametrize("loss", [nn.functional.cross_entropy, nn.CrossEntropyLoss(), nn.functional.nll_loss])
def test_of_classes_it_is_the_entropy_of_their_frequencies(loss):
    bar = found(nn.Linear(3, 3), loss, CLASSES)
    assert bar.train_loss == pytest.approx(entropy(CLASSES[:300], CLASSES[:300]), rel=1e-5)
    assert bar.valid_loss == pytest.approx(entropy(CLASSES[300:], CLASSES[:300]), rel=1e-5)


class Sequence(nn.Module):
    """Classes at each of five places: outputs (batch, classes, place)."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 15)

    def forward(self, x):
        return self.body(x).reshape(-1, 3, 5)


def test_so_it_is_where_there_are_classes_at_many_places():
    y = torch.randint(3, (400, 5), generator=torch.Generator().manual_seed(1))
    bar = found(Sequence(), nn.functional.cross_entropy, y)
    assert bar.train_loss == pytest.approx(entropy(y[:300].reshape(-1), y[:300].reshape(-1)), rel=1e-5)


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, output, target):
        return nn.functional.cross_entropy(output * self.scale, target)


class Slope(nn.Module):
    """A loss that asks for the output's graph."""

    def forward(self, output, target):
        return torch.autograd.grad(output.sum(), [output.grad_fn.next_functions[0][0].variable])[0].square().mean()


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 1)

    def forward(self, x):
        return self.body(x), x


@pytest.mark.parametrize(
    ("model", "loss", "target"),
    [
        (nn.Linear(3, 3), Heads(), CLASSES),
        (nn.Linear(3, 1), Slope(), SKEWED),
        (Pair(), lambda output, target: nn.functional.mse_loss(output[0], target), SKEWED),
        (nn.Linear(3, 2), lambda output, target: (output[:, :1] - target).square().mean(), SKEWED),
    ],
)
def test_where_no_output_is_known_to_be_constant_there_is_none(model, loss, target):
    assert found(model, loss, target) is None


class Images(Dataset):
    def __len__(self):
        return 10_000

    def __getitem__(self, i):
        return torch.zeros(3), torch.tensor([float(i % 2)])


def test_of_data_that_are_no_tensors_some_samples_are_read():
    task = Task(nn.Linear(3, 1), nn.functional.mse_loss, Images(), Images())
    bar = constant(task, *(Source(task.train, 0, CPU) for _ in range(2)))
    assert bar.samples <= 4096
    assert bar.train_loss <= 0.25
