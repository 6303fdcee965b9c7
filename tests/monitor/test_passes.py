"""Passes of a step are micro-batches only if they are draws of one law."""

import pytest
import torch
from torch import nn

import thetadot
from thetadot.records import Motion, Noise, Remark

CE, MSE, BCE = nn.CrossEntropyLoss(), nn.MSELoss(), nn.BCEWithLogitsLoss()


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.b, self.h1, self.h2 = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, x):
        h = torch.tanh(self.b(x))
        return self.h1(h), self.h2(h)


def halves(m, x, y, z):
    for s in (slice(0, 32), slice(32, 64)):
        a, b = m(x[s])
        ((CE(a, y[s]) + MSE(b, z[s])) / 2).backward()


def by_task(m, x, y, z):
    CE(m(x)[0], y).backward()
    MSE(m(x)[1], z).backward()


def three(m, x, y, z):
    for weight, value in (
        (0.5, lambda: CE(m(x)[0], y)),
        (2.0, lambda: MSE(m(x)[1], z)),
        (1.0, lambda: m(x)[1].mean() * 2),
    ):
        (weight * value()).backward()


def functional(m, x, y, z):
    nn.functional.cross_entropy(m(x)[0], y).backward()
    nn.functional.mse_loss(m(x)[1], z).backward()


@pytest.mark.parametrize(("step", "equal"), [(halves, True), (by_task, False), (three, False), (functional, False)])
def test_tasks_are_no_micro_batches(step, equal):
    torch.manual_seed(0)
    x = torch.randn(1024, 6)
    y, z = torch.randint(0, 3, (1024,)), x[:, :1] * 3 + 10
    m = Two()
    optimizer = torch.optim.SGD(m.parameters(), lr=0.01)
    with thetadot.watch(m, optimizer, loss_fn=CE, level="full") as probe:
        for _ in range(40):
            k = torch.randint(0, 1024, (64,))
            optimizer.zero_grad()
            probe.loss(0.0)
            step(m, x[k], y[k], z[k])
            optimizer.step()
    said = [remark.says for remark in probe.record.of(Remark) if remark.about == "micro-batches"]
    assert {noise.method for noise in probe.record.of(Noise)} == {"accumulation" if equal else "samples"}
    assert not said
    assert probe.record.of(Motion)[-1].batch_size == 64


def test_a_discriminators_real_and_fake_batches_are_not_equal_draws():
    torch.manual_seed(0)
    d = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    g = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    od, og = (torch.optim.SGD(model.parameters(), lr=0.05) for model in (d, g))
    one, zero = torch.ones(64, 1), torch.zeros(64, 1)
    with (
        thetadot.watch(d, od, loss_fn=BCE, level="full") as probe,
        thetadot.watch(g, og, loss_fn=BCE, level="full") as other,
    ):
        for _ in range(30):
            real, fake = torch.randn(64, 2) * 0.3 + 2, g(torch.randn(64, 4))
            g(torch.randn(64, 4))  # nothing is learned from this pass
            od.zero_grad()
            BCE(d(real), one).backward()
            BCE(d(fake.detach()), zero).backward()
            od.step()
            og.zero_grad()
            BCE(d(fake), one).backward()
            og.step()
    assert "not draws of one law" in probe.together.unlike
    assert {noise.method for noise in probe.record.of(Noise)} == {"samples"}
    assert [motion.batch_size for motion in other.record.of(Motion)] == [64] * 30
