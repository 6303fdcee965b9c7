"""Ugly tables: what a run with nothing given makes of them, against the same table standardised.

    python benchmarks/ugly_tables.py [--epochs 30] [--only TEXT]

One table of six columns, a regression and a classification into three; its inputs or targets are put into other units.
Prints the validation loss in the tidy table's units, and its ratio to that of the tidy table.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import thetadot

SAMPLES, LEARNED = 600, 480
G = torch.Generator().manual_seed(0)
Z = torch.randn(SAMPLES, 6, generator=G)
Y = Z[:, 0] + Z[:, 1] * (Z[:, 2] > 0) - 0.5 * Z[:, 3].abs() + 0.3 * Z[:, 4]
Y = (Y + 0.2 * torch.randn(SAMPLES, generator=G))[:, None]
C = (Z[:, 0] + 0.5 * Z[:, 1] * Z[:, 2] + 0.3 * torch.randn(SAMPLES, generator=G) > 0).long() + (Z[:, 3] > 1).long()
APART = Z * torch.tensor([1.0, 1e6, 1e-3, 1e3, 1.0, 1e2])
DATES = Z.clone()
DATES[:, 0], DATES[:, 1] = (20_200_101 + 2000 * Z[:, 0]).round(), 1.6e9 + 1e7 * Z[:, 1]
INPUTS = {
    "tidy": Z,
    "columns 10⁶ apart": APART,
    "apart and far from 0": APART + torch.tensor([5.0, 3e6, 0.0, 2e4, 0.0, 1e3]),
    "dates as numbers": DATES,
    "two constant columns of 2·10⁵": torch.cat([Z, torch.full((SAMPLES, 2), 2e5)], 1),
    "columns twice, two of them times 1000": torch.cat([Z, Z, 1000 * Z[:, :2]], 1),
}
TARGETS = {"targets times 10⁶": (1e6, 0.0), "targets plus 10⁶": (1.0, 1e6), "targets times 10⁻⁴": (1e-4, 0.0)}


@dataclass(frozen=True)
class Case:
    """A table, and what a loss of it is divided by."""

    name: str
    x: Tensor
    y: Tensor
    loss: nn.Module
    unit: float = 1.0


def cases() -> list[Case]:
    """All tables, tidy ones first of their loss."""
    entropy = [Case(f"classes, {name}", x, C, nn.CrossEntropyLoss()) for name, x in INPUTS.items()]
    squares = [Case(f"squares, {name}", x, Y, nn.MSELoss()) for name, x in INPUTS.items()]
    squares += [Case(f"squares, {name}", Z, a * Y + b, nn.MSELoss(), a * a) for name, (a, b) in TARGETS.items()]
    absolute = [Case("absolute, tidy", Z, Y, nn.L1Loss())]
    absolute += [Case(f"absolute, {name}", Z, a * Y + b, nn.L1Loss(), a) for name, (a, b) in TARGETS.items()]
    return entropy + squares + absolute


def loss_after(case: Case, epochs: int) -> tuple[float, float]:
    """Validation loss of the returned state, and of the best constant output, in the tidy table's units."""

    def table() -> thetadot.Task:
        outputs = 3 if case.y.dim() == 1 else 1
        model = nn.Sequential(nn.Linear(case.x.shape[1], 32), nn.ReLU(), nn.Linear(32, outputs))
        train, valid = (TensorDataset(case.x[part], case.y[part]) for part in (slice(LEARNED), slice(LEARNED, None)))
        return thetadot.Task(model, case.loss, train, valid)

    with tempfile.TemporaryDirectory() as folder:
        result = thetadot.run(table, out=Path(folder) / "a", epochs=epochs, page=False, progress=False).record.result
    assert result is not None  # noqa: S101 - the run ended
    return result.valid_loss / case.unit, (result.constant_loss or float("nan")) / case.unit


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--only", default="", help="only tables whose name holds this; the tidy ones always")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| table | validation loss | constant output | over tidy |\n|---|---|---|---|")
    tidy = 1.0
    for case in cases():
        if asked.only not in case.name and "tidy" not in case.name:
            continue
        found, constant = loss_after(case, asked.epochs)
        tidy = found if "tidy" in case.name else tidy
        print(f"| {case.name} | {found:.4f} | {constant:.3f} | {found / tidy:.3f} |", flush=True)


if __name__ == "__main__":
    main()
