"""Oracles: identities of a rule with itself, limits in which rules must meet, invariants that they name, peaks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thetadot.analysis import adaptive_stability_limit, stability_limit
from thetadot.core.limits import limit_at
from thetadot.errors import InadmissibleValue
from thetadot.translation import to_physical
from thetadot.verdicts.rules_table import table
from thetadot.verdicts.scaling import (
    LI,
    LINEAR,
    MALLADI,
    MAREK,
    MCCANDLISH,
    MOTION,
    ROOT,
    RULES,
    SMITH,
    Settings,
)

PRESENT = Settings(lr=0.1, batch=64.0, momentum=0.9, beta2=0.99, eps=1e-8)
FIELDS = ("lr", "batch", "momentum", "beta2", "eps")


def close(one, other, rel=1e-9):
    for name in FIELDS:
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=rel), name


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_same_batch_size_changes_nothing(rule):
    close(rule.settings(PRESENT, 64.0, 500.0), PRESENT)
    assert rule.lr(0.1, 64.0, 64.0, 500.0, momentum=0.9) == pytest.approx(0.1)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@given(one=st.floats(0.5, 3.0), two=st.floats(0.5, 3.0))
@settings(max_examples=40, deadline=None)
def test_two_changes_are_one(rule, one, two):
    stepwise = rule.settings(rule.settings(PRESENT, 64.0 * one, 1e4), 64.0 * one * two, 1e4)
    close(stepwise, rule.settings(PRESENT, 64.0 * one * two, 1e4), rel=1e-7)


@pytest.mark.parametrize(("rule", "power"), [(LINEAR, 1.0), (ROOT, 0.5), (SMITH, 0.0), (MALLADI, 0.5), (MAREK, 0.0)])
def test_power_laws(rule, power):
    for ratio in (0.25, 2.0, 8.0):
        assert rule.lr(0.1, 64.0, 64.0 * ratio, 1e6) == pytest.approx(0.1 * ratio**power)


def test_far_below_the_noise_scale_two_laws_remain():
    noise = 1e9
    for ratio in (0.1, 3.0, 9.0):
        new = 64.0 * ratio
        assert MCCANDLISH.lr(0.1, 64.0, new, noise) == pytest.approx(LINEAR.lr(0.1, 64.0, new, noise), rel=1e-5)
        assert LI.lr(0.1, 64.0, new, noise) == pytest.approx(MALLADI.lr(0.1, 64.0, new, noise), rel=1e-5)
        assert MAREK.lr(0.1, 64.0, new, noise) != pytest.approx(MALLADI.lr(0.1, 64.0, new, noise), rel=0.1)


def test_mccandlish_has_half_of_its_most_at_the_noise_scale_and_never_falls():
    most = MCCANDLISH.lr(0.1, 64.0, 1e15, 1000.0)
    assert most == pytest.approx(0.1 * (1 + 1000 / 64))
    assert MCCANDLISH.lr(0.1, 64.0, 1000.0, 1000.0) == pytest.approx(most / 2)
    curve = [MCCANDLISH.lr(0.1, 64.0, b, 1000.0) for b in np.geomspace(1, 1e6, 200)]
    assert all(np.diff(curve) > 0)


def test_li_peaks_at_the_noise_scale_and_is_symmetric_about_it():
    batches = np.geomspace(1e1, 1e5, 401)
    curve = [LI.lr(0.1, 64.0, b, 1000.0) for b in batches]
    assert batches[int(np.argmax(curve))] == pytest.approx(1000.0, rel=1e-9)
    np.testing.assert_allclose(curve, curve[::-1], rtol=1e-9)


def test_of_the_best_lr_twice_the_noise_scale_wants_four_thirds_by_mccandlish():
    # f(B) = 1/(1+Bn/B): f(Bn) = 1/2, f(2Bn) = 2/3
    assert MCCANDLISH.lr(0.3, 100.0, 200.0, 100.0) == pytest.approx(0.4)
    assert LI.lr(0.3, 100.0, 400.0, 100.0) == pytest.approx(0.3 * 2 / (0.5 + 2.0))


@given(st.floats(0.0, 0.99), st.floats(0.05, 20.0))
@settings(deadline=None)
def test_same_motion_keeps_friction_and_temperature(momentum, ratio):
    present = Settings(0.1, 64.0, momentum)
    new = MOTION.settings(present, 64.0 * ratio)
    old_motion = to_physical(0.1, momentum)
    if new is None:
        assert ratio * old_motion.step * old_motion.friction > 2 * (1 - 1e-9)
        return
    motion = to_physical(new.lr, new.momentum)
    assert motion.friction == pytest.approx(old_motion.friction, rel=1e-6)
    assert new.lr / ((1 - new.momentum) * new.batch) == pytest.approx(0.1 / ((1 - momentum) * 64.0), rel=1e-6)


@pytest.mark.parametrize("rule", [LINEAR, SMITH])
def test_temperature_stays_where_a_rule_says_so(rule):
    new = rule.settings(PRESENT, 160.0, 1e6)
    assert new.lr / ((1 - new.momentum) * new.batch) == pytest.approx(0.1 / (0.1 * 64.0))


def test_malladi_moves_both_betas_and_eps():
    close(MALLADI.settings(PRESENT, 256.0), Settings(0.2, 256.0, 0.6, 0.96, 5e-9))


def test_marek_keeps_the_half_life_in_samples():
    new = MAREK.settings(PRESENT, 16.0)
    assert 16.0 * math.log(0.5) / math.log(new.beta2) == pytest.approx(64.0 * math.log(0.5) / math.log(0.99))
    assert (new.lr, new.momentum) == (0.1, 0.9)


# Where a rule does not hold.


@pytest.mark.parametrize(
    ("rule", "batch", "noise", "said"),
    [
        (LINEAR, 501.0, 500.0, "batch size 501 is above the noise scale 500"),
        (LINEAR, 16.0, 32.0, "batch size 64 is above the noise scale 32"),
        (SMITH, 6.0, None, "negative momentum"),
        (MOTION, 64.0 * 19.1, None, "damping λγ above 2"),
        (MCCANDLISH, 128.0, None, "noise scale is not known"),
        (LI, 128.0, None, "noise scale is not known"),
        (MALLADI, 704.0, None, "κ(1-β₁) = 1.1 is above 1"),
        (LINEAR, 0.0, None, "new batch size 0 is not a positive number"),
        (ROOT, math.inf, None, "is not a positive number"),
        (ROOT, 128.0, -1.0, "noise scale -1 is not a positive number"),
    ],
)
def test_outside_its_condition_a_rule_says_why_and_gives_nothing(rule, batch, noise, said):
    assert said in rule.outside(PRESENT, batch, noise)
    assert rule.settings(PRESENT, batch, noise) is None
    assert rule.lr(0.1, 64.0, batch, noise, momentum=0.9) is None


def test_bounds_are_met_from_inside():
    assert LINEAR.lr(0.1, 64.0, 500.0, 500.0) == pytest.approx(0.78125)
    assert SMITH.settings(PRESENT, 6.4).momentum == pytest.approx(0.0, abs=1e-12)
    assert MALLADI.settings(PRESENT, 639.0).momentum == pytest.approx(1 - 63.9 / 64)
    assert MOTION.settings(PRESENT, 64.0 * 18.99).momentum == pytest.approx(0.0, abs=1e-3)


def test_families():
    assert {rule.name for rule in RULES if rule.applies("sgd")} == {
        "linear", "square root", "Smith", "same motion", "McCandlish",
    }  # fmt: skip
    assert {rule.name for rule in RULES if rule.applies("adaptive")} == {"square root", "Malladi", "Li", "Marek"}
    assert not any(rule.applies("other") for rule in RULES)
    assert all(rule.source and rule.condition and rule.keeps for rule in RULES)


ANY = st.floats(allow_nan=True, allow_infinity=True)


@given(ANY, ANY, ANY, st.none() | ANY, st.none() | ANY, st.none() | ANY)
@settings(max_examples=300, deadline=None)
def test_whatever_the_numbers_the_answer_is_admissible_or_none(lr, batch, new, noise, momentum, beta2):
    for rule in RULES:
        found = rule.settings(Settings(lr, batch, momentum, beta2, 1e-8), new, noise)
        if found is not None:
            assert 0 < found.lr < math.inf
            assert found.momentum is None or 0 <= found.momentum < 1
            assert found.beta2 is None or 0 < found.beta2 < 1


# The table.


def rows(**options):
    given = {"family": "sgd", "sharpness": 12.0, "limit": 38.0} | options
    return {row.rule.name: row for row in table(Settings(0.1, 32.0, 0.9), 128.0, 1000.0, **given)}


def test_what_is_above_the_measured_limit_is_vetoed_with_the_reason():
    found = rows()
    assert found["linear"].standing == "vetoed"
    assert found["linear"].reason == "its stability limit would be 9.5, the measured sharpness is 12"
    assert found["linear"].settings.lr == pytest.approx(0.4)
    assert found["square root"].standing == "usable"  # limit 19
    assert found["Smith"].standing == "usable"  # a larger momentum, a larger limit
    assert rows(sharpness=9.4)["linear"].standing == "usable"
    assert rows(sharpness=None)["linear"].standing == "usable"
    assert rows(limit=None)["linear"].standing == "usable"


def test_a_rule_outside_its_condition_is_shown_with_its_number():
    found = {row.rule.name: row for row in table(Settings(0.1, 32.0, 0.9), 128.0, 100.0, family="sgd")}
    assert found["linear"].standing == "outside"
    assert found["linear"].settings.lr == pytest.approx(0.4)
    assert {row.rule.name for row in table(PRESENT, 128.0, None, family="adaptive") if row.settings is None} == {"Li"}


@pytest.mark.parametrize("momentum", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("new", [0.0, 0.5, 0.95])
@pytest.mark.parametrize(
    "form",
    [
        stability_limit,
        lambda b: stability_limit(b, 0.5),
        lambda b: stability_limit(b, 1.0),
        adaptive_stability_limit,
    ],
)
def test_an_optimizers_form_of_the_limit_is_told_by_its_value(momentum, new, form):
    assert limit_at(form(momentum) / 0.1, 0.1, momentum, 0.4, new) == pytest.approx(form(new) / 0.4)


def test_a_limit_of_no_known_form_moves_with_the_lr_alone():
    assert limit_at(12.0, 0.1, 0.9, 0.2, 0.9) == pytest.approx(6.0)
    assert limit_at(12.0, 0.1, 0.9, 0.2, 0.5) is None
    assert limit_at(20.0, 0.1, 0.0, 0.1, 0.9) is None  # at β = 0 all forms are 2


@pytest.mark.parametrize("name", ["adam", "AdamW", "adaptive", "torch.optim.NAdam", "rmsprop"])
def test_an_optimizers_name_tells_its_family(name):
    present = Settings(1e-3, 32, 0.9, 0.999, 1e-8)
    rows = table(present, 64, 100.0, family=name)
    assert rows == table(present, 64, 100.0, family="adaptive")
    assert {row.rule.name for row in rows} >= {"Malladi", "Li", "square root"}


def test_an_unknown_family_is_refused_with_those_that_are_known():
    with pytest.raises(InadmissibleValue, match=r"'sgd' or 'adaptive'.*adam"):
        table(Settings(0.1, 32, 0.9), 64, family="mine")


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("decay", [0.1, 1.0])
def test_a_limit_moves_with_its_decay(momentum, decay):
    before, after = (stability_limit(m, decay=a * decay) / a for m, a in ((0.9, 0.1), (momentum, 0.7)))
    assert limit_at(before, 0.1, 0.9, 0.7, momentum, decay=decay) == pytest.approx(after)
    before, after = (stability_limit(m) / a - decay for m, a in ((0.9, 0.1), (momentum, 0.7)))
    assert limit_at(before, 0.1, 0.9, 0.7, momentum, decay=decay, decoupled=False) == pytest.approx(after)
