"""The runs of a page: each with a name, and with colour and line style where there are several."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.errors import InadmissibleValue
from thetadot.records import Rollback
from thetadot.report.figures.picture import Key
from thetadot.report.names import clean
from thetadot.report.series import LARGEST, column
from thetadot.verdicts import headline, judge
from thetadot.verdicts.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from thetadot.records import Record
    from thetadot.report.figures.picture import Mark
    from thetadot.verdicts import Verdict

ROLES = ("blue", "orange", "green", "purple", "ink")
DASHES = ("solid", "dashed", "dotted", "dotdash")
MOST_RUNS = len(ROLES) * len(DASHES)
"""Five colours and four styles, both going round: so many pairs are different."""
LONGEST_NAME = 60
MOST_UNDONE = 20
"""Of many rollbacks, those that undid most break the lines of the pictures."""


@dataclass(frozen=True)
class RecordedRun:
    """A record on a page.

    Attributes:
        record: what was read.
        name: task and folder, unlike those of the other runs.
        index: its place among them.
        several: whether there are others, so that colours tell runs apart and not quantities.
    """

    record: Record
    name: str
    index: int = 0
    several: bool = False

    @cached_property
    def facts(self) -> Facts:
        """Facts that findings and pictures read from the record."""
        return Facts(self.record)

    @cached_property
    def undone(self) -> list[tuple[float, float]]:
        """Stretches of steps that rollbacks undid: the step that each went back to, and the one where it did."""
        rows = self.record.of(Rollback)
        ends = np.stack([column(rows, "back_to"), column(rows, "step")], axis=1) if len(rows) else np.zeros((0, 2))
        known = ends[(np.abs(ends) < LARGEST).all(axis=1) & (ends[:, 0] < ends[:, 1])]
        found: list[tuple[float, float]] = []
        for back, step in known[np.argsort(known[:, 0], kind="stable")].tolist():
            begin = found.pop() if found and back <= found[-1][1] else (back, step)
            found.append((begin[0], max(begin[1], step)))
        return sorted(found, key=lambda ends: ends[0] - ends[1])[:MOST_UNDONE]

    @cached_property
    def findings(self) -> dict[str, Verdict]:
        """The verdicts by name: the only judgements on this page."""
        return {verdict.name: verdict for verdict in judge(self.record)}

    @cached_property
    def headline(self) -> Verdict:
        """The verdicts in one sentence."""
        return headline(self.record, tuple(self.findings.values()))

    def finding(self, name: str) -> str:
        """The sentence of a verdict, as the caption of the picture that shows what it rests on."""
        return self.findings[name].says if name in self.findings else ""

    def role(self, alone: str) -> str:
        """The colour of something of this run; ``alone`` where it need not be told apart from other runs."""
        return ROLES[self.index % len(ROLES)] if self.several else alone

    def dash(self, alone: str = "solid") -> str:
        """The style of its lines."""
        return DASHES[self.index % len(DASHES)] if self.several else alone

    def key(self, mark: Mark, role: str, text: str) -> Key:
        """A line of a picture's key, without colour where that tells runs apart."""
        return Key(mark, "soft" if self.several else role, text)

    def own(self, renderer: Any, **tags: str) -> Any:
        """Mark a drawn thing as this run's, so that the page can hide the run."""
        if self.several or tags:
            renderer.tags = [{"run": self.index, **tags}]
        renderer.name = self.name
        return renderer


def line_up(records: Sequence[Record]) -> tuple[RecordedRun, ...]:
    """Runs in the order given.

    Raises:
        InadmissibleValue: none, or more than colours and styles can tell apart.
    """
    if not 1 <= len(records) <= MOST_RUNS:
        raise InadmissibleValue(
            f"{len(records)} runs are not between 1 and {MOST_RUNS}, as many as colours and line styles tell apart. "
            "Name fewer runs."
        )
    names = _distinct([_name(record) for record in records])
    return tuple(
        RecordedRun(record, name, index, several=len(records) > 1)
        for index, (record, name) in enumerate(zip(records, names, strict=True))
    )


def _name(record: Record) -> str:
    task = clean(record.header.task, LONGEST_NAME // 2)
    folder = clean(record.path.resolve().parent.name, LONGEST_NAME // 2) if record.path is not None else ""
    return " · ".join(part for part in dict.fromkeys((task, folder)) if part) or "a run"


def _distinct(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if names.count(name) == 1 else f"{name} ({seen[name]})")
    return found


def merged(keys: Iterable[Key]) -> tuple[Key, ...]:
    """Keys in order, each once."""
    return tuple(dict.fromkeys(keys))
