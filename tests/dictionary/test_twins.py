"""Oracles: the closed forms of each update rule, simulated stationary laws, torch's own optimizers, refusals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thetadot.dictionary.families import known_family
from thetadot.dictionary.optimizers import OPTIMIZERS, optimizer_named, settings_of
from thetadot.dictionary.warmth import flat_change
from thetadot.errors import InadmissibleValue
from thetadot.translation import temperature, to_physical, twins
from thetadot.verdicts import Settings, table

LR = st.floats(1e-8, 10.0)
BETA = st.floats(0.0, 0.999)
BATCH = st.floats(1.0, 1e6)


@pytest.mark.parametrize("name", ["sgd", "heavy-ball", "nesterov"])
@given(lr=LR, momentum=BETA, batch=BATCH)
@settings(deadline=None, max_examples=50)
def test_of_momentum_descent_the_twins_are_those_of_the_article(name, lr, momentum, batch):
    found, motion = twins(name, lr=lr, momentum=momentum, batch_size=batch), to_physical(lr, momentum)
    assert (found.step, found.friction) == pytest.approx(motion)
    assert found.damping == pytest.approx(motion.step * motion.friction)
    assert found.heat == pytest.approx(temperature(lr, momentum, 1.0, batch))
    assert found.heat == pytest.approx(motion.step / (2 * motion.friction * batch))


@given(lr=LR, momentum=BETA)
@settings(deadline=None, max_examples=50)
def test_a_mean_is_a_velocity_whose_kick_is_one_minus_beta(lr, momentum):
    found = twins("adam", lr=lr, momentum=momentum, batch_size=1)
    motion = to_physical(lr * (1 - momentum), momentum)
    assert (found.step, found.friction) == pytest.approx(motion)
    assert found.clock == pytest.approx(lr)
    assert found.metric == "P"


def stationary(move, paths=400, steps=6000):
    """h⟨θ²⟩ at h = 1, of σ = 1 and B = 4, by ``move(gradient, memory) -> change``."""
    noise, x, memory, seen = np.random.default_rng(0), np.zeros(paths), {}, []
    for step in range(steps):
        x = x + move(x + noise.standard_normal(paths) / 2.0, memory)
        if step > steps // 3:
            seen.append(np.mean(x * x))
    return float(np.mean(seen))


def sign(lr):
    return lambda g, _: -lr * np.sign(g)


def squares(g, memory, beta2):
    memory["v"] = beta2 * memory.get("v", np.full_like(g, 0.25)) + (1 - beta2) * g * g
    return np.sqrt(memory["v"])


def adam(lr, beta1=0.9, beta2=0.999):
    def move(g, memory):
        memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
        return -lr * memory["m"] / squares(g, memory, beta2)

    return move


def rmsprop(lr, momentum=0.9, beta2=0.999):
    def move(g, memory):
        memory["b"] = momentum * memory.get("b", 0.0) + g / squares(g, memory, beta2)
        return -lr * memory["b"]

    return move


@pytest.mark.parametrize(
    ("name", "lr", "move"), [("sign", 3e-3, sign), ("adam", 3e-3, adam), ("rmsprop", 3e-4, rmsprop)]
)
def test_the_temperature_of_adaptive_motion_is_that_of_a_simulation(name, lr, move):
    momentum = {"momentum": 0.9} if name == "rmsprop" else {}
    found = twins(name, lr=lr, batch_size=4, **momentum)
    assert found.heat_unit == "σ"
    assert stationary(move(lr)) == pytest.approx(found.heat, rel=0.05)  # 400 paths × 9 to 18 memories: 1.5%


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.001)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.001)),
    ],
)
def test_without_a_gradient_torchs_parameters_fall_by_the_decay_time(name, build):
    p = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer, before = build([p]), None
    given = {"momentum": 0.9, "weight_decay": 0.001, "lr": 0.1, "batch_size": 8}
    found = twins(name, **given, dataset_size=800)
    for step in range(600):
        before = p.item() if step == 300 else before
        p.grad = torch.zeros_like(p)
        optimizer.step()
    assert -300 / math.log(p.item() / before) == pytest.approx(found.decay_steps, rel=0.02)
    assert found.decay_samples == pytest.approx(8 * found.decay_steps)
    assert found.decay_epochs == pytest.approx(found.decay_steps / 100)
    assert found.decay_time == pytest.approx(found.step * found.decay_steps)


def test_adamw_is_a_mean_over_its_own_updates():
    lr, wd, x, noise = 0.1, 0.2, 1.0, np.random.default_rng(0)
    updates, seen = noise.standard_normal(200), []
    for u in updates:
        x = (1 - lr * wd) * x - lr * u
        seen.append(x)
    a = 1 / twins("adamw", lr=lr, weight_decay=wd, batch_size=1).decay_steps
    weights = a * (1 - a) ** np.arange(200)[::-1]
    assert seen[-1] == pytest.approx((1 - a) ** 200 + np.sum(weights * -updates / wd))


def test_coupled_decay_is_a_spring_of_its_own_constant_and_decoupled_one_of_a_kick_is_weaker():
    lr, beta, wd = 0.1, 0.9, 0.01
    coupled = twins("sgd", lr=lr, momentum=beta, weight_decay=wd, batch_size=1)
    beside = twins("heavy-ball", lr=lr, momentum=beta, weight_decay=wd, batch_size=1)
    assert coupled.spring == wd
    assert beside.spring == pytest.approx(wd * (1 - beta))
    for one in (coupled, beside):  # a spring relaxes overdamped at k/λ in time
        assert one.decay_time == pytest.approx(one.friction / one.spring, rel=0.1)


def test_behind_a_preconditioner_the_decay_time_of_a_spring_is_not_known():
    found = twins("adam", lr=1e-3, batch_size=8, weight_decay=0.1, dataset_size=100, epochs=2)
    assert (found.decay_steps, found.decay_epochs, found.run_decays) == (None, None, None)
    assert found.spring == 0.1
    assert twins("adam", lr=1e-3, batch_size=8, weight_decay=0.1, decoupled=True).decay_steps == pytest.approx(1e4)


@given(beta2=st.floats(0.01, 0.99999), batch=BATCH)
@settings(deadline=None)
def test_the_half_life_is_when_half_of_a_square_is_forgotten(beta2, batch):
    found = twins("adamw", lr=1e-3, beta2=beta2, batch_size=batch)
    assert beta2 ** (found.half_life_samples / batch) == pytest.approx(0.5)


def test_amos_takes_half_of_the_square_of_its_rate():
    from thetadot.optim import Amos

    p = torch.full((4, 4), 2.0, dtype=torch.float64, requires_grad=True)
    optimizer = Amos([p], lr=0.1)
    p.sum().backward()
    optimizer.step()
    # η = 2: θ' = θ - αηu - ½α²θ
    assert 2.0 - 0.1 * 2.0 - p[0, 0].item() == pytest.approx(2.0 / twins("amos", lr=0.1, batch_size=1).decay_steps)


# What is refused.

GOOD = {"lr": 0.1, "batch_size": 32}


@pytest.mark.parametrize("name", ["", "mine", "adan", None, 3, float("nan"), "sgd;", "a" * 500])
def test_an_unknown_optimizer_is_refused_with_those_that_are_known(name):
    with pytest.raises(InadmissibleValue, match="sgd, heavy-ball, nesterov, adam, adamw, rmsprop, sign, amos, muon"):
        optimizer_named(name)
    if isinstance(name, str):
        with pytest.raises(InadmissibleValue, match="adamw"):
            twins(name, **GOOD)
        with pytest.raises(InadmissibleValue, match=r"'sgd' or 'adaptive'.*adam"):
            known_family(name if name != "sgd;" else "")
        with pytest.raises(InadmissibleValue, match="not known"):
            flat_change(Settings(0.1, 10), Settings(0.1, 20), 100, name if name != "sgd;" else "")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_has_its_twins_and_its_rules(name):
    found = twins(name, **GOOD)
    assert all(math.isfinite(x) and x > 0 for x in (found.clock, found.step, found.friction))
    given = settings_of(name, **GOOD)
    assert table(given, 64, 1000.0, family=name)
    assert flat_change(given, given, 1000, optimizer_named(name).family) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "setting", ["lr", "batch_size", "momentum", "beta2", "eps", "weight_decay", "epochs", "dataset_size"]
)
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "a", [1.0], True])
def test_settings_out_of_range_are_refused_by_name(setting, value):
    with pytest.raises(InadmissibleValue, match=setting):
        twins("adamw", **{**GOOD, setting: value})


@pytest.mark.parametrize(
    ("name", "setting"), [("sgd", "beta2"), ("sgd", "eps"), ("sign", "momentum"), ("muon", "beta2")]
)
def test_a_setting_that_an_optimizer_has_not_is_refused(name, setting):
    with pytest.raises(InadmissibleValue, match=f"{setting}=0.5 is a setting that {name} does not have"):
        twins(name, **GOOD, **{setting: 0.5})


def test_a_name_of_an_adaptive_method_is_not_read_as_sgd():
    before, after = Settings(1e-3, 32, 0.9), Settings(4e-3, 128, 0.9)
    assert flat_change(before, after, 1e5, "adam") == flat_change(before, after, 1e5, "adaptive")
    assert flat_change(before, after, 1e5, "adam") != pytest.approx(flat_change(before, after, 1e5, "sgd"))
