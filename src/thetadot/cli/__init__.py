"""The command: ``thetadot run``, ``simulate``, ``convert``, ``report`` and ``export``. One sub-command, one file.

Errors become one sentence and exit code 2.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

from thetadot.cli import convert, export, report, run, simulate
from thetadot.errors import ThetadotError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (run, simulate, convert, report, export)


class _Parser(argparse.ArgumentParser):
    """argparse, but an error is one sentence."""

    def error(self, message: str) -> NoReturn:
        raise ThetadotError(f"{message}. See: {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for bad input, 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        parser = _parser(given)
        if not given:
            parser.print_help()
            return 0
        options = parser.parse_args(given)
        return int(options.act(options))
    except ThetadotError as error:
        if debug:
            raise
        print(f"thetadot: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("thetadot: interrupted", file=sys.stderr)
        return 130


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Every command, with the options of the one that was given: what the others offer is loaded by them."""
    parser = _Parser(prog="thetadot", description="Training read as motion.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    for module in COMMANDS:
        sub = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.HELP,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if module.NAME in given:
            module.arguments(sub)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        sub.set_defaults(act=module.act)
    return parser


def _version() -> str:
    import thetadot

    return f"thetadot {thetadot.__version__}"
