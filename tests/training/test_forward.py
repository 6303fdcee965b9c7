"""Model, loss and metric applied to batches, and what is said when they do not fit."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from thetadot import Task
from thetadot.errors import TaskError
from thetadot.training.data import TrainingBatch
from thetadot.training.forward import accuracy, apply, derived_metric, judge, loss_of

DATA = TensorDataset(torch.ones(4, 2), torch.zeros(4))


class Scaled(nn.Module):
    """One weight; gives back its input, in training with an offset."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x, y=None):
        x = x if y is None else x - y
        return self.weight * x + (100.0 if self.training else 0.0)


def task(model=None, **changes):
    parts = {"loss": nn.functional.mse_loss, "train": DATA, "valid": DATA}
    return Task(model or Scaled(), **(parts | changes))


def batch(inputs, target):
    return TrainingBatch(inputs, target, len(target))


def test_inputs_are_passed_as_they_come():
    model = Scaled().eval()
    x, y = torch.tensor([3.0]), torch.tensor([1.0])
    assert apply(model, x) == 3.0
    assert apply(model, (x, y)) == apply(model, {"y": y, "x": x}) == 2.0


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_loss_of_one_number_is_a_scalar_whatever_its_shape(shape):
    model = Scaled()
    found = loss_of(
        model, lambda output, target: (output - target).mean().reshape(shape), batch(torch.ones(3), torch.ones(3))
    )
    assert found.shape == ()
    found.backward()
    assert model.weight.grad == 1.0


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda output, target: output - target, r"shape \(3,\), not a scalar"),
        (lambda *_: 1.0, "type float, not a scalar"),
        (lambda *_: None, "type NoneType, not a scalar"),
        (lambda output, _: output.sum()[None].expand(0), r"shape \(0,\)"),
        (lambda output, _: output.detach().mean(), "does not depend on any trainable parameter"),
    ],
)
def test_a_loss_that_cannot_be_descended_is_refused(loss, said):
    with pytest.raises(TaskError, match=said):
        loss_of(Scaled(), loss, batch(torch.ones(3), torch.ones(3)))


def test_a_loss_without_gradient_is_fine_where_none_is_wanted():
    with torch.no_grad():
        assert loss_of(Scaled().eval(), nn.functional.mse_loss, batch(torch.ones(3), torch.zeros(3))) == 1.0


def test_judging_weighs_batches_by_their_size():
    batches = [batch(torch.full((n,), value), torch.zeros(n)) for n, value in ((6, 1.0), (2, 3.0), (1, 0.0))]
    loss, score = judge(task(), batches, lambda output, _: output.mean())
    assert loss == pytest.approx((6 * 1 + 2 * 9 + 0) / 9)
    assert score == pytest.approx((6 * 1 + 2 * 3 + 0) / 9)


def test_judging_is_in_eval_mode_without_gradients_and_puts_the_modes_back():
    judged = task()
    judged.model.norm.eval()
    seen = []

    judged.model.register_forward_hook(  # what a loss function writes is put back
        lambda *_: seen.append((judged.model.training, judged.model.norm.training, torch.is_grad_enabled()))
    )
    squared = lambda output, target: (output - target).square().mean()
    loss, score = judge(task(judged.model, loss=squared), [batch(torch.ones(2), torch.ones(2))], None)
    assert (loss, score) == (0.0, None)
    assert seen == [(False, False, False)]
    assert (judged.model.training, judged.model.norm.training, torch.is_grad_enabled()) == (True, False, True)


def test_modes_are_put_back_when_the_loss_raises():
    def failing(output, target):
        raise ZeroDivisionError

    judged = task(loss=failing)
    with pytest.raises(ZeroDivisionError):
        judge(judged, [batch(torch.ones(2), torch.ones(2))], None)
    assert judged.model.training


@pytest.mark.parametrize("value", [math.nan, math.inf, torch.tensor(-math.inf)])
def test_a_metric_that_is_not_finite_is_none(value):
    batches = [batch(torch.ones(2), torch.ones(2))] * 2
    values = iter((0.5, value))
    assert judge(task(), batches, lambda *_: next(values)) == (0.0, None)


@pytest.mark.parametrize(
    ("value", "said"), [(None, "type NoneType"), (torch.ones(3), r"shape \(3,\)"), ("a", "type str")]
)
def test_a_metric_that_is_no_number_is_refused(value, said):
    with pytest.raises(TaskError, match=rf"metric\(output, target\) returned {said}, not a number"):
        judge(task(), [batch(torch.ones(2), torch.ones(2))], lambda *_: value)


def test_the_class_axis_is_one():
    assert accuracy(torch.eye(3), torch.tensor([0, 1, 0])) == pytest.approx(2 / 3)
    scores = torch.zeros(2, 3, 4)
    scores[:, 1] = 1.0
    target = torch.ones(2, 4, dtype=torch.long)
    target[0, 0] = 2
    assert accuracy(scores, target) == pytest.approx(7 / 8)


class Gives(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.drop = nn.Dropout()
        self.output = output

    def forward(self, _):
        return self.output


CLASSES = torch.tensor([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("output", "target", "name"),
    [
        (torch.zeros(4, 3), CLASSES, "accuracy"),
        (torch.zeros(4, 3, 5), torch.zeros(4, 5, dtype=torch.long), "accuracy"),
        (torch.zeros(4, 3, 5, 6), torch.zeros(4, 5, 6, dtype=torch.uint8), "accuracy"),
        (torch.zeros(4, 5, 3), torch.zeros(4, 5, dtype=torch.long), None),  # classes last: not ours to guess
        (torch.zeros(4, 3), torch.zeros(4, 3), None),
        (torch.zeros(4), CLASSES, None),
        (torch.zeros(4, 1), CLASSES, None),  # counts, or one logit
        (torch.zeros(4, 3), torch.zeros(4, 2, dtype=torch.long), None),
        ((torch.zeros(4, 3), None), CLASSES, None),
        (torch.zeros(4, 3), (CLASSES, CLASSES), None),
        (torch.zeros(4, 3), torch.zeros(4, dtype=torch.complex64), None),
    ],
)
def test_accuracy_is_derived_where_the_shapes_say_classes_and_nothing_elsewhere(output, target, name):
    found, metric = derived_metric(task(Gives(output)), TrainingBatch(torch.ones(4), target, 4))
    assert found == name
    assert (metric is None) == (name is None)
    if metric is not None:
        assert metric(output, target) == pytest.approx(float((target == 0).double().mean()))


def test_deriving_leaves_mode_and_generators_alone():
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout())
    state = torch.get_rng_state()
    derived_metric(task(model), TrainingBatch(torch.ones(4, 2), CLASSES, 4))
    assert model.training
    assert model[1].training
    assert torch.equal(torch.get_rng_state(), state)


def test_the_tasks_own_metric_keeps_its_name():
    def r_squared(output, target):
        return 0.0

    assert derived_metric(task(metric=r_squared), batch(torch.ones(2), torch.ones(2))) == ("r_squared", r_squared)
    unnamed = nn.MSELoss()
    assert derived_metric(task(metric=unnamed), batch(torch.ones(2), torch.ones(2))) == ("metric", unnamed)
