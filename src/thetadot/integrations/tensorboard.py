"""TensorBoard: the series of a record as scalars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot import records
from thetadot.errors import RunFolderError, ThetadotError
from thetadot.records import Record

if TYPE_CHECKING:
    from pathlib import Path


def export(run: Record | str | Path, logdir: str | Path) -> int:
    """Write every number of a record as a scalar under ``logdir``, in a file of its own.

    Args:
        run: a record, or the folder or file it is in; that of a run that goes on will do.
        logdir: what ``tensorboard --logdir`` is given.

    Returns:
        How many steps were written.

    Raises:
        DamagedFile: this is not the record of a run.
        RunFolderError: ``logdir`` cannot be written.
        ThetadotError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ThetadotError("This needs TensorBoard. Run: pip install 'thetadot[tensorboard]'.") from error
    record = run if isinstance(run, Record) else records.read(run)
    try:
        writer = SummaryWriter(str(logdir))
    except OSError as error:
        raise RunFolderError(f"{logdir} cannot be written ({error.strerror}). Name another folder.") from error
    with writer:

        def log(values: dict[str, float], step: int) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        return records.export(record, log)
