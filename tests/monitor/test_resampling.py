"""The noise of steps whose passes are of several kinds, against the variance of single samples' gradients."""

import math

import pytest
import torch
from torch import nn

import thetadot
from thetadot.monitor.calls import Call
from thetadot.monitor.layers import Layout
from thetadot.monitor.resampling import StepResampling, _signs
from thetadot.records import Motion, Noise, Remark

CE, MSE, BCE = nn.CrossEntropyLoss(), nn.MSELoss(), nn.BCEWithLogitsLoss()
N, B = 128, 16
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(N, 6, generator=torch.Generator().manual_seed(1)) * 0.5 + 1
Y = torch.randint(0, 3, (N,), generator=torch.Generator().manual_seed(2))
Z = X[:, :1] * 3 + 4


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, x):
        hidden = torch.tanh(self.body(x))
        return self.one(hidden), self.two(hidden)


# Kinds: name -> losses of a step, each with the number of the draw it is of and a weight of that draw's samples.
KINDS = {
    "two tasks of the same samples": [(0, lambda m, k: CE(m(X[k])[0], Y[k])), (0, lambda m, k: MSE(m(X[k])[1], Z[k]))],
    "three kinds, of different loss modules": [
        (0, lambda m, k: CE(m(X[k])[0], Y[k])),
        (0, lambda m, k: 0.3 * MSE(m(X[k])[1], Z[k])),
        (1, lambda m, k: 2.0 * BCE(m(OTHER[k])[1], torch.ones(len(k), 1))),
    ],
    "real and fake": [
        (0, lambda m, k: BCE(m(X[k])[1], torch.ones(len(k), 1))),
        (1, lambda m, k: BCE(m(OTHER[k])[1], torch.zeros(len(k), 1))),
    ],
    "functions": [
        (0, lambda m, k: nn.functional.cross_entropy(m(X[k])[0], Y[k])),
        (1, lambda m, k: m(OTHER[k])[1].square().mean()),
    ],
    "a penalty on the parameters": [
        (0, lambda m, k: CE(m(X[k])[0], Y[k]) + sum(p.square().sum() for p in m.parameters())),
        (1, lambda m, k: MSE(m(OTHER[k])[1], torch.zeros(len(k), 1))),
    ],
}


def truth(model, losses, counted):
    """B·Var G of a step that draws B samples with replacement for each draw: one term a draw, whatever its passes."""
    total = 0.0
    for draw in {number for number, _ in losses}:
        rows = []
        for i in range(N):
            value = sum(loss(model, torch.tensor([i])) for number, loss in losses if number == draw)
            rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(
                value, list(model.parameters()), allow_unused=True, materialize_grads=True
            )]))  # fmt: skip
        total += float(torch.stack(rows).var(dim=0, unbiased=False).sum()) / B
    return counted * total


def watched(step, optimizer=None, steps=45, model=None, loss_fn=CE, **options):
    """A loop that stands still; every step from the first that may is resampled."""
    torch.manual_seed(0)
    model = model or Heads()
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.0)
    generator = torch.Generator().manual_seed(3)
    with thetadot.watch(model, optimizer, loss_fn=loss_fn, level="full", **options) as probe:
        probe.together.share = 1e9
        for _ in range(steps):
            optimizer.zero_grad()
            probe.loss(0.0)
            step(model, lambda: torch.randint(0, N, (B,), generator=generator))
            optimizer.step()
    return model, probe


def assert_tells(probe, true):
    found = torch.tensor([variance for _, (variance, _) in probe.together.found])
    error = float(found.std()) / math.sqrt(len(found))
    assert error < 0.2 * true
    assert abs(float(found.mean()) - true) < 4.0 * error
    last = probe.record.of(Noise)[-1]
    assert (last.method, last.pooled) == ("samples", len(found))
    assert last.gradient_variance == pytest.approx(float(found.mean()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_several_kinds_has_the_variance_of_its_sum(kind):
    losses = KINDS[kind]

    def step(model, draw):
        draws = {number: draw() for number, _ in losses}
        for number, loss in losses:
            loss(model, draws[number]).backward()

    model, probe = watched(step)
    counted = probe.record.of(Motion)[-1].batch_size
    assert counted == B * len({number for number, _ in losses})
    assert_tells(probe, truth(model, losses, counted))
    assert not [remark for remark in probe.record.of(Remark) if remark.about == "micro-batches"]


@pytest.mark.parametrize("by", ["scaled", "clipped"])
def test_noise_is_in_the_units_of_the_step(by):
    losses = KINDS["real and fake"]

    def step(model, draw):
        for _, loss in losses:
            ((1024.0 if by == "scaled" else 1.0) * loss(model, draw())).backward()
        for p in model.parameters():
            if p.grad is not None:
                p.grad.mul_(1 / 1024.0 if by == "scaled" else 0.01)

    model, probe = watched(step)
    assert_tells(probe, truth(model, losses, 2 * B) * (1.0 if by == "scaled" else 1e-4))


def test_two_views_of_a_pair_are_one_draw():
    """A sum over independent passes would be wrong: the views' gradients are correlated."""

    def loss(m, k):
        one, two = m(X[k])[0], m(X[k] + 0.3 * OTHER[k])[0]
        return (one - two).square().mean() - 0.1 * one.square().mean() - 0.1 * two.square().mean()

    model, probe = watched(lambda m, draw: loss(m, draw()).backward())
    assert_tells(probe, truth(model, [(0, loss)], probe.record.of(Motion)[-1].batch_size))


def test_passes_of_unequal_numbers():
    def step(m, draw):
        MSE(m(X[draw()])[1], torch.ones(B, 1)).backward()
        k = draw()[:4]
        BCE(m(OTHER[k])[1], torch.zeros(4, 1)).backward()

    model, probe = watched(step)
    a = truth(model, [(0, lambda m, k: MSE(m(X[k])[1], torch.ones(len(k), 1)))], 20)
    b = truth(model, [(0, lambda m, k: BCE(m(OTHER[k])[1], torch.zeros(len(k), 1)))], 20) * B / 4
    assert_tells(probe, a + b)


@pytest.mark.parametrize("emptied", ["none", "zeros", "frozen"])
def test_a_generators_pass_through_the_discriminator_is_none_of_its_own(emptied):
    generator = nn.Linear(6, 6)

    def step(m, draw):
        for p in m.parameters():
            p.requires_grad_()
        m.zero_grad(set_to_none=emptied == "none")
        BCE(m(X[draw()])[1], torch.ones(B, 1)).backward()
        BCE(m(generator(OTHER[draw()]).detach())[1], torch.zeros(B, 1)).backward()
        optimizer.step()
        for p in m.parameters():
            p.requires_grad_(emptied != "frozen")
        BCE(m(generator(OTHER[draw()]))[1], torch.ones(B, 1)).backward()

    torch.manual_seed(0)
    model = Heads()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    draws = torch.Generator().manual_seed(3)
    with thetadot.watch(model, optimizer, loss_fn=BCE, level="full") as probe:
        probe.together.share = 1e9
        for _ in range(40):
            step(model, lambda: torch.randint(0, N, (B,), generator=draws))
    assert {motion.batch_size for motion in probe.record.of(Motion)} == {2 * B}
    losses = [
        (0, lambda m, k: BCE(m(X[k])[1], torch.ones(len(k), 1))),
        (1, lambda m, k: BCE(m(generator(OTHER[k]))[1], torch.zeros(len(k), 1))),
    ]
    for p in model.parameters():
        p.requires_grad_()
    assert_tells(probe, truth(model, losses, 2 * B))


class Random(nn.Module):
    """Dropout and batch statistics: what is made again must draw and average as it did."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 1))

    def forward(self, x):
        return None, self.body(x)


def test_dropout_and_batch_statistics_are_made_again_and_the_run_is_the_same():
    losses = KINDS["real and fake"]

    def step(model, draw):
        for _, loss in losses:
            loss(model, draw()).backward()

    ends = []
    for seen in (True, False):
        torch.manual_seed(0)
        model = Random()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        draws = torch.Generator().manual_seed(3)
        probe = thetadot.watch(model, optimizer, loss_fn=BCE, level="full")
        if seen:
            probe.start()
            probe.together.share = 1e9
        for _ in range(30):
            optimizer.zero_grad()
            step(model, lambda draws=draws: torch.randint(0, N, (B,), generator=draws))
            optimizer.step()
        if seen:
            assert probe.record.of(Noise)
            probe.close()
        ends.append((dict(model.state_dict()), torch.get_rng_state()))
    assert all(torch.equal(ends[0][0][name], ends[1][0][name]) for name in ends[0][0])
    assert torch.equal(ends[0][1], ends[1][1])


def penalised(m, draw):
    x, y = X[draw()], OTHER[draw()]
    m(x)[1].mean().backward()
    (-m(y)[1].mean()).backward()
    between = (0.3 * x + 0.7 * y).requires_grad_()
    (slope,) = torch.autograd.grad(m(between)[1].sum(), between, create_graph=True)
    (slope.norm(dim=1) - 1).square().mean().backward()


class Losses(nn.Module):
    """No axis of the output has the samples."""

    def __init__(self):
        super().__init__()
        self.body = Heads()

    def forward(self, x, y=None):
        a, b = self.body(x)
        return CE(a, y) if y is not None else b.mean()


def inside(m, draw):
    k = draw()
    m(X[k], Y[k]).backward()
    m(OTHER[draw()]).backward()


@pytest.mark.parametrize(("step", "model"), [(penalised, Heads), (inside, Losses)])
def test_what_cannot_be_told_is_said_once(step, model):
    torch.manual_seed(0)
    _, probe = watched(step, model=model())
    said = [remark.says for remark in probe.record.of(Remark) if remark.about == "micro-batches"]
    assert not probe.record.of(Noise)
    assert len(said) == 1
    assert "reference=" in said[0]


@pytest.mark.parametrize("count", [2, 5, 8])
def test_signs_have_the_moments_of_the_estimator(count):
    signs = torch.stack([_signs(count, key) for key in range(4000)])
    assert float(signs.sum(dim=1).abs().max()) < 1e-5
    moments = signs.T @ signs / len(signs)
    wanted = (torch.eye(count) * count - 1.0) / (count - 1)
    assert float((moments - wanted).abs().max()) < 4.0 / math.sqrt(4000)


def test_the_mean_over_signs_is_the_variance_within_the_batch():
    model, k = Heads(), torch.arange(B)
    call = Call((X[k],), {}, torch.device("cpu"))
    a, b = model(X[k])
    for i, leaf in enumerate((a, b)):
        leaf.register_hook(lambda g, i=i: call.pull(i, g))
    loss = CE(a, Y[k]) + MSE(b, Z[k])
    seen = torch.autograd.grad(loss, list(model.parameters()))
    resampling = StepResampling(model, Layout(model, torch.optim.SGD(model.parameters())))
    found = torch.tensor([resampling.read([call], [B], 0, seen, step) for step in range(100)])
    rows = []
    for i in range(B):
        a, b = model(X[i : i + 1])
        value = CE(a, Y[i : i + 1]) + MSE(b, Z[i : i + 1])
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, list(model.parameters()))]))
    true = float(torch.stack(rows).var(dim=0).sum()) / B
    assert abs(float(found.mean()) - true) < 4.0 * float(found.std()) / 10.0
    assert float(found.std()) < true
