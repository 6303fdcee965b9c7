"""``thetadot run``: train a task without tuning, and show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


NAME = "run"


HELP = "Train a task without tuning: a safe start, the rate decided on the way; show the run as motion."


EPILOG = """built-in tasks:
  digits    1,797 handwritten digits, a small convolutional network

your own: file.py:function, where function() returns
  thetadot.Task(model, loss, train, valid, metric=None)

The folder holds record.jsonl, checkpoint.pt and report.html."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("task", nargs="?", metavar="TASK", help="a built-in task or file.py:function (default: digits)")
    parser.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/TASK, or TASK-2, ... if taken)")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training data (default: 60)")
    parser.add_argument("--minutes", type=float, metavar="M", help="begin no epoch later than this")
    parser.add_argument("--seed", type=int, metavar="S", help="of parameters, order, dropout (default: 0)")
    parser.add_argument("--optimizer", metavar="NAME", help="heavy-ball or adam (default: adam)")
    parser.add_argument("--lr", type=float, help="instead of a rule and forks")
    parser.add_argument("--momentum", type=float, help="of the velocity, β₁ of adam (default: 0.9)")
    parser.add_argument("--batch-size", type=int, metavar="B", help="instead of a rule; stays fixed")
    parser.add_argument(
        "--annealing",
        metavar="NAME",
        help="linear (constant, then to 0), cosine, or coupled (momentum rises as lr falls, friction fixed)",
    )
    parser.add_argument(
        "--no-cure",
        dest="cure",
        action="store_false",
        default=None,
        help="leave the last layer's bias where it is, however far off the targets are",
    )
    parser.add_argument(
        "--fork-memory",
        type=int,
        metavar="BYTES",
        help="of parameters up to which the run forks; larger models follow their mean motion (default: 2^30)",
    )
    parser.add_argument(
        "--prefer",
        metavar="WHAT",
        help="samples (default: many small steps) or wall (few large ones: the batch by the measured noise, growing)",
    )
    parser.add_argument("--device", metavar="NAME", help="where to train (default: cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that load data (default: 0)")
    parser.add_argument("--resume", metavar="DIR", help="continue the run in DIR exactly where it was cut off")
    parser.add_argument(
        "--extend",
        type=int,
        metavar="N",
        help="with --resume: N more epochs of a run that has finished, warmed up and annealed again",
    )
    parser.add_argument(
        "--new-data", action="store_true", help="resume although the data are others than the run was begun with"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object, the last line of standard output"
    )
