"""Thetadot's own run as a run of a comparison: nothing is chosen here, and what it cost is what it counted."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from thetadot.comparing.curves import Bins
from thetadot.comparing.job import Outcome
from thetadot.comparing.making import made
from thetadot.errors import Diverged
from thetadot.records import Epoch, Motion, read, standing
from thetadot.training import run
from thetadot.training.data import Source
from thetadot.training.folder import RECORD
from thetadot.training.forward import judge
from thetadot.training.setting import device_of

if TYPE_CHECKING:
    from typing import Any

    from thetadot.comparing.job import ComparisonJob
    from thetadot.records import Record
    from thetadot.training import Result


def outcome_of_own_run(job: ComparisonJob) -> tuple[Outcome, bytes]:
    """Return what came of the run, and the text of its record.

    Args:
        job: its budget is not used: the run does its epochs, and what measuring costs comes on top.
    """
    given = dict(job.point.settings)
    if job.point.batch_size is not None:
        given["batch_size"] = job.point.batch_size
    with tempfile.TemporaryDirectory(prefix="thetadot-") as place:
        folder = Path(place) / "run"
        why, result = "", None
        try:
            result = run(
                lambda: made(job),
                out=folder,
                name=job.task,
                epochs=job.epochs,
                seed=job.seed,
                device=job.device,
                threads=job.threads,
                progress=False,
                page=False,
                **given,
            )
        except Diverged as error:
            why = str(error)
        return _outcome(job, read(folder), result, why), (folder / RECORD).read_bytes()


def _outcome(job: ComparisonJob, record: Record, result: Result | None, why: str) -> Outcome:
    closing = record.result
    epochs = [entry for entry in standing(record, Epoch)[0] if math.isfinite(entry.valid_loss)]
    if closing is not None and closing.diverged:
        why = why or "it ended above its start"
    if not epochs:
        why = why or "no epoch was judged"
    after = [entry for entry in epochs if entry.epoch > 0] or epochs
    best, last = (min(after, key=lambda entry: entry.valid_loss), after[-1]) if after else (None, None)
    spent = closing.cost if closing is not None else (last.cost or 0 if last is not None else 0)
    return Outcome(
        point=job.point.identity,
        label=job.point.label,
        seed=job.seed,
        epochs=job.epochs,
        budget=job.budget,
        spent=round(spent),
        steps=closing.steps if closing is not None else (last.step if last is not None else 0),
        best=None if why or best is None else best.valid_loss if closing is None else closing.valid_loss,
        final=None if why or last is None else last.valid_loss,
        test=None if why or closing is None else closing.test_loss,
        final_test=None if why or result is None else _tested(job, result),
        keeps_best=True,
        best_metric=None if best is None else best.metric,
        final_metric=None if last is None else last.metric,
        metric=record.header.metric,
        diverged=why,
        settings=_settings_found(closing),
        train=_averaged_losses(record, spent or job.budget),
        valid=[(float(entry.cost or 0.0), entry.valid_loss) for entry in epochs],
        seconds=closing.seconds if closing is not None else 0.0,
    )


def _averaged_losses(record: Record, spent: float) -> list[tuple[float, float]]:
    """Training loss, averaged over stretches."""
    bins = Bins(spent)
    for entry in standing(record, Motion)[0]:
        if entry.loss is not None and math.isfinite(entry.loss):
            bins.add(entry.cost, entry.loss, 1.0)
    return bins.points()


def _tested(job: ComparisonJob, result: Result) -> float | None:
    """Loss of the last state on the test data."""
    task = made(job)
    if task.test is None:
        return None
    task.model.load_state_dict(result.final_state)
    source = Source(task.test, job.seed, device_of(job.device))
    loss, _ = judge(replace(task, loss=result.loss), source.load(source.whole(512)), None)
    return loss if math.isfinite(loss) else None


def _settings_found(closing: Any) -> dict[str, float | int | str]:
    """Settings that the run found, as its record names them."""
    found = {name: getattr(closing, name, None) for name in ("optimizer", "lr", "momentum", "batch_size")}
    return {name: value for name, value in found.items() if value is not None}
