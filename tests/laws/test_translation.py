"""The dictionary between (lr, momentum, batch size) and (time step, friction, temperature)."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thetadot.errors import InadmissibleValue, ThetadotError
from thetadot.translation import momentum_at, temperature, to_lr_momentum, to_physical

LEARNING_RATES = st.floats(1e-6, 1e3)
MOMENTA = st.floats(-0.9, 0.999)
STEPS = st.floats(1e-3, 1e2)
DAMPINGS = st.floats(1e-3, 10.0)


def relative(found, expected):
    return abs(float(found) - float(expected)) / abs(float(expected))


@given(LEARNING_RATES, MOMENTA)
def test_there_and_back_from_lr_and_momentum(lr, momentum):
    back = to_lr_momentum(*to_physical(lr, momentum))
    assert relative(back.lr, lr) < 1e-12
    assert abs(back.momentum - momentum) < 1e-12


@given(STEPS, DAMPINGS)
def test_there_and_back_from_step_and_friction(step, damping):
    friction = damping / step
    back = to_physical(*to_lr_momentum(step, friction))
    assert relative(back.step, step) < 1e-12
    assert relative(back.friction, friction) < 1e-12


@given(LEARNING_RATES, MOMENTA)
def test_tensors_are_translated_as_floats_are(lr, momentum):
    exact = to_physical(lr, momentum)
    found = to_physical(torch.tensor(lr, dtype=torch.float64), torch.tensor(momentum, dtype=torch.float64))
    assert relative(found.step, exact.step) < 1e-15
    assert relative(found.friction, exact.friction) < 1e-14
    back = to_lr_momentum(*found)
    assert relative(back.lr, lr) < 1e-12
    assert abs(float(back.momentum) - momentum) < 1e-12


def test_the_example_of_the_derivation():
    lr, momentum = to_lr_momentum(step=0.3, friction=0.7)
    assert (round(lr, 10), round(momentum, 10)) == (0.0814479638, 0.8099547511)


def test_momentum_one_is_no_friction():
    assert to_physical(0.1, 1.0).friction == 0.0
    assert to_lr_momentum(0.3, 0.0).momentum == 1.0


@pytest.mark.parametrize(
    ("momentum", "ratio", "exact", "approximate"),
    [
        (0.9, 0.5, 0.9287562, 0.9292893),
        (0.9, 0.1, 0.9678178, 0.9683772),
        (0.9, 0.01, 0.9897665, 0.99),
        (0.9, 4.0, 0.8050608, 0.8),
        (0.5, 0.1, 0.8255691, 0.8418861),
        (0.5, 4.0, 0.1314829, 0.0),
        (0.99, 0.1, 0.9968323, 0.9968377),
    ],
)
def test_the_momentum_that_keeps_the_friction(momentum, ratio, exact, approximate):
    assert abs(momentum_at(ratio, momentum, approximate=True) - approximate) < 6e-8
    found = momentum_at(ratio, momentum)
    # the oracle is the dictionary itself: the friction before and after
    assert relative(to_physical(0.1 * ratio, found).friction, to_physical(0.1, momentum).friction) < 1e-12
    assert abs(found - exact) < 6e-8


@given(MOMENTA, st.floats(1e-3, 1e3), LEARNING_RATES)
def test_friction_and_its_invariant_survive_a_change_of_lr(momentum, ratio, lr):
    changed = momentum_at(ratio, momentum)

    def invariant(lr, momentum):
        return (1 - momentum) ** 2 / (lr * (1 + momentum))

    # β' is stored to the rounding of 1, and that is all that is lost
    rounding = 1e-15 * (4 / (1 - changed) + 4 / (1 + changed) + 8)
    assert relative(invariant(lr * ratio, changed), invariant(lr, momentum)) < rounding
    assert relative(2 * invariant(lr, momentum), to_physical(lr, momentum).friction ** 2) < 1e-13


@given(st.floats(0.0, 0.99))
def test_the_articles_rule_is_off_by_its_limit_factor(momentum):
    ratio = 1e-8
    approximate = 1 - momentum_at(ratio, momentum, approximate=True)
    exact = 1 - momentum_at(ratio, momentum)
    assert relative(approximate / exact, math.sqrt((1 + momentum) / 2)) < 1e-3


@given(LEARNING_RATES, st.floats(-0.9, 0.99), st.floats(1e-3, 1e3), st.integers(1, 4096))
def test_temperature_is_the_same_in_both_languages(lr, momentum, variance, batch):
    step, friction = to_physical(lr, momentum)
    assert relative(temperature(lr, momentum, variance, batch), step * variance / (2 * friction * batch)) < 1e-12


def test_a_batch_that_is_the_data_set_is_cold():
    given = {"sampling": "epochs", "dataset_size": 64, "curvature": 1.0}
    assert temperature(0.1, 0.9, 2.0, 64, **given) == pytest.approx(0.0, abs=1e-18)
    assert 0 < temperature(0.1, 0.9, 2.0, 16, **given) < temperature(0.1, 0.9, 2.0, 16)


def test_temperature_is_per_degree_of_freedom():
    assert temperature(0.1, 0.9, 50.0, 8, parameters=50) == pytest.approx(temperature(0.1, 0.9, 1.0, 8))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("call", "came", "remedy"),
    [
        (lambda: to_physical(0.0, 0.9), "lr=0", "Pass lr > 0"),
        (lambda: to_physical(-0.1, 0.9), "lr=-0.1", "Pass lr > 0"),
        (lambda: to_physical(NAN, 0.9), "lr=nan", "Pass lr > 0"),
        (lambda: to_physical(INF, 0.9), "lr=inf", "Pass lr > 0"),
        (lambda: to_physical(0.1, 1.2), "momentum=1.2", "Pass -1 < momentum <= 1"),
        (lambda: to_physical(0.1, -1.0), "momentum=-1", "Pass -1 < momentum <= 1"),
        (lambda: to_physical(0.1, NAN), "momentum=nan", "Pass -1 < momentum <= 1"),
        (lambda: to_physical(torch.tensor(0.1), torch.tensor(1.5)), "momentum=1.5", "Pass -1 < momentum <= 1"),
        (lambda: to_lr_momentum(0.0, 1.0), "step=0", "Pass step > 0"),
        (lambda: to_lr_momentum(1.0, -1.0), "friction=-1", "Pass friction >= 0"),
        (lambda: to_lr_momentum(1.0, INF), "friction=inf", "Pass friction >= 0"),
        (lambda: momentum_at(0.0, 0.9), "lr_ratio=0", "Pass lr_ratio > 0"),
        (lambda: momentum_at(0.5, 1.01), "momentum=1.01", "Pass -1 < momentum <= 1"),
        (lambda: temperature(-0.1, 0.9, 1.0, 1), "lr=-0.1", "Pass lr >= 0"),
        (lambda: temperature(0.1, 1.0, 1.0, 1), "momentum=1", "Pass momentum < 1"),
        (lambda: temperature(0.1, 0.9, -1.0, 1), "gradient_variance=-1", "Pass gradient_variance >= 0"),
        (lambda: temperature(0.1, 0.9, 1.0, 0), "batch_size=0", "Pass batch_size >= 1"),
        (lambda: temperature(0.1, 0.9, 1.0, 1, parameters=0), "parameters=0", "Pass the number of parameters"),
        (
            lambda: temperature(0.1, 0.9, 1.0, 65, sampling="epochs", dataset_size=64, curvature=1.0),
            "batch_size=65",
            "Pass batch_size <= dataset_size",
        ),
    ],
)
def test_an_inadmissible_value_is_named_with_its_range_and_a_remedy(call, came, remedy):
    with pytest.raises(InadmissibleValue) as raised:
        call()
    message = str(raised.value)
    assert message.startswith(came + " is ")
    assert remedy in message
    assert isinstance(raised.value, ThetadotError)
    assert isinstance(raised.value, ValueError)
