"""Summary of one run beside its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.formatting import plain
from thetadot.records import Choice, Extension, Remark, Rollback, Setting
from thetadot.report import words
from thetadot.report.judgement import judged, reason
from thetadot.report.names import clean
from thetadot.report.repeat import command
from thetadot.report.tiles import SOURCES, Tile, facts, tiles

if TYPE_CHECKING:
    from thetadot.records import Record
    from thetadot.report.runs import RecordedRun
    from thetadot.verdicts import Verdict

MOST_DAMAGE = 20
MOST_ROWS = 200
MOST_GROUPS = 20


@dataclass(frozen=True)
class Summary:
    """Sentences, tables and numbers of a run, in the order of the page."""

    run: RecordedRun
    sentence: str
    tiles: list[Tile]
    facts: list[tuple[str, str]]
    verdicts: list[tuple[str, str, str, Verdict]]
    unknown: list[tuple[str, str]]
    choices: list[tuple[str, str, str, str, str]]
    rollbacks: list[tuple[str, str, str, str]]
    groups: list[tuple[str, str, str, str]]
    lacks: list[tuple[str, str]]
    events: list[tuple[str, str, str]]
    damage: tuple[str, ...]
    more_damage: int
    command: str
    given: list[str]
    software: list[tuple[str, str]]
    quantities: list[tuple[str, tuple[str, str]]]


def summarize(run: RecordedRun) -> Summary:
    """Summarize a run; what the record lacks is empty."""
    record, header = run.record, run.record.header
    return Summary(
        run=run,
        sentence=words.run_in_a_sentence(record),
        tiles=tiles(record),
        facts=facts(header),
        verdicts=[each for each in judged(run) if each[-1].state != "unknown"],
        unknown=[(question, reason(verdict)) for *_, question, verdict in judged(run) if verdict.state == "unknown"],
        choices=_choices(record),
        rollbacks=[_rollback(entry) for entry in record.of(Rollback)[:MOST_ROWS]],
        groups=[_group_cells(entry) for entry in record.of(Setting)[:MOST_GROUPS]],
        lacks=_lacks(record),
        events=[(plain(entry.step), entry.about, entry.says) for entry in record.of(Remark) if entry.alarm][:MOST_ROWS],
        damage=record.damage[:MOST_DAMAGE],
        more_damage=max(len(record.damage) - MOST_DAMAGE, 0),
        command=command(record),
        given=list(dict.fromkeys(c.setting for c in record.of(Choice) if c.source == "given"))[:MOST_ROWS],
        software=list(header.software.items())[:MOST_ROWS],
        quantities=list(header.quantities.items())[:MOST_ROWS],
    )


def why_unseen(run: RecordedRun) -> str:
    """Say why no loss of a run was seen, and what would show it."""
    said = next((entry.says for entry in run.record.of(Remark) if entry.about == "training loss"), "")
    return f"No loss was seen: {said or 'none is in the record'}."


def _lacks(record: Record) -> list[tuple[str, str]]:
    """What could not be read, and remarks on it, each once."""
    watched = record.header.watched
    found = {} if watched is None else dict(watched.lacks)
    for entry in record.of(Remark):
        if not entry.alarm:
            found.setdefault(entry.about, entry.says)
    return list(found.items())[:MOST_ROWS]


def _choices(record: Record) -> list[tuple[str, str, str, str, str]]:
    """Settings, and the plans by which the run was extended."""
    found = [(c.setting, _value(c), c.because, c.source, SOURCES[c.source]) for c in record.of(Choice)[:MOST_ROWS]]
    later = [
        (f"extended at epoch {plain(e.epoch)}", f"by {plain(e.epochs)}", e.because, "given", SOURCES["given"])
        for e in record.of(Extension)[:MOST_ROWS]
    ]
    return [*found, *later]


def _value(choice: Choice) -> str:
    return choice.value if isinstance(choice.value, str) else plain(choice.value)


def _rollback(entry: Rollback) -> tuple[str, str, str, str]:
    return plain(entry.step), plain(entry.back_to), plain(entry.lr_factor), entry.because


def _group_cells(entry: Setting) -> tuple[str, str, str, str]:
    values = []
    for name, value in list(entry.values.items())[:MOST_ROWS]:
        if value is None:  # torch's own choice
            continue
        plainly = value if isinstance(value, str) else str(value) if isinstance(value, bool) else plain(value)
        values.append(f"{clean(name, 40)} {clean(plainly, 60)}")
    return plain(entry.group), plain(entry.step), plain(entry.parameters), ", ".join(values)
