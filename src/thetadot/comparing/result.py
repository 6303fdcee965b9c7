"""What a comparison found: a row a run, a difference a pair, and one sentence."""

from __future__ import annotations

import html
import itertools
import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from thetadot.comparing.job import MEASURES, untested
from thetadot.comparing.paired import Difference, difference
from thetadot.comparing.words import cell_of_difference, sentence
from thetadot.core.formatting import count, plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from thetadot.comparing.compared_run import ComparedRun
    from thetadot.comparing.job import Measure

AS_GIVEN = "as given"
"""Settings of a row whose name says them."""


@dataclass(frozen=True)
class Comparison:
    """Runs that were compared at equal budgets on the same seeds.

    Attributes:
        task: its name.
        rows: in the order given; differences in tables are from the first.
        by: loss that is compared.
        epochs: passes over the data, that a budget is of.
        samples: of the training data.
        choosing: number of seeds that chose, apart from those that score.
        out: folder of the runs, the table and the page.
        measures: losses that there are, of those that ``by`` may name.
        command: that repeats it; "" where the task has no name that a command could find.
        constant: validation loss of the best constant output; None where there is none.
    """

    task: str
    rows: tuple[ComparedRun, ...]
    by: Measure
    epochs: int
    samples: int
    choosing: int
    out: Path
    measures: tuple[Measure, ...] = ("best", "final")
    command: str = ""
    constant: float | None = None

    @property
    def seeds(self) -> int:
        """Number of seeds that score."""
        return len(self.rows[0].outcomes)

    def differences(self, by: Measure | None = None) -> list[Difference]:
        """Return the difference of every pair of runs.

        Args:
            by: loss that is compared; that of the comparison if None.
        """
        measure = by or self.by
        return [
            difference(a.name, b.name, a.losses(measure), b.losses(measure))
            for a, b in itertools.combinations(self.rows, 2)
        ]

    def cost(self, row: ComparedRun) -> float:
        """Return the mean of a row's gradient evaluations, as a multiple of epochs × samples."""
        return statistics.fmean(outcome.spent for outcome in row.outcomes) / (self.epochs * self.samples)

    def against(self, a: ComparedRun, b: ComparedRun, by: Measure | None = None) -> Difference:
        """Return the difference of two rows, a minus b."""
        measure = by or self.by
        return difference(a.name, b.name, a.losses(measure), b.losses(measure))

    def remarks(self, row: ComparedRun) -> list[str]:
        """Return sentences on a row: on its choice, and whether a constant output would do better."""
        mean = row.mean("best")
        if self.constant is None or mean is None or mean < self.constant:
            return list(row.remarks)
        return [*row.remarks, f"It learned nothing: a constant output has a loss of {plain(self.constant, 4)}."]

    @cached_property
    def says(self) -> str:
        """Sentence on who is lowest, and what is resolved."""
        return sentence(self.rows, self.by, self.against)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, lists and dictionaries, as ``--json`` prints it."""
        return {
            "task": self.task,
            "epochs": self.epochs,
            "seeds": self.seeds,
            "choosing": self.choosing,
            "constant": self.constant,
            "by": self.by,
            "says": self.says,
            "runs": [self._row(row) for row in self.rows],
            "differences": {by: [_pair_fields(pair) for pair in self.differences(by)] for by in self.measures},
            "command": self.command,
            "out": str(self.out),
        }

    def _row(self, row: ComparedRun) -> dict[str, Any]:
        return {
            "name": row.name,
            "settings": row.point.label,
            "mean": {by: row.mean(by) for by in self.measures},
            "losses": {by: row.losses(by) for by in self.measures},
            "metric": {by: row.metric(by) for by in self.measures if untested(by) == by},
            "metric_name": row.outcomes[0].metric,
            "cost": self.cost(row),
            "diverged": [outcome.diverged or None for outcome in row.outcomes],
            "chosen": [outcome.settings for outcome in row.outcomes] if row.point.own else None,
            "tried": [{"settings": each.point.label, "mean": each.mean} for each in row.tried],
            "remarks": self.remarks(row),
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return the head and the cells of the table, as text."""
        metric = next((row.outcomes[0].metric for row in self.rows if row.outcomes[0].metric), None)
        head = (
            "run",
            "settings",
            "loss",
            *([metric] if metric else []),
            "minus the first (95%)",
            "ratio (95%)",
            "cost",
        )
        return head, [self._cells(row, metric) for row in self.rows]

    def _cells(self, row: ComparedRun, metric: str | None) -> tuple[str, ...]:
        mean = row.mean(self.by)
        lost = f"diverged on {row.diverged} of {len(row.outcomes)}" if row.diverged else "–"
        first = row is self.rows[0]
        apart, ratio = ("", "") if first else cell_of_difference(self.against(row, self.rows[0]))
        return (
            row.name,
            settings_in_words(row),
            plain(mean, 4) if mean is not None else lost,
            *([plain(row.metric(self.by), 4)] if metric else []),
            apart,
            ratio,
            f"{self.cost(row):.3g}",
        )

    def text(self) -> str:
        """Return the table as text that fits into 80 columns: numbers, and under them whose they are."""
        head, cells = self.table()
        widths = [max(len(line[at]) for line in [head, *cells]) for at in range(2, len(head))]
        lines = [
            f"{self.task}: {MEASURES[self.by]}; {count(self.epochs, 'epoch')}, {count(self.seeds, 'seed')}",
            "  ".join(name.ljust(width) for name, width in zip(head[2:], widths, strict=True)),
        ]
        for name, settings, *numbers in cells:
            lines.append("  ".join(text.ljust(width) for text, width in zip(numbers, widths, strict=True)))
            lines.append(f"    {name}" + ("" if settings in ("", AS_GIVEN) else f"  ->  {settings}"))
        return "\n".join(line.rstrip() for line in lines)

    def __repr__(self) -> str:
        return f"{self.text()}\n{self.says}"

    def _repr_html_(self) -> str:
        head, cells = self.table()
        top = "".join(f"<th>{html.escape(text)}</th>" for text in head)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in line) + "</tr>" for line in cells)
        return f"<p>{html.escape(self.says)}</p><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def settings_in_words(row: ComparedRun) -> str:
    """Settings of a row in words: those chosen from a grid, or by thetadot's run on each seed.

    Of numbers that differ from seed to seed the least and the largest are given.
    """
    if not row.point.own:
        return row.point.label if row.tried else AS_GIVEN
    chosen = [outcome.settings for outcome in row.outcomes if outcome.settings]
    return ", ".join(
        f"{name} {_range_in_words([one[name] for one in chosen])}" for name in (chosen[0] if chosen else ())
    )


def _range_in_words(values: Sequence[Any]) -> str:
    if any(isinstance(value, str) for value in values):
        return " or ".join(sorted({str(value) for value in values}))
    low, high = min(values), max(values)
    return plain(low) if low == high else f"{plain(low)} to {plain(high)}"


def _pair_fields(pair: Difference) -> dict[str, Any]:
    return {
        "a": pair.a,
        "b": pair.b,
        "mean": pair.mean,
        "half": pair.half,
        "ratio": pair.ratio,
        "ratio_low": pair.ratio_low,
        "ratio_high": pair.ratio_high,
        "seeds": pair.seeds,
        "resolved": pair.resolved,
        "needed": pair.needed,
    }
