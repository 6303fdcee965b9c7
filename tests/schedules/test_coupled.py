"""What is held is held exactly, whatever moves; batches are whole, and grow before the step falls."""

import itertools
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from thetadot.errors import InadmissibleValue
from thetadot.schedules import Constant, Coupled, Linear, at_fixed_friction
from thetadot.translation import to_physical

LR, MOMENTUM = st.floats(1e-5, 1.0), st.floats(0.0, 0.99)
START = {"lr": 0.1, "momentum": 0.9, "batch_size": 48, "weight_decay": 0.01}
FEASIBLE = []
for _moves in ("lr", "momentum", "batch_size", "weight_decay", "temperature"):
    for _count in (1, 2, 3):
        for _holds in itertools.combinations(("friction", "clock", "temperature", "decay time"), _count):
            for _velocity, _decay in (("sum", "decoupled"), ("mean", "decoupled"), ("sum", "l2")):
                try:
                    Coupled(Constant(0.7), _moves, _holds, velocity=_velocity, decay=_decay, **START)
                except InadmissibleValue:
                    continue
                FEASIBLE.append((_moves, _holds, _velocity, _decay))


def test_most_pairs_of_a_move_and_an_invariant_can_be():
    singles = {(moves, holds[0]) for moves, holds, _, _ in FEASIBLE if len(holds) == 1}
    assert len(singles) == 18  # 5 by 4, but for temperature with itself or with a clock
    assert len(FEASIBLE) > 60


@pytest.mark.parametrize(("moves", "holds", "velocity", "decay"), FEASIBLE)
@settings(max_examples=15)
@given(LR, MOMENTUM, st.integers(1, 500), st.floats(1e-4, 1.0), st.floats(0.02, 3.0), st.sampled_from([0.5, 1.0]))
def test_invariants_are_held_to_rounding(moves, holds, velocity, decay, lr, momentum, batch, weight, share, power):
    value = momentum + (1 - momentum) * min(share, 2.9) / 3 if moves == "momentum" else share
    assume(moves != "temperature" or share <= 1)
    start = {"lr": lr, "momentum": momentum, "batch_size": batch, "weight_decay": weight}
    made = {"velocity": velocity, "decay": decay, "power": power, **start}
    at_start = momentum if moves == "momentum" else 1.0
    moved, still = Coupled(Constant(value), moves, holds, **made), Coupled(Constant(at_start), moves, holds, **made)
    try:
        now, before = moved.invariants(0), still.invariants(0)
    except InadmissibleValue as refused:  # a momentum that would have to be below 0
        if "would be needed to hold" not in str(refused):
            raise
        return
    assert still(0).batch_size == batch
    assert still(0)[:2] == pytest.approx((lr, momentum), rel=1e-9, abs=1e-9)
    for name in holds:
        assert now[name] == pytest.approx(before[name], rel=1e-9 / (1 - now_momentum(moved)))
    if moves == "temperature":
        assert now["temperature"] == pytest.approx(share * before["temperature"], rel=1e-8)


def now_momentum(schedule):
    return min(schedule(0).momentum, 0.999999)


@given(LR, st.floats(0.0, 0.99), st.floats(1e-3, 1.0))
def test_a_falling_lr_at_fixed_friction_is_the_dictionary_s(lr, momentum, share):
    point = Coupled(Constant(share), "lr", "friction", lr=lr, momentum=momentum)(0)
    start, then = to_physical(lr, momentum), to_physical(point.lr, point.momentum)
    assert float(then.friction) == pytest.approx(float(start.friction), rel=1e-9)
    again = at_fixed_friction(lr, momentum, min(1.0, float(then.step) / float(start.step)))
    assert (point.lr, point.momentum) == pytest.approx((float(again.lr), float(again.momentum)), rel=1e-8)


@settings(max_examples=25)
@given(st.integers(1, 8), st.integers(1, 16), st.integers(1, 64), st.sampled_from([0.5, 1.0]), st.booleans())
def test_cooling_grows_the_batch_first_and_lowers_the_step_after_it(multiple, times, growth, power, held):
    first, largest = multiple * times, multiple * times * growth
    cooling = Coupled(
        Linear(100, 1.0, 0.001), "temperature", ("friction",) if held else (), lr=0.1, momentum=0.9,
        batch_size=first, largest_batch=largest, multiple=multiple, power=power,
    )  # fmt: skip
    points = [cooling(t) for t in range(101)]
    batches = [point.batch_size for point in points]
    assert batches == sorted(batches)
    assert batches[0] == first
    assert batches[-1] == largest
    assert all(batch % multiple == 0 for batch in batches)
    for t, point in enumerate(points):
        temperature = cooling.invariants(t)["temperature"] / cooling.invariants(0)["temperature"]
        assert temperature == pytest.approx(Linear(100, 1.0, 0.001)(t), rel=1e-9)
        clock = point.lr / (1 - point.momentum)
        if point.batch_size < largest:  # the step makes up for less than one multiple of the batch
            assert clock >= 0.999999 * (point.batch_size / (point.batch_size + multiple)) ** power
        assert clock <= 1.0 + 1e-9
    falls = [point.lr for point in points if point.batch_size == largest]
    assert falls == sorted(falls, reverse=True)


def test_seesaw_is_half_a_power_of_the_batch():
    """Where a schedule halves lr, lr/√2 and twice the batch keep lr/√B on it."""
    cut = Coupled(Constant(0.5), "temperature", lr=1.0, batch_size=64, largest_batch=128, power=0.5)(0)
    assert cut.batch_size == 128
    assert cut.lr == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"moves": "sharpness"}, "moves='sharpness' is unknown"),
        ({"holds": "energy"}, "holds='energy'"),
        ({"holds": ("friction", "clock")}, "fixes both lr and momentum"),
        ({"moves": "temperature", "holds": "temperature"}, "opposites"),
        ({"moves": "temperature", "holds": "clock"}, "leaves no lr"),
        ({"moves": "batch_size", "holds": ("clock", "temperature")}, "leaves no lr"),
        ({"moves": "weight_decay", "holds": ("decay time", "temperature"), "weight_decay": 0.1}, "nothing that could"),
        ({"holds": "clock", "velocity": "mean"}, "the clock is lr itself"),
        ({"holds": "decay time"}, "weight_decay=0"),
        ({"lr": 0.0}, "lr=0 is not positive"),
        ({"momentum": 1.0}, "momentum=1 is outside"),
        ({"batch_size": 10, "multiple": 4}, "batch_size=10 is no multiple of 4"),
        ({"largest_batch": 1, "batch_size": 2}, "largest_batch=1 is below"),
        ({"power": 2.0}, "power=2 is outside"),
        ({"along": 3}, "along=3"),
    ],
)
def test_what_cannot_be_held_is_said_before_it_begins(options, says):
    with pytest.raises(InadmissibleValue, match=says):
        Coupled(**({"along": Linear(10)} | options))


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        (Coupled(Constant(0.0), holds="friction", momentum=0.9), "cannot be reached"),
        (Coupled(Constant(9.0), holds="friction", momentum=0.1), "momentum=-"),
        (Coupled(Constant(-1.0)), "negative"),
        (Coupled(Constant(1.0), "momentum"), "momentum=1 at time 0"),
        (Coupled(lambda t: math.nan), "not finite"),
    ],
)
def test_what_cannot_be_reached_is_said_where_it_is_met(schedule, says):
    with pytest.raises(InadmissibleValue, match=says):
        schedule(0)
