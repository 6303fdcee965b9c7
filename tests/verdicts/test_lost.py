"""A run that was lost is judged by what was measured before; a small step by its path."""

import msgspec
import pytest
from verdicts.runs import STEPS, curvatures, header, motions, noises, record, verdicts

from thetadot.records import Barrier, Regularization, Remark, Setting
from thetadot.verdicts.facts import Facts
from thetadot.verdicts.loss import began, lost, stuck
from thetadot.verdicts.pace import pace
from thetadot.verdicts.path import straightness


def moved(away, length=1.0, weight=10.0, **more):
    """Motions of constant step ``length`` that are ``away(t)`` from their start."""
    return [
        msgspec.structs.replace(m, displacement=away(m.step / STEPS) or None, update_norm=length, weight_norm=weight)
        for m in motions(**more)
    ]


def blown(**more):
    """Lost between the fourth and the sixth of twenty readings."""
    return motions(loss=lambda t: 2.3 if t < 0.25 else 100.0, **more)


# Whether it is lost.


def test_a_run_lost_at_once_began_with_its_first_loss():
    facts = Facts(record(motions(loss=lambda t: 2.3 if t == 0 else 140.0)))
    assert facts.course == (71.15, 140.0)
    assert began(facts) == 2.3
    assert lost(facts).before == 0.0
    noisy = Facts(record(motions(loss=lambda t: 1.0 if t in {0, 1} else 4.0)))
    assert began(noisy) == 2.5  # a first batch that was lucky is no beginning
    assert lost(noisy) is None


def test_sunk_to_chance_with_weights_thrown_is_lost():
    near = moved(lambda t: 9 * t, loss=lambda t: 2.3)
    assert stuck(Facts(record(near)))
    assert lost(Facts(record(near))) is None
    far = lost(Facts(record(moved(lambda t: 40 * t, loss=lambda t: 2.3))))
    assert "the weights moved beyond their length" in far.why
    assert far.before == pytest.approx(STEPS / 4, abs=STEPS / 19)


@pytest.mark.parametrize("later", [Regularization(STEPS, 0.0, 0.0, 1.5), Barrier(STEPS, 0, 0.0, 0.0, 3.0, 1.5, None)])
def test_a_fall_in_the_first_steps_shows_on_the_reference(later):
    fast = moved(lambda t: 40 * t, loss=lambda t: 2.0)
    told = [Regularization(0, 0.0, 0.0, 2.1), later]
    assert lost(Facts(record(fast))) is not None
    assert lost(Facts(record(fast, told))) is None


# What is said of it.


def test_of_a_lost_run_nothing_is_good_and_what_came_after_does_not_count():
    after = noises([64.0, 64.0, 0.5, 0.5, 0.5]), curvatures(5.0, 5.0, 1e-30, 1e-30, 1e-30)
    found = verdicts(blown(), *after)
    assert not [v for v in found.values() if v.state == "good"]
    assert found["edge"].finding == "diverged"
    assert found["noise"].finding == "balanced"  # 64 samples before, .5 after
    assert found["damping"].finding == "under-damped"
    assert found["damping"].says.startswith("Until step 210, before the loss was lost: under-damped")
    assert found["stationarity"].finding == "lost"
    assert not found["damping"].advice


@pytest.mark.parametrize(
    ("sharpness", "scale", "lr"),
    [(5.0, 64.0, 0.01), (1.0, 64.0, 0.1 / 3), (5.0, 6400.0, 0.01), (2.5, 64.0, 0.02)],  # 5·1·2 = 10; 2; 505; 5
)
def test_too_long_a_step_is_lowered_by_the_bound_three_to_tenfold(sharpness, scale, lr):
    found = verdicts(blown(), noises(scale), curvatures(sharpness, sharpness))["advice"]
    assert (found.finding, found.state) == ("lower lr", "bad")
    assert dict(found.settings) == {"lr": pytest.approx(lr)}
    assert "what noise and curvature asked for at the start" in found.says


def test_too_hot_for_its_batch():
    # B_n/B = 15: 1/(.25·1·16) = .25; at B_n .25·16/2 = 2 > 1
    found = verdicts(blown(batch=4), noises(60.0), curvatures(0.25, 0.25))["advice"]
    assert (found.finding, found.settings) == ("raise batch", (("batch", 32.0),))
    assert "the noise scale was 15 times the batch of 4" in found.says
    large = verdicts(blown(batch=16), noises(240.0), curvatures(0.25, 0.25))["advice"]
    assert large.finding == "lower lr"  # a larger batch would cost samples, and save no time that is known


@pytest.mark.parametrize("sharpness", [0.1, 1.0])
def test_momentum_that_never_forgets_comes_down_to_the_usual_one(sharpness):
    found = verdicts(blown(momentum=0.999), noises(64.0), curvatures(sharpness, sharpness))["advice"]
    assert (found.finding, found.settings) == ("lower momentum", (("momentum", 0.9),))
    assert "Lower momentum from 0.999 to 0.9, the usual one" in found.says


def test_an_adaptive_method_is_lowered_by_the_length_of_its_first_step():
    far = [msgspec.structs.replace(m, update_norm=20.0, weight_norm=10.0) for m in blown()]
    found = verdicts(far, head=header("AdamW"))["advice"]
    assert "Lower lr from 0.1 to 0.01, tenfold at first, since a first step moved the weights by 2 times" in found.says
    assert "Lower lr from 0.1 to 0.01, and tenfold again" in verdicts(blown(), head=header("AdamW"))["advice"].says
    near = [msgspec.structs.replace(m, update_norm=1.0, weight_norm=10.0) for m in blown()]
    assert verdicts(near, head=header("AdamW"))["advice"].settings == (("lr", pytest.approx(0.02)),)  # .02/.1


# The path.


def test_straightness_of_a_line_and_of_a_walk():
    assert straightness(Facts(record(moved(lambda t: STEPS * t)))) == pytest.approx(1.0)
    assert straightness(Facts(record(moved(lambda t: (STEPS * t) ** 0.5)))) == pytest.approx(STEPS**-0.5)


def test_a_path_says_nothing_where_the_velocity_remembers_or_too_little_is_known():
    assert straightness(Facts(record(moved(lambda t: STEPS * t, momentum=0.995)))) is None
    assert straightness(Facts(record(motions()))) is None
    assert straightness(Facts(record(moved(lambda t: STEPS * t)[:4]))) is None


def test_a_resumed_watch_measures_from_where_it_resumed():
    parts = moved(lambda t: STEPS * t if t < 0.5 else STEPS * (t - 10 / 19))
    parts[10] = msgspec.structs.replace(parts[10], displacement=None)
    assert straightness(Facts(record(parts))) == pytest.approx(1.0, rel=1e-2)


def test_an_adaptive_methods_first_measurement_is_no_pace():
    early, *rest = curvatures(1e6, 1.0, 1.0, preconditioned=True)
    parts = motions(lr=0.5), noises(64.0)
    assert pace(Facts(record(*parts, early, rest, head=header("Adam")))).factor == pytest.approx(1.0)
    assert pace(Facts(record(*parts, early, head=header("Adam")))) is None


# The batch.


def test_an_epochs_last_batch_is_not_the_batch():
    last = msgspec.structs.replace(motions()[-1], batch_size=28, step=STEPS + 1)
    assert Facts(record(motions(batch=64), last)).batch == 64
    assert Facts(record(motions(batch=64), Setting(0, 0, 1, {}))).batch == 64


@pytest.mark.parametrize("lines", [2, 3, 4, 7, 20])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_losses_that_are_not_finite_at_last_are_lost_however_few_lines(lines, share):
    kept = motions()[:: 20 // lines][:lines]
    count = max(round(share * lines), 1)
    gone = [msgspec.structs.replace(m, loss=None) for m in kept[-count:]]
    found = verdicts(kept[:-count], gone, curvatures(5.0))
    assert (found["edge"].finding, found["advice"].state) == ("diverged", "bad")
    assert "no finite loss" in found["edge"].says


def test_a_loss_that_was_never_finite_is_lost_where_the_watch_saw_it():
    gone = motions(loss=lambda t: None)[:3]
    alarm = Remark(gone[0].step, "loss", "the loss or its gradient is not finite", alarm=True)
    assert verdicts(gone, [alarm])["edge"].finding == "diverged"
    assert verdicts(gone)["edge"].finding == "unknown"


def test_a_loss_that_is_seen_now_and_then_is_not_lost_by_a_gap_as_before():
    kept = motions(loss=lambda t: None if round(t * 19) % 4 == 3 else 2.3 - 2.0 * t)
    assert verdicts(kept, curvatures(5.0))["edge"].finding == "far from the edge"
