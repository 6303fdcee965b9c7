"""``thetadot convert``: one setting changed; what the other two should become, by which invariant."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from thetadot.errors import ThetadotError, require

if TYPE_CHECKING:
    import argparse

NAME = "convert"
HELP = "Read lr, momentum and batch size as mechanics, and say what two of them become when one changes."
EPILOG = """examples:
  thetadot convert --lr 0.1 --momentum 0.9 --batch-size 128 --to-lr 0.01
  thetadot convert --lr 0.1 --momentum 0.9 --batch-size 128 --to-batch-size 1024 --sharpness 12

One equation does not fix two settings: each row keeps another pair of invariants. With --sharpness,
rows whose step is above the stability limit are vetoed. Temperatures are those of batches drawn independently; with
--dataset-size, rows that do not keep them along flat directions of shuffled epochs say so."""


@dataclass(frozen=True)
class Row:
    """Settings that keep some invariants, and what they do to the others, as factors."""

    keeps: str
    lr: float
    momentum: float
    batch_size: float
    step: float
    friction: float
    temperature_factor: float
    verdict: str = ""
    recommended: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("--lr", type=float, required=True, help="present learning rate")
    parser.add_argument("--momentum", type=float, required=True, help="present momentum")
    parser.add_argument("--batch-size", type=float, required=True, metavar="B", help="present batch size")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--to-lr", type=float, metavar="LR", help="new learning rate")
    target.add_argument("--to-batch-size", type=float, metavar="B", help="new batch size")
    parser.add_argument("--sharpness", type=float, metavar="H", help="largest curvature, to veto unstable rows")
    parser.add_argument(
        "--dataset-size", type=float, metavar="N", help="samples of an epoch, where each epoch shuffles them anew"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def act(options: argparse.Namespace) -> int:
    """Convert the settings and print the results."""
    present, rows = translate(
        options.lr,
        options.momentum,
        options.batch_size,
        to_lr=options.to_lr,
        to_batch_size=options.to_batch_size,
        sharpness=options.sharpness,
        dataset_size=options.dataset_size,
    )
    if options.json:
        print(json.dumps({"present": asdict(present), "rows": [asdict(row) for row in rows]}))
    else:
        _show(present, rows)
    return 0


def translate(
    lr: float,
    momentum: float,
    batch_size: float,
    *,
    to_lr: float | None = None,
    to_batch_size: float | None = None,
    sharpness: float | None = None,
    dataset_size: float | None = None,
) -> tuple[Row, list[Row]]:
    """The present reading, and one row per pair of invariants.

    Raises:
        InadmissibleValue: lr <= 0, momentum outside [0, 1), batch size <= 0, sharpness <= 0.
    """
    _check(lr, momentum, batch_size, to_lr, to_batch_size, sharpness)
    present = _row("present", lr, momentum, batch_size, lr / (1 - momentum) / batch_size)
    rows = _to_lr(present, to_lr) if to_lr is not None else _to_batch_size(present, to_batch_size or 0.0)
    if dataset_size is not None:
        require(
            batch_size <= dataset_size < math.inf,
            f"dataset_size={dataset_size:g}",
            "is below the batch size or not finite",
            "Pass the samples of an epoch.",
        )
    rows = [_shuffled(present, _judged(row, sharpness), dataset_size) for row in rows]
    present = _judged(present, sharpness)
    return present, _recommend(rows, to_batch=to_lr is None)


def _shuffled(present: Row, row: Row, dataset_size: float | None) -> Row:
    """Under shuffled epochs, what becomes of a row that keeps the temperature of independent draws."""
    if dataset_size is None or row.verdict or "temperature" not in row.keeps:
        return row
    from dataclasses import replace

    from thetadot.verdicts.scaling import Settings
    from thetadot.verdicts.warmth import broken

    before, after = (Settings(each.lr, each.batch_size, each.momentum) for each in (present, row))
    lost = broken(before, after, dataset_size, "sgd")
    return replace(row, verdict=f"does not keep the temperature: {lost}") if lost else row


def _to_lr(present: Row, lr: float) -> list[Row]:
    from thetadot.core.cayley import kept_friction

    ratio = lr / present.lr
    heat = lr_heat(present)
    kept = float(kept_friction(ratio, present.momentum)) if ratio > 0 else 0.0
    same = _row("friction and temperature", lr, kept, 1.0, heat)
    batch = present.batch_size * same.step / present.step  # T = γs²/(2λB)
    return [
        _row("friction and temperature", lr, kept, batch, heat),
        _row("friction, at this batch size (annealing)", lr, kept, present.batch_size, heat),
        _row("momentum and temperature (linear rule)", lr, present.momentum, present.batch_size * ratio, heat),
        _row(
            "clock lr/(1-momentum) and temperature",
            lr,
            1.0 - (1.0 - present.momentum) * ratio,
            present.batch_size,
            heat,
        ),
    ]


def _to_batch_size(present: Row, batch_size: float) -> list[Row]:
    from thetadot.core.cayley import cayley, lr_of

    ratio = batch_size / present.batch_size
    heat = lr_heat(present)
    step = present.step * ratio
    momentum = float(cayley(present.friction * step))
    return [
        _row("friction and temperature", float(lr_of(step, momentum)), momentum, batch_size, heat),
        _row("momentum and temperature (linear rule)", present.lr * ratio, present.momentum, batch_size, heat),
        _row(
            "lr and temperature (momentum does it)",
            present.lr,
            1.0 - (1.0 - present.momentum) / ratio,
            batch_size,
            heat,
        ),
        _row("lr and momentum (cooler or hotter)", present.lr, present.momentum, batch_size, heat),
    ]


def lr_heat(present: Row) -> float:
    """α/((1-β)B), to which temperature is proportional."""
    return present.lr / (1.0 - present.momentum) / present.batch_size


def _row(keeps: str, lr: float, momentum: float, batch_size: float, heat: float) -> Row:
    from thetadot.core.cayley import friction_of, step_of

    if not -1 < momentum < 1:
        return Row(keeps, lr, momentum, batch_size, math.nan, math.nan, math.nan)
    factor = lr / (1.0 - momentum) / batch_size / heat
    return Row(keeps, lr, momentum, batch_size, float(step_of(lr, momentum)), float(friction_of(lr, momentum)), factor)


def _judged(row: Row, sharpness: float | None) -> Row:
    from dataclasses import replace

    from thetadot.core.limits import stability_limit

    if not 0 <= row.momentum < 1:
        return replace(row, verdict="vetoed: the momentum is outside [0, 1), so large a change cannot keep these")
    if row.batch_size < 1:
        return replace(row, verdict="vetoed: less than one sample a batch")
    if sharpness is not None and row.lr * sharpness >= stability_limit(row.momentum):
        limit = stability_limit(row.momentum) / sharpness
        return replace(row, verdict=f"vetoed: lr is above the stability limit {limit:.4g} at this sharpness")
    return row


def _recommend(rows: list[Row], *, to_batch: bool) -> list[Row]:
    """One of the rows that are not vetoed, with the reason."""
    from dataclasses import replace

    order = (1, 2, 0) if to_batch else (0, 2, 3, 1)
    whys = {
        "friction and temperature": "the same equation of motion, only stepped differently",
        "momentum and temperature (linear rule)": (
            "noise-limited training sees only temperature and lr/(1-momentum) per sample"
        ),
        "lr and temperature (momentum does it)": "the same temperature without a larger lr",
        "clock lr/(1-momentum) and temperature": "the same overdamped motion at the same batch size",
        "friction, at this batch size (annealing)": "the same friction, cooler",
    }
    for index in order:
        if not rows[index].verdict:
            rows[index] = replace(rows[index], recommended=True, verdict=f"recommended: {whys[rows[index].keeps]}")
            break
    return rows


def _check(
    lr: float,
    momentum: float,
    batch_size: float,
    to_lr: float | None,
    to_batch_size: float | None,
    sharpness: float | None,
) -> None:
    positive = {
        "lr": lr,
        "batch_size": batch_size,
        "to_lr": to_lr,
        "to_batch_size": to_batch_size,
        "sharpness": sharpness,
    }
    for name, value in positive.items():
        if value is not None:
            require(
                0 < value < math.inf,
                f"{name}={value:g}",
                "is not a positive finite number",
                f"Pass {name.replace('_', '-')} > 0.",
            )
    require(
        0 <= momentum < 1,
        f"momentum={momentum:g}",
        "is outside [0, 1): "
        + ("without friction there is no temperature to keep" if momentum > 0 else "λγ is above 2"),
        "Pass 0 <= momentum < 1.",
    )
    if (to_lr is None) == (to_batch_size is None):
        raise ThetadotError("give either --to-lr or --to-batch-size, not both or neither.")
    ratio = to_lr / lr if to_lr is not None else (to_batch_size or 0.0) / batch_size
    require(1e-9 <= ratio <= 1e9, f"a ratio of {ratio:g}", "is outside [1e-9, 1e9]", "Change the setting by less.")


def _show(present: Row, rows: list[Row]) -> None:
    from rich.markup import escape

    from thetadot.core.terminal import console

    out = console(sys.stdout)
    out.print(f"[bold]now[/bold]   {_settings(present)}")
    out.print(f"      {_reading(present)}")
    if present.verdict:
        out.print(f"      {escape(present.verdict)}: is the sharpness right?")
    for row in rows:
        style = "bold green" if row.recommended else "dim" if row.verdict.startswith("vetoed") else "bold"
        out.print(f"\n[{style}]keep {escape(row.keeps)}[/{style}]")
        out.print(f"      {_settings(row)}")
        if not math.isnan(row.step):
            out.print(f"      {_reading(row)}")
        if row.verdict:
            out.print(f"      {escape(row.verdict)}")


def _settings(row: Row) -> str:
    momentum = 0.0 if abs(row.momentum) < 1e-12 else row.momentum
    close = f" (1 - {1.0 - momentum:.3g})" if 0 < 1.0 - momentum < 1e-4 else ""
    return f"lr {row.lr:.6g}, momentum {momentum:.7g}{close}, batch size {row.batch_size:.4g}"


def _reading(row: Row) -> str:
    return f"time step {row.step:.4g}, friction {row.friction:.4g}, temperature {row.temperature_factor:.4g} T"
