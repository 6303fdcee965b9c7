"""A finished run goes on: more epochs, by the plan that it had, at the rate that it had found.

The optimizer begins at rest, the rate is warmed up, forked, held and annealed as in a run of that length; parameters,
generators, the order of the data, the best validated state, measurements and costs go on where they were. It is the one
change of arguments that a folder accepts.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import msgspec

from thetadot.errors import RunFolderError
from thetadot.records import Epoch, Extension
from thetadot.training import checkpoint, reasons
from thetadot.training.arguments import Arguments
from thetadot.training.forks import packed
from thetadot.training.progress import TrainingProgress

if TYPE_CHECKING:
    from pathlib import Path

    from thetadot.training.loop import Loop
    from thetadot.training.snapshot import Snapshot


def lengthened(asked: Arguments, saved: dict[str, Any], extend: int | None, out: Path) -> Arguments:
    """Arguments with the epochs that were added before, and those that are to be added now.

    Args:
        asked: now, alike but for extensions.
        saved: checkpoint of the folder.
        extend: epochs to add; None adds none.
        out: the folder.

    Raises:
        RunFolderError: the run has not finished, or an older version finished it.
    """
    before = checkpoint.converted(saved["arguments"], Arguments, out / checkpoint.NAME).extended
    if extend is None:
        return replace(asked, extended=before)
    if saved["phase"] != "done":
        raise RunFolderError(
            f"{out} has not finished, and only a finished run is extended. Finish it first with: "
            f"thetadot run --resume {out}"
        )
    if not {"plan", "loop"} <= saved.keys():
        raise RunFolderError(
            f"{out} was finished by a version that could not extend. Begin a new run, with more epochs."
        )
    return replace(asked, extended=(*before, extend))


def first_epoch(saved: dict[str, Any], out: Path) -> int:
    """The first epoch of the plan: of a finished run's extension, the next one."""
    with checkpoint.same_model(out):
        if saved["phase"] == "training":
            return checkpoint.converted(saved["loop"].get("first"), int, out / checkpoint.NAME)
        return checkpoint.converted(saved["loop"]["progress"], TrainingProgress, out / checkpoint.NAME).epoch


def ended(loop: Loop) -> dict[str, Any]:
    """Return what an extension goes on from, beside the last state and the best one."""
    return {
        "progress": asdict(loop.progress),
        "last_epoch": packed(loop.last_epoch),
        "guard": loop.guard.origin(),
        **loop.known(),
    }


def go_on(loop: Loop, state: dict[str, Any], final: Snapshot, best: Snapshot) -> None:
    """Begin a loop where an earlier plan :func:`ended`: at rest, with a guard and forks of its own."""
    loop.load_known(state)
    loop.guard.load_origin(state["guard"])
    progress = msgspec.convert(state["progress"], TrainingProgress)
    loop.progress = replace(
        progress, place=0, loss_sum=0.0, loss_count=0, factor=1.0, forks=0, mean_next=False, growth=1, looks=0
    )
    loop.last_epoch = msgspec.convert(state["last_epoch"], Epoch | None)
    loop.seconds_first, loop.best = loop.seconds_before, best
    final.restore(loop.task.model, loss=loop.task.loss)
    loop.monitor.rewind(loop.progress.step, loop.optimizer)


def extension(loop: Loop, epochs: int) -> Extension:
    """The entry that says by which plan a run goes on."""
    plan, progress = loop.plan, loop.progress
    return Extension(
        progress.step,
        progress.epoch,
        epochs,
        plan.optimizer,
        plan.lr,
        plan.momentum,
        plan.batch_size,
        plan.annealing,
        reasons.extension(plan, progress.epoch, epochs),
    )
