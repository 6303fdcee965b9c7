"""The numbers of a run that people look for first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.records import Choice, Epoch, Motion
from thetadot.report import words
from thetadot.report.numerals import duration, plain

if TYPE_CHECKING:
    from thetadot.records import Header, Record

SETTINGS = (("lr", "learning rate α"), ("momentum", "momentum β"), ("batch_size", "batch size B"))
SOURCES = {"measured": "measured", "tried": "tried out", "rule": "by a rule", "given": "given by hand"}

Tile = tuple[str, str, str]
"""Value, label, remark."""


def tiles(record: Record) -> list[Tile]:
    """Key numbers, from the result or, while there is none, from the last entries."""
    header, result = record.header, record.result
    epochs = record.of(Epoch)
    last_epoch = epochs[-1] if epochs else None
    last = result or last_epoch
    found: list[Tile] = []
    if last is not None and last.metric is not None:
        found.append((words.metric(header.metric, last.metric), header.metric or "metric", "on the validation set"))
    if last is not None:
        remark = f"best {plain(result.best_valid_loss)} at epoch {plain(result.best_epoch)}" if result else "so far"
        found.append((plain(last.valid_loss), "validation loss", remark))
    found += [_setting(record, *names) for names in SETTINGS]
    steps = result.steps if result else words.last_step(record)
    found.append(
        (plain(steps), "steps", f"{plain(result.epochs)} epochs" if result else f"of {plain(header.epochs)} epochs")
    )
    seconds = result.seconds if result else last_epoch.seconds if last_epoch else 0.0
    if seconds > 0:
        found.append((duration(seconds), "time", "choosing and training" if result else "so far"))
    return found


def _setting(record: Record, name: str, label: str) -> Tile:
    """What was chosen; else what the result says; else what the first step used."""
    for choice in reversed(record.of(Choice)):
        if choice.setting == name and not isinstance(choice.value, str):
            return plain(choice.value), label, SOURCES[choice.source]
    used = record.result or next(iter(record.of(Motion)), None)
    return plain(getattr(used, name, None)), label, "as used"


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
        found += [("simulated system", ensemble.system), ("integrator", ensemble.integrator)]
        found += [("paths", plain(ensemble.paths)), ("dimension", plain(ensemble.dimension))]
    if header.started:
        found.append(("started", header.started))
    return found
