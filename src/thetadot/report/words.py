"""A run in plain sentences; every function is pure and returns "" where the record is silent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.core.formatting import count, duration, plain, share
from thetadot.records import Choice, Curvature, End, Epoch, Equilibrium, Extension, Layers, Motion, Noise
from thetadot.report.names import clean
from thetadot.report.series import column
from thetadot.verdicts.headline import loss_ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.records import Fork, Record, Result
    from thetadot.report.series import Array

MOST = 5
"""Extensions that are said in a sentence."""
STILL = 0.05
"""A setting that moves by less than this share of itself is called constant."""


def metric_as_text(name: str | None, value: float | None) -> str:
    """A metric's value as its kind is usually written: accuracies in percent."""
    if value is None:
        return "–"
    return share(value) if name is not None and "accuracy" in name.lower() and 0 <= value <= 1 else plain(value)


def run_in_a_sentence(record: Record) -> str:
    """The whole run in one sentence."""
    result = record.result
    if record.header.watched is not None:
        return _watched(record)
    if result is None:
        return _unfinished(record)
    if result.diverged:
        return (
            f"Diverged: the loss ran away after {count(result.steps, 'step')} and the run was stopped. "
            f"The best validation loss before that was {plain(result.best_valid_loss)}, "
            f"at epoch {plain(result.best_epoch)}."
        )
    if not result.learned:
        return (
            f"Nothing was learned: the best validation loss, {plain(result.valid_loss)}, is no better than that of a "
            f"constant output, {plain(result.constant_loss)}."
        )
    took = f"; it took {duration(result.seconds)}" if result.seconds > 0 else ""
    reached = f"a validation loss of {plain(result.valid_loss)}"
    if result.metric is not None:
        name = record.header.metric
        label = "" if name is None else f" {name}"
        value = metric_as_text(name, result.metric)
        reached = f"{value}{label} on the validation set, and a loss of {plain(result.valid_loss)}"
    return f"{state(result)} has {reached}{took}{_extended(record)}{_hands(record)}."


def state(result: Result) -> str:
    """Say whose loss and metric a result gives: those of the best validated state, in old records of the last one."""
    if result.final_valid_loss is None and result.valid_loss != result.best_valid_loss:
        return "The last state"
    whose = ", the running mean of the parameters" if result.mean else ", of"
    return f"The returned state{whose}{' after' if result.mean else ''} epoch {plain(result.best_epoch)},"


def last_step(record: Record) -> int:
    """The last step that the record knows of."""
    kinds: tuple[Any, ...] = (Motion, Epoch, End) if record.header.watched is None else (Motion, Epoch, End, *_MEASURED)
    last: list[int] = [entry.step for kind in kinds for entry in record.of(kind)[-1:]]
    return max(last, default=0)


_MEASURED = (Curvature, Noise, Layers, Equilibrium)


def how_it_ended(record: Record) -> str:
    """Return how a watched loop ended: "finished", "interrupted" by an exception, or "unfinished"."""
    ends = record.of(End)
    if not ends:
        return "unfinished"
    return "finished" if ends[-1].because == "closed" else "interrupted"


def _watched(record: Record) -> str:
    watched = record.header.watched
    name = clean(watched.optimizer, 60) if watched is not None else ""
    steps = count(last_step(record), "step")
    way = loss_ends(record)
    text = f"{name or 'A loop'} was watched over {steps}"
    if way is not None:
        text += f": the training loss went from {plain(way[0])} to {plain(way[1])}"
    return (
        text
        + {
            "finished": ".",
            "interrupted": "; the loop ended with an exception.",
            "unfinished": ". The record has no end yet: the loop is still running, or was cut off.",
        }[how_it_ended(record)]
    )


def _unfinished(record: Record) -> str:
    motions, epochs = record.of(Motion), record.of(Epoch)
    if not motions and not epochs:
        return "This run has not finished: nothing of the training is in the record yet."
    steps = last_step(record)
    head = f"This run has not finished: the record ends at step {plain(steps)}"
    if not epochs:
        return f"{head}, before the end of the first epoch."
    last = epochs[-1]
    done = f"after epoch {plain(last.epoch)} of {plain(record.epochs)}"
    return f"{head}; {done} the validation loss was {plain(last.valid_loss)}."


def _extended(record: Record) -> str:
    """By how many epochs a run was extended, and when."""
    found = [f"{count(e.epochs, 'epoch')} after epoch {plain(e.epoch)}" for e in record.of(Extension)[:MOST]]
    return f"; it was extended by {' and '.join(found)}" if found else ""


def _hands(record: Record) -> str:
    choices = record.of(Choice)
    if not choices:
        return ""
    given = [choice.setting for choice in choices if choice.source == "given"]
    if not given:
        return "; nothing was tuned by hand"
    return f"; set by hand: {', '.join(dict.fromkeys(given))}"


def forks(found: Sequence[Fork]) -> str:
    """Say how often the run forked, what came of it, and what was paid."""
    if not found:
        return ""
    raised = [fork for fork in found if fork.raised]
    if found[0].method == "drift":
        tried, what = f"The mean motion was followed further {_times_in_words(len(found))}", "it led further down"
    else:
        tried, what = f"The run forked {_times_in_words(len(found))}", "the larger step was better"
    if not raised:
        return f"{tried}; the rate of {plain(found[-1].lr)} stood each time."
    way = f"from {plain(found[0].lr)} to {plain(raised[-1].other_lr)}"
    return f"{tried}; {_times_in_words(len(raised))} {what}, and the rate went {way}."


def _times_in_words(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{plain(number)} times")


def unfinished_sentence(record: Record) -> str:
    """Say that a run has no end, or ended with an exception; "" where it ended as it was to."""
    if record.header.watched is None:
        return "" if record.result is not None else "This run has not finished."
    at = f"at step {plain(last_step(record))}"
    return {
        "finished": "",
        "interrupted": f"The loop was interrupted by an exception {at}.",
        "unfinished": f"The record ends {at} without an end: the loop is running, or was cut off.",
    }[how_it_ended(record)]


def training_sentence(record: Record) -> str:
    """Say how far the training loss came."""
    way = loss_ends(record)
    return "" if way is None else f"The training loss went from {plain(way[0])} to {plain(way[1])}."


def losses(epochs: Sequence[Epoch]) -> str:
    """Say how far the validation loss came, and where it was lowest."""
    at = int(np.argmin(column(epochs, "valid_loss")))
    first, best, last = epochs[0], epochs[at], epochs[-1]
    begun = f"from {plain(first.valid_loss)} after epoch {plain(first.epoch)}"
    text = f"The validation loss went {begun} to {plain(last.valid_loss)}"
    if at == len(epochs) - 1:
        return f"{text}, its lowest value."
    return f"{text}; it was lowest ({plain(best.valid_loss)}) at epoch {plain(best.epoch)}."


def metrics(name: str | None, epochs: Sequence[Epoch]) -> str:
    """Say what the metric came to, and its highest value."""
    known = [epoch for epoch in epochs if epoch.metric is not None]
    if not known:
        return ""
    best, last = max(known, key=lambda epoch: epoch.metric or 0.0), known[-1]
    text = f"At the end it was {metric_as_text(name, last.metric)}"
    return (
        f"{text}, its highest value."
        if best.metric == last.metric
        else (f"{text}; it was highest ({metric_as_text(name, best.metric)}) at epoch {plain(best.epoch)}.")
    )


def change(noun: str, values: Array) -> str:
    """Describe the change of a setting in half a sentence."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return ""
    first, last, low, high = (float(v) for v in (values[0], values[-1], values.min(), values.max()))
    middle = max(abs(low), abs(high))
    if high - low <= STILL * middle:
        return f"{noun} stayed at {plain(float(np.median(values)))}"
    if math.isclose(first, last, rel_tol=STILL):
        return f"{noun} moved between {plain(low)} and {plain(high)}"
    beyond = STILL * (high - low)
    below, above = low < min(first, last) - beyond, high > max(first, last) + beyond
    if below and above:
        return f"{noun} moved between {plain(low)} and {plain(high)} and ended at {plain(last)}"
    if below or above:
        return f"{noun} went from {plain(first)} to {plain(low if below else high)}, then to {plain(last)}"
    return f"{noun} {'rose' if last > first else 'fell'} from {plain(first)} to {plain(last)}"


def join_halves(one: str, other: str) -> str:
    """Join two half sentences."""
    parts = [part for part in (one, other) if part]
    text = ", while ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def cooling(temperature: Array) -> str:
    """Say how far the run was cooled."""
    values = temperature[np.isfinite(temperature)]
    if len(values) < 2 or not values.max() > 0:
        return ""
    ratio = float(values[-1] / values.max())
    if ratio < 1 - STILL:
        return f"The temperature of the noise fell to {share(ratio)} of its highest value."
    return "The noise was not cooled: its temperature at the end is its highest."


def portrait(steps: Array, speed: Array) -> str:
    """How fast the motion was, and how fast at the end."""
    pace = np.abs(speed)
    if len(pace) < 2 or not pace.max() > 0:
        return ""
    top = int(pace.argmax())
    tail = float(pace[-max(len(pace) // 50, 1) :].mean() / pace[top])
    fastest = plain(int(steps[top]))
    return f"The motion was fastest at step {fastest}; at the end it had {share(tail)} of that speed."
