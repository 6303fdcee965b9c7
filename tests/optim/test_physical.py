"""Time step and friction in, time step and friction out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thetadot.core.reading import Readable
from thetadot.errors import InadmissibleValue
from thetadot.optim import Adam, GradientDescent, HeavyBall, ImplicitHeavyBall, Kramers, Langevin, Nesterov
from thetadot.translation import to_physical

MECHANICAL = {
    "HeavyBall": (HeavyBall, {}),
    "Nesterov": (Nesterov, {"lookahead": 0.5}),
    "ImplicitHeavyBall": (ImplicitHeavyBall, {}),
    "Kramers": (Kramers, {"temperature": 0.5}),
}


def parameter():
    return torch.ones(2, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("name", MECHANICAL)
@given(st.floats(1e-4, 1e2), st.floats(1e-3, 1.99))
def test_what_is_built_from_physics_reads_back(name, step, damping):
    build, options = MECHANICAL[name]
    optimizer = build.from_physical([parameter()], step=step, friction=damping / step, **options)
    reading = optimizer.reading(optimizer.param_groups[0])
    assert reading.step == pytest.approx(step, rel=1e-12)
    assert reading.friction == pytest.approx(damping / step, rel=1e-11)


@pytest.mark.parametrize("build", [HeavyBall, Nesterov, ImplicitHeavyBall])
def test_readings_are_the_dictionarys(build):
    optimizer = build([parameter()], lr=0.03, momentum=0.8)
    reading = optimizer.reading(optimizer.param_groups[0])
    assert (reading.step, reading.friction) == pytest.approx(to_physical(0.03, 0.8), rel=1e-12)


def test_kramers_has_the_map_of_its_own_word():
    optimizer = Kramers.from_physical([parameter()], step=0.3, friction=0.7, temperature=1.0)
    (group,) = optimizer.param_groups
    assert group["momentum"] == pytest.approx(math.exp(-0.21), rel=1e-14)
    assert group["lr"] == pytest.approx(0.3**2 * (1 + math.exp(-0.21)) / 2, rel=1e-14)
    memoryless = Kramers([parameter()], 0.1, 0.0, temperature=1.0)
    assert memoryless.reading(memoryless.param_groups[0]).friction == math.inf


def test_first_order_optimizers_read_their_step():
    descent = GradientDescent.from_physical([parameter()], step=0.2)
    langevin = Langevin.from_physical([parameter()], step=0.2, temperature=1.0)
    for optimizer in (descent, langevin):
        reading = optimizer.reading(optimizer.param_groups[0])
        assert (reading.step, reading.friction, reading.limit) == (0.2, None, 10.0)


def test_adam_reads_its_memory_and_its_preconditioner():
    p = parameter()
    optimizer = Adam.from_physical([p], step=0.1, mean_rate=1.0, square_rate=0.01, eps=1e-3)
    assert optimizer.param_groups[0]["betas"] == pytest.approx((0.9, 0.999))
    p.grad = torch.tensor([2.0, -3.0], dtype=torch.float64)
    optimizer.step()
    reading = optimizer.reading(optimizer.param_groups[0])
    assert reading.friction == pytest.approx(1.0)
    assert reading.limit == pytest.approx(380.0)
    assert reading.preconditioner[p].tolist() == pytest.approx([2.001, 3.001])


def test_every_named_optimizer_can_be_read(lab, every):
    optimizer = lab.build(every, lab.tensors())
    assert isinstance(optimizer, Readable)
    assert optimizer.reading(optimizer.param_groups[0]).step > 0


@pytest.mark.parametrize("build", [HeavyBall, Nesterov, ImplicitHeavyBall])
def test_more_damping_than_a_momentum_can_say_is_refused(build):
    with pytest.raises(InadmissibleValue, match=r"friction·step=2.1 is above 2.*Pass friction·step <= 2"):
        build.from_physical([parameter()], step=1.0, friction=2.1)
    strongly_damped = Kramers.from_physical([parameter()], step=1.0, friction=2.1, temperature=1.0)
    assert strongly_damped.param_groups[0]["momentum"] == pytest.approx(math.exp(-2.1))


@pytest.mark.parametrize(
    ("step", "friction", "said"),
    [(0.0, 1.0, "step=0"), (-1.0, 1.0, "step=-1"), (math.nan, 1.0, "step=nan"), (1.0, -1.0, "friction=-1")],
)
def test_physics_out_of_range_is_refused(step, friction, said):
    with pytest.raises(InadmissibleValue, match=f"^{said} is .*Pass"):
        HeavyBall.from_physical([parameter()], step=step, friction=friction)


def test_no_friction_is_no_momentum_below_one():
    with pytest.raises(InadmissibleValue, match=r"momentum=1 is outside \[0, 1\)"):
        HeavyBall.from_physical([parameter()], step=0.1, friction=0.0)
