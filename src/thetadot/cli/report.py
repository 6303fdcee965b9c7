"""``thetadot report``: the page of one run or several, as a file or live."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


NAME = "report"


HELP = "Draw recorded runs as one page: a file that needs no network, or live in the browser while they run."


EPILOG = """examples:
  thetadot report runs/digits
  thetadot report runs/a runs/b runs/c --out compare.html
  thetadot report runs/a --serve

RUN is a folder with a record.jsonl, or the record itself. Several runs are drawn over one another."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, or its record.jsonl")
    parser.add_argument(
        "--out", metavar="FILE", help="where to write (default: report.html beside the record; of several runs, here)"
    )
    parser.add_argument("--title", metavar="TEXT", help="heading of the page (default: the task)")
    parser.add_argument("--serve", action="store_true", help="show the page to this machine's browsers, and renew it")
    parser.add_argument("--port", type=int, metavar="N", help="with --serve: 0 is any that is free (default)")
    parser.add_argument("--host", metavar="ADDRESS", help="with --serve: listen for others too (default: 127.0.0.1)")
