"""State beside the model's parameters: a run that was killed and resumed is the same run, wherever the state lies."""

import pytest
import torch
from shared.blobs import blobs
from torch import nn

import thetadot
from thetadot.errors import TaskError
from thetadot.records import Remark


class Centred(nn.Module):
    """A running centre of the outputs, as in self-distillation."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3))

    def forward(self, output, target):
        value = nn.functional.cross_entropy(output - self.centre, target)
        self.centre.mul_(0.9).add_(output.detach().mean(dim=0), alpha=0.1)
        return value


class Heads(nn.Module):
    """Class centres that are learned."""

    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.eye(3))

    def forward(self, output, target):
        return nn.functional.cross_entropy(output @ self.centres, target)


class Softening(nn.Module):
    """A number that every pass changes."""

    temperature = 2.0

    def forward(self, output, target):
        self.temperature = 1.0 + 0.99 * (self.temperature - 1.0)
        return nn.functional.cross_entropy(output / self.temperature, target)


def closure():
    passes = 0

    def loss(output, target):
        nonlocal passes
        passes += 1
        return nn.functional.cross_entropy(output, target, label_smoothing=0.2 / (1 + passes // 10))

    return loss


class Noisy(nn.Module):
    """Its generator appears at the first pass."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x):
        if not hasattr(self, "generator"):
            self.generator = torch.Generator().manual_seed(3)
        return self.body(x + 0.1 * torch.randn(x.shape, generator=self.generator) if self.training else x)


KINDS = {
    "a buffer of the loss": lambda: blobs(loss=Centred()),
    "parameters of the loss": lambda: blobs(loss=Heads()),
    "a number of the loss": lambda: blobs(loss=Softening()),
    "a closure of the loss": lambda: blobs(loss=closure()),
    "a generator of the model": lambda: blobs(model=Noisy()),
}


class Killed(BaseException):
    pass


def end(run):
    loss = run.loss.state_dict() if isinstance(run.loss, nn.Module) else {}
    return [*run.final_state.values(), *loss.values()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{"optimizer": "adam", "lr": 0.01}, {}])
def test_a_killed_and_resumed_run_is_the_same_run(kind, options, tmp_path):
    make, options = KINDS[kind], options | {"epochs": 3, "name": "it", "batch_size": 20}
    whole = thetadot.run(make, out=tmp_path / "a", **options)
    stop = len(whole.record.entries) * 3 // 4
    seen = 0

    def kill(_):
        nonlocal seen
        seen += 1
        if seen > stop:
            raise Killed

    with pytest.raises(Killed):
        thetadot.run(make, out=tmp_path / "b", show=kill, **options)
    resumed = thetadot.run(make, out=tmp_path / "b", resume=True, **options)
    assert all(map(torch.equal, end(whole), end(resumed)))
    loaded = thetadot.load(tmp_path / "b", make)
    assert all(map(torch.equal, end(whole), end(loaded)))
    assert not [remark for remark in whole.record.of(Remark) if remark.about == "resume"]


def test_what_a_loss_module_learns_is_trained(tmp_path):
    run = thetadot.run(KINDS["parameters of the loss"], out=tmp_path / "a", epochs=3, optimizer="adam", lr=0.01)
    assert not torch.equal(run.loss.centres, torch.eye(3))
    assert run.record.header.parameters == sum(p.numel() for p in run.model.parameters()) + 9
    assert not any(p.grad.any() for p in (*run.model.parameters(), *run.loss.parameters()))


def test_a_loss_function_that_hides_parameters_is_refused_and_frozen_ones_are_not(tmp_path):
    heads = Heads()
    make = lambda: blobs(loss=lambda output, target: 1.0 * heads(output, target))
    with pytest.raises(TaskError, match=r"that nothing would train \(loss.heads.centres\)\. Make the loss a torch.nn"):
        thetadot.run(make, out=tmp_path / "a", epochs=1)
    assert not (tmp_path / "a").exists()
    heads.requires_grad_(requires_grad=False)
    thetadot.run(make, out=tmp_path / "b", epochs=1, optimizer="adam", lr=0.01)


class Iterating(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.factors = nn.Linear(4, 3), iter([1.0] * 10_000)

    def forward(self, x):
        return self.body(x) * next(self.factors)


def test_what_cannot_be_kept_is_said_once(tmp_path):
    run = thetadot.run(lambda: blobs(model=Iterating()), out=tmp_path / "a", epochs=1, optimizer="adam", lr=0.01)
    (remark,) = (remark for remark in run.record.of(Remark) if remark.about == "resume")
    assert remark.says.startswith("model.factors (attribute of Iterating) is written by a pass")
