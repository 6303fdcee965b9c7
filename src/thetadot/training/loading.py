"""Bring a run back from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from thetadot.errors import DamagedFile, RunFolderError
from thetadot.records import read
from thetadot.training import checkpoint
from thetadot.training.result import Result
from thetadot.training.spec import checked
from thetadot.training.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable


def load(folder: str | Path, task: Task | Callable[[], Task]) -> Result:
    """The trained model of a finished run, or the latest state of an unfinished one.

    No code is run that the folder names: the task is given by the caller.

    Args:
        folder: the run's ``out``.
        task: the task that was trained, or the function that makes it, such as ``thetadot.tasks.digits``.

    Raises:
        RunFolderError: no run there, or none that has begun to train.
        DamagedFile: the checkpoint is torn, foreign, or of another model.
    """
    folder = Path(folder)
    saved = checkpoint.load(folder)
    made = checked(task if isinstance(task, Task) else task())
    if saved["phase"] == "done":
        final, best = saved["final"], saved["best_state"]
    elif saved["phase"] == "training":
        final, best = saved["loop"]["now"]["model"], saved["loop"]["best_state"]
    else:
        raise RunFolderError(f"{folder} was cut off before training began. Continue it with --resume {folder}.")
    try:
        made.model.load_state_dict(final)
    except RuntimeError as error:
        raise DamagedFile(
            f"{folder} holds another model: {str(error).splitlines()[0]} Pass the task that was trained."
        ) from error
    return Result(made.model, best or final, final, read(folder))
