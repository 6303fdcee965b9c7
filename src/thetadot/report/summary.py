"""Summary of one run beside its pictures."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.formatting import plain
from thetadot.records import Choice, Rollback, Setting
from thetadot.report import words
from thetadot.report.judgement import judged
from thetadot.report.names import clean
from thetadot.report.tiles import SOURCES, Tile, facts, tiles

if TYPE_CHECKING:
    from thetadot.records import Record
    from thetadot.report.runs import Run
    from thetadot.verdicts import Verdict

MOST_DAMAGE = 20
MOST_ROWS = 200
MOST_GROUPS = 20
OPTIONS = (
    "epochs", "minutes", "seed", "optimizer", "lr", "momentum", "batch_size", "annealing", "device", "threads",
    "workers",
)  # fmt: skip
"""Of ``thetadot run``, in the order in which a page says them."""


@dataclass(frozen=True)
class Summary:
    """Sentences, tables and numbers of a run, in the order of the page."""

    run: Run
    sentence: str
    state: str
    tiles: list[Tile]
    facts: list[tuple[str, str]]
    verdicts: list[tuple[str, str, str, Verdict]]
    choices: list[tuple[str, str, str, str, str]]
    rollbacks: list[tuple[str, str, str, str]]
    groups: list[tuple[str, str, str, str]]
    lacks: list[tuple[str, str]]
    damage: tuple[str, ...]
    more_damage: int
    command: str
    given: list[str]
    software: list[tuple[str, str]]
    quantities: list[tuple[str, tuple[str, str]]]


def summarize(run: Run) -> Summary:
    """Summarize a run; what the record lacks is empty."""
    record, header = run.record, run.record.header
    watched = header.watched
    return Summary(
        run=run,
        sentence=words.verdict(record),
        state=_state(record),
        tiles=tiles(record),
        facts=facts(header),
        verdicts=judged(run),
        choices=[
            (choice.setting, _value(choice), choice.because, choice.source, SOURCES[choice.source])
            for choice in record.of(Choice)[:MOST_ROWS]
        ],
        rollbacks=[_rollback(entry) for entry in record.of(Rollback)[:MOST_ROWS]],
        groups=[_group(entry) for entry in record.of(Setting)[:MOST_GROUPS]],
        lacks=[] if watched is None else list(watched.lacks.items())[:MOST_ROWS],
        damage=record.damage[:MOST_DAMAGE],
        more_damage=max(len(record.damage) - MOST_DAMAGE, 0),
        command="" if watched is not None else _command(record),
        given=list(dict.fromkeys(c.setting for c in record.of(Choice) if c.source == "given"))[:MOST_ROWS],
        software=list(header.software.items())[:MOST_ROWS],
        quantities=list(header.quantities.items())[:MOST_ROWS],
    )


def _state(record: Record) -> str:
    if record.result is not None:
        return "diverged" if record.result.diverged else "finished"
    return words.ending(record) if record.header.watched is not None else "unfinished"


def _command(record: Record) -> str:
    header = record.header
    seed = header.seed if abs(header.seed) < 10**20 else "…"
    said = {"seed": str(seed)}
    if header.epochs is not None:
        said["epochs"] = str(header.epochs)
    if header.device != "cpu":
        said["device"] = header.device
    for choice in record.of(Choice):
        if choice.source == "given":
            said[choice.setting] = choice.value if isinstance(choice.value, str) else f"{choice.value!r}"
    said |= header.asked
    options = (f"--{name.replace('_', '-')} {shlex.quote(clean(said[name], 80))}" for name in OPTIONS if name in said)
    return " ".join([f"thetadot run {shlex.quote(clean(header.task))}", *options])


def _value(choice: Choice) -> str:
    return choice.value if isinstance(choice.value, str) else plain(choice.value)


def _rollback(entry: Rollback) -> tuple[str, str, str, str]:
    return plain(entry.step), plain(entry.back_to), plain(entry.lr_factor), entry.because


def _group(entry: Setting) -> tuple[str, str, str, str]:
    values = []
    for name, value in list(entry.values.items())[:MOST_ROWS]:
        plainly = value if isinstance(value, str) else str(value) if isinstance(value, bool) else plain(value)
        values.append(f"{clean(name, 40)} {clean(plainly, 60)}")
    return plain(entry.group), plain(entry.step), plain(entry.parameters), ", ".join(values)
