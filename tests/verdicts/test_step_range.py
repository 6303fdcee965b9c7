"""An lr is small or large by what the loss did and how long a step is; neither alone changes anything."""

import msgspec
import pytest
from verdicts.runs import STEPS, curvatures, header, motions, noises, verdicts

from thetadot.records import Layers, Losses

LIMIT = 38.0


def falling(late):
    """A loss of which ``late`` of the fall comes after a third of the steps."""
    return lambda t: 2.3 - 2.0 * ((1 - late) * min(6 * t, 1.0) + late * max(1.5 * t - 0.5, 0.0))


def dense(loss, steps=300):
    return [Losses.of(min(i + 256, steps), [loss(j / steps) for j in range(i, min(i + 256, steps))])
            for i in range(0, steps, 256)]  # fmt: skip


def stepping(stride, **more):
    """Motions, and layers whose first step is ``stride`` of their weights; one began at zero, one is an embedding."""
    rows = [msgspec.structs.replace(m, update_norm=stride, weight_norm=10.0, displacement=m.step / STEPS * 9 or None)
            for m in motions(**more)]  # fmt: skip
    update = (stride, stride, stride, 1.0)
    layers = [Layers(m.step, (1.0,) * 4, (1.0, 1.0, 100.0, 0.0), update, (0.5,) * 4) for m in rows]
    return [*rows, *layers]


def judged_by_curvature(ratio, loss, scale=64.0, **more):
    return verdicts(motions(loss=loss, **more), noises(scale), curvatures(*[ratio * LIMIT] * 3))


@pytest.mark.parametrize(
    ("ratio", "scale", "late", "factor"),
    [
        (0.01, 64.0, 0.3, 3),  # .01·(1+64/64) = .02
        (0.001, 64.0, 0.3, 10),
        (0.001, 64.0, 0.1, 3),  # hardly gaining: no more than threefold
        (0.001, 64.0, 0.01, 1),  # three times the steps would gain nothing
        (0.03, 64.0, 0.3, 1),  # .06: where good runs are
        (0.01, 640.0, 0.3, 1),  # noise is a limit too: .11
    ],
)
def test_descent_is_raised_where_curvature_and_noise_leave_room_and_the_loss_still_falls(ratio, scale, late, factor):
    advice = judged_by_curvature(ratio, falling(late), scale)["advice"]
    assert (advice.finding == "raise lr") == (factor > 1)
    if factor > 1:
        assert advice.settings == (("lr", pytest.approx(0.1 * factor)),)
    else:
        assert (advice.finding, advice.state) == ("leave", "good")


@pytest.mark.parametrize(
    ("stride", "late", "factor"), [(0.02, 0.3, 3), (0.003, 0.3, 10), (0.003, 0.1, 3), (0.02, 0.01, 1), (0.08, 0.3, 1)]
)
def test_an_adaptive_method_is_raised_by_the_stride_of_its_layers(stride, late, factor):
    advice = verdicts(stepping(stride, loss=falling(late)), head=header("AdamW"))["advice"]
    assert (advice.finding == "raise lr") == (factor > 1)
    if factor > 1:
        assert advice.settings == (("lr", pytest.approx(0.1 * factor)),)


def test_the_losses_of_every_step_tell_as_those_of_the_readings_do():
    few = motions(loss=lambda t: None)[:3]
    parts = few, dense(falling(0.3)), noises(64.0), curvatures(0.38, 0.38)
    assert verdicts(*parts)["advice"].finding == "raise lr"
    assert verdicts(few, dense(falling(0.01)), noises(64.0), curvatures(0.38, 0.38))["advice"].finding == "leave"


def test_noise_of_the_loss_alone_is_no_gain():
    def rough(t):
        return 2.3 - t / 10 + (0.8 if round(t * 300) % 2 else -0.8)

    found = verdicts(motions(loss=lambda t: None)[:3], dense(rough), noises(64.0), curvatures(0.38, 0.38))
    assert "raise lr" not in found["advice"].finding or "hardly begun" in found["advice"].says


@pytest.mark.parametrize("loss", [lambda t: 2.3, lambda t: 2.3 + 0.1 * t, lambda t: 2.3 - 0.01 * t])
def test_what_has_not_begun_to_fall_is_raised_only_where_there_is_room(loss):
    small = judged_by_curvature(0.001, loss)
    assert small["advice"].finding == "raise lr"
    assert (small["learning"].finding, small["learning"].state) == ("plateau", "attention")
    fits = judged_by_curvature(0.2, loss)
    assert (fits["advice"].finding, fits["advice"].state) == ("unknown", "unknown")
    assert not [v.name for v in fits.values() if v.state == "good" and v.name in {"advice", "pace", "learning"}]


@pytest.mark.parametrize(
    ("stride", "factor"), [(0.3, 1), (0.5, 5), (0.45, 4.5), (3.0, 10)]
)  # over a tenth of the weights' length, tenfold at most
def test_an_adaptive_step_is_lowered_where_it_is_long_and_the_loss_rose(stride, factor):
    def leap(t):
        return 2.3 - 2.0 * t + (4.0 if 0.05 < t < 0.35 else 0.0)

    advice = verdicts(stepping(stride, loss=leap), head=header("AdamW"))["advice"]
    assert (advice.finding == "lower lr") == (factor > 1)
    if factor > 1:
        assert advice.settings == (("lr", pytest.approx(0.1 / factor)),)
    assert verdicts(stepping(stride, loss=falling(0.1)), head=header("AdamW"))["advice"].finding == "leave"


def test_descent_that_threw_the_weights_and_did_not_come_lower_is_lowered_without_curvature():
    away = [msgspec.structs.replace(m, displacement=300.0 * m.step / STEPS or None, weight_norm=10.0, update_norm=1.0)
            for m in motions(loss=lambda t: 2.3 + 1.5 * (t > 0.05))]  # fmt: skip
    assert verdicts(away)["advice"].finding == "lower lr"


@pytest.mark.parametrize(("steps", "finding"), [(40, "lower batch"), (1000, "leave")])
def test_a_large_batch_is_lowered_where_steps_are_few_and_never_below_sixteen(steps, finding):
    brief = [msgspec.structs.replace(m, step=m.step * steps // STEPS) for m in motions(batch=512, loss=falling(0.4))]
    found = verdicts(brief, noises(32.0, count=1), curvatures(5.0))
    assert found["advice"].finding == finding
    if finding == "lower batch":
        assert found["advice"].settings == (("batch", 64.0),)
        assert "8 times the steps" in found["advice"].says
        assert "seconds" in found["advice"].says
    for batch in (2, 8, 16, 31):
        small = [msgspec.structs.replace(m, batch_size=batch) for m in brief]
        assert verdicts(small, noises(0.1, count=1), curvatures(5.0))["advice"].finding != "lower batch"


def test_the_rules_of_a_smaller_batch_stand_beside_it_and_the_unstable_are_vetoed():
    brief = [msgspec.structs.replace(m, step=m.step // 25) for m in motions(batch=512, loss=falling(0.4))]
    evidence = verdicts(brief, noises(64.0, count=1), curvatures(5.0))["advice"].evidence
    rules = [line for line in evidence if line.startswith(("linear", "square root", "Smith", "McCandlish"))]
    assert len(rules) == 4
    assert any("lr 0.1 to 0.0125" in line for line in rules)  # linear: an eighth


def test_a_batch_of_a_few_samples_that_only_throws_is_raised():
    found = verdicts(motions(batch=2, loss=lambda t: 2.3 + (0.5 if t > 0.5 else 0.0)), noises(60.0), curvatures(2.0))
    assert (found["advice"].finding, found["advice"].settings) == ("raise batch", (("batch", 16.0),))
    quiet = verdicts(motions(batch=2), noises(60.0), curvatures(2.0))
    assert quiet["advice"].finding != "raise batch"


def test_a_loss_that_was_not_seen_is_unknown_and_not_leave():
    head = header(lacks={"training loss": "cross_entropy is no module. Add one line to the loop: probe.loss(loss)"})
    found = verdicts(motions(loss=lambda t: None), noises(64.0), curvatures(5.0, 5.0), head=head)["advice"]
    assert (found.finding, found.state) == ("unknown", "unknown")
    assert "probe.loss(loss)" in found.says


@pytest.mark.parametrize("lr", [1e-3, 0.1, 3.0])
@pytest.mark.parametrize("ratio", [1e-4, 0.01, 0.1, 0.9, 3.0, 1e4])
@pytest.mark.parametrize(
    "loss", [falling(0.3), lambda t: 2.3, lambda t: 2.3 + 30 * t, lambda t: 2.3 - 40 * t * (t - 1)]
)
def test_one_change_of_at_most_tenfold(lr, ratio, loss):
    for scale in (1.0, 1e5):
        settings = judged_by_curvature(ratio, loss, scale, lr=lr)["advice"].settings
        assert len(settings) <= 1
        for name, value in settings:
            before = {"lr": lr, "batch": 64, "momentum": 0.9}[name]
            assert 0.099 <= value / before <= 10.01


@pytest.mark.parametrize("warm", [4.0, 25.0, 100.0])
def test_a_reading_in_warm_up_is_of_the_largest_lr(warm):
    def lr(t):
        return 0.1 / warm if t < 0.05 else 0.1

    rising = motions(lr=lr, loss=falling(0.3))
    first = [msgspec.structs.replace(curvatures(0.3 * LIMIT)[0], limit=LIMIT * warm)]  # .3/warm then, .3 at the peak
    found = verdicts(rising, noises(64.0), first)
    assert found["pace"].finding == "pace fits"
    assert found["damping"].finding != "unknown"
    adam = [msgspec.structs.replace(row, lr=lr(row.step / STEPS)) if hasattr(row, "lr") else row
            for row in stepping(0.1 / warm, loss=falling(0.3))]  # fmt: skip
    assert verdicts(adam, head=header("AdamW"))["pace"].finding == "pace fits"
