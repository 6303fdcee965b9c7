"""A record as series of numbers with flat names, for whatever logs numbers by step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from thetadot.core.signatures import checked
from thetadot.records.columns import number
from thetadot.records.observed import Draws, End, Setting
from thetadot.records.schema import Choice, Constant, Extension, Fork, Result, Rollback, Trial
from thetadot.records.step_losses import Losses
from thetadot.records.units import quantity, tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.records.reader import Record
    from thetadot.records.schema import Entry

_WITH_ENDS = {"noise": "noise_scale", "equilibrium": "ratio"}
_BY_LAYER = {"layers", "gradient", "weight", "update", "angle"}
_UNNUMBERED = (Trial, Choice, Fork, Constant, Rollback, Extension, Setting, Draws, End, Result)
"""Kinds that are no reading of a moment: what was tried, decided or given, and closing lines."""


@checked
def export(record: Record, log: Callable[[dict[str, float], int], object]) -> int:
    """Call ``log(values, step)`` once a step, steps ascending, with every number measured there.

    A name is the kind, a slash and the quantity: ``motion/loss``, ``curvature/sharpness``, ``noise/noise_scale``. The
    ends of an interval are series of their own, ``noise/noise_scale_low`` and ``noise/noise_scale_high``; lists end in
    the layer's name, or a number. The loss of every step is ``losses/loss``. Of two measurements of one kind at one
    step the later one is kept. Missing numbers
    are left out. ``log`` is what trackers take::

        export(record, lambda values, step: wandb.log(values, step=step))
        export(record, lambda values, step: trackio.log(values, step=step))
        export(record, lambda values, step: mlflow.log_metrics(values, step=step))

    Args:
        record: what :func:`thetadot.records.read` gave.
        log: called with a dict of finite floats and the step.

    Returns:
        How many steps were logged.
    """
    by_step: dict[int, dict[str, float]] = {}
    for entry in record.entries:
        if isinstance(entry, Losses):
            for step, loss in enumerate(entry.numbers.tolist(), entry.first):
                if math.isfinite(loss):
                    by_step.setdefault(step, {})["losses/loss"] = loss
        elif numbered(entry):
            by_step.setdefault(getattr(entry, "step", 0), {}).update(series(entry, record.layers))
    for step, values in sorted(by_step.items()):
        log(values, step)
    return len(by_step)


def numbered(entry: Entry) -> bool:
    """Whether an entry is a reading of one moment, in numbers."""
    return not isinstance(entry, (*_UNNUMBERED, Losses))


def series(entry: Entry, layers: tuple[str, ...] = ()) -> dict[str, float]:
    """The finite numbers of one entry that have a unit, by their flat names.

    Example:
        >>> from thetadot.records import Barrier
        >>> series(Barrier(9, 2, 0.5, 0.25, 1.0, 0.5, None))
        {'barrier/height': 0.5, 'barrier/at': 0.25, 'barrier/start_loss': 1.0, 'barrier/end_loss': 0.5}
    """
    kind = tag(type(entry))
    found: dict[str, float] = {}
    if isinstance(entry, Losses):
        return found
    for name in entry.__struct_fields__:
        if quantity(type(entry), name) is None:
            continue
        value = getattr(entry, name)
        if isinstance(value, tuple):
            by_layer = len(value) == len(layers) and name in _BY_LAYER
            names = layers if by_layer else [str(i) for i in range(len(value))]
            found |= {f"{kind}/{name}/{part}": number(x) for part, x in zip(names, value, strict=True)}
        else:
            found[f"{kind}/{_flat(kind, name)}"] = number(value)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _flat(kind: str, name: str) -> str:
    """``low`` and ``high`` say of what."""
    if name in {"low", "high"} and kind in _WITH_ENDS:
        return f"{_WITH_ENDS[kind]}_{name}"
    return name
