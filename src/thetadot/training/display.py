"""Live progress and the summary, in a terminal or in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from thetadot.records import (
    Choice,
    Constant,
    Curvature,
    Epoch,
    Extension,
    Fork,
    Header,
    Motion,
    Noise,
    Remark,
    Rollback,
)
from thetadot.verdicts import headline, judge

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from thetadot.records import Entry, Record, Result


class Display:
    """Shows entries as they are written: a bar for the epochs, a line for what was decided."""

    def __init__(self, out: Console, folder: Path) -> None:
        self.out = out
        self.folder = folder
        self.header: Header | None = None
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
            case _:
                said = _said(entry)
                if said:
                    self.out.print(f"  {said}")

    def _epoch(self, entry: Epoch, header: Header) -> None:
        score = "" if entry.metric is None else f", {header.metric} {entry.metric:.4f}"
        whose = " (running mean)" if entry.mean else ""
        said = f"train {entry.train_loss:.4g}, valid {entry.valid_loss:.4g}{score}{whose}"
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
    mean = ", of the running mean of the parameters" if result.mean else ""
    table.add_row(
        "validation loss",
        f"{result.valid_loss:.4g} after epoch {result.best_epoch}{mean}, which is returned{_last(result)}",
    )
    if not result.learned:
        table.add_row(
            "[red]nothing learned[/red]",
            f"a constant output has {result.constant_loss:.4g}: the model is worse than one that reads no input",
        )
    if result.test_loss is not None:
        score = "" if result.test_metric is None else f", {escape(header.metric or 'metric')} {result.test_metric:.4f}"
        table.add_row("test loss", f"{result.test_loss:.4g}{score}")
    table.add_row("training loss", f"{result.train_loss:.4g} over the last epoch")
    table.add_row(
        "optimizer",
        f"{result.optimizer}; first lr {result.lr:.3g}, momentum {result.momentum:g}, batch size {result.batch_size}",
    )
    overhead = result.cost / max(1, result.epochs * (header.train_samples or 0)) - 1
    rollbacks = record.of(Rollback)
    besides = "forks and measuring"
    table.add_row(
        "steps, time",
        f"{result.steps:,} in {result.seconds:.1f} s; {besides} cost {overhead:.1%} of the gradients",
    )
    if rollbacks:
        table.add_row(
            "rollbacks",
            f"{len(rollbacks)}; lr was {rollbacks[-1].lr_factor:.3g} times the first one after the last of them",
        )
    table.add_row("look at", escape(str(folder / "report.html")))
    out.print(table)


def _last(result: Result) -> str:
    """The loss of the last state, where it is another."""
    last = result.final_valid_loss
    return "" if last is None or last == result.valid_loss else f" (the last state: {last:.4g})"


def _said(entry: Entry) -> str:
    """The line of an entry that was measured or decided; "" for others."""
    said = ""
    match entry:
        case Curvature() if entry.when != "training":
            most = "" if entry.high is None else f" to {entry.high:.3g}"
            said = f"{entry.when}: largest curvature {entry.sharpness:.3g}{most}"
        case Noise() if entry.when != "training":
            least = "" if entry.resolved else "at least "
            said = f"{entry.when}: gradient noise equals the gradient in batches of {least}{entry.noise_scale:.3g}"
        case Constant():
            said = f"{escape(entry.says)} alone: validation loss {entry.valid_loss:.4g}"
        case Remark():
            said = f"[yellow]{escape(entry.about)}[/yellow]: {escape(entry.says)}"
        case Fork():
            what = "fork" if entry.method == "branch" else "drift"
            said = f"step {entry.step}, {what}: {escape(entry.because)}"
        case Choice():
            value = f"{entry.value:.4g}" if isinstance(entry.value, float) else str(entry.value)
            said = f"[cyan]{escape(entry.setting)}[/cyan] {escape(value)}: {escape(entry.because)}"
        case Extension():
            said = f"[cyan]extended[/cyan] by {entry.epochs} epochs: {escape(entry.because)}"
        case Rollback():
            back = f"back to the state of step {entry.back_to}, rate × {entry.lr_factor:.3g}"
            said = f"step {entry.step}: {escape(entry.because)}; {back}"
        case _:
            pass
    return said
