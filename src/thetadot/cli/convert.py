"""``thetadot convert``: some settings changed; what the others should become, by which invariant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


NAME = "convert"


HELP = "Read an optimizer's settings as mechanics, and say what the others become when some change."


EPILOG = """examples:
  thetadot convert --lr 0.1 --momentum 0.9 --batch-size 128 --to-lr 0.01
  thetadot convert --lr 0.1 --momentum 0.9 --batch-size 128 --to-batch-size 1024 --sharpness 12
  thetadot convert --optimizer adamw --lr 3e-4 --weight-decay 0.1 --batch-size 256 --to-batch-size 2048 \\
      --noise-scale 5000
  thetadot convert --from runs/a --to-batch-size 1024 --to-epochs 30

One equation does not fix two settings: each row keeps other invariants. A row is recommended only where the noise scale
is known, by --noise-scale or from a record. With --sharpness (behind a preconditioner P: of P⁻¹H) rows whose step is
above the stability limit are vetoed. Temperatures are those of batches drawn independently; with --dataset-size, rows
that do not keep them along flat directions of shuffled epochs say so."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    from thetadot.dictionary.optimizers import OPTIMIZERS

    parser.add_argument(
        "--optimizer", metavar="NAME", help=f"one of {', '.join(OPTIMIZERS)} (default: sgd, or the record's)"
    )
    parser.add_argument("--lr", type=float, help="present learning rate")
    parser.add_argument(
        "--momentum", "--beta1", type=float, metavar="BETA", help="present momentum, β₁ of adam (default: by optimizer)"
    )
    parser.add_argument("--beta2", type=float, metavar="BETA", help="memory of squares (default: by optimizer)")
    parser.add_argument("--eps", type=float, metavar="EPS", help="beside the root of squares (default: by optimizer)")
    parser.add_argument("--batch-size", type=float, metavar="B", help="present batch size")
    parser.add_argument("--weight-decay", type=float, metavar="WD", help="present weight decay (default: 0)")
    parser.add_argument("--decay-mode", metavar="MODE", help="coupled (l2) or decoupled (default: by optimizer)")
    parser.add_argument("--epochs", type=float, metavar="E", help="passes over the data")
    parser.add_argument(
        "--dataset-size", type=float, metavar="N", help="samples of an epoch, where each epoch shuffles them anew"
    )
    parser.add_argument("--to-lr", type=float, metavar="LR", help="new learning rate")
    parser.add_argument("--to-batch-size", type=float, metavar="B", help="new batch size")
    parser.add_argument("--to-epochs", type=float, metavar="E", help="new number of passes")
    parser.add_argument("--to-weight-decay", type=float, metavar="WD", help="new weight decay")
    parser.add_argument("--noise-scale", type=float, metavar="B_N", help="trΣ/|G|² in samples, which says what holds")
    parser.add_argument("--from", dest="run", metavar="RUN", help="a recorded run: its settings, noise and sharpness")
    parser.add_argument("--sharpness", type=float, metavar="H", help="largest curvature, to veto unstable rows")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
