"""The numbers of a run that people look for first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.core.formatting import duration, plain, share
from thetadot.records import Choice, End, Epoch, Motion
from thetadot.report import words
from thetadot.verdicts.headline import loss_ends

if TYPE_CHECKING:
    from thetadot.records import Header, Record, Result
    from thetadot.report.series import Array

SETTINGS = (("lr", "learning rate α"), ("momentum", "momentum β"), ("batch_size", "batch size B"))
SOURCES = {"measured": "measured", "tried": "tried out", "rule": "by a rule", "given": "given by hand"}

Tile = tuple[str, str, str]
"""Value, label, remark."""


def tiles(record: Record) -> list[Tile]:
    """Key numbers, from the result or, while there is none, from the last entries."""
    header, result = record.header, record.result
    if header.watched is not None:
        return _watched_tiles(record)
    epochs = record.of(Epoch)
    last_epoch = epochs[-1] if epochs else None
    last = result or last_epoch
    found: list[Tile] = []
    if last is not None and last.metric is not None:
        label = f"validation {header.metric or 'metric'}"
        found.append((words.metric_as_text(header.metric, last.metric), label, _whose(result, "")))
    if last is not None:
        final = "" if result is None or result.final_valid_loss is None else plain(result.final_valid_loss)
        found.append((plain(last.valid_loss), "validation loss", _whose(result, final)))
    found += [_setting(record, *names) for names in SETTINGS]
    steps = result.steps if result else words.last_step(record)
    found.append(
        (
            plain(steps),
            "steps",
            f"{plain(result.epochs)} epochs; {plain(round(result.cost))} gradient evaluations"
            if result
            else f"of {plain(record.epochs)} epochs",
        )
    )
    seconds = result.seconds if result else last_epoch.seconds if last_epoch else 0.0
    if seconds > 0:
        found.append((duration(seconds), "time", "measuring included" if result else "so far"))
    return [tile for tile in found if tile[0] != plain(None)]


def _whose(result: Result | None, final: str) -> str:
    """Which state a loss or metric is of; with the loss of the last state where it is another."""
    if result is None:
        return "so far"
    said = words.state(result).rstrip(",").removeprefix("The ")
    return f"{said}; at the end {final}" if final not in ("", plain(result.valid_loss)) else said


def _watched_tiles(record: Record) -> list[Tile]:
    """Return a watched loop's tiles: its state, its settings, and the cost of watching."""
    motions = record.of(Motion)
    last = motions[-1] if motions else None
    way = loss_ends(record)
    found: list[Tile] = []
    if way is not None:
        found.append((plain(way[1]), "training loss", "mean over the last tenth"))
    found.append((plain(words.last_step(record)), "steps", "watched"))
    if last is not None:
        found += [
            (plain(getattr(last, name)), label, _when(motions.column(name)))
            for name, label in SETTINGS
            if getattr(last, name) is not None
        ]
    ends = record.of(End)
    if ends and ends[-1].work > 0:
        found.append((share(ends[-1].extra / ends[-1].work), "of the gradient work", "went into measuring"))
    if ends and ends[-1].seconds > 0:
        found.append((duration(ends[-1].seconds), "time", "watched"))
    return found


def _when(values: Array) -> str:
    """Say that a setting stayed, or between which values it was."""
    known = values[np.isfinite(values)]
    if not len(known) or (known == known[-1]).all():
        return "all along"
    return f"at the last step; {plain(float(known.min()))} to {plain(float(known.max()))} in all"


def _setting(record: Record, name: str, label: str) -> Tile:
    """Return the tile of a setting as chosen, else from the result, else from the first step."""
    for choice in reversed(record.of(Choice)):
        if choice.setting == name and not isinstance(choice.value, str):
            return plain(choice.value), label, SOURCES[choice.source]
    used = record.result or next(iter(record.of(Motion)), None)
    return plain(getattr(used, name, None)), label, "as used"


def facts(header: Header) -> list[tuple[str, str]]:
    """List the run's optimizer, seed, sizes, device and threads."""
    watched = header.watched
    found = [
        *([("optimizer", watched.optimizer)] if watched is not None else []),
        ("seed", str(header.seed) if abs(header.seed) < 10**20 else plain(header.seed)),
        ("parameters", plain(header.parameters)),
        ("training samples", plain(header.train_samples)),
        ("validation samples", plain(header.valid_samples)),
        ("device", header.device),
        ("threads", plain(header.threads)),
    ]
    if watched is not None:
        samples = f"{plain(watched.reference_samples)} samples"
        told = not watched.reference_samples or samples in watched.reference
        found += [
            ("reference batch", f"{watched.reference or 'none'}{'' if told else f' ({samples})'}"),
            ("level of measuring", watched.level),
            ("ranks", plain(watched.ranks)),
        ]
        found = [(name, value) for name, value in found if value != "–"]
    if header.started:
        found.append(("started", header.started))
    return found
