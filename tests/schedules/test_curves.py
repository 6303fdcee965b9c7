"""Curves keep their ends, join where they meet, and clocks count what was seen."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thetadot.errors import InadmissibleValue
from thetadot.schedules import (
    Clock,
    Constant,
    Cosine,
    Join,
    Linear,
    Piecewise,
    Polynomial,
    Power,
    amos_schedule,
    cosine,
    linear,
    warmup_stable_decay,
)

PART = st.sampled_from([0.0, 0.01, 0.25, 0.49])
SHARE, VALUE, DURATION = st.floats(0.0, 1.0), st.floats(-10.0, 10.0), st.floats(1e-3, 1e6)
FALLING = pytest.mark.parametrize("kind", [Linear, Cosine, lambda d, a, b: Polynomial(d, 3.0, a, b)])


@FALLING
@given(DURATION, VALUE, VALUE, SHARE, st.floats(1.0, 10.0))
def test_a_curve_begins_at_its_first_value_ends_at_its_last_and_stays(kind, duration, first, last, share, after):
    curve = kind(duration, first, last)
    assert curve(0.0) == first
    assert curve(duration) == curve(duration * after) == pytest.approx(last, abs=1e-14)
    assert min(first, last) - 1e-12 <= curve(share * duration) <= max(first, last) + 1e-12


@given(DURATION, SHARE)
def test_lines_and_waves_are_the_shapes_of_a_run(duration, share):
    t = share * duration
    assert Linear(duration)(t) == linear(min(1.0, t / duration))
    assert Cosine(duration)(t) == cosine(min(1.0, t / duration))


@given(st.floats(0.0, 1e6), st.floats(1e-6, 0.1))
def test_a_power_of_two_is_amos_s_schedule(t, fall):
    assert Power(1.0 / fall, 2.0)(t) == pytest.approx(amos_schedule(t, fall, 1.0).lr_factor, rel=1e-9)


@given(st.lists(st.tuples(st.floats(0.1, 100.0), VALUE), min_size=1, max_size=6), VALUE)
def test_a_join_has_no_jumps_exactly_where_parts_meet(pieces, start):
    parts, value = [], start
    for duration, last in pieces:
        parts.append(Linear(duration, value, last))
        value = last
    whole = Join(parts)
    assert whole.jumps() == ()
    for time, part in zip(whole.starts(), parts, strict=True):
        assert whole(time) == part(0.0)
        if time:
            assert whole(time - 1e-9 * min(part.duration for part in parts)) == pytest.approx(whole(time), abs=1e-5)
    assert whole(whole.duration * 2) == parts[-1](parts[-1].duration)


@given(DURATION, VALUE, VALUE)
def test_a_jump_is_told_with_its_time_and_both_values(duration, one, other):
    found = Join((Constant(one, duration), Constant(other))).jumps()
    assert found == (() if math.isclose(one, other, abs_tol=1e-12) else ((duration, one, other),))


@given(st.floats(1.0, 1e5), PART, PART, st.sampled_from(["linear", "cosine"]))
def test_warmup_stable_decay_is_continuous_and_ends_where_it_is_said(duration, one, other, fall):
    warmup, decay = duration * one, duration * other
    schedule = warmup_stable_decay(duration, warmup, decay, 0.1, 0.2, fall)
    assert schedule.jumps() == ()
    assert schedule.duration == pytest.approx(duration)
    assert schedule(0.0) == (0.1 if warmup else 1.0)
    assert schedule(duration) == pytest.approx(0.2 if decay else 1.0, abs=1e-6)
    assert schedule(warmup + (duration - warmup - decay) / 2) == 1.0


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=5), st.data())
def test_knots_are_hit_and_kept_or_joined(gaps, data):
    times = [0.0]
    for gap in gaps:
        times.append(times[-1] + gap)
    values = data.draw(st.lists(VALUE, min_size=len(times), max_size=len(times)))
    steps, lines = Piecewise(times, values), Piecewise(times, values, "lines")
    for place, (time, value) in enumerate(zip(times, values, strict=True)):
        assert steps(time) == value
        assert lines(time) == value
        if place:
            middle = (times[place - 1] + time) / 2
            assert steps(middle) == values[place - 1]
            assert lines(middle) == pytest.approx((values[place - 1] + value) / 2, abs=1e-9)


@given(st.integers(1, 500), st.integers(1, 64), st.integers(0, 300))
def test_a_clock_counts_what_a_loader_gives(size, batch, steps):
    sizes = [min(batch, size - place) for place in range(0, size, batch)]
    seen = sum(sizes[k % len(sizes)] for k in range(steps))
    assert Clock("samples", batch, size)(steps) == seen
    assert Clock("tokens", batch, size, tokens=128)(steps) == 128 * seen
    assert Clock("epochs", batch, size)(steps) == pytest.approx(seen / size)
    assert Clock("steps")(steps) == steps


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Linear(0), "duration=0 is not positive"),
        (lambda: Linear("a"), "duration='a' is not a number"),
        (lambda: Cosine(10, math.nan), "first"),
        (lambda: Polynomial(10, 0), "exponent=0"),
        (lambda: Power(-1, 1), "scale=-1"),
        (lambda: Linear(10)(-1), "t=-1 is negative"),
        (lambda: Linear(10)(math.nan), "t=nan"),
        (lambda: Piecewise((1, 2), (1, 1)), "do not begin at 0"),
        (lambda: Piecewise((0, 0), (1, 1)), "do not rise"),
        (lambda: Piecewise((0, 1), (1,)), "1 values at 2 times"),
        (lambda: Join(()), r"parts=\(\) is empty"),
        (lambda: Join((Constant(), Linear(1))), "never ends"),
        (lambda: Join((3,)), "sequence of"),
        (lambda: warmup_stable_decay(10, 6, 6), "warmup=6 and decay=6"),
        (lambda: warmup_stable_decay(10, 1, 1, fall="fast"), "fall='fast'"),
        (lambda: Clock("hours"), "unit='hours'"),
        (lambda: Clock("samples"), "neither batch_size nor batches"),
        (lambda: Clock("epochs", 8), "size=None"),
        (lambda: Clock("time")(3), "physical time"),
    ],
)
def test_what_is_inadmissible_is_said(call, says):
    with pytest.raises(InadmissibleValue, match=says):
        call()
