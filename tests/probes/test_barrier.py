"""The barrier of a double well is known: between ±1, (x²-1)² rises to 1 at 0."""

import math

import pytest
import torch
from torch import nn

from thetadot.errors import InadmissibleValue
from thetadot.probes import Objective, barrier


class Point(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor([0.25, -3.0]))
        self.y = nn.Parameter(torch.tensor([[5.0]]))


def well(model):
    return Objective(model, lambda: ((model.x[0] ** 2 - 1.0) ** 2) + 0.0 * model.y.sum())


@pytest.mark.parametrize("n", [1, 5, 9])
def test_between_two_wells_it_is_the_height_of_the_saddle(n):
    model = Point()
    found = barrier(well(model), torch.tensor([-1.0, 0.0, 0.0]), torch.tensor([1.0, 4.0, 2.0]), n)
    assert (found.height, found.at) == (1.0, 0.5)
    assert len(found.losses) == n + 2
    assert (model.x.tolist(), model.y.tolist()) == ([0.25, -3.0], [[5.0]])


def test_a_list_of_tensors_is_the_same_as_a_flat_one():
    objective = well(Point())
    flat = barrier(objective, torch.tensor([-1.5, 0.0, 1.0]), torch.tensor([0.5, 4.0, 2.0]))
    lists = barrier(
        objective,
        [torch.tensor([-1.5, 0.0]), torch.tensor([[1.0]])],
        [torch.tensor([0.5, 4.0]), torch.tensor([[2.0]])],
    )
    assert flat == lists


def test_where_the_loss_only_falls_there_is_none_and_where_it_rises_it_is_the_end():
    objective = well(Point())
    high, low = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])
    down, up = barrier(objective, high, low), barrier(objective, low, high)
    assert (down.height, down.at) == (0.0, 0.0)
    assert (up.height, up.at) == (64.0, 1.0)


def test_a_loss_that_is_none_is_infinitely_high():
    model = Point()
    objective = Objective(model, lambda: model.x[0].log() + model.y.sum())  # of a negative number
    found = barrier(objective, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([-3.0, 0.0, 0.0]))
    assert found.height == math.inf


def test_what_does_not_fit_is_refused():
    with pytest.raises(InadmissibleValue, match="does not fit 3 parameters"):
        barrier(well(Point()), torch.ones(2), torch.ones(3))
    with pytest.raises(InadmissibleValue, match="interior=0"):
        barrier(well(Point()), torch.ones(3), torch.ones(3), 0)
