"""The page of a comparison: one sentence, the table, the curves, and what is resolved; self-contained."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from thetadot.comparing.job import MEASURES
from thetadot.comparing.pictures import MOST_CURVES, comparison_pictures, mark, role
from thetadot.comparing.result import AS_GIVEN
from thetadot.comparing.words import about, cell_of_difference, resolution_of
from thetadot.core.formatting import count, plain
from thetadot.report.shell import compose

if TYPE_CHECKING:
    from thetadot.comparing.compared_run import ComparedRun
    from thetadot.comparing.result import Comparison

MOST_PAIRS = 200


def comparison_page(comparison: Comparison) -> str:
    """Return the page as HTML text."""
    drawn = comparison_pictures(comparison)
    pairs = comparison.differences()
    template = (files("thetadot.comparing") / "comparison.html.jinja").read_text(encoding="utf-8")
    head, cells = comparison.table()
    return compose(
        template,
        drawn,
        title=f"{comparison.task}: {count(len(comparison.rows), 'run')} compared",
        verdict=comparison.says,
        state=_state(comparison),
        head=head,
        lines=[
            _table_line(comparison, index, row, line)
            for index, (row, line) in enumerate(zip(comparison.rows, cells, strict=True))
        ],
        pairs=[
            (pair.a, pair.b, *cell_of_difference(pair), resolution_of(pair), pair.resolved)
            for pair in pairs[:MOST_PAIRS]
        ],
        more_pairs=max(0, len(pairs) - MOST_PAIRS),
        measures=[(MEASURES[by], _by(comparison, by)) for by in comparison.measures if by != comparison.by],
        grids=[row for row in comparison.rows if row.tried],
        plain=plain,
        seeds=comparison.seeds,
        returned=any(by.startswith("returned") for by in comparison.measures),
        facts=_facts(comparison),
        command=comparison.command,
        pictures=drawn,
        several=False,
        runs=(),
    )


def _state(comparison: Comparison) -> str:
    """Colour of the sentence: green where all differences from the lowest are resolved, red where nothing stands."""
    standing = [row for row in comparison.rows if row.mean(comparison.by) is not None]
    if not standing:
        return "diverged"
    best = min(standing, key=lambda row: row.mean(comparison.by) or 0.0)
    clear = all(comparison.against(best, row).resolved for row in standing if row is not best)
    return "finished" if clear and not any(row.diverged for row in comparison.rows) else "unfinished"


def _table_line(comparison: Comparison, index: int, row: ComparedRun, cells: tuple[str, ...]) -> dict[str, Any]:
    head, _ = comparison.table()
    return {
        "index": index,
        "name": row.name,
        "role": role(index),
        "mark": mark(index),
        "drawn": index < MOST_CURVES,
        "settings": "" if cells[1] == AS_GIVEN else cells[1],
        "cells": list(zip(head[2:], cells[2:], strict=True)),
        "remarks": [*comparison.remarks(row), *([f"It diverged: {about(row)}."] if row.diverged else [])],
    }


def _by(comparison: Comparison, by: Any) -> list[tuple[str, str, str, str]]:
    """Rows of the table by another loss: name, mean, difference, ratio."""
    first = comparison.rows[0]
    return [
        (
            row.name,
            plain(row.mean(by), 4),
            *(("", "") if row is first else cell_of_difference(comparison.against(row, first, by))),
        )
        for row in comparison.rows
    ]


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    found = [
        ("compared by", MEASURES[comparison.by]),
        ("budget", f"{plain(comparison.epochs)} passes over {plain(comparison.samples)} samples"),
        ("seeds that score", _seeds(comparison)),
    ]
    if comparison.choosing:
        found.append(("seeds that chose", plain(comparison.choosing)))
    if comparison.constant is not None:
        found.append(("validation loss of the best constant output", plain(comparison.constant, 4)))
    return found


def _seeds(comparison: Comparison) -> str:
    seeds = [outcome.seed for outcome in comparison.rows[0].outcomes]
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
