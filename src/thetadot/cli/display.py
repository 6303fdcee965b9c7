"""Live progress and the summary, in a terminal or in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from thetadot.cli.terminal import console
from thetadot.records import Choice, Curvature, Epoch, Header, Motion, Noise, Rollback, Trial
from thetadot.verdicts import headline, judge

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from thetadot.records import Entry, Record


__all__ = ["Display", "console", "summary"]


class Display:
    """Shows entries as they are written: a bar for the epochs, a line for what was decided."""

    def __init__(self, out: Console, folder: Path) -> None:
        self.out = out
        self.folder = folder
        self.header: Header | None = None
        self.trials = 0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=out,
            transient=True,
            disable=not out.is_terminal,
        )
        self.line = self.bar.add_task("measuring", total=None, said="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, entry: Entry) -> None:
        """Show one entry of the record."""
        match entry:
            case Header():
                self.header = entry
                size = f"{entry.train_samples:,} + {entry.valid_samples:,} samples, {entry.parameters:,} parameters"
                self.out.print(
                    f"[bold]{escape(entry.task)}[/bold]: {size}, {entry.epochs} epochs, "
                    f"seed {entry.seed} -> {escape(str(self.folder))}"
                )
            case Curvature() if entry.when != "training":
                most = "" if entry.high is None else f" to {entry.high:.3g}"
                self.out.print(f"  {entry.when}: largest curvature {entry.sharpness:.3g}{most}")
            case Noise() if entry.when != "training":
                least = "" if entry.resolved else "at least "
                self.out.print(
                    f"  {entry.when}: gradient noise equals the gradient in batches of {least}{entry.noise_scale:.3g}"
                )
            case Trial():
                self.trials += 1
                score = "diverged" if entry.score is None else f"held-back loss {entry.score:.4g}"
                self.bar.update(self.line, description="trials", said=f"{entry.optimizer} lr {entry.lr:.3g}: {score}")
            case Choice():
                value = f"{entry.value:.4g}" if isinstance(entry.value, float) else str(entry.value)
                self.out.print(f"  [cyan]{escape(entry.setting)}[/cyan] {escape(value)}: {escape(entry.because)}")
            case Motion() if self.header is not None:
                self.bar.update(
                    self.line,
                    description="training",
                    total=self.header.epochs,
                    completed=entry.epoch,
                    said=f"loss {entry.loss:.4g}",
                )
            case Epoch() if self.header is not None:
                self._epoch(entry, self.header)
            case Rollback():
                self.out.print(
                    f"  step {entry.step}: {escape(entry.because)}; "
                    f"back to step {entry.back_to}, time step × {entry.lr_factor:g}"
                )
            case _:
                pass

    def _epoch(self, entry: Epoch, header: Header) -> None:
        score = "" if entry.metric is None else f", {header.metric} {entry.metric:.4f}"
        said = f"train {entry.train_loss:.4g}, valid {entry.valid_loss:.4g}{score}"
        self.bar.update(self.line, description="training", total=header.epochs, completed=entry.epoch, said=said)
        if not self.out.is_terminal and (entry.epoch % max(1, (header.epochs or 1) // 6) == 0):
            self.out.print(f"  epoch {entry.epoch}/{header.epochs}: {said}")


def summary(out: Console, record: Record, folder: Path) -> None:
    """Print the closing table."""
    result, header = record.result, record.header
    if result is None:
        return
    table = Table(title=f"{escape(header.task)}, seed {header.seed}", title_justify="left", show_header=False)
    table.add_column(style="cyan")
    table.add_column()
    table.add_row("in short", escape(headline(record, judge(record)).says))
    if result.metric is not None:
        table.add_row(f"validation {escape(header.metric or 'metric')}", f"{result.metric:.4f}")
    table.add_row(
        "validation loss",
        f"{result.valid_loss:.4g}  (lowest {result.best_valid_loss:.4g} after epoch {result.best_epoch})",
    )
    if result.test_loss is not None:
        score = "" if result.test_metric is None else f", {escape(header.metric or 'metric')} {result.test_metric:.4f}"
        table.add_row("test loss", f"{result.test_loss:.4g}{score}")
    table.add_row("training loss", f"{result.train_loss:.4g}")
    table.add_row(
        "optimizer",
        f"{result.optimizer}; first lr {result.lr:.3g}, momentum {result.momentum:g}, batch size {result.batch_size}",
    )
    overhead = result.cost / max(1, result.epochs * (header.train_samples or 0)) - 1
    rollbacks = record.of(Rollback)
    besides = "measuring and trials" + (" and rollbacks" if rollbacks else "")
    table.add_row(
        "steps, time",
        f"{result.steps:,} in {result.seconds:.1f} s; {besides} cost {overhead:.1%} of the gradients",
    )
    if rollbacks:
        table.add_row("rollbacks", f"{len(rollbacks)}; the time step was multiplied by {rollbacks[-1].lr_factor:.3g}")
    table.add_row("look at", escape(str(folder / "report.html")))
    out.print(table)
