"""State: copied, saved, refused, converted."""

import copy
import functools
import gc
import math
import weakref

import pytest
import torch

from thetadot.errors import DamagedFile, InadmissibleValue
from thetadot.optim import HeavyBall, Nesterov


def test_velocity_is_float32_beside_bfloat16(lab, momentous):
    params = lab.tensors(torch.bfloat16)
    optimizer = lab.build(momentous, params)
    lab.run(optimizer, params)
    assert {optimizer.state[p]["velocity"].dtype for p in params} == {torch.float32}
    fresh = lab.build(momentous, lab.tensors(torch.bfloat16))
    fresh.load_state_dict(lab.saved(optimizer))
    found = [fresh.state[p]["velocity"] for p in fresh.param_groups[0]["params"]]
    lab.assert_equal(found, [optimizer.state[p]["velocity"] for p in params])


# What is refused.


def snapshot(optimizer):
    return copy.deepcopy((optimizer.state_dict(), optimizer.steps, optimizer.key))


def assert_as_before(optimizer, before):
    state_dict, steps, key = before
    found = optimizer.state_dict()
    assert (optimizer.steps, optimizer.key) == (steps, key)
    assert found["param_groups"] == state_dict["param_groups"]
    assert found["state"].keys() == state_dict["state"].keys()
    for index, state in state_dict["state"].items():
        for word, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(found["state"][index][word]))


def without(state_dict, key):
    return {name: value for name, value in state_dict.items() if name != key}


def spoiled(state_dict, path, value):
    state_dict = copy.deepcopy(state_dict)
    place = state_dict
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return state_dict


OWN = ("param_groups", 0, "thetadot")


def without_own(state_dict, *names):
    """The state dict without what the rule carries, or without some of it."""
    state_dict = copy.deepcopy(state_dict)
    for group in state_dict["param_groups"]:
        own = group.pop("thetadot")
        if names:
            group["thetadot"] = {name: value for name, value in own.items() if name not in names}
    return state_dict


FOREIGN = {
    "torch's": without_own,
    "none": lambda _: {},
    "no dict": lambda _: [1, 2],
    "another version": lambda own: spoiled(own, (*OWN, "version"), 99),
    "another integrator": lambda own: spoiled(own, (*OWN, "integrator"), "Somebody"),
    "another option": lambda own: spoiled(own, (*OWN, "options"), "word='OBABO'"),
    "without key": lambda own: without_own(own, "key"),
    "without state": lambda own: without(own, "state"),
    "without groups": lambda own: without(own, "param_groups"),
    "another number of groups": lambda own: own | {"param_groups": own["param_groups"] * 2},
    "another number of parameters": lambda own: spoiled(own, ("param_groups", 0, "params"), [0, 1]),
    "foreign variables": lambda own: spoiled(own, ("state", 0), {"exp_avg": torch.zeros(3, 2)}),
    "key of no number": lambda own: spoiled(own, (*OWN, "key"), "abc"),
    "steps beyond counting": lambda own: spoiled(own, (*OWN, "steps"), 2**70),
    "steps below none": lambda own: spoiled(own, (*OWN, "steps"), -5),
    "a group without a setting": lambda own: (
        own | {"param_groups": [without(group, "maximize") for group in own["param_groups"]]}
    ),
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_state_dict_is_refused_and_nothing_changes(lab, every, foreign):
    params = lab.tensors()
    optimizer = lab.build(every, params)
    lab.run(optimizer, params)
    before = snapshot(optimizer)
    with pytest.raises(DamagedFile, match=r"Build |Pass |pass "):
        optimizer.load_state_dict(FOREIGN[foreign](copy.deepcopy(before[0])))
    assert_as_before(optimizer, before)
    lab.run(optimizer, params)


@pytest.mark.parametrize(("word", "shape"), [("velocity", (2, 3)), ("velocity", (7,)), ("velocity", ())])
def test_a_state_of_another_shape_is_refused(lab, word, shape):
    params = lab.tensors()
    optimizer = HeavyBall(params, 0.1)
    lab.run(optimizer, params)
    before = snapshot(optimizer)
    with pytest.raises(DamagedFile, match=r"velocity of shape .* here it has \(3, 2\)"):
        optimizer.load_state_dict(spoiled(before[0], ("state", 0, word), torch.zeros(shape)))
    assert_as_before(optimizer, before)


def test_optimizers_do_not_load_one_anothers_state(lab):
    heavy, nesterov, half = (
        HeavyBall(lab.tensors(), 0.1),
        Nesterov(lab.tensors(), 0.1),
        Nesterov(lab.tensors(), 0.1, 0.9, 0.5),
    )
    for one, other in ((heavy, nesterov), (nesterov, heavy), (nesterov, half)):
        with pytest.raises(DamagedFile, match="Build the optimizer that was saved"):
            one.load_state_dict(other.state_dict())


def test_torchs_state_dict_is_answered_with_the_way_over(lab):
    params = lab.tensors()
    with pytest.raises(DamagedFile, match=r"use HeavyBall.from_torch"):
        HeavyBall(params, 0.1).load_state_dict(torch.optim.SGD(lab.tensors(), 0.1, 0.9).state_dict())


# What is converted.

CONVENTIONS = ("physical", "displacement", "torch")


@pytest.mark.parametrize("build", [HeavyBall, Nesterov, functools.partial(Nesterov, lookahead=0.5)])
@pytest.mark.parametrize("source", CONVENTIONS)
@pytest.mark.parametrize("target", CONVENTIONS)
def test_conventions_convert_on_load_and_the_run_goes_on(lab, build, source, target):
    params = lab.tensors()
    one = build(params, 0.03, 0.9, convention=source)
    lab.run(one, params)
    others = [p.detach().clone().requires_grad_() for p in params]
    other = build(others, 0.9, 0.1, convention=target)
    other.load_state_dict(lab.saved(one))
    for (p, here), (q, there) in zip(one.position().items(), other.position().items(), strict=True):
        assert torch.allclose(here, there, rtol=0, atol=1e-14), (p, q)
    lab.run(one, params)
    lab.run(other, others)
    for p, q in zip(params, others, strict=True):
        assert torch.allclose(p, q, rtol=0, atol=1e-12)


def test_after_a_drop_torchs_formula_decides_where_its_theta_is(lab):
    """torch's shift is that of the coming step; converting after an lr change keeps θ as torch sees it."""
    params = lab.tensors()
    one = Nesterov(params, 0.03, 0.9, convention="torch")
    lab.run(one, params)
    one.param_groups[0]["lr"] = 0.01
    others = [p.detach().clone().requires_grad_() for p in params]
    other = Nesterov(others, 0.03, 0.9)
    other.load_state_dict(one.state_dict())
    for here, there in zip(one.position().values(), other.position().values(), strict=True):
        assert torch.allclose(here, there, rtol=0, atol=1e-14)


@pytest.mark.parametrize("target", ["displacement", "torch"])
@pytest.mark.parametrize("backwards", [False, True])
def test_where_the_clock_stands_still_nothing_is_converted(lab, target, backwards):
    conventions = (target, "physical") if backwards else ("physical", target)
    params, others = lab.tensors(), lab.tensors()
    one, other = (HeavyBall(p, 0.1, convention=c) for p, c in zip((params, others), conventions, strict=True))
    lab.run(one, params)
    lab.run(other, others)
    one.param_groups[0]["lr"] = 0.0
    before = snapshot(other)
    with pytest.raises(InadmissibleValue, match="Load at an lr > 0"):
        other.load_state_dict(one.state_dict())
    assert_as_before(other, before)


def test_a_narrow_velocity_is_widened_beside_wider_parameters(lab):
    params = lab.tensors(torch.float32)
    one = HeavyBall(params, 0.1)
    lab.run(one, params)
    wide = lab.tensors(torch.float64)
    other = HeavyBall(wide, 0.1)
    other.load_state_dict(one.state_dict())
    assert {other.state[p]["velocity"].dtype for p in wide} == {torch.float64}


@pytest.mark.parametrize("bad", ["a", [1.0], torch.ones(3), None, math.nan, math.inf])
def test_a_number_of_the_state_that_is_none_is_refused(lab, bad):
    params = lab.tensors()
    optimizer = lab.build("Adam", params)
    lab.run(optimizer, params)
    before = snapshot(optimizer)
    with pytest.raises(DamagedFile, match=r"mean_weight=.* is no finite number"):
        optimizer.load_state_dict(spoiled(before[0], ("state", 0, "mean_weight"), bad))
    assert_as_before(optimizer, before)


@pytest.mark.parametrize("bad", [torch.zeros(3, 2).to_sparse(), torch.zeros(3, 2, dtype=torch.int64), "a"])
def test_a_tensor_of_the_state_that_is_none_is_refused(lab, bad):
    params = lab.tensors()
    optimizer = lab.build("HeavyBall", params)
    lab.run(optimizer, params)
    before = snapshot(optimizer)
    with pytest.raises(DamagedFile, match="no dense tensor of floats"):
        optimizer.load_state_dict(spoiled(before[0], ("state", 0, "velocity"), bad))
    assert_as_before(optimizer, before)


# What is let go.


@pytest.mark.slow
def test_an_optimizer_that_nobody_holds_is_freed_at_once(lab, plain):
    """Its state is as large as the model; waiting for the collector would be a leak to the user."""
    params = lab.tensors()
    lab.run(lab.build(plain, params), params)  # compiles, which leaves cycles of torch.fx behind once
    optimizer = lab.build(plain, params)
    lab.run(optimizer, params, 3)
    held = weakref.ref(optimizer)
    gc.collect()
    gc.disable()
    try:
        del optimizer
        assert held() is None
    finally:
        gc.enable()
