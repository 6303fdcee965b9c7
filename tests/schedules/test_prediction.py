"""On quadratics with a power spectrum the law is exact: it predicts the end of schedules that were never run."""

import numpy as np
import pytest

from thetadot.errors import InadmissibleValue
from thetadot.schedules import Recorded, best_schedule, predict

STEPS, PEAK = 2000, 0.05


def expected_losses(lr, s, q, momentum=0.0, batch=1.0):
    """Exact mean losses of noisy descent, mode by mode; momentum as the longer step that it is, overdamped."""
    modes = np.geomspace(1e-6, 20.0, 900)
    weight = modes * np.gradient(np.log(modes))
    signal, noise = (modes ** (p - 1) * np.exp(-2 * modes * at) * weight for p, at in ((s, 2.0), (q, 1.0)))
    left, kept = 2.0 * signal / signal.sum(), np.zeros_like(modes)
    noise *= 0.3 / noise.sum()
    found = []
    for rate in np.append(np.asarray(lr) / (1 - momentum), 0.0):
        found.append(0.5 + left.sum() + kept.sum())
        factor = (1 - rate * modes) ** 2
        left, kept = left * factor, kept * factor + noise * rate**2 / batch
    return np.array(found)


def schedules():
    t = (np.arange(STEPS) + 0.5) / STEPS
    return {
        "cosine": PEAK * (1 + np.cos(np.pi * t)) / 2,
        "line": PEAK * (1 - t),
        "held, then a line": PEAK * np.minimum(1, (1 - t) / 0.3),
        "constant": np.full(STEPS, PEAK),
    }


def recorded(rate, s, q, seed=None, steps=STEPS // 5):
    losses = expected_losses(np.full(steps, rate), s, q)[:-1]
    if seed is not None:
        losses = losses * (1 + 0.1 * np.random.default_rng(seed).standard_normal(steps))
    return Recorded(losses, rate)


@pytest.mark.parametrize(("s", "q"), [(0.5, 1.2), (0.8, 1.5), (1.2, 2.0)])
def test_from_a_fifth_at_two_rates_it_predicts_the_end_of_any_schedule(s, q):
    law = predict([recorded(PEAK, s, q), recorded(PEAK / 3, s, q)])
    assert law.unknown is None
    assert law.misfit < 1
    for name, lr in schedules().items():
        truth = expected_losses(lr, s, q)[-1]
        found = law.at(STEPS, lr)
        assert found.loss == pytest.approx(truth, rel=0.01), name
        assert found.low <= truth <= found.high, name


def test_from_one_whose_rate_moved_too():
    lr = schedules()["cosine"]
    truth = expected_losses(lr, 0.8, 1.5)
    law = predict(Recorded(truth[: STEPS // 2], lr[: STEPS // 2]))
    assert law.at(STEPS, lr).loss == pytest.approx(truth[-1], rel=0.01)


def test_momentum_and_batch_enter_by_the_clock():
    law = predict([recorded(PEAK, 0.8, 1.5), recorded(PEAK / 3, 0.8, 1.5)])
    lr = schedules()["cosine"] / 10
    truth = expected_losses(lr, 0.8, 1.5, momentum=0.9, batch=4.0)[-1]
    assert law.at(STEPS, lr, 0.9, 4.0).loss == pytest.approx(truth, rel=0.01)


@pytest.mark.slow
def test_noisy_losses_are_predicted_within_their_interval():
    inside, errors = 0, []
    for seed in range(3):
        law = predict([recorded(PEAK, 0.8, 1.5, seed), recorded(PEAK / 3, 0.8, 1.5, seed + 100)])
        for lr in schedules().values():
            truth, found = expected_losses(lr, 0.8, 1.5)[-1], law.at(STEPS, lr)
            inside += found.low <= truth <= found.high
            errors.append(abs(found.loss / truth - 1))
    assert inside >= 10  # of 12
    assert np.median(errors) < 0.05


def test_the_named_schedule_ends_lower_than_usual_ones():
    law = predict([recorded(PEAK, 0.8, 1.5), recorded(PEAK / 3, 0.8, 1.5)])
    best = best_schedule(law, STEPS)
    lr = best.lr * np.array([best.schedule(k + 0.5) for k in range(STEPS)])
    truth = expected_losses(lr, 0.8, 1.5)[-1]
    assert best.end.loss == pytest.approx(truth, rel=0.01)
    assert truth <= 1.002 * min(expected_losses(usual, 0.8, 1.5)[-1] for usual in schedules().values())


def test_a_rate_that_never_moved_leaves_the_noise_unknown_and_says_so():
    law = predict(recorded(PEAK, 0.8, 1.5))
    assert law.unknown == "noise term"
    truth = expected_losses(np.full(STEPS, PEAK), 0.8, 1.5)[-1]
    assert law.at(STEPS, PEAK).loss == pytest.approx(truth, rel=0.05)
    for call in (lambda: law.at(STEPS, schedules()["cosine"]), lambda: best_schedule(law, STEPS)):
        with pytest.raises(InadmissibleValue, match=r"noise term is unknown.*second record"):
            call()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Recorded([1.0, 2.0], [0.1]), "lr of shape"),
        (lambda: Recorded([1.0, 2.0], -0.1), "lr is outside"),
        (lambda: Recorded([1.0, 2.0], 0.1, momentum=1.0), "momentum is outside"),
        (lambda: Recorded([1.0, 2.0], 0.1, batch_size=0.5), "batch_size is outside"),
        (lambda: Recorded(np.array([np.inf, np.inf]), 0.1), "no finite number"),
        (lambda: predict(Recorded([1.0] * 10, 0.1)), "10 losses are fewer than 40"),
        (lambda: predict(Recorded([1.0] * 50, 0.0)), "moves nothing"),
        (lambda: predict(3), "records=3"),
    ],
)
def test_what_is_inadmissible_is_said(call, says):
    with pytest.raises(InadmissibleValue, match=says):
        call()
