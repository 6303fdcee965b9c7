"""What went wrong in a real loop is named for what it is, and a right one is left alone: spikes, overfitting, forms."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import thetadot
from thetadot.verdicts import judge

G = torch.Generator().manual_seed(5)
X = torch.randn(512, 6, generator=G)
Y = (X[:, :1] - X[:, 1:2] * X[:, 2:3]).tanh() + 0.1 * torch.randn(512, 1, generator=G)
CLASSES = (X[:, 0] + X[:, 1] > 0).long() + (X[:, 2] > 1).long()


def net(outputs=1):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, outputs))


def looped(spoil=None, *, steps=300, optimizer=torch.optim.Adam, lr=5e-3, level="default"):
    """A loop that is spoilt at some steps; its verdicts by name."""
    model = net()
    stepped, loss_fn = optimizer(model.parameters(), lr=lr), nn.MSELoss()
    shuffle = torch.Generator().manual_seed(1)
    with thetadot.watch(model, stepped, loss_fn=loss_fn, reference=(X[:128], Y[:128]), level=level) as probe:
        for step in range(steps):
            rows = torch.randint(len(X), (32,), generator=shuffle)
            x, y = X[rows], Y[rows]
            if spoil is not None:
                x, y = spoil(step, x, y, stepped)
            stepped.zero_grad()
            loss_fn(model(x), y).backward()
            stepped.step()
    return {verdict.name: verdict for verdict in judge(probe.record)}


def bad_batch(step, x, y, _):
    return (x, y + 50.0) if step == 180 else (x, y)


def bad_input(step, x, y, _):
    return (x * 200.0, y) if step == 200 else (x, y)


def too_long_steps(step, x, y, optimizer):
    optimizer.param_groups[0]["lr"] = 0.6 if step in {180, 181} else 5e-3
    return x, y


def too_long_descent(step, x, y, optimizer):
    optimizer.param_groups[0]["lr"] = 1.5 if step in {180, 181} else 0.05
    return x, y


@pytest.mark.parametrize("spoil", [bad_batch, bad_input])
def test_a_bad_batch_is_a_spike_of_the_data_at_its_step(spoil):
    found = looped(spoil)["spikes"]
    assert found.finding == "spike of the data"
    assert f"at step {181 if spoil is bad_batch else 201}" in found.says


@pytest.mark.parametrize(
    ("spoil", "optimizer", "lr"),
    [
        (too_long_steps, torch.optim.Adam, 5e-3),
        (too_long_descent, torch.optim.SGD, 0.05),
    ],
)
def test_steps_that_were_too_long_are_a_spike_of_the_step(spoil, optimizer, lr):
    found = looped(spoil, optimizer=optimizer, lr=lr)["spikes"]
    assert found.finding in {"spike of the step", "spike of the edge"}
    assert any(f"at step {step}" in found.says for step in (182, 183, 184))


@pytest.mark.parametrize(("optimizer", "lr"), [(torch.optim.Adam, 5e-3), (torch.optim.SGD, 0.05)])
def test_a_right_run_has_none_and_is_accused_of_nothing(optimizer, lr):
    found = looped(optimizer=optimizer, lr=lr)
    assert found["spikes"].finding == "none"


def overfitted(x, y, valid, epochs, tmp_path):
    def task():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        return thetadot.Task(model, nn.MSELoss(), TensorDataset(x, y), TensorDataset(*valid))

    record = thetadot.run(task, out=tmp_path / "a", epochs=epochs, lr=2e-2, optimizer="adam", page=False).record
    return {verdict.name: verdict for verdict in judge(record)}["generalization"]


def test_noise_learned_by_heart_is_overfitting_and_enough_data_are_not(tmp_path):
    noise = torch.randn(40, 1, generator=torch.Generator().manual_seed(2))
    few = overfitted(X[:40], Y[:40] + noise, (X[300:], Y[300:]), 90, tmp_path / "few")
    assert few.finding == "overfitting"
    assert few.state == "attention"
    enough = overfitted(X[:400], Y[:400], (X[400:], Y[400:]), 6, tmp_path / "enough")
    assert enough.finding == "no overfitting"


class Returning(nn.Module):
    """Takes a dict and returns its loss."""

    def __init__(self):
        super().__init__()
        self.net = net(3)

    def forward(self, inputs, labels):
        logits = self.net(inputs)
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def forms(kind, steps=150):
    """Loops of other forms under a OneCycle schedule; the record."""
    model = Returning() if kind == "dict" else net(3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=steps)
    reference = {"inputs": X[:128], "labels": CLASSES[:128]} if kind == "dict" else (X[:128], CLASSES[:128])
    loss_fn = None if kind == "dict" else functional.cross_entropy if kind == "function" else nn.CrossEntropyLoss()
    shuffle = torch.Generator().manual_seed(1)
    watch = thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=reference, level="full", dataset_size=512)
    with watch as probe:
        for _ in range(steps):
            rows = torch.randint(512, (32,), generator=shuffle)
            optimizer.zero_grad()
            if kind == "dict":
                loss = model(inputs=X[rows], labels=CLASSES[rows])["loss"]
            elif kind == "function":
                loss = functional.cross_entropy(model(X[rows]), CLASSES[rows])
                probe.loss(loss)
            else:
                loss = loss_fn(model(X[rows]), CLASSES[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
    return probe.record


@pytest.mark.parametrize("kind", ["dict", "function", "module"])
def test_dicts_functions_and_one_cycle_leave_nothing_unknown_that_was_measured(kind):
    record = forms(kind)
    found = {verdict.name: verdict for verdict in judge(record)}
    assert found["advice"].finding == "leave", found["advice"].says
    for name in ("learning", "pace", "noise", "batch", "edge", "damping", "spikes"):
        assert found[name].finding != "unknown", (name, found[name].says)
