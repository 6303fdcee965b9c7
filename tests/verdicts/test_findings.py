"""Dead, badly scaled, overfitting, spikes, plateau: each on its own evidence, and none without."""

import msgspec
import pytest
from verdicts.runs import STEPS, curvatures, header, motions, noises, verdicts

from thetadot.records import Epoch, Layers, Losses, Remark


def layers(last, first=(1.0, 1.0, 1.0), rows=20, update=(0.1, 0.1, 0.1)):
    """Gradients of three layers, as they begin and from the middle on."""
    names = ("a", "b", "c")
    found = [Layers(i * STEPS // rows, first if i < rows // 2 else last, (1.0,) * 3, update, (0.5,) * 3)
             for i in range(rows)]  # fmt: skip
    return found, header(layers=names)


@pytest.mark.parametrize(
    ("last", "finding"),
    [
        ((0.0, 0.0, 1.0), "dead"),
        ((1e-8, 1e-7, 0.1), "dead"),
        ((1e-3, 1e-3, 1.0), "still falling"),  # small, but something reaches them
        ((0.0, 1.0, 1.0), "still falling"),  # one layer of three
        ((1e-9, 1e-9, 1e-9), "still falling"),  # a perfect fit: all vanish together
    ],
)
def test_dead_is_said_where_most_layers_lose_their_gradient_and_another_does_not(last, finding):
    rows, head = layers(last)
    found = verdicts(motions(), rows, head=head)
    assert found["learning"].finding == finding
    if finding == "dead":
        assert "a, b" in found["learning"].says
        assert "step 500" in found["learning"].says
        assert (found["advice"].finding, found["advice"].settings) == ("lower lr", (("lr", pytest.approx(0.01)),))


def test_zero_from_the_start_is_a_start_to_be_made_anew_and_an_unused_layer_is_not():
    rows, head = layers((0.0, 0.0, 1.0), first=(0.0, 0.0, 1.0), update=(0.0, 0.0, 0.1))
    flat = verdicts(motions(loss=lambda t: 2.3), rows, head=head)
    assert (flat["learning"].finding, flat["advice"].finding) == ("dead", "new start")
    assert verdicts(motions(), rows, head=head)["learning"].finding == "still falling"  # it learns without them


def test_weights_that_never_have_a_gradient_are_not_called_zero():
    rows, head = layers((0.0, 0.0, 1.0), first=(0.0, 0.0, 1.0), update=(0.0, 0.0, 0.1))
    off = verdicts(motions(loss=lambda t: 2.3), rows, head=head)
    assert "never a gradient" in off["learning"].says
    assert "other weights and biases" in off["advice"].says
    zero = [msgspec.structs.replace(row, weight=(0.0, 0.0, 1.0)) for row in rows]
    assert "weights of zero never part" in verdicts(motions(loss=lambda t: 2.3), zero, head=head)["advice"].says
    for found in (off, verdicts(motions(loss=lambda t: 2.3), zero, head=head)):
        assert found["pace"].state == "unknown"  # no lr helps


def test_badly_scaled_inputs_come_first_also_where_the_loss_is_lost():
    remark = Remark(
        1, "inputs", "column 3 of the inputs has a root mean square of 569, where layers expect about 1. Standardize"
    )
    for loss in (lambda t: 2.3 - 2 * t, lambda t: 2.3 + 50 * t):
        found = verdicts(motions(loss=loss), [remark], noises(64.0), curvatures(5.0, 5.0))
        assert (found["inputs"].finding, found["inputs"].state) == ("badly scaled", "attention")
        assert "column 3" in found["inputs"].says
        assert found["advice"].finding == "scale inputs"
        assert "x.std(0)" in found["advice"].says
    assert verdicts(motions())["inputs"].state == "unknown"


def epochs(valid, train=None):
    train = train or [2.0 / (i + 1) for i in range(len(valid))]
    return [Epoch(i + 1, i * 10 + 10, t, v, None, 0.0) for i, (v, t) in enumerate(zip(valid, train, strict=True))]


@pytest.mark.parametrize(
    ("valid", "train", "finding"),
    [
        ([2.0, 1.0, 0.5, 0.7, 0.9, 1.1, 1.3], None, "overfitting"),
        ([2.0, 1.0, 0.5, 0.51, 0.5, 0.52, 0.51], None, "no overfitting"),  # within a twentieth of the gain
        ([2.0, 1.5, 1.0, 0.8, 0.7, 0.6, 0.5], None, "no overfitting"),
        (
            [2.0, 1.0, 0.5, 0.7, 0.9, 1.1, 1.3],
            [2.0, 1.0, 0.5, 0.7, 0.9, 1.1, 1.3],
            "both rose",
        ),  # lost rather than overfitting
        ([2.0, 1.0, 0.8, 0.5, 1.2], None, "unresolved"),  # one epoch since the best
        ([2.0, 1.0, 0.5], None, "unknown"),
    ],
)
def test_overfitting_is_validation_that_rises_while_training_falls(valid, train, finding):
    found = verdicts(epochs(valid, train))["generalization"]
    assert found.finding == finding
    if finding == "overfitting":
        assert "since epoch 3" in found.says
        assert "40%" in found.says  # the median of the last three, 1.1, less .5, over the 1.5 gained


def dense(values):
    return [Losses.of(min(i + 256, len(values)), values[i : i + 256]) for i in range(0, len(values), 256)]


def curve(spikes=(), length=1, height=5.0, count=300):
    values = [2.0 / (1 + i / 20) + 0.02 * ((i * 7919) % 13 / 6 - 1) for i in range(count)]
    for at in spikes:
        values[at : at + length] = [height] * length
    return values


@pytest.mark.parametrize(
    ("spikes", "length", "finding"),
    [
        ((), 1, "none"),
        ((150,), 1, "spike of the data"),
        ((150,), 4, "spike of the step"),
        ((100, 130, 160, 190, 220), 1, "spike of the noise"),
    ],
)
def test_a_spike_is_told_with_its_step_and_what_it_came_with(spikes, length, finding):
    found = verdicts(dense(curve(spikes, length)))["spikes"]
    assert (found.finding, found.state) == (finding, "good")
    if spikes == (150,):
        assert "1 spike of the loss; the largest at step 15" in found.says
        assert "came back" in found.says


def test_a_spike_above_the_limit_is_of_the_edge_and_names_the_layer():
    above = [msgspec.structs.replace(c, step=s) for c, s in zip(curvatures(60.0, 60.0), (1, 150), strict=True)]
    norms = [Layers(s, (1.0, g, 1.0), (1.0,) * 3, (0.1,) * 3, (0.5,) * 3) for s, g in ((100, 1.0), (151, 40.0))]
    found = verdicts(dense(curve((150,))), above, norms, head=header(layers=("in", "mid", "out")))["spikes"]
    assert found.finding == "spike of the edge"
    assert any("gradient of mid: 40 times" in line for line in found.evidence)


def test_where_the_loss_has_not_fallen_a_spike_is_measured_against_the_loss():
    def flat(height):
        values = [2.3 - 0.0001 * i + 0.001 * ((i * 7919) % 13 / 6 - 1) for i in range(300)]
        values[150] += height
        return verdicts(dense(values))["spikes"].finding

    assert (flat(0.04), flat(2.0)) == ("none", "spike of the data")


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_a_plateau_is_not_learning_yet_whatever_the_loss_is_offset_by(offset):
    flat = verdicts(dense([offset + 2.0 + 0.05 * ((i * 7919) % 13 / 6 - 1) for i in range(300)]))["learning"]
    assert (flat.finding, flat.state) == ("plateau", "attention")
