"""Records made wrong, or right, on purpose: each must give its finding; whatever the entries, judging never fails."""

import json
import math
import os
import subprocess
import sys
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from verdicts.runs import STEPS, curvatures, header, motions, noises, record, result, verdicts, windows

from thetadot import records
from thetadot.records import Choice, Curvature, End, Epoch, Header, Motion, Noise, Record, Rollback, Setting
from thetadot.verdicts import Verdict, judge
from thetadot.verdicts.facts import Facts
from thetadot.verdicts.noise import scale
from thetadot.verdicts.pace import pace
from thetadot.verdicts.progress import weights

QUESTIONS = ["edge", "noise", "batch", "damping", "pace", "stationarity"]
NAMES = ["advice", "learning", *QUESTIONS, "inputs", "generalization", "spikes"]


def test_a_record_without_entries_is_unknown_in_every_question():
    for head in (header(), header(watched=None)):
        found = judge(Record(head, ()))
        assert [verdict.name for verdict in found] == NAMES
        assert {(verdict.finding, verdict.state) for verdict in found} == {("unknown", "unknown")}
        assert all(verdict.says.endswith(".") and not verdict.advice for verdict in found)


def test_why_a_reading_is_not_there_is_the_watchers_own_word():
    lacks = {"noise": "no loss_fn was given", "limit": "LBFGS has none", "damping": "LBFGS has no friction"}
    lacks |= {"stationarity": "no window was full"}
    found = verdicts(curvatures(3.0, limit=None), head=header("LBFGS", lacks))
    assert "noise: no loss_fn was given" in found["noise"].says
    assert "limit: LBFGS has none" in found["edge"].says
    assert "damping: LBFGS has no friction" in found["damping"].says
    assert "stationarity: no window was full" in found["stationarity"].says


# A run as it should be.


def test_a_good_run_is_left_alone():
    found = verdicts(
        motions(),
        noises(100.0),
        curvatures(3.0, 4.0, 5.0, 6.0),
        windows("moving", "moving", "moving", trend=(-0.3, -0.1)),
    )
    assert {found[name].state for name in ["advice", "learning", *QUESTIONS]} == {"good"}
    assert not [verdict for verdict in found.values() if verdict.state in {"attention", "bad"}]
    assert found["advice"].finding == "leave"
    assert found["stationarity"].finding == "descending"
    assert found["noise"].finding == "balanced"


# Noise and batch.


@pytest.mark.parametrize(
    ("size", "noise", "batch", "state"),
    [
        (64, "balanced", "batch fits", "good"),
        (64 * 2, "balanced", "batch fits", "good"),
        (64 * 2 + 1, "curvature-limited", "batch fits", "good"),
        (64 * 4, "curvature-limited", "batch fits", "good"),
        (64 * 4 + 1, "curvature-limited", "batch large", "good"),
        (64 * 16 + 1, "curvature-limited", "batch large", "good"),
        (32, "balanced", "batch fits", "good"),
        (31, "noise-limited", "batch fits", "good"),
        (8, "noise-limited", "batch fits", "good"),
        (7, "noise-limited", "batch small", "good"),
    ],
)
def test_batch_against_noise_scale(size, noise, batch, state):
    found = verdicts(motions(batch=size), noises(64.0))
    assert found["noise"].finding == noise
    assert (found["batch"].finding, found["batch"].state) == (batch, state)


def test_at_the_noise_scale_samples_and_steps_are_twice_the_fewest():
    says = verdicts(motions(batch=64), noises(64.0))["batch"].says
    assert says == "The batch fits its noise: 2 times the fewest samples and 2 times the fewest steps to come as far."


def test_waste_is_the_hyperbolas():
    found = verdicts(motions(batch=1024), noises(64.0))["batch"]
    assert "94.1% of the samples are beyond what the noise asks for: 17 times the samples" in found.says
    assert "for 1.06 times the fewest steps" in found.says
    assert found.confidence.startswith("high")


def test_a_lower_bound_tells_what_it_can():
    bound = verdicts(motions(batch=64), noises(6400.0, resolved=False))
    assert bound["noise"].finding == "noise-limited"
    assert "at least 6,400 samples" in bound["noise"].says
    assert bound["noise"].confidence.startswith("moderate")
    assert bound["batch"].finding == "batch small"
    assert "at least 101 times the steps" in bound["batch"].says
    silent = verdicts(motions(batch=64), noises(16.0, resolved=False))
    assert (silent["noise"].finding, silent["noise"].state) == ("unresolved", "unknown")
    assert (silent["batch"].finding, silent["batch"].state) == ("unresolved", "unknown")
    assert silent["pace"].state != "attention"


def test_later_measurements_weigh_more_and_averages_are_divided():
    facts = Facts(record(motions(), noises([10.0, 10.0, 10.0, 10.0, 1000.0])))
    # equal |G|², weights 1/16, 1/8, 1/4, 1/2, 1
    assert scale(facts).value == pytest.approx((10 * 15 / 16 + 1000) / (31 / 16))
    one, two = noises([8.0, 8.0])
    two = msgspec.structs.replace(two, gradient_variance=100.0, gradient_square=4.0, noise_scale=25.0)
    assert scale(Facts(record(motions(), one, two))).value == pytest.approx((8 / 16 + 100) / (1 / 16 + 4))


def test_an_interval_that_holds_another_finding_lowers_confidence():
    assert verdicts(motions(batch=64), noises(64.0, spread=1.3))["noise"].confidence.startswith("high")
    assert verdicts(motions(batch=64), noises(64.0, spread=4.0))["noise"].confidence.startswith("low")
    assert verdicts(motions(batch=64), noises(64.0, count=1))["noise"].confidence.startswith("moderate")


def test_without_a_batch_size_the_noise_scale_is_said():
    found = verdicts(motions(batch=None), noises(64.0))
    assert found["noise"].state == found["batch"].state == "unknown"
    assert "64 samples; the batch size is not known" in found["noise"].says


# The edge.


@pytest.mark.parametrize(
    ("ratio", "finding", "state"),
    [
        (0.1, "far from the edge", "good"),
        (0.41, "near the edge", "good"),
        (0.81, "at the edge", "attention"),
        (1.29, "at the edge", "attention"),
        (1.31, "above the edge", "bad"),
    ],
)
def test_sharpness_over_limit_now(ratio, finding, state):
    edge = verdicts(motions(loss=lambda t: 2.3), curvatures(1.0, 38.0 * ratio))["edge"]
    assert (edge.finding, edge.state) == (finding, state)
    calm = verdicts(motions(), curvatures(1.0, 38.0 * ratio))["edge"]
    assert (calm.finding, calm.state) == (finding, "unknown" if state == "bad" else "good")


@pytest.mark.parametrize(("samples", "batch"), [(32, 16), (128, 256)])
def test_few_samples_show_that_the_edge_is_far_but_never_that_it_is_near(samples, batch):
    def judged(*sharpness):
        few = [msgspec.structs.replace(c, samples=samples) for c in curvatures(*sharpness)]
        return verdicts(motions(loss=lambda t: 2.3, batch=batch), few)

    assert judged(1.0, 4.0)["edge"].finding == "far from the edge"
    for harm in ((1.0, 70.0), (90.0, 70.0, 70.0)):
        found = judged(*harm)
        assert (found["edge"].finding, found["edge"].state) == ("unresolved", "unknown")
        assert found["advice"].finding == "unknown"


def test_a_negative_curvature_is_far_from_the_edge():
    assert verdicts(motions(), curvatures(-3.0, -1.0))["edge"].finding == "far from the edge"


@pytest.mark.parametrize("parts", [{"batch": 60_000}, {"batch": 640}])
def test_hovering_at_the_edge_is_normal_without_noise(parts):
    edge = verdicts(motions(**parts), noises(64.0), curvatures(5.0, 30.0, 38.0, 40.0, 39.0))["edge"]
    assert (edge.finding, edge.state) == ("at the edge", "good")
    assert "settles by itself" in edge.says


def test_the_limit_that_moves_is_each_measurements_own():
    fallen = [c for lr, c in zip((38.0, 76.0, 380.0), curvatures(10.0, 40.0, 40.0), strict=True)
              for c in [msgspec.structs.replace(c, limit=lr)]]  # fmt: skip
    assert verdicts(motions(), fallen)["edge"].finding == "far from the edge"


def test_annealing_does_not_hide_how_close_a_run_came():
    falling = motions(lr=lambda t: 0.1 if t < 0.6 else 1e-3)
    close = [msgspec.structs.replace(c, limit=3800.0) if c.step > 600 else c for c in curvatures(5.0, 20.0, 36.0, 36.0)]
    edge = verdicts(falling, close)["edge"]
    assert edge.finding == "near the edge"
    assert edge.says.startswith("Sharpness at the large lr, until step 333, was 0.526 of the limit")


def test_above_the_limit_at_the_start_the_lr_is_too_large():
    stays = verdicts(motions(loss=lambda t: 2.3), curvatures(100.0, 60.0, 50.0))
    assert (stays["edge"].finding, stays["edge"].state) == ("above the edge", "bad")
    assert "2.63 times the limit at step 0" in stays["edge"].says
    assert stays["advice"].finding == "lower lr"
    # twice what the limit was passed by: .1/(2·100/38)
    assert dict(stays["advice"].settings)["lr"] == pytest.approx(0.019)
    assert "batch of 12.2 would keep the temperature (linear rule)" in stays["advice"].says
    calm = verdicts(motions(), curvatures(100.0, 10.0, 8.0, 9.0))["edge"]
    assert (calm.finding, calm.state) == ("began above the edge", "good")
    rose = verdicts(
        motions(loss=lambda t: 2.3 - 2 * t + (3 if 0.05 < t < 0.3 else 0)), curvatures(100.0, 10.0, 8.0, 9.0)
    )
    assert (rose["edge"].finding, rose["edge"].state) == ("began above the edge", "attention")


def test_within_the_residual_nothing_is_said_to_be_above():
    assert verdicts(motions(), curvatures(40.0, 10.0, residual=3.0))["edge"].finding == "far from the edge"
    assert verdicts(motions(), curvatures(40.0, 10.0, residual=1.0))["edge"].finding == "began above the edge"


@pytest.mark.parametrize(
    ("ends", "finding", "state", "said"),
    [
        ((10.0, 10.1), "far from the edge", "good", "is 0.263 of the limit"),
        ((14.0, 20.0), "near the edge", "good", "an lr 1.9 times as large might not be"),
        ((28.0, 34.0), "at the edge", "good", "is 0.737 to 0.895 of the limit"),
        ((40.0, 60.0), "at the edge", "good", "is 1.05 to 1.58 of the limit"),
        ((50.0, 60.0), "above the edge", "unknown", "is 1.32 times the limit"),
        ((10.0, 40.0), "unresolved", "unknown", "Not resolved how close the step is to instability"),
    ],
)
def test_stable_is_said_by_the_upper_end_and_unstable_by_the_lower(ends, finding, state, said):
    first = curvatures(1.0)
    last = curvatures(1.0, ends[0], low=ends[0], high=ends[1])[1:]
    edge = verdicts(motions(), first, last)["edge"]
    assert (edge.finding, edge.state) == (finding, state)
    assert said in edge.says


def test_advice_keeps_to_the_upper_end():
    found = verdicts(motions(loss=lambda t: 2.3), curvatures(100.0, 60.0, 50.0, low=50.0, high=200.0))
    assert dict(found["advice"].settings)["lr"] == pytest.approx(0.01)  # 2·200/38 is beyond tenfold


@pytest.mark.parametrize(("samples", "word"), [(8, "low"), (64, "moderate"), (256, "high")])
def test_curvature_of_few_samples_makes_nothing_certain(samples, word):
    few = [msgspec.structs.replace(c, samples=samples) for c in curvatures(3.0, 3.1, 3.0, 3.0, spectrum=(3.0, 1.0))]
    found = verdicts(motions(), noises(64.0), few)
    assert found["edge"].confidence.startswith(word)
    assert {"high": 3, "moderate": 2, "low": 1}[word] >= max(
        {"high": 3, "moderate": 2, "low": 1}[found[name].confidence.split(":")[0]] for name in ("damping", "pace")
    )
    assert verdicts(motions(), few, head=header(train_samples=samples))["edge"].confidence.startswith("high")


@pytest.mark.parametrize("beta2", [0.999, 0.9999])
def test_an_adaptive_methods_first_steps_alone_resolve_nothing(beta2):
    first = [msgspec.structs.replace(c, step=44) for c in curvatures(5e7, preconditioned=True)]
    parts = motions(), first, [Setting(0, 0, 10, {"betas[1]": beta2})]
    found = verdicts(*parts, head=header("AdamW"))
    assert (found["edge"].finding, found["edge"].state) == ("unknown", "unknown")
    assert "last measured at step 44, before the preconditioner had averaged" in found["edge"].says
    assert "lr" not in found["advice"].finding
    later = verdicts(*parts, curvatures(100.0, 10.0, 8.0, preconditioned=True), head=header("AdamW"))["edge"]
    assert later.finding == "far from the edge"


@pytest.mark.parametrize(
    ("parts", "said", "lr"),
    [  # twice what the limit was neared by, three times at least: 2·30/38 = 1.6 is 3; 2·90/38 where both were before
        ([motions(loss=lambda t: 2.3 + 5 * t)], "the loss rose from", 0.0333),
        (
            [motions(loss=lambda t: None if t > 0.6 else 2.3), End(STEPS, "exception", 0.0, 0.0)],
            "no finite loss",
            0.0333,
        ),
        ([motions(), result(diverged=True)], "stopped because it diverged", 0.0211),
        (
            [motions(loss=lambda t: 2.3 - 4 * t if t < 0.5 else 2.3)],
            "the loss fell from 2.19 to 0.616 and is back at 2.3",
            0.0333,
        ),
        ([motions(loss=lambda t: 2.3 + 40 * t * (1 - t))], "sank back to", 0.0333),
    ],
)
def test_a_loss_that_is_lost_is_bad(parts, said, lr):
    found = verdicts(*parts, curvatures(30.0, 90.0))
    assert (found["edge"].finding, found["edge"].state) == ("diverged", "bad")
    assert said in found["edge"].says
    assert found["advice"].state == "bad"
    assert f"Lower lr from 0.1 to {lr}" in found["advice"].says


def test_lost_without_a_measurement_advice_has_no_made_up_number():
    advice = verdicts(motions(loss=lambda t: 2.3 + 5 * t))["advice"]
    assert advice.finding == "lower lr"
    assert "Lower lr from 0.1 to 0.01, and tenfold again while the loss is lost: nothing measured" in advice.says
    assert advice.confidence.startswith("low")


def test_a_loss_never_given_is_not_lost():
    assert verdicts(motions(loss=lambda t: None), curvatures(5.0))["edge"].finding == "far from the edge"


def test_what_a_rollback_undid_is_not_judged():
    undone = [Curvature("training", 900, 100.0, 0.0, 38.0, 64, 0.0), Rollback(950, 500, "rose", 0.5)]
    found = verdicts(motions()[:10], curvatures(5.0), undone)
    assert found["edge"].finding == "far from the edge"


# Damping.


def test_momentum_near_one_rings():
    found = verdicts(motions(momentum=0.999), curvatures(5.0, spectrum=(5.0, 0.1)))
    damping = found["damping"]
    assert (damping.finding, damping.state) == ("ringing", "bad")
    assert "1,000 steps" in damping.says
    assert damping.evidence[0] == "ζ at curvature 5 loss/parameter²: 0.000707"  # (1-β)√(2/(α(1+β)))/(2√h)
    # (1-√.5)², (1-√.01)²
    assert "critically damped at momentum 0.0858 in the sharpest direction, 0.81 in the flattest" in damping.advice
    assert found["advice"].finding == "lower momentum"
    assert found["advice"].settings == (("momentum", 0.9),)


@pytest.mark.parametrize("momentum", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("steps", [20, 60, 199])
def test_an_ordinary_momentum_is_never_blamed_for_a_short_run(momentum, steps):
    brief = [msgspec.structs.replace(m, step=m.step * steps // STEPS) for m in motions(momentum=momentum)]
    found = verdicts(brief, curvatures(20.0))
    blamed = momentum > 0.9 and 1 / (1 - momentum) > 0.5 * steps
    assert (found["advice"].finding == "lower momentum") == blamed


def test_ringing_in_a_long_run_costs_little():
    late = Motion(10**6, None, 0.1, 0.1, 0.999, 64, 0.3, 0.003, None, 0.0, 0.0, None, None, 0.0)
    assert verdicts(motions(momentum=0.999), late, curvatures(5.0))["damping"].state == "good"


@pytest.mark.parametrize(
    ("momentum", "sharpness", "finding"),
    [(0.9, 5.0, "under-damped"), (0.9, 0.01, "over-damped"), (0.0, 1.0, "over-damped")],
)
def test_damping_of_ordinary_momentum(momentum, sharpness, finding):
    damping = verdicts(motions(momentum=momentum), curvatures(sharpness))["damping"]
    assert (damping.finding, damping.state) == (finding, "good")


def test_over_damped_is_worth_attention_where_noise_does_not_limit():
    found = verdicts(motions(momentum=0.0, batch=6400), noises(64.0), curvatures(1.0, spectrum=(1.0, 0.4)))
    assert (found["damping"].finding, found["damping"].state) == ("over-damped", "attention")
    assert "momentum 0.468" in found["damping"].advice  # (1-√.1)²
    assert "0.64 in the flattest of the 2 measured" in found["damping"].advice


def test_recorded_damping_ratios_are_taken_as_they_are():
    parts = curvatures(5.0, 5.0, spectrum=(5.0, 1.0), damping=(0.01, 0.03), preconditioned=True)
    damping = verdicts(motions(), parts, head=header("AdamW"))["damping"]
    assert damping.finding == "overdriven"
    assert "ζ = 0.01 to 0.03" in damping.says
    assert (damping.state, damping.advice) == ("good", "")  # curvature alone blames no lr
    assert (
        verdicts(motions(), curvatures(5.0, 5.0, preconditioned=True), head=header("AdamW"))["damping"].state
        == "unknown"
    )


def test_annealing_does_not_hide_how_the_motion_was_damped():
    falling = motions(lr=lambda t: 0.1 if t < 0.8 else 1e-7, momentum=0.999)
    assert verdicts(falling, curvatures(5.0, 5.0, 5.0))["damping"].finding == "ringing"


# Pace.


def test_an_adaptive_methods_reach_is_its_lr():
    parts = [motions(lr=0.1), noises(64.0), curvatures(5.0, 5.0, preconditioned=True)]
    assert pace(Facts(record(*parts, head=header("AdamW")))).factor == pytest.approx(1 / (5 * 0.1 * 2))
    assert pace(Facts(record(*parts[:2], curvatures(5.0)))).factor == pytest.approx(1 / (5 * 1.0 * 2))
    unknown = verdicts(*parts[:2], curvatures(5.0, limit=None), head=header("Mystery"))["pace"]
    assert unknown.state == "unknown"


def test_what_is_measured_weighs_by_the_fall_of_the_loss():
    # all of the fall is in the first quarter; there the noise scale is 64
    early = motions(loss=lambda t: max(2.3 - 8 * t, 0.3))
    found = verdicts(early, noises([64.0, 64.0, 6e4, 6e4, 6e4], resolved=True), curvatures(*[5.0] * 5))
    assert found["noise"].finding == "noise-limited"
    assert found["batch"].finding == "batch fits"
    assert found["pace"].finding == "pace fits"


def test_weights_are_the_shares_of_the_fall():
    facts = Facts(record(motions(loss=lambda t: 1.0 - t)))
    found = weights(facts, [0.0, 500.0, 1000.0])
    # from 0 to 250, to 750, to 1000; the medians of five cut the ends
    assert found == pytest.approx([0.25, 0.5, 0.25], abs=0.06)
    assert sum(found) == pytest.approx(1.0)
    assert weights(Facts(record(motions(loss=lambda t: 1.0 + t))), [0.0, 9.0]) == [0.5, 0.5]
    assert weights(Facts(record()), []) == []


# Stationarity.


def test_stationary_is_time_to_anneal():
    found = verdicts(motions(), windows("moving", "moving", "moving", "stationary"))
    assert (found["stationarity"].finding, found["stationarity"].state) == ("stationary", "attention")
    assert "since step 750, for 25% of the run" in found["stationarity"].says
    assert found["advice"].finding == "cool"
    assert "lr from 0.1 to 0.0125 at this momentum, or a batch of 512 at this lr" in found["advice"].says


def test_stationary_since_early_is_too_hot():
    states = ["stationary"] * 4
    assert verdicts(motions(), windows(*states))["stationarity"].state == "attention"
    flat = verdicts(motions(loss=lambda t: 2.3), windows(*states))
    assert (flat["stationarity"].finding, flat["stationarity"].state) == ("too hot", "bad")
    assert flat["advice"].finding == "unknown"  # what learned nothing has nothing to settle


def test_stationary_and_cold_is_done():
    found = verdicts(motions(temperature=lambda t: 1.001 - t), windows("stationary", "stationary"))
    assert (found["stationarity"].finding, found["stationarity"].state) == ("stationary and cold", "good")


@pytest.mark.parametrize(
    ("trend", "finding", "state"),
    [((-0.3, -0.1), "descending", "good"), ((0.1, 0.3), "rising", "bad"), ((-0.1, 0.1), "moving", "good")],
)
def test_what_moves_goes_where_its_loss_goes(trend, finding, state):
    found = verdicts(motions(), windows("moving", trend=trend, ratio=3.0))["stationarity"]
    assert (found.finding, found.state) == (finding, state)
    assert "virial over fluctuation: 3 (95%: 2.9 to 3.1)" in found.evidence[0]


def test_unresolved_is_said_honestly():
    found = verdicts(motions(), windows("stationary", "unresolved"))["stationarity"]
    assert (found.finding, found.state) == ("unresolved", "unknown")


def test_a_window_that_has_only_begun_does_not_hide_the_one_before_it():
    *before, young = windows("moving", "moving", "stationary", "unresolved")
    young = msgspec.structs.replace(young, samples=10)
    found = verdicts(motions(), before, young)["stationarity"]
    assert found.finding == "stationary"
    assert "since step 500" in found.says
    changed = verdicts(motions(lr=lambda t: 0.1 if t < 0.8 else 0.05), before, young)["stationarity"]
    assert changed.finding == "unresolved"


# Records of other kinds.


def test_a_record_of_version_1_is_judged(tmp_path):
    v1 = [
        {"kind": "header", "schema": "thetadot.record", "version": 1, "task": "digits", "seed": 0, "parameters": 100}
        | {"train_samples": 1437, "valid_samples": 360, "epochs": 3, "device": "cpu", "threads": 1, "software": {}}
        | {"quantities": {}, "metric": None, "ensemble": None, "started": ""},
        {"kind": "choice", "setting": "optimizer", "value": "heavy-ball", "because": "x", "source": "tried"},
        *(json.loads(msgspec.json.encode(entry)) for entry in (*noises(64.0), *motions(), *curvatures(5.0, 6.0, 7.0))),
    ]
    (tmp_path / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in v1))
    read = records.read(tmp_path)
    assert not read.damage
    found = {verdict.name: verdict for verdict in judge(read)}
    assert {found[name].finding for name in ("edge", "noise", "batch")} == {
        "far from the edge",
        "balanced",
        "batch fits",
    }
    assert found["stationarity"].state == "unknown"
    assert "were not measured" in found["stationarity"].says
    assert found["advice"].finding == "leave"


@pytest.mark.parametrize(
    ("name", "family"),
    [("AdamW", "adaptive"), ("RMSprop", "adaptive"), ("heavy-ball", "sgd"), ("SGD", "sgd"), ("Shampoo", None)],
)
def test_families_are_told_by_name(name, family):
    assert Facts(record(head=header(name))).family == family
    assert Facts(record(curvatures(1.0, preconditioned=True), head=header(name))).family == "adaptive"


FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.one_of(
    FINITE, st.floats(-2, 100), st.integers(-3, 100), st.sampled_from([0.0, 1e308, 5e-324, 10**400, -1])
)
WHOLE = st.one_of(st.integers(-2, 50), st.sampled_from([0, 10**18, 10**400, -(10**400)]))


def _value(hint):
    if hint is float:
        return NUMBERS
    if hint is int:
        return WHOLE
    if hint is bool:
        return st.booleans()
    return None


def entry(kind):
    """Any entry of a kind whose numbers are as hostile as JSON lets them be."""
    hints = get_type_hints(kind)
    fields = {}
    for name, hint in hints.items():
        if not name.startswith("__"):
            optional = hint in {float | None, int | None}
            base = _value({float | None: float, int | None: int}.get(hint, hint))
            if base is None and hint == tuple[float, ...]:
                base = st.lists(NUMBERS, max_size=3).map(tuple)
            fields[name] = base if base is not None and not optional else st.none() | base if base is not None else None
    by_type = {name: strategy for name, strategy in fields.items() if strategy is not None}
    for name in hints.keys() - by_type.keys():
        by_type[name] = st.from_type(hints[name])
    return st.builds(kind, **by_type)


LOSSES = st.builds(
    lambda step, losses: records.Losses.of(step + len(losses), losses),
    st.sampled_from([0, 40, 2**50]),
    st.lists(st.floats(), min_size=1, max_size=5),
)
BUILT = [kind for kind in records.Entry.__args__ if kind not in (Header, records.Losses)]
ENTRIES = st.one_of([LOSSES, *map(entry, BUILT)])
HEADS = st.builds(
    header, st.sampled_from(["SGD", "Adam", "heavy-ball", "?", ""]), train_samples=st.none() | WHOLE, parameters=WHOLE
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(HEADS, st.lists(ENTRIES, max_size=12))
def test_whatever_the_entries_judging_never_fails(head, entries):
    found = judge(Record(head, tuple(entries)))
    assert [verdict.name for verdict in found] == NAMES
    for verdict in found:
        assert isinstance(verdict, Verdict)
        assert verdict.state in {"good", "attention", "bad", "unknown"}
        assert verdict.says
        assert all(isinstance(line, str) for line in verdict.evidence)
        assert not verdict.confidence or verdict.confidence.split(":")[0] in {"high", "moderate", "low"}
        assert " nan" not in verdict.says


SOME = st.one_of(*(entry(kind) for kind in (Motion, Curvature, Noise)), st.builds(Epoch, *[st.just(1)] * 6))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(SOME, max_size=6), st.integers(0, 3))
def test_hostile_entries_among_good_ones_never_fail(entries, place):
    good = [*motions(), *noises(64.0), *curvatures(5.0, 6.0), *windows("moving", "stationary"), Choice("lr", 0.1, "x")]
    for i, hostile in enumerate(entries):
        good.insert((place + 1) * 7 * i % (len(good) + 1), hostile)
    assert [verdict.name for verdict in judge(Record(header(), tuple(good)))] == NAMES


def test_verdicts_are_a_pure_function_of_the_record():
    run = record(motions(), noises(64.0), curvatures(5.0, 6.0), windows("stationary"))
    assert judge(run) == judge(run)


def test_judging_needs_no_torch():
    program = "import sys, thetadot.verdicts; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode == 0


def test_the_critical_momentum_is_where_the_discriminant_vanishes():
    # z² - (1-x+β)z + β, x = αh
    for x in (0.01, 0.1, 0.5):
        beta = (1 - math.sqrt(x)) ** 2
        assert (1 - x + beta) ** 2 - 4 * beta == pytest.approx(0.0, abs=1e-14)
