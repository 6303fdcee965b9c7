"""Progress of a comparison on stderr: a bar in a terminal, a line a tenth elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from thetadot.core.formatting import plain
from thetadot.core.terminal import console, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from thetadot.comparing.job import ComparisonJob, Outcome

_LINES = 10


@dataclass(frozen=True)
class ShownStep:
    """A run that has ended.

    Attributes:
        job: what was asked for.
        outcome: what came of it.
        kept: whether it was found in the folder.
    """

    job: ComparisonJob
    outcome: Outcome
    kept: bool = False


@contextmanager
def shown(task: str, total: int, folder: Path, *, wanted: bool | None) -> Iterator[Callable[[ShownStep], None]]:
    """Within, every run that has ended is shown.

    Args:
        task: its name.
        total: number of runs.
        folder: of the comparison.
        wanted: None: in a terminal or a notebook.
    """
    out = console(sys.stderr)
    if not (watched() if wanted is None else wanted):
        yield lambda _: None
        return
    out.print(f"[bold]{escape(task)}[/bold]: {total:,} runs -> {escape(str(folder))}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    done = found = 0
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        line = bar.add_task("runs", total=total, said="")

        def say(step: ShownStep) -> None:
            nonlocal done, found
            done, found = done + 1, found + step.kept
            said = f"{step.outcome.label}, seed {step.outcome.seed}: {_came_to(step.outcome)}"
            bar.update(line, completed=done, said=escape(said))
            if not out.is_terminal and (done * _LINES // total > (done - 1) * _LINES // total):
                out.print(escape(f"  {done:,} of {total:,}: {said}"))

        yield say
    if found:
        out.print(f"  {found:,} of {total:,} runs were there already")


def _came_to(outcome: Outcome) -> str:
    return "diverged" if outcome.diverged else f"loss {plain(outcome.best)}"
