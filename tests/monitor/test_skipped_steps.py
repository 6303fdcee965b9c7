"""Losses of passes whose gradients were dropped belong to no step: neither to one of their own nor to the next one."""

import copy
import math
import warnings

import pytest
import torch
from torch import nn

import thetadot
from thetadot.records import Losses, Motion

X = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randn(64, 1, generator=torch.Generator().manual_seed(1))
MSE = nn.MSELoss()
SKIPPED = (0, 5, 6, 17)


class Carrying(nn.Module):
    """A model that returns its own loss."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(5, 1)

    def forward(self, x, y=None):
        return {"loss": MSE(self.body(x), y)}


def looped(emptied, seen, *, passes=1, to_none=True, every=10):
    """Losses of the steps that were made, as the record has them and as they were."""
    torch.manual_seed(0)
    model = Carrying() if seen == "carried" else nn.Linear(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1000)
    loss_fn = {"module": MSE, "carried": None}.get(seen, nn.functional.mse_loss)
    truth = []
    with thetadot.watch(model, optimizer, loss_fn=loss_fn, every={"steps": every}) as probe:
        for step in range(24):
            if emptied == "first":
                optimizer.zero_grad(set_to_none=to_none)
            found = []
            for k in range(passes):
                rows = torch.randperm(64, generator=torch.Generator().manual_seed(100 * step + k))[:16]
                loss = model(X[rows], Y[rows])["loss"] if seen == "carried" else MSE(model(X[rows]), Y[rows])
                if emptied == "between" and k == 0:
                    optimizer.zero_grad(set_to_none=to_none)
                if seen == "told before":
                    probe.loss(loss)
                found.append(float(loss.detach()))
                scaler.scale(loss * (math.inf if step in SKIPPED else 1.0)).backward()
                if seen == "told after":
                    probe.loss(loss)
            scaler.step(optimizer)
            scaler.update()
            if emptied == "last":
                optimizer.zero_grad(set_to_none=to_none)
            if step not in SKIPPED:
                truth.append(sum(found) / passes)
    lines = [loss for line in probe.record.of(Losses) for loss in line.numbers.tolist()]
    return lines, truth, probe.record.of(Motion)


@pytest.mark.parametrize("emptied", ["first", "between", "last"])
@pytest.mark.parametrize("seen", ["module", "carried", "told before", "told after"])
@pytest.mark.parametrize(("passes", "to_none"), [(1, True), (2, True), (1, False), (2, False)])
def test_a_skipped_steps_losses_are_in_no_other_steps(emptied, seen, passes, to_none):
    lines, truth, motions = looped(emptied, seen, passes=passes, to_none=to_none)
    assert lines == pytest.approx(truth, rel=1e-6)
    assert [motion.loss for motion in motions] == pytest.approx([truth[motion.step - 1] for motion in motions])
    assert {motion.batch_size for motion in motions} == {16 * passes}


@pytest.mark.parametrize("emptied", ["first", "between", "last"])
def test_where_every_step_is_measured_too(emptied):
    lines, truth, motions = looped(emptied, "module", passes=2, every=1)
    assert lines == pytest.approx(truth, rel=1e-6)
    assert [motion.loss for motion in motions] == pytest.approx(truth)
    assert {motion.batch_size for motion in motions} == {32}


def test_two_losses_of_one_backward_pass_are_both_of_its_step():
    model = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    truth = []
    with thetadot.watch(model, optimizer, loss_fn=MSE, every={"steps": 10}) as probe:
        for _ in range(4):
            optimizer.zero_grad()
            losses = [MSE(model(x), y) for x, y in zip(X.chunk(2), Y.chunk(2), strict=True)]
            truth.append(float(sum(losses).detach()) / 2)
            sum(losses).backward()
            optimizer.step()
    assert [loss for line in probe.record.of(Losses) for loss in line.numbers.tolist()] == pytest.approx(truth)


def test_a_model_is_saved_and_copied_without_a_word_of_hooks(tmp_path):
    model = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with thetadot.watch(model, optimizer, loss_fn=MSE) as probe:
        MSE(model(X), Y).backward()
        optimizer.step()
        probe.hooks.rest()  # between measured steps
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.save(model.weight, tmp_path / "weight.pt")
            torch.save(model.bias, tmp_path / "bias.pt")
        assert torch.equal(copy.deepcopy(model).bias, model.bias)
    assert not model.bias._backward_hooks
