"""Batch sizes and losses of loops as they are written, against what was passed."""

import math

import pytest
import torch
from msgspec.structs import replace
from torch import nn

import thetadot
from thetadot.monitor import Batch
from thetadot.monitor.reference import carried, samples_in
from thetadot.records import Curvature, Motion, Noise, Remark

X = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randn(64, 1, generator=torch.Generator().manual_seed(1))
MSE = nn.MSELoss()


def net():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))


class Language(nn.Module):
    """A model that returns (logits, loss)."""

    def __init__(self):
        super().__init__()
        self.body = net()

    def forward(self, x, y=None):
        logits = self.body(x)
        return logits, None if y is None else MSE(logits, y)


def test_a_loss_in_a_tuple_is_seen_in_training_and_on_the_reference():
    model = Language()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with thetadot.watch(model, optimizer, sampling="replacement", reference={"x": X, "y": Y}, level="full") as probe:
        _, loss = model(X[:16], Y[:16])
        loss.backward()
        optimizer.step()
    (motion,) = probe.record.of(Motion)
    assert (motion.batch_size, motion.loss) == (16, pytest.approx(float(loss.detach())))
    assert probe.record.of(Curvature)
    assert not probe.record.of(Remark)


def test_what_is_told_goes_before_what_is_seen():
    model = Language()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with thetadot.watch(model, optimizer, level="full") as probe:
        for told in (2.0, 3.0):
            _, loss = model(X[:16], Y[:16])
            probe.passed(10, told)
            loss.backward()
            probe.passed(6)
            MSE(model.body(X[:6]), Y[:6]).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert [(motion.batch_size, motion.loss) for motion in probe.record.of(Motion)] == [(16, 2.0), (16, 3.0)]


def test_a_step_that_a_scaler_skips_leaves_nothing_behind():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=1000)
    losses = []
    with thetadot.watch(model, optimizer, loss_fn=MSE, level="full") as probe:
        for step in range(13):
            optimizer.zero_grad()
            losses.append(0.0)
            rows = torch.randperm(64, generator=torch.Generator().manual_seed(step))[:32]  # passes are equal draws
            for x, y in zip(X[rows].chunk(2), Y[rows].chunk(2), strict=True):
                loss = MSE(model(x), y) / 2
                losses[-1] += loss.item()
                scaler.scale(loss * (math.inf if step == 1 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
    del losses[1]
    motions = probe.record.of(Motion)
    assert [motion.batch_size for motion in motions] == [32] * 12
    assert [motion.loss for motion in motions] == pytest.approx(losses)
    (noise,) = probe.record.of(Noise)  # infinite gradients are in no average
    assert noise.gradient_variance > 0
    assert noise.pooled == 10


def test_a_function_as_loss_is_said_not_to_be_seen():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    functional = nn.functional.mse_loss
    probe = thetadot.watch(model, optimizer, sampling="replacement", loss_fn=functional, reference=(X, Y)).start()
    functional(model(X), Y).backward()
    with pytest.warns(UserWarning, match=r"does not see the training loss.*probe\.loss\(loss\)"):
        optimizer.step()
    probe.close()
    assert [remark.about for remark in probe.record.of(Remark)] == ["training loss"]
    assert probe.record.of(Motion)[0].loss is None


class Body(nn.Module):
    """A class of one's own: torch 2.9 does not compile its own containers in place."""

    def __init__(self):
        super().__init__()
        self.body = net()

    def forward(self, x):
        return self.body(x)


def compiled(how, graphs):
    def count(graph, inputs):
        graphs.append(graph)
        return graph

    model = Body()
    if how == "in place":
        model.compile(backend=count)
        return model, model
    called = torch.compile(model, backend=count, fullgraph=True)
    return called, called if how == "the compiled one" else model


@pytest.mark.parametrize("how", ["the compiled one", "the one beneath", "in place"])
def test_a_compiled_model_is_compiled_once_and_measured_as_it_is_written(how):
    torch.compiler.reset()
    graphs = []
    called, watched = compiled(how, graphs)
    optimizer = torch.optim.SGD(watched.parameters(), lr=0.01)
    probe = thetadot.watch(watched, optimizer, loss_fn=MSE, reference=(X, Y), level="full").start()

    def train():
        for _ in range(12):
            optimizer.zero_grad()
            for x, y in zip(X.chunk(4), Y.chunk(4), strict=True):
                (MSE(called(x), y) / 4).backward()
            optimizer.step()
        probe.close()

    if how == "the compiled one":
        train()
        assert {motion.batch_size for motion in probe.record.of(Motion)} == {64}
    else:
        with pytest.warns(UserWarning, match="does not see the samples.*Pass the model that the loop calls"):
            train()
        assert {motion.batch_size for motion in probe.record.of(Motion)} == {None}
    assert len(graphs) == 1
    assert all(motion.loss is not None for motion in probe.record.of(Motion))
    assert {found.method for found in probe.record.of(Curvature)} == {"lanczos"}


def test_hooks_stay_through_measured_steps_and_rest_between_them():
    """torch 2.9's dynamo takes a hook that is set anew for another graph."""

    def hooks(level):
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y), level=level):
            for _ in range(4):
                yield tuple(model._forward_pre_hooks)
                optimizer.zero_grad()
                MSE(model(X), Y).backward()
                optimizer.step()

    every, some = list(hooks("full")), list(hooks("light"))
    assert len(set(every)) == len(every[0]) == 1
    assert () in some


def test_a_batch_of_any_structure_is_the_same_reference():
    def entries(reference):
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        with thetadot.watch(model, optimizer, loss_fn=MSE, reference=reference, level="full") as probe:
            for _ in range(3):
                optimizer.zero_grad()
                MSE(model(X[:16]), Y[:16]).backward()
                optimizer.step()
        watched = probe.record.header.watched
        found = [*probe.record.of(Noise), *probe.record.of(Curvature)]
        # what has to be found out beforehand costs more where the loss does not say that it is a mean
        return (watched.reference_samples, watched.lacks), [replace(entry, cost=0.0) for entry in found]

    nested = Batch({"a": [X], "b": (Y, "text")}, lambda model, data: MSE(model(data["a"][0]), data["b"][0]))
    assert entries(nested) == entries((X, Y))
    assert entries(nested)[0] == (64, {})


def test_a_reference_too_small_for_noise_is_said():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X[:8], Y[:8])) as probe:
        pass
    assert "has 8 samples. Pass 16 or more" in probe.record.header.watched.lacks["noise"]


def test_samples_and_losses_in_whatever_structure():
    assert samples_in(({"text": ["a"], "n": torch.tensor(3.0), "x": (X,)},)) == 64
    assert samples_in("text") == 0
    assert carried((X, Y)) is None
    assert carried((torch.tensor(1.0), torch.tensor(2.0))) is None


@pytest.mark.parametrize(("spread", "methods"), [(1e-3, {"accumulation", "reference"}), (1.0, {"accumulation"})])
def test_the_reference_is_asked_for_noise_until_the_passes_tell_it(spread, methods):
    x = torch.ones(64, 1, dtype=torch.float64)
    noise = spread * torch.randn(400, 64, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02 if spread < 1 else 0.0)
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(x, x + noise[0]), level="full") as probe:
        for step in range(60):
            optimizer.zero_grad()
            for rows in noise[step].chunk(4):
                (MSE(model(x[:16]), x[:16] + rows) / 4).backward()
            optimizer.step()
    late = [found for found in probe.record.of(Noise) if found.step > 40]
    assert {found.method for found in late} == methods
