"""Several runs on one page: what to say first, a row a run, and differences where seeds repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.formatting import between, plain
from thetadot.records import Epoch
from thetadot.report import words
from thetadot.report.judgement import STATES
from thetadot.verdicts.comparison import compare_headlines, groups, scored
from thetadot.verdicts.headline import to_do

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.report.runs import RecordedRun
    from thetadot.verdicts import Verdict
    from thetadot.verdicts.comparison import Group, Scored


@dataclass(frozen=True)
class Cell:
    """A cell of the table: what it says, and the number or text that it is sorted by."""

    says: str
    sorts: str


@dataclass(frozen=True)
class RunRow:
    """A run: its settings, losses, metric and what to do."""

    run: RecordedRun
    settings: Cell
    loss: Cell
    metric: Cell
    icon: str
    state: str
    advice: Cell


@dataclass(frozen=True)
class RunDifference:
    """Runs of the same settings: how many, their mean loss, and how far it is above the lowest."""

    name: str
    seeds: str
    mean: str
    difference: str
    resolved: str


@dataclass(frozen=True)
class RunComparison:
    """First words and table of a page of several runs.

    Attributes:
        headline: of all runs.
        rows: of the table.
        judged: which loss the table shows.
        metric: name of the metric; "" where no run has one.
        differences: where seeds repeat; () else.
    """

    headline: Verdict
    rows: tuple[RunRow, ...]
    judged: str
    metric: str
    differences: tuple[RunDifference, ...]


def compared(runs: Sequence[RecordedRun]) -> RunComparison:
    """Compare the runs of a page."""
    found = [scored(run.name, run.facts) for run in runs]
    grouped = groups(found)
    names = dict.fromkeys(run.record.header.metric for run in runs if run.record.header.metric)
    repeated = any(len(group.runs) > 1 for group in grouped)
    return RunComparison(
        headline=compare_headlines({run.name: run.headline for run in runs}, grouped),
        rows=tuple(_table_row(run, each) for run, each in zip(runs, found, strict=True)),
        judged=" or ".join(dict.fromkeys(each.judged for each in found if each.loss is not None)),
        metric=" / ".join(names),
        differences=tuple(_group_difference(group) for group in grouped) if repeated else (),
    )


def _table_row(run: RecordedRun, found: Scored) -> RunRow:
    state = run.headline.state
    metric = _metric(run)
    said = to_do(run.findings["advice"]) if "advice" in run.findings else "not known"
    return RunRow(
        run,
        Cell(_settings(run), _settings(run)),
        Cell(plain(found.loss), _sortable(found.loss)),
        Cell(words.metric_as_text(run.record.header.metric, metric), _sortable(metric)),
        STATES[state][0],
        state,
        Cell(said, f"{list(STATES).index(state)} {said}"),
    )


def _sortable(value: float | None) -> str:
    return "" if value is None else repr(float(value)) if abs(value) < 1e300 else ""


def _metric(run: RecordedRun) -> float | None:
    result, epochs = run.record.result, run.record.of(Epoch)
    return result.metric if result is not None else epochs[-1].metric if epochs else None


def _settings(run: RecordedRun) -> str:
    """Optimizer, and the settings of the operating point."""
    facts, point = run.facts, run.facts.point
    parts = [facts.optimizer]
    result = run.record.result
    lr, momentum = (result.lr, result.momentum) if result is not None else (None, None)
    if result is None and point is not None:
        lr, momentum = point.settings.lr, point.settings.momentum
    numbers = (("lr", lr), ("momentum", momentum), ("batch", facts.batch))
    parts += [f"{name} {plain(value)}" for name, value in numbers if value is not None]
    return ", ".join(part for part in (*parts, f"seed {_seed(run)}") if part)


def _seed(run: RecordedRun) -> str:
    seed = run.record.header.seed
    return str(seed) if abs(seed) < 10**20 else plain(seed)


def _group_difference(group: Group) -> RunDifference:
    half = "" if group.half is None else f" ± {plain(group.half, 2)}"
    if group.difference is None:
        above, resolved = "the lowest", "–"
    else:
        above = f"+{plain(group.difference)}{between(group.low, group.high)}"
        resolved = "no interval of one seed" if group.low is None else "yes" if group.resolved else "no"
    return RunDifference(group.name, plain(len(group.runs)), f"{plain(group.mean)}{half}", above, resolved)
