"""Oracle: the motion itself, of a ridge regression with a shuffled loader, against the temperature that is recorded."""

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

import thetadot
from thetadot.errors import InadmissibleValue
from thetadot.records import Motion, Remark

MSE = torch.nn.MSELoss()
GENERATOR = torch.Generator().manual_seed(5)
X = torch.randn(256, 2, generator=GENERATOR)
Y = torch.randn(256, 1, generator=GENERATOR)
DATA = TensorDataset(X, Y)
BEST = torch.linalg.lstsq(X, Y).solution.flatten()
HESSIAN = 2 * X.T @ X / 256
BATCH, LR = 16, 0.01


def watched(loader, epochs, **more):
    """The record, and every position that a gradient was taken at."""
    torch.manual_seed(1)
    model = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(BEST[None])
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    places = [BEST]
    with thetadot.watch(model, optimizer, loss_fn=MSE, reference=(X, Y), level="default", **more) as probe:
        for _ in range(epochs):
            for x, y in loader:
                places.append(model.weight.detach().flatten().clone())
                optimizer.zero_grad()
                MSE(model(x), y).backward()
                optimizer.step()
    return probe.record, torch.stack(places)


@pytest.mark.slow
def test_a_shuffled_ridge_regression_is_as_cold_as_recorded():
    record, places = watched(DataLoader(DATA, batch_size=BATCH, shuffle=True), 80)
    away = places[len(places) // 8 :] - BEST
    kept = ((away @ HESSIAN) * away).sum(1) / 2  # h⟨w²⟩, mean of both directions
    recorded = torch.tensor([m.temperature for m in record.of(Motion) if m.temperature is not None]).median()
    # trΣ is of a few micro-batches: a factor of 4 either way at 95%; with replacement it would be 15 times as hot
    assert float(recorded) / 4 < float(kept.mean()) < float(recorded) * 4
    independent, _ = watched(DataLoader(DATA, batch_size=BATCH, shuffle=True), 80, sampling="replacement")
    hot = torch.tensor([m.temperature for m in independent.of(Motion) if m.temperature is not None]).median()
    assert float(hot) > 8 * float(kept.mean())


def test_a_loaders_shuffling_is_detected_and_what_is_not_is_said():
    def said(loader, **more):
        record, _ = watched(loader, 1, **more)
        return any(remark.about == "sampling" for remark in record.of(Remark))

    assert not said(DataLoader(DATA, batch_size=BATCH, shuffle=True))
    assert not said(DataLoader(DATA, batch_size=BATCH, sampler=RandomSampler(DATA, replacement=True)))
    assert said(DataLoader(DATA, batch_size=BATCH))
    assert not said(DataLoader(DATA, batch_size=BATCH), sampling="replacement")


def test_an_unknown_sampling_is_refused():
    with pytest.raises(InadmissibleValue, match="sampling='shuffled'"):
        watched([], 0, sampling="shuffled")
