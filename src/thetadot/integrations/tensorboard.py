"""TensorBoard: the series of a record as scalars."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from thetadot import records
from thetadot.errors import RunFolderError, ThetadotError
from thetadot.records import Record

SUFFIX = ".thetadot"
"""Of the files that are ours: others in the folder are neither read nor changed."""

Points = dict[tuple[str, int], float]


def export(run: Record | str | Path, logdir: str | Path) -> int:
    """Write every number of a record as a scalar under ``logdir``, in files of its own.

    Exporting again adds what is new since. Where the record has become another one (a run that went back and took
    other steps), what was exported before is replaced.

    Args:
        run: a record, or the folder or file it is in; that of a run in progress will do.
        logdir: what ``tensorboard --logdir`` is given.

    Returns:
        How many steps were written.

    Raises:
        DamagedFile: this is not the record of a run.
        RunFolderError: ``logdir`` cannot be written.
        ThetadotError: TensorBoard is not installed.
    """
    try:
        from tensorboard.backend.event_processing import event_accumulator  # noqa: F401, PLC0415 - an extra
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ThetadotError("This needs TensorBoard. Run: pip install 'thetadot[tensorboard]'.") from error
    record = run if isinstance(run, Record) else records.read(run)
    wanted: Points = {}
    records.export(record, lambda values, step: wanted.update({(name, step): value for name, value in values.items()}))
    folder = Path(logdir)
    try:
        files = sorted(each for each in folder.glob(f"events.out.tfevents.*{SUFFIX}") if not each.is_symlink())
        there = _exported_points(files)
        if any(key not in wanted or not _same_in_float32(value, wanted[key]) for key, value in there.items()):
            for each in files:
                each.unlink()
            there = {}
        new = {key: value for key, value in wanted.items() if key not in there}
        if new:
            with SummaryWriter(str(folder), filename_suffix=SUFFIX) as writer:
                for (name, step), value in new.items():
                    writer.add_scalar(name, value, step)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise RunFolderError(f"{logdir} cannot be written ({reason}). Name another folder.") from error
    return len({step for _, step in new})


def _exported_points(files: list[Path]) -> Points:
    """Read the points exported before, as far as a truncated file is readable."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 - an extra

    found: Points = {}
    for file in files:
        events = EventAccumulator(str(file), size_guidance={"scalars": 0})
        events.Reload()
        for name in events.Tags()["scalars"]:
            found.update({(name, event.step): event.value for event in events.Scalars(name)})
    return found


def _same_in_float32(there: float, wanted: float) -> bool:
    """Compare two numbers in float32, in which TensorBoard stores them."""
    with np.errstate(over="ignore"):
        return bool(np.float32(there) == np.float32(wanted))
