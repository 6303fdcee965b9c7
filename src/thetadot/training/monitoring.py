"""The monitor of a run: its reference batch, how often it measures, and what that may cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from thetadot.monitor.cadence import PLANS
from thetadot.monitor.layers import Layout
from thetadot.monitor.monitor import Monitor
from thetadot.monitor.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.optim import Flow
    from thetadot.records import Entry
    from thetadot.state import StateChange
    from thetadot.tasks.task import Task
    from thetadot.training.data import Source

SHARE = 0.018
"""Most of the run's gradient evaluations that measuring may take."""
FEWEST, MOST = 16, 256
"""Samples of the reference: two for each of the parts that noise is measured from, and what is enough for λmax."""
SHARES = {"noise": 0.004, "curvature": 0.012}
"""How it is divided: the rest is for the curvature-weighted noise and for barriers."""
READINGS = 60
"""Gradients that a reference sample is passed through in a run: a first curvature of 12 products, two later ones of 6,
and noise a few times."""
ROWS = 100
"""Steps that a short run measures; a measured one takes a third of a small network's step more."""


def reference_of(source: Source, held: int, samples: int) -> list[int]:
    """Training samples that a run is measured on, behind the first ``held`` of their keyed order.

    Args:
        source: training data.
        held: samples kept for something else.
        samples: the run's length, epochs × training samples.
    """
    size = max(FEWEST, min(MOST, int(SHARE * samples / READINGS)))
    return source.order(-1)[held:][:size]


def reference_batch(task: Task, source: Source, indices: list[int], layout: Layout) -> Reference:
    """Training samples as the fixed batch that is measured on.

    Args:
        task: what is trained.
        source: its training data.
        indices: of the samples.
        layout: the parameters.
    """
    found = next(iter(source.load(source.whole(len(indices), indices))))
    inputs = found.inputs if isinstance(found.inputs, tuple) else (found.inputs,)
    whole = found.inputs if found.inputs is found.target else (*inputs, found.target)  # samples that are dicts
    reference = Reference(task.model, task.loss, whole, layout, batch_dim=0)
    reference.notice_autocast()
    return reference


def monitor_of(
    task: Task,
    source: Source,
    reference: list[int],
    optimizer: Flow,
    write: Callable[[Entry], None],
    others: Callable[[], float],
    *,
    samples: int,
    batch: int,
    changes: list[StateChange],
) -> Monitor:
    """What measures the run.

    Args:
        task: what is trained.
        source: its training data.
        reference: indices of the fixed batch; empty measures nothing on it.
        optimizer: of the run.
        write: receives the entries.
        others: gradient evaluations that the run spent beside measuring.
        samples: the run's length, epochs × training samples.
        batch: of the first step.
        changes: what a pass changes, all of which can be restored.
    """
    usual = PLANS["default"]
    layout = Layout(task.model, optimizer, task.loss)
    data = reference_batch(task, source, reference, layout) if reference else None
    if data is not None:
        data.told(changes)  # from now on a pass leaves nothing behind
    monitor = Monitor(
        layout,
        optimizer,
        write,
        plan=replace(
            usual,
            motion=max(1, min(usual.motion, samples // batch // ROWS)),
            shares=SHARES,
            cap=SHARE,
        ),
        level="default",
        reference=data,
        dataset_size=source.size,
        sampling="epochs",
        planned=float(samples),
        others=others,
    )
    monitor.readings.prepared = True  # that the loss is a mean, and what a pass changes, was found before the run
    return monitor
