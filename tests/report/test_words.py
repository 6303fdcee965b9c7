"""The sentences say what the numbers say."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from thetadot.formatting import count, duration, plain, share
from thetadot.records import Choice
from thetadot.report import words
from thetadot.report.figures import trials
from thetadot.report.runs import line_up

from . import conftest


def test_cooling_is_told_from_the_highest_temperature():
    assert (
        words.cooling(np.array([1.0, 2.0, 0.018])) == "The temperature of the noise fell to 0.9% of its highest value."
    )
    assert "not cooled" in words.cooling(np.array([1.0, 1.0]))
    assert words.cooling(np.array([0.0, 0.0])) == ""


def test_a_constant_setting_is_said_to_have_stayed():
    said = words.pair(
        words.change("momentum", np.array([0.5, 0.995])), words.change("friction", np.array([0.36, 0.361]))
    )
    assert said == "Momentum rose from 0.5 to 0.995, while friction stayed at 0.36."


def test_the_speed_at_the_end_is_a_share_of_the_fastest():
    steps = np.arange(100.0)
    assert "less than 0.01% of that speed" in words.portrait(steps, np.exp(-steps / 5))
    assert "100% of that speed" in words.portrait(steps, np.ones(100))


def test_settings_given_by_hand_are_named(make, whole):
    record = make([Choice("lr", 0.1, "--lr", "given"), *whole])
    assert "set by hand: lr" in words.verdict(record)


def test_without_choices_no_claim_about_tuning(make):
    assert "hand" not in words.verdict(make([conftest.result()]))


def test_an_accuracy_is_a_percentage_and_other_metrics_are_numbers():
    assert words.metric("accuracy", 0.9889) == "98.9%"
    assert words.metric("R²", 0.9889) == "0.989"
    assert words.metric("R²", None) == "–"


def test_a_task_without_a_metric_is_judged_by_its_loss(make):
    head = msgspec.structs.replace(conftest.header(), metric=None)
    assert words.verdict(make([conftest.result(metric=None)], head)).startswith("Reached a validation loss of 0.0364")


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


def by(source, lr=0.08):
    """The trials, and how the learning rate was chosen."""
    return [*conftest.trials(), Choice("lr", lr, "why", source)]


def test_trials_that_could_not_tell_are_nowhere_said_to_have_told(make):
    """Heading, sentence and key of one picture, for each way that the learning rate was chosen."""
    said = {}
    for source in ("tried", "rule", "given"):
        (run,) = line_up([make(by(source))])
        found = trials.picture([run])
        said[source] = (found.heading, found.says[0], *(key.text for key in found.keys if key.mark == "ring"))
    heading, sentence, key = said["tried"]
    assert heading.startswith("Short trials showed which step size learns fastest")
    assert "heavy ball at learning rate 0.08 scored best (0.21)" in sentence
    assert key == "the one that was chosen"
    heading, sentence, key = said["rule"]
    assert heading == "Short trials were inconclusive about which step size learns best"
    assert "scored lowest (0.21), by too little to go by: the run's setting is a rule's" in sentence
    assert key == "the run's own setting, chosen otherwise"
    assert said["given"][0] == "Short trials of several step sizes"
    assert not any("chosen" in words and "otherwise" not in words for words in said["given"][2:])
