"""What ``thetadot convert`` does."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from thetadot.core.formatting import plain
from thetadot.core.terminal import console
from thetadot.dictionary import conversion
from thetadot.dictionary.conversion import convert
from thetadot.errors import ThetadotError

if TYPE_CHECKING:
    import argparse

    from thetadot.dictionary.conversion import Conversion
    from thetadot.dictionary.row import Row
    from thetadot.dictionary.twins import Twins

_NUMBERS = (
    "lr",
    "batch_size",
    "momentum",
    "beta2",
    "eps",
    "weight_decay",
    "epochs",
    "dataset_size",
    "noise_scale",
    "sharpness",
    "to_lr",
    "to_batch_size",
    "to_epochs",
    "to_weight_decay",
)


def act(options: argparse.Namespace) -> int:
    """Convert the settings and print the results."""
    given: dict[str, Any] = {name: getattr(options, name) for name in _NUMBERS if getattr(options, name) is not None}
    if options.decay_mode is not None:
        given["decoupled"] = _decoupled(options.decay_mode)
    lacks = ""
    if options.run is not None:
        from thetadot.cli.actions.recorded import settings_from

        recorded, lacks = settings_from(options.run, options.optimizer)
        given = recorded | given
    if options.optimizer is not None:
        given["optimizer"] = options.optimizer
    missing = [name for name in ("lr", "batch_size") if name not in given]
    if missing:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise ThetadotError(
            f"{names} missing: the present settings are required. Pass {names}, or --from with a recorded run."
        )
    found = conversion.convert(**given)
    if lacks and "noise_scale" not in given and found.advice:
        found = replace(found, advice=f"{lacks} {found.advice}")
    if options.json:
        print(json.dumps(_finite_or_null(asdict(found))))
    else:
        _print_conversion(found)
    return 0


def translate(lr: float, momentum: float, batch_size: float, **others: Any) -> tuple[Row, list[Row]]:
    """Return the present reading of momentum descent, and one row a rule; see :func:`thetadot.translation.convert`."""
    found = convert(lr=lr, momentum=momentum, batch_size=batch_size, **others)
    return found.present, list(found.rows)


def _decoupled(mode: str) -> bool:
    known = {"coupled": False, "l2": False, "decoupled": True}
    if mode not in known:
        raise ThetadotError(f"decay-mode={mode!r} is unknown. Pass coupled (l2) or decoupled.")
    return known[mode]


def _finite_or_null(value: Any) -> Any:
    """What JSON can say: a number that is none, as null."""
    if isinstance(value, dict):
        return {name: _finite_or_null(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_or_null(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_conversion(found: Conversion) -> None:
    out = console(sys.stdout)
    out.print(f"[bold]now[/bold]   {escape(found.optimizer)}, {_row_settings(found.present)}")
    for line in _twins(found.twins):
        out.print(f"      {escape(line)}")
    if found.present.verdict:
        out.print(f"      {escape(found.present.verdict)}: is the sharpness right?")
    for row in sorted(found.rows, key=lambda row: not row.recommended):
        style = "bold green" if row.recommended else "bold" if row.standing == "usable" else "dim"
        out.print(f"\n[{style}]{escape(row.rule)}: keep {escape(row.keeps)}[/{style}]")
        if row.lr is not None:
            out.print(f"      {escape(_row_settings(row))}")
            out.print(f"      {escape(_reading(row))}")
        if row.verdict:
            out.print(f"      {escape(row.verdict)}")
        out.print(f"      holds: {escape(row.holds)}{escape(f' ({row.source})' if row.source else '')}", style="dim")
    if found.advice:
        out.print(f"\n{escape(found.advice)}")


def _row_settings(row: Row) -> str:
    parts = [f"lr {row.lr:.6g}"]
    if row.momentum is not None:
        momentum = 0.0 if abs(row.momentum) < 1e-12 else row.momentum
        close = f" (1 - {1.0 - momentum:.3g})" if 0 < 1.0 - momentum < 1e-4 else ""
        parts.append(f"momentum {momentum:.7g}{close}")
    parts += [f"β₂ {row.beta2:.7g}"] if row.beta2 is not None else []
    parts += [f"ε {row.eps:.3g}"] if row.eps is not None else []
    parts += [f"weight decay {row.weight_decay:.4g}"] if row.weight_decay else []
    parts.append(f"batch size {row.batch_size:.4g}")
    parts += [f"epochs {row.epochs:.4g}"] if row.epochs is not None else []
    return ", ".join(parts)


def _reading(row: Row) -> str:
    if row.step is None or row.temperature_factor is None:
        return "no motion: these settings stand for none"
    said = f"time step {row.step:.4g}, friction {row.friction:.4g}, temperature {row.temperature_factor:.4g} T"
    return said + (f", decay time {row.decay_factor:.4g} of the present one" if row.decay_factor is not None else "")


def _twins(now: Twins) -> list[str]:
    where = "" if now.metric == "1" else ", in the metric of its preconditioner"
    lines = [f"time step {now.step:.4g}, friction {now.friction:.4g}, clock {now.clock:.4g} a step{where}"]
    if now.heat is not None:
        unit = "variance" if now.heat_unit == "s²" else "standard deviation"
        lines.append(f"temperature {now.heat:.4g} times the {unit} of a component of one sample's gradient")
    if now.decay_samples is not None and now.decay_steps is not None:
        epochs = f", {plain(now.decay_epochs)} epochs" if now.decay_epochs is not None else ""
        run = f"; the run lasts {plain(now.run_decays)} of them" if now.run_decays is not None else ""
        lines.append(f"decay time {plain(now.decay_steps)} steps, {plain(now.decay_samples)} samples{epochs}{run}")
    if now.spring:
        lines.append(f"weight decay is a spring of constant {now.spring:.4g}")
    if now.half_life_samples is not None:
        epochs = f", {plain(now.half_life_epochs)} epochs" if now.half_life_epochs is not None else ""
        lines.append(f"squares are half forgotten after {plain(now.half_life_samples)} samples{epochs}")
    return lines
