"""The guard trips on what is lost, and not on noise."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

from thetadot.training import checkpoint
from thetadot.training.guard import BEHIND, MOST_BEHIND, MOST_ROLLBACKS, Guard
from thetadot.training.progress import Progress
from thetadot.training.snapshot import Snapshot

LOST = "the loss had lost a quarter of what was gained"
NOT_FINITE = "the loss was not finite"
MEMORIES = pytest.mark.parametrize("memory", [5, 20, 100])
STEPS = 1500
RUNS = 8
TIME = np.arange(STEPS)


def trip(losses, start, memory, **options):
    """(step, reason) of the first trip, or None."""
    guard = Guard(memory=memory, start=start, **options)
    for step, loss in enumerate(losses):
        reason = guard.tripped(float(loss))
        if reason is not None:
            return step, reason
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
    "a plateau of a walk": (1.0, lambda rng: 1.0 + 0.05 * correlated(rng)),
    "a descent of a walk": (2.3, lambda rng: 2.3 * np.exp(-TIME / 300) + 0.1 + 0.1 * correlated(rng, 0.5)),
    "a noisy descent": (1.0, lambda rng: np.exp(-TIME / 300) * skewed(rng) + 0.02 * skewed(rng)),
    "a descent below zero": (-1.0, lambda rng: -1.0 - TIME / 300 + 0.5 * rng.normal(size=STEPS)),
    "a descent through zero": (1.0, lambda rng: 1.0 - TIME / 300 + 0.5 * rng.normal(size=STEPS)),
    "a descent from zero": (0.0, lambda rng: -TIME / 300 + 0.3 * rng.normal(size=STEPS)),
    "five decades": (1e5, lambda rng: 1e5 * np.exp(-TIME / 120) * skewed(rng) + skewed(rng)),
    "outliers": (1.0, lambda rng: 0.5 + 0.1 * rng.normal(size=STEPS) + 5.0 * (rng.random(STEPS) < 0.01)),
    "a start that rises a little": (1.0, lambda rng: 1.0 + 0.15 * TIME / STEPS + 0.2 * rng.normal(size=STEPS)),
}


@MEMORIES
@pytest.mark.parametrize("name", HARMLESS)
def test_noise_does_not_trip_it(name, memory):
    start, losses = HARMLESS[name]
    rng = np.random.default_rng(0)
    assert [trip(losses(rng), start, memory) for _ in range(RUNS)] == [None] * RUNS


def after(good, bad):
    return np.concatenate([good, bad])


def descent(rng, start=2.3, count=STEPS // 2):
    return (start - 0.1) * np.exp(-np.arange(count) / 100) * skewed(rng, 0.3, count) + 0.1


RUINOUS = {
    "growth by a fiftieth": (2.3, lambda rng: after(descent(rng), 0.1 * 1.02 ** np.arange(400))),
    "growth by a tenth": (2.3, lambda rng: after(descent(rng), 0.1 * 1.1 ** np.arange(300))),
    "doubling": (2.3, lambda rng: after(descent(rng), 0.1 * 2.0 ** np.arange(300))),
    "a fall back to chance": (2.3, lambda rng: after(descent(rng), 2.3 + 0.2 * rng.normal(size=600))),
    "half of it lost": (2.3, lambda rng: after(descent(rng), 1.2 + 0.2 * rng.normal(size=600))),
    "below zero": (0.0, lambda _: after(-np.linspace(0, 5, 700), np.linspace(-5, -2, 300))),
    "from the first step": (1.0, lambda _: 1.05 ** np.arange(400)),
    "from a wide range": (1e5, lambda _: after(np.geomspace(1e5, 1.0, 700), np.geomspace(1.0, 1e6, 300))),
}


@MEMORIES
@pytest.mark.parametrize("name", RUINOUS)
def test_a_loss_that_is_lost_trips_it(name, memory):
    start, losses = RUINOUS[name]
    rng = np.random.default_rng(1)
    for _ in range(RUNS):
        found = trip(losses(rng), start, memory)
        assert found is not None
        assert found[1] == LOST
        assert name == "from the first step" or found[0] >= STEPS // 2 - 50


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_trips_at_once_and_is_not_taken_in(loss):
    guard = Guard(memory=5, start=1.0)
    guard.tripped(0.5)
    before = guard.state_dict()
    assert guard.tripped(loss) == NOT_FINITE
    assert guard.state_dict() == before


def test_a_run_far_behind_its_trial_trips_after_its_patience_a_few_times_only():
    guard = Guard(memory=5, start=2.0, expected=0.1, patience=50)
    reasons = []
    for _ in range(5000):
        reason = guard.tripped(1.9)
        if reason is not None:
            reasons.append((guard.taken, reason))
            guard.rewind(0.25)
    assert reasons == [(50 * 4**i + 1, BEHIND) for i in range(MOST_BEHIND)]
    assert trip([1.9] * 5000, 2.0, 5, expected=1.8, patience=50) is None
    assert trip([0.2] * 5000, 2.0, 5, expected=0.1, patience=50) is None


def test_rewinding_makes_the_step_smaller_and_begins_the_smoothing_anew():
    guard = Guard(memory=5, start=1.0, patience=8)
    for _ in range(20):
        guard.tripped(0.1)
    assert guard.level == pytest.approx(0.1)
    guard.rewind()
    guard.rewind(0.25)
    assert (guard.shrink, guard.rollbacks, guard.patience) == (0.125, 2, 64)
    assert (guard.level, guard.error, guard.best) == (1.0, 0.0, math.inf)
    assert trip([1.0] * 50, 1.0, 5) is None
    assert [guard.tripped(1.0) for _ in range(50)] == [None] * 50  # 0.1 is forgotten: it was the bad state's past


def test_steps_shrink_ever_faster_while_nothing_helps_and_by_halves_otherwise():
    still, moving = Guard(memory=5, start=1.0), Guard(memory=5, start=1.0)
    for step in range(MOST_ROLLBACKS):
        moving.good_progress = {"step": step}
        still.rewind()
        moving.rewind()
        if step < 4:
            assert still.shrink == moving.shrink
    assert moving.shrink == 0.5**MOST_ROLLBACKS
    assert still.shrink < 1e-9  # an lr 1e18 times too large is no lost run


def test_the_level_is_the_mean_of_the_losses_weighted_by_age():
    guard = Guard(memory=4, start=9.0)
    losses = [3.0, 1.0, 2.0]
    for loss in losses:
        guard.tripped(loss)
    weights = [0.75**2, 0.75, 1.0]
    assert guard.level == pytest.approx(sum(w * x for w, x in zip(weights, losses, strict=True)) / sum(weights))


def test_the_error_covers_four_deviations_of_the_level():
    rng = np.random.default_rng(2)
    levels, errors = [], []
    for _ in range(200):
        guard = Guard(memory=20, start=1.0)
        for loss in 1.0 + 0.1 * rng.normal(size=300):
            guard.tripped(loss)
        levels.append(guard.level)
        errors.append(guard.error)
    assert np.mean(errors) == pytest.approx(4 * np.std(levels), rel=0.2)


def test_a_state_is_worth_keeping_when_its_level_is_known_and_near_the_best():
    guard = Guard(memory=10, start=1.0)
    assert not guard.healthy()  # a state of which nothing is known must not replace a good one
    for _ in range(5):
        guard.tripped(0.5)
    assert not guard.healthy()
    for _ in range(20):
        guard.tripped(0.5)
    assert guard.healthy()
    for _ in range(10):
        guard.tripped(0.65)
    assert not guard.healthy()


def test_a_state_worse_than_the_start_is_not_worth_keeping():
    guard = Guard(memory=10, start=1.0)
    rng = np.random.default_rng(4)
    for loss in 100.0 * skewed(rng, count=40):
        guard.tripped(loss)
    assert not guard.healthy()


def test_a_state_behind_the_trial_is_not_worth_keeping():
    guard = Guard(memory=5, start=2.0, expected=0.1, patience=1000)
    for _ in range(50):
        guard.tripped(1.9)
    assert not guard.healthy()
    guard.behind = MOST_BEHIND
    assert guard.healthy()


def test_a_guard_continues_from_its_checkpoint(tmp_path):
    rng = np.random.default_rng(3)
    losses = (1.0 + 0.3 * rng.normal(size=200)).tolist()
    model = nn.Linear(2, 1)
    guard = Guard(memory=20, start=1.0, expected=0.5, patience=7)
    guard.good, guard.good_progress = Snapshot.take(model), asdict(Progress(step=3))
    guard.rewind()
    for loss in losses[:100]:
        guard.tripped(loss)
    head = {"phase": "training", "arguments": {}, "threads": 1, "offset": 0, "data": {}, "plan": {}, "loop": {}}
    checkpoint.save(tmp_path, head | {"guard": guard.state_dict()})
    other = Guard(memory=1, start=0.0)
    other.load_state_dict(checkpoint.load(tmp_path)["guard"])
    assert torch.equal(other.good.model["weight"], model.weight)
    for loss in losses[100:]:
        assert guard.tripped(loss) == other.tripped(loss)
    one, two = guard.state_dict(), other.state_dict()
    assert {name: value for name, value in one.items() if name != "good"} == {
        name: value for name, value in two.items() if name != "good"
    }
