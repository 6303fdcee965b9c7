"""Bring a run back from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from thetadot.core import signatures
from thetadot.errors import RunFolderError, TaskError
from thetadot.records import read
from thetadot.tasks import BUILT_IN, Task
from thetadot.training import checkpoint
from thetadot.training.arguments import Arguments
from thetadot.training.result import Result
from thetadot.training.snapshot import Snapshot
from thetadot.training.spec import checked, resolve
from thetadot.training.units import Coordinates

if TYPE_CHECKING:
    from collections.abc import Callable


@signatures.checked
def load(folder: str | Path, task: Task | Callable[[], Task] | str | None = None) -> Result:
    """Load the trained model of a run, finished or not, in the state that was best on the validation data.

    No code is run that only the folder names: a task of one's own is named by the caller.

    Args:
        folder: the run's ``out``.
        task: the task that was trained, the function that makes it, or its ``file.py:function``; not needed for a
            built-in task.

    Raises:
        RunFolderError: no run there, or none that has begun to train.
        DamagedFile: the checkpoint is torn, foreign, or of another model.
        TaskError: the task is the caller's own, and was not given.
    """
    folder = Path(folder)
    saved = checkpoint.load(folder)
    if task is None:
        task = checkpoint.converted(saved["arguments"], Arguments, folder / checkpoint.NAME).task
        if task not in BUILT_IN:
            raise TaskError(f"{folder} was trained on a task of your own, {task!r}. Pass it: load(folder, task).")
    make = resolve(task) if isinstance(task, str) else task
    made = checked(make if isinstance(make, Task) else make())
    if saved["phase"] == "measuring":
        raise RunFolderError(f"{folder} was cut off before training began. Continue it with --resume {folder}.")
    with checkpoint.same_model(folder):
        done = saved["phase"] == "done"
        final = Snapshot.unpack(saved["final"] if done else saved["loop"]["now"])
        kept = (saved if done else saved["loop"])["best"]
        best = final if kept is None else Snapshot.unpack(kept)
        final, best = Coordinates.unpack(made.model, saved.get("units", [])).left(made, final, best)
    return Result(made.model, best.model, final.model, read(folder), made.loss)
