"""The numbers of a run that people look for first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.records import Epoch, Motion
from thetadot.report import words
from thetadot.report.numerals import duration, plain

if TYPE_CHECKING:
    from thetadot.records import Header, Record

Tile = tuple[str, str, str]
"""Value, label, remark."""


def tiles(record: Record) -> list[Tile]:
    """Key numbers, from the result or, while there is none, from the last entries."""
    header, result = record.header, record.result
    motions, epochs = record.of(Motion), record.of(Epoch)
    last_epoch = epochs[-1] if epochs else None
    last = result or last_epoch
    found: list[Tile] = []
    if last is not None and last.metric is not None:
        found.append((words.metric(header.metric, last.metric), header.metric or "metric", "on the validation set"))
    if last is not None:
        remark = f"best {plain(result.best_valid_loss)} at epoch {plain(result.best_epoch)}" if result else "so far"
        found.append((plain(last.valid_loss), "validation loss", remark))
    first = motions[0] if motions else None
    lr, momentum = _peak(record)
    found.append((plain(lr), "learning rate α", "at its highest"))
    found.append((plain(momentum), "momentum β", "at its start"))
    found.append((plain(first.batch_size if first else result.batch_size if result else None), "batch size B", "at the start"))
    steps = result.steps if result else max((entry.step for entry in (*motions[-1:], *epochs[-1:])), default=None)
    found.append((plain(steps), "steps", f"{plain(result.epochs)} epochs" if result else f"of {plain(header.epochs)} epochs"))
    seconds = result.seconds if result else last_epoch.seconds if last_epoch else 0.0
    if seconds > 0:
        found.append((duration(seconds), "time", "choosing and training" if result else "so far"))
    return found


def _peak(record: Record) -> tuple[float | None, float | None]:
    motions, result = record.of(Motion), record.result
    if motions:
        return max(motion.lr for motion in motions), motions[0].momentum
    return (result.lr, result.momentum) if result else (None, None)


def facts(header: Header) -> list[tuple[str, str]]:
    """What ran, on what, from which seed."""
    found = [
        ("seed", str(header.seed) if abs(header.seed) < 10**20 else plain(header.seed)),
        ("parameters", plain(header.parameters)),
        ("training samples", plain(header.train_samples)),
        ("validation samples", plain(header.valid_samples)),
        ("device", header.device),
        ("threads", plain(header.threads)),
    ]
    if header.ensemble is not None:
        ensemble = header.ensemble
        found += [("simulated system", ensemble.system), ("integrator", ensemble.integrator), ("paths", plain(ensemble.paths)),
                  ("dimension", plain(ensemble.dimension))]  # fmt: skip
    if header.started:
        found.append(("started", header.started))
    return found
