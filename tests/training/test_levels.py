"""The guard trips on what is lost, and not on noise."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from thetadot.training import checkpoint
from thetadot.training.levels import KEPT, MOST_ROLLBACKS, Guard, bound, piece_of
from thetadot.training.snapshot import Snapshot

PIECES = pytest.mark.parametrize("piece", [10, 25, 100])
STEPS = 1500
RUNS = 8
TIME = np.arange(STEPS)


def trip(losses, start, piece, scale=None):
    """The step at which the first lost piece ends, or None."""
    guard = Guard(piece=piece, start=start, scale=start if scale is None else scale)
    for step, loss in enumerate(losses):
        guard.take(float(loss))
        if guard.full and guard.lost():
            return step
    return None


def skewed(rng, sigma=1.0, count=STEPS):
    """Positive noise of mean one and a long tail."""
    return rng.lognormal(-(sigma**2) / 2, sigma, count)


def correlated(rng, rho=0.9):
    """A stationary walk about zero of unit variance."""
    noise = rng.normal(size=STEPS) * math.sqrt(1 - rho**2)
    walk = np.zeros(STEPS)
    for i in range(1, STEPS):
        walk[i] = rho * walk[i - 1] + noise[i]
    return walk


HARMLESS = {
    "a plateau of noisy batches": (1.0, lambda rng: 1.0 + 0.5 * rng.normal(size=STEPS)),
    "a plateau of a walk": (1.1, lambda rng: 1.0 + 0.05 * correlated(rng)),
    "a descent of a walk": (2.3, lambda rng: 2.3 * np.exp(-TIME / 300) + 0.1 + 0.1 * correlated(rng, 0.5)),
    "a noisy descent": (1.0, lambda rng: np.exp(-TIME / 300) * skewed(rng) + 0.02 * skewed(rng)),
    "a descent below zero": (-1.0, lambda rng: -1.0 - TIME / 300 + 0.5 * rng.normal(size=STEPS)),
    "a descent through zero": (1.0, lambda rng: 1.0 - TIME / 300 + 0.5 * rng.normal(size=STEPS)),
    "a descent from zero": (0.0, lambda rng: -TIME / 300 + 0.3 * rng.normal(size=STEPS)),
    "five decades": (1e5, lambda rng: 1e5 * np.exp(-TIME / 120) * skewed(rng) + skewed(rng)),
    "outliers": (1.0, lambda rng: 0.5 + 0.1 * rng.normal(size=STEPS) + 5.0 * (rng.random(STEPS) < 0.01)),
    "a saddle": (1.0, lambda rng: 1.0 - 1e-6 * np.exp(TIME / 120) + 0.2 * rng.normal(size=STEPS)),
    "a rise at the start": (1.0, lambda rng: 0.4 + 0.6 * np.exp(-TIME / 300) * (1 + TIME / 10 * np.exp(-TIME / 5))),
}


@PIECES
@pytest.mark.parametrize("name", HARMLESS)
def test_noise_does_not_trip_it(name, piece):
    start, losses = HARMLESS[name]
    rng = np.random.default_rng(0)
    assert [trip(losses(rng), start, piece) for _ in range(RUNS)] == [None] * RUNS


def after(good, bad):
    return np.concatenate([good, bad])


def descent(rng, start=2.3, count=STEPS // 2):
    return (start - 0.1) * np.exp(-np.arange(count) / 100) * skewed(rng, 0.3, count) + 0.1


RUINOUS = {
    "growth by a fiftieth": (2.3, lambda rng: after(descent(rng), 0.1 * 1.02 ** np.arange(600))),
    "growth by a tenth": (2.3, lambda rng: after(descent(rng), 0.1 * 1.1 ** np.arange(300))),
    "a fall back to chance": (2.3, lambda rng: after(descent(rng), 2.3 + 0.2 * rng.normal(size=600))),
    "half of it lost": (2.3, lambda rng: after(descent(rng), 1.2 + 0.2 * rng.normal(size=600))),
    "sunk to chance": (2.31, lambda rng: after(descent(rng)[:0], 2.4 + 0.1 * rng.normal(size=STEPS))),
    "below zero": (0.0, lambda _: after(-np.linspace(0, 5, 700), np.linspace(-5, -2, 300))),
}


@PIECES
@pytest.mark.parametrize("name", RUINOUS)
def test_a_loss_that_is_lost_trips_it(name, piece):
    start, losses = RUINOUS[name]
    rng = np.random.default_rng(1)
    for _ in range(RUNS):
        found = trip(losses(rng), start, piece)
        assert found is not None
        assert name == "sunk to chance" or found >= STEPS // 2 - 50


@PIECES
def test_gains_are_counted_from_a_constant_output_where_the_start_is_far_off(piece):
    """A start of 81,167 that is offset alone must not pass for a gain: 14.75 and 324 are no tie."""
    rng = np.random.default_rng(2)
    losses = after(np.geomspace(81_167.0, 14.75, 700), 324.0 + 20.0 * rng.normal(size=1500))
    assert trip(losses, 81_167.0, piece) is None
    assert trip(losses, 81_167.0, piece, scale=290.0) is not None


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e6])
def test_the_level_is_the_mean_and_the_error_covers_four_deviations_of_it(offset):
    rng = np.random.default_rng(2)
    levels, errors = [], []
    for _ in range(200):
        guard = Guard(piece=20, start=offset + 1.0, scale=offset + 1.0)
        losses = offset + 1.0 + 0.1 * rng.normal(size=20)
        for loss in losses:
            guard.take(loss)
        assert guard.level == pytest.approx(losses.mean(), rel=1e-12)
        levels.append(guard.level)
        errors.append(guard.error)
    assert np.mean(errors) == pytest.approx(4 * np.std(levels), rel=0.2)


def test_a_piece_is_an_epoch_within_its_bounds():
    for steps in (100, 1000, 40_000):
        for epoch in (1, 20, 700, 40_000):
            found = piece_of(steps, epoch)
            assert max(5, int(0.025 * steps)) <= found <= max(10, int(0.05 * steps))
    assert piece_of(1000, 40) == 40


def test_a_rollback_goes_to_the_last_piece_but_one_and_a_third_of_the_rate():
    model = nn.Linear(1, 1)
    guard = Guard(piece=5, start=1.0, scale=1.0)
    for step in (0, 5, 10, 15):
        guard.keep(step, Snapshot.take(model))
    assert [step for step, _ in guard.good] == [10, 15][-KEPT:]
    step, state, factor = guard.rewind()
    assert (step, factor) == (10, pytest.approx(1 / 3))
    assert guard.good == [(10, state)]
    assert (guard.rollbacks, guard.count) == (1, 0)


def test_steps_shrink_ever_faster_while_nothing_helps_and_by_thirds_otherwise():
    model = nn.Linear(1, 1)
    still, moving = (Guard(piece=5, start=1.0, scale=1.0) for _ in range(2))
    still.keep(0, Snapshot.take(model))
    rates = [1.0, 1.0]
    for step in range(MOST_ROLLBACKS):
        moving.good = [(step, Snapshot.take(model))]
        for k, guard in enumerate((still, moving)):
            rates[k] *= guard.rewind()[2]
    assert rates[1] == pytest.approx(3.0**-MOST_ROLLBACKS)
    assert rates[0] < 1e-12  # an lr 1e12 times too large is no lost run


def test_a_state_that_validated_better_is_begun_from_anew():
    guard = Guard(piece=5, start=1.0, scale=1.0)
    for _ in range(5):
        guard.take(0.01)
    assert not guard.lost()
    state = Snapshot.take(nn.Linear(1, 1))
    assert guard.restart(3, state) == pytest.approx(1 / 3)
    assert guard.good == [(3, state)]
    for _ in range(5):
        guard.take(0.9)  # worse than it was, by a state that knows its training data less
    assert not guard.lost()


def test_a_run_is_worse_than_none_where_it_ends_above_its_start():
    guard = Guard(piece=5, start=2.0, scale=1.0)
    assert not guard.worse(bound(2.0, 1.0))
    assert guard.worse(2.3)
    assert guard.worse(math.nan)


def test_a_guard_continues_from_its_checkpoint(tmp_path):
    rng = np.random.default_rng(3)
    losses = (1.0 + 0.3 * rng.normal(size=200)).tolist()
    model = nn.Linear(2, 1)
    guard = Guard(piece=30, start=1.0, scale=0.7)
    guard.keep(3, Snapshot.take(model))

    def taken(some, guard):
        found = []
        for loss in some:
            guard.take(loss)
            if guard.full:
                found.append((guard.level, guard.error, guard.lost()))
        return found

    taken(losses[:100], guard)
    head = {"phase": "training", "arguments": {}, "threads": 1, "offset": 0, "data": {}, "plan": {}, "loop": {}}
    checkpoint.save(tmp_path, head | {"guard": guard.state_dict()})
    other = Guard(piece=1, start=0.0, scale=0.0)
    other.load_state_dict(checkpoint.load(tmp_path)["guard"])
    assert torch.equal(other.good[0][1].model["weight"], model.weight)
    assert taken(losses[100:], guard) == taken(losses[100:], other)
