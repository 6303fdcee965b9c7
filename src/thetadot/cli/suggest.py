"""``thetadot suggest``: the settings that a run of a task would begin with, for a loop of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

NAME = "suggest"


HELP = "Say with which settings a run of a task would begin, and why; nothing is trained or written."


EPILOG = """example:
  thetadot suggest task.py:make --epochs 100

In Python:
  found = thetadot.suggest(model, loss, data)
  optimizer = found.build(model.parameters())
  schedule = found.schedule(optimizer)       # schedule.step() after each optimizer.step()"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("task", metavar="TASK", help="a built-in task or file.py:function")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training data (default: 60)")
    parser.add_argument(
        "--budget",
        type=float,
        metavar="N",
        help="gradient evaluations of one sample that this may take, at least 22 (default: some percent of the run's)",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of parameters and of the samples looked at (default: 0)")
    parser.add_argument("--optimizer", metavar="NAME", help="heavy-ball or adam (default: adam)")
    parser.add_argument("--lr", type=float, help="instead of a rule")
    parser.add_argument("--momentum", type=float, help="of the velocity, β₁ of adam (default: 0.9)")
    parser.add_argument("--batch-size", type=int, metavar="B", help="instead of a rule")
    parser.add_argument("--annealing", metavar="NAME", help="linear, cosine, or coupled")
    parser.add_argument("--device", metavar="NAME", help="where to measure (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print it as one JSON object")
