"""Shapes fall, batches double, and a falling step keeps its friction."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thetadot.errors import InadmissibleValue
from thetadot.schedules import at_fixed_friction, cosine, linear, staircase, warmup
from thetadot.translation import momentum_at, to_physical

FRACTIONS = st.floats(0.0, 1.0)
SHAPES = pytest.mark.parametrize("shape", [cosine, linear])


@SHAPES
@given(FRACTIONS, FRACTIONS)
def test_shapes_fall_from_one_to_their_end(shape, t, end):
    assert end - 1e-15 <= shape(t, end) <= 1.0
    assert shape(0.0, end) == 1.0
    assert shape(1.0, end) == pytest.approx(end, abs=1e-15)


@SHAPES
@given(FRACTIONS, FRACTIONS, FRACTIONS)
def test_shapes_never_rise(shape, one, other, end):
    earlier, later = sorted((one, other))
    assert shape(later, end) <= shape(earlier, end) + 1e-15


def test_the_cosine_is_half_way_at_half_time_and_flat_at_both_ends():
    assert cosine(0.5, 0.2) == pytest.approx(0.6)
    assert 1.0 - cosine(1e-3) < 3e-6 > cosine(1 - 1e-3)
    assert 1.0 - linear(1e-3) == pytest.approx(1e-3)


@given(FRACTIONS, FRACTIONS, st.floats(1e-6, 1.0))
def test_a_warm_up_rises_to_one_and_stays(one, other, length):
    earlier, later = sorted((one, other))
    assert 0.0 <= warmup(earlier, length) <= warmup(later, length) <= 1.0
    assert warmup(0.0, length) == 0.0
    assert (warmup(later, length) == 1.0) == (later >= length)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: cosine(1.1), "t=1.1"),
        (lambda: cosine(math.nan), "t=nan"),
        (lambda: linear(0.5, -0.1), "end=-0.1"),
        (lambda: warmup(0.5, 2.0), "length=2"),
        (lambda: staircase(0.5, 32, 16), "first=32, last=16"),
        (lambda: staircase(0.5, 0, 16), "first=0"),
        (lambda: staircase(-0.1, 16, 32), "t=-0.1"),
        (lambda: staircase(0.5, 16, 32, since=1.5), "since=1.5"),
        (lambda: at_fixed_friction(0.1, 0.9, 0.0), "fraction=0"),
        (lambda: at_fixed_friction(0.1, 0.9, 1.5), "fraction=1.5"),
        (lambda: at_fixed_friction(0.1, 1.0, 0.5), "momentum=1"),
        (lambda: at_fixed_friction(0.0, 0.9, 0.5), "lr=0"),
    ],
)
def test_what_is_inadmissible_is_named(call, name):
    with pytest.raises(InadmissibleValue, match=f"^{name}"):
        call()


BATCHES = st.tuples(st.integers(1, 500), st.integers(0, 5000)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(FRACTIONS, FRACTIONS, BATCHES, FRACTIONS)
def test_batches_only_grow_by_doubling_and_never_pass_the_last(one, other, ends, since):
    first, last = ends
    earlier, later = sorted((one, other))
    before, after = staircase(earlier, first, last, since), staircase(later, first, last, since)
    assert first <= before <= after <= last
    assert after % first == 0
    assert (after // first).bit_count() == 1
    if earlier < since:
        assert before == first
    assert staircase(1.0, first, last, since) <= last < 2 * staircase(1.0, first, last, since)


@given(st.integers(1, 64), st.integers(1, 6))
def test_the_flights_of_a_staircase_are_equally_long(first, doublings):
    last = first * 2**doublings
    for flight in range(doublings):
        middle = 0.5 + 0.5 * (flight + 0.5) / doublings
        assert staircase(middle, first, last) == first * 2 ** (flight + 1)


LR, MOMENTUM, STEP = st.floats(1e-5, 10.0), st.floats(0.0, 0.999), st.floats(1e-3, 1.0)


@given(LR, MOMENTUM, STEP)
def test_a_smaller_step_keeps_its_friction(lr, momentum, fraction):
    start = to_physical(lr, momentum)
    then = to_physical(*at_fixed_friction(lr, momentum, fraction))
    assert float(then.friction) == pytest.approx(float(start.friction), rel=1e-10)
    assert float(then.step) == pytest.approx(float(start.step) * fraction, rel=1e-10)


@given(LR, MOMENTUM, STEP)
def test_it_is_the_dictionarys_momentum_at_the_new_lr(lr, momentum, fraction):
    settings = at_fixed_friction(lr, momentum, fraction)
    assert settings.momentum == pytest.approx(float(momentum_at(settings.lr / lr, momentum)), abs=1e-12)


@given(LR, MOMENTUM, STEP, STEP)
def test_as_the_step_falls_momentum_rises_and_the_overdamped_rate_falls_with_it(lr, momentum, one, other):
    smaller, larger = (at_fixed_friction(lr, momentum, fraction) for fraction in sorted((one, other)))
    assert smaller.lr <= larger.lr
    assert smaller.momentum >= larger.momentum - 1e-15
    rates = [settings.lr / (1.0 - settings.momentum) for settings in (smaller, larger)]
    assert rates[0] / rates[1] == pytest.approx(min(one, other) / max(one, other), rel=1e-9)
