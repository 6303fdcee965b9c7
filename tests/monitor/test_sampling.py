"""Oracle: the motion itself, of a ridge regression with a shuffled loader, against the temperature that is recorded."""

import gc
import math

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

import thetadot
from thetadot.errors import InadmissibleValue
from thetadot.monitor import draws
from thetadot.records import Barrier, Curvature, Draws, Motion, Noise, Regularization, Remark

MSE = torch.nn.MSELoss()
GENERATOR = torch.Generator().manual_seed(5)
X = torch.randn(256, 2, generator=GENERATOR)
Y = torch.randn(256, 1, generator=GENERATOR)
DECAY = 0.05  # of ridge: the loss is MSE + DECAY |w|²/2
HESSIAN = 2 * X.T @ X / 256 + DECAY * torch.eye(2)
BEST = torch.linalg.solve(HESSIAN, 2 * (X.T @ Y).flatten() / 256)
DATA = TensorDataset(X, Y)
BATCH, LR = 16, 0.01


class Ridge(torch.nn.Module):
    """The mean squared error of what is predicted, with the penalty of a model's weights."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, output, target):
        return MSE(output, target) + DECAY / 2 * self.model.weight.square().sum()


def watched(loader, epochs, *, momentum=0.0, lr=LR, level="full", **more):
    """The record, and every position that a gradient was taken at."""
    torch.manual_seed(1)
    model = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(BEST[None])
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    ridge = Ridge(model)
    places = []
    with thetadot.watch(model, optimizer, loss_fn=ridge, reference=(X, Y), level=level, **more) as probe:
        for _ in range(epochs):
            for x, y in loader:
                places.append(model.weight.detach().flatten().clone())
                optimizer.zero_grad()
                ridge(model(x), y).backward()
                optimizer.step()
    return probe.record, torch.stack(places)


def kept_up(places, epoch_steps):
    """h⟨w²⟩, mean over directions, and its standard error by means over eight stretches."""
    away = places[len(places) // 8 :] - BEST
    series = ((away @ HESSIAN) * away).sum(1) / 2
    stretch = max(len(series) // 8 // epoch_steps, 1) * epoch_steps
    means = torch.stack([part.mean() for part in series.split(stretch) if len(part) == stretch])
    return float(means.mean()), float(means.std() / math.sqrt(len(means)))


def recorded(record):
    """The last temperatures along both Ritz values, mean of each and of their ends."""
    entry = next(
        e for e in reversed(record.of(Curvature)) if len(e.temperature) == 2 and None not in e.temperature_high
    )
    return [sum(values) / 2 for values in (entry.temperature, entry.temperature_low, entry.temperature_high)]


CASES = {
    "sixteen batches": ({"batch_size": BATCH, "shuffle": True}, {}),
    "heavy ball": ({"batch_size": BATCH, "shuffle": True}, {"momentum": 0.9, "lr": LR / 4}),
    "two batches": ({"batch_size": 128, "shuffle": True}, {"lr": 0.1}),
    "three batches, the last incomplete": ({"batch_size": 100, "shuffle": True}, {"lr": 0.1}),
    "three batches, the last left out": ({"batch_size": 80, "shuffle": True, "drop_last": True}, {"lr": 0.1}),
    "the last is a quarter": ({"batch_size": 60, "shuffle": True}, {"lr": 0.05, "momentum": 0.5}),
    "with replacement": ({"batch_size": BATCH, "sampler": RandomSampler(DATA, replacement=True)}, {"lr": 0.05}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_shuffled_ridge_regression_is_as_warm_as_its_record_says(case):
    loading, given = CASES[case]
    loader = DataLoader(DATA, **loading)
    record, places = watched(loader, 1600 // len(loader) + 20, **given)
    kept, error = kept_up(places, len(loader))
    value, low, high = recorded(record)
    half = [abs(math.log(value / end)) / 1.96 for end in (low, high)]  # the interval's own error, as a logarithm
    apart = math.log(kept / value)
    assert abs(apart) < 2.6 * math.hypot(half[apart > 0], error / kept), (kept, error, value, low, high)
    assert high < 4 * value
    assert value < 4 * low


@pytest.mark.slow
def test_draws_with_replacement_would_be_hotter_than_the_record_allows():
    loader = DataLoader(DATA, batch_size=BATCH, shuffle=True)
    record, places = watched(loader, 20, sampling="replacement")
    kept, _ = kept_up(places, len(loader))
    _, low, _ = recorded(record)
    assert low > 4 * kept


def test_what_is_recorded_has_its_interval():
    record, _ = watched(DataLoader(DATA, batch_size=BATCH, shuffle=True), 5, momentum=0.9, level="full")
    draws = record.of(Draws)
    assert [(d.sampling, d.dataset_size, d.drop_last) for d in draws] == [("epochs", 256, False)]
    for entry in record.of(Motion)[2:]:
        assert entry.temperature_low < entry.temperature < entry.temperature_high
    for entry in record.of(Noise):
        assert entry.variance_low < entry.gradient_variance < entry.variance_high
        assert entry.square_low <= max(entry.gradient_square, 0) <= entry.square_high
    for entry in record.of(Curvature)[1:]:
        count = len(entry.damping)
        assert {len(entry.damping_low), len(entry.damping_high), len(entry.temperature)} == {count}
        for low, middle, high in zip(entry.damping_low, entry.damping, entry.damping_high, strict=True):
            assert low <= middle <= (high or math.inf)
        assert list(entry.temperature) == sorted(entry.temperature, reverse=True)  # flatter is colder
    for entry in record.of(Regularization):
        assert entry.gradient_low <= entry.gradient_term <= entry.gradient_high
        assert entry.noise_low < entry.noise_term < entry.noise_high


@pytest.mark.slow
def test_a_barriers_temperature_is_of_the_direction_of_its_line():
    record, _ = watched(DataLoader(DATA, batch_size=64, shuffle=True), 100, level="full")
    barriers = record.of(Barrier)
    assert barriers
    sharp, flat = max(HESSIAN.diagonal()) * 2, float(torch.linalg.eigvalsh(HESSIAN)[0])
    for entry in barriers:
        if entry.direction == "line":
            assert flat * 0.95 < entry.curvature < sharp
        assert entry.direction in {"line", "sharpest"}
        assert entry.temperature_low < entry.temperature < entry.temperature_high
    independent, _ = watched(DataLoader(DATA, batch_size=64), 100, level="full", sampling="replacement")
    assert {e.direction for e in independent.of(Barrier)} == {"all"}


def test_regularization_by_batches_is_recorded_where_epochs_make_it():
    for more in ({"sampling": "replacement"}, {}):  # told, and not known
        record, _ = watched(DataLoader(DATA, batch_size=BATCH), 3, level="full", **more)
        assert record.of(Regularization)
        assert {entry.noise_term for entry in record.of(Regularization)} == {None}


def test_a_loaders_shuffling_is_detected_and_what_is_not_is_said():
    def said(loader, **more):
        record, _ = watched(loader, 1, **more)
        told = any(remark.about == "sampling" for remark in record.of(Remark))
        assert told == (not record.of(Draws))
        return told

    assert not said(DataLoader(DATA, batch_size=BATCH, shuffle=True))
    assert not said(DataLoader(DATA, batch_size=BATCH, sampler=RandomSampler(DATA, replacement=True)))
    assert said(DataLoader(DATA, batch_size=BATCH))
    assert not said(DataLoader(DATA, batch_size=BATCH), sampling="replacement")


def test_an_unknown_sampling_is_refused():
    with pytest.raises(InadmissibleValue, match="sampling='shuffled'"):
        watched([], 0, sampling="shuffled")


def test_a_loader_is_found_though_its_iterator_has_grown_old():
    """The module that executes names DataLoader, so that all objects are asked where the young ones tell nothing."""
    loader = DataLoader(DATA, BATCH, shuffle=True)
    for _ in loader:
        gc.collect()
        assert draws.drawn() == Draws(0, "epochs", len(DATA), drop_last=False)
        break


def test_where_nothing_names_a_loader_the_young_objects_alone_are_asked(monkeypatch):
    def asked(*_):
        raise AssertionError("all living objects were asked")

    monkeypatch.setattr("thetadot.monitor.draws.gc.get_referrers", asked)
    monkeypatch.setattr(draws, "_in_sight", lambda: False)  # this module itself names one
    assert draws.drawn() is None
    for _ in DataLoader(DATA, BATCH, shuffle=True):
        assert draws.drawn() == Draws(0, "epochs", len(DATA), drop_last=False)
        break
