"""The sentences say what the numbers say."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from thetadot.core.formatting import count, duration, plain, share
from thetadot.records import Choice
from thetadot.report import words
from thetadot.report.figures import forks as pictures
from thetadot.report.runs import line_up
from thetadot.report.tiles import tiles

from . import conftest


def test_cooling_is_told_from_the_highest_temperature():
    assert (
        words.cooling(np.array([1.0, 2.0, 0.018])) == "The temperature of the noise fell to 0.9% of its highest value."
    )
    assert "not cooled" in words.cooling(np.array([1.0, 1.0]))
    assert words.cooling(np.array([0.0, 0.0])) == ""


def test_a_constant_setting_is_said_to_have_stayed():
    said = words.join_halves(
        words.change("momentum", np.array([0.5, 0.995])), words.change("friction", np.array([0.36, 0.361]))
    )
    assert said == "Momentum rose from 0.5 to 0.995, while friction stayed at 0.36."


@pytest.mark.parametrize("values", [[3e-5, 6e-3, 5e-9], [37.0, 2.0, 324.0], [1.0, 5.0, 3.0]])
def test_a_setting_whose_extreme_lies_between_its_ends_is_not_said_to_have_risen_or_fallen(values):
    first, extreme, last = (plain(value) for value in values)
    assert words.change("it", np.array(values)) == f"it went from {first} to {extreme}, then to {last}"
    both = words.change("it", np.array([2.0, 9.0, 1.0, 3.0]))
    assert both == "it moved between 1 and 9 and ended at 3"


def test_the_speed_at_the_end_is_a_share_of_the_fastest():
    steps = np.arange(100.0)
    assert "less than 0.01% of that speed" in words.portrait(steps, np.exp(-steps / 5))
    assert "100% of that speed" in words.portrait(steps, np.ones(100))


def test_settings_given_by_hand_are_named(make, whole):
    record = make([Choice("lr", 0.1, "--lr", "given"), *whole])
    assert "set by hand: lr" in words.run_in_a_sentence(record)


def test_without_choices_no_claim_about_tuning(make):
    assert "hand" not in words.run_in_a_sentence(make([conftest.result()]))


def test_an_accuracy_is_a_percentage_and_other_metrics_are_numbers():
    assert words.metric_as_text("accuracy", 0.9889) == "98.9%"
    assert words.metric_as_text("R²", 0.9889) == "0.989"
    assert words.metric_as_text("R²", None) == "–"


def test_a_task_without_a_metric_is_judged_by_its_loss(make):
    head = msgspec.structs.replace(conftest.header(), metric=None)
    assert words.run_in_a_sentence(make([conftest.result(metric=None)], head)) == (
        "The last state has a validation loss of 0.0364; it took 25 s."
    )


def test_losses_and_metric_are_said_to_be_of_the_state_that_is_returned(make):
    """From version 3 on that is the best validated one; the last one's loss is said beside it."""
    new = msgspec.structs.replace(conftest.result(), valid_loss=0.031, final_valid_loss=0.0364)
    said = words.run_in_a_sentence(make([new]))
    assert said.startswith("The returned state, of epoch 22, has 98.9% accuracy on the validation set, and")
    shown = {label: (value, remark) for value, label, remark in tiles(make([new]))}
    assert shown["validation loss"] == ("0.031", "returned state, of epoch 22; at the end 0.0364")
    assert shown["validation accuracy"][1] == "returned state, of epoch 22"
    old = {label: remark for _, label, remark in tiles(make([conftest.result()]))}
    assert old["validation loss"] == "last state"


def test_how_the_loss_came_is_told_and_not_judged(whole):
    rising = [
        msgspec.structs.replace(conftest.epochs(conftest.motions())[i], valid_loss=v)
        for i, v in enumerate((1.0, 0.5, 0.9))
    ]
    said = "The validation loss went from 1 after epoch 1 to 0.9; it was lowest (0.5) at epoch 2."
    assert words.losses(rising) == said


@pytest.mark.parametrize(("value", "text"), [(0.99999, "99.9%"), (1.0, "100%"), (0.0, "0%"), (0.5, "50%")])
def test_only_all_is_a_hundred_percent(value, text):
    assert share(value) == text


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 10**400, 1e308])
def test_numbers_without_measure_have_a_word(value):
    assert plain(value) == "beyond measure"
    assert duration(abs(value)) == "an unknown time"
    assert count(10**400, "step") == "beyond measure steps"


def test_forks_are_told_as_they_were_decided(make):
    """Heading, sentence and key of one picture: raised on the way, never raised, told by the mean motion."""
    forks = conftest.forks()

    def drawn(entries):
        (run,) = line_up([make(entries)])
        return pictures.picture([run])

    raised = drawn(forks)
    assert raised.heading == "The rate was raised on the way"
    assert raised.says == (
        "The run forked 4 times; twice the larger step was better, and the rate went from 0.02 to 0.08.",
    )
    stood = drawn(forks[2:])
    assert stood.heading == "Larger rates were tried on the way and were no better"
    assert stood.says == ("The run forked twice; the rate of 0.08 stood each time.",)
    drift = [msgspec.structs.replace(fork, method="drift", losses=(), other_losses=()) for fork in forks[:1]]
    assert drawn(drift).says[0].startswith("The mean motion was followed further once; once it led further down")
    assert drawn([]) is None
