"""``thetadot compare``: several optimizers on one task at equal budgets, and which differences are more than chance."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


NAME = "compare"


HELP = "Train a task by several optimizers at equal budgets, and tell which differences are more than chance."


EPILOG = """a SPEC is
  untuned                               thetadot run with nothing given; run:lr=0.1 gives it something
  sgd:lr=0.1,momentum=0.9               an optimizer of torch.optim with settings
  adamw:lr=1e-3,schedule=cosine         schedule (constant, cosine, linear) and batch_size are settings of all
  sgd:lr=0.01|0.1|1                     a grid, chosen on seeds of its own
  sgd:lr=0.1|1; adamw:lr=1e-3|1e-2      a grid over several optimizers
  prodigyopt:Prodigy(lr=1.0)            a peer's optimizer by its import path, or file.py:Name(...)

example:
  thetadot compare digits --runs untuned 'sgd:lr=0.01|0.03|0.1,momentum=0.9,schedule=cosine' adamw:lr=1e-3

The folder holds a file for each run that has ended, result.json and report.html; the same command continues it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("task", metavar="TASK", help="a built-in task or file.py:function")
    parser.add_argument(
        "--runs", nargs="+", required=True, metavar="SPEC", help="what is compared, the first with each"
    )
    parser.add_argument(
        "--seeds", type=_seeds_of_text, metavar="N", help="seeds that score (default: 5), or a range of them, as 10:15"
    )
    parser.add_argument(
        "--choosing",
        type=_seeds_of_text,
        metavar="N",
        help="other seeds, that choose from grids (default: 2), or a range",
    )
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="passes over the data that are the budget (default: 60)"
    )
    parser.add_argument("--batch-size", type=int, metavar="B", help="where a SPEC has none (default: 32)")
    parser.add_argument(
        "--by",
        metavar="LOSS",
        help="validation loss: best: the lowest (default); final: the last; returned: of the state given back; on test "
        "data: test, final-test, returned-test",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder (default: runs/compare-TASK); one begun alike is continued"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at a time (default: all cores)")
    parser.add_argument("--ray", metavar="ADDRESS", help="run on a Ray cluster; local: one of this machine")
    parser.add_argument("--device", metavar="NAME", help="where to train (default: cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch, in each run (default: 1)")
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object, the last line of standard output"
    )


def _seeds_of_text(text: str) -> int | range:
    """A number of seeds, or a range of them."""
    try:
        first, *rest = [int(part) for part in text.split(":")]
    except ValueError:
        rest = [0, 0]
    if len(rest) > 1:
        raise ArgumentTypeError(f"{text!r} is no number of seeds. Pass one, as 5, or a range of seeds, as 10:15")
    return range(first, rest[0]) if rest else first
