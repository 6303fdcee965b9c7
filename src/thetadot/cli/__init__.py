"""The command: ``thetadot run``, ``suggest``, ``compare``, ``simulate``, ``convert``, ``report``, ``export``.

A sub-command is a file here, with its options, and one in :mod:`thetadot.cli.actions`, which does it.

Errors become one sentence and exit code 2; signals that ask a process to end are taken like Ctrl-C
(:mod:`thetadot.cli.signals`), and standard streams that fail end nothing (:mod:`thetadot.cli.streams`).
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from thetadot.cli import compare, convert, export, report, run, simulate, suggest
from thetadot.cli.signals import ending
from thetadot.cli.streams import enduring
from thetadot.core.formatting import nearest
from thetadot.errors import ThetadotError
from thetadot.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (run, suggest, compare, simulate, convert, report, export)


class _Parser(argparse.ArgumentParser):
    """argparse, but an error is one sentence, which asks for the name that may have been meant."""

    def error(self, message: str) -> NoReturn:
        came, _, known = message.partition(" (choose from ")
        word = re.search(r"invalid choice: '(.*)'$", came)
        meant = nearest(word[1], re.findall(r"[\w-]+", known)) if word else "."
        raise ThetadotError(f"{message}{meant} See: {self.prog} --help")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and say of an option that is not there which one resembles it."""
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            one = options.parser
            meant = nearest(rest[0].partition("=")[0], one._option_string_actions)  # noqa: SLF001 - argparse lists them nowhere else
            raise ThetadotError(f"unrecognized arguments: {' '.join(rest)}{meant} See: {one.prog} --help")
        return options


class _Completion(argparse.Action):
    """Print what a shell needs to complete commands and options, and end."""

    def __call__(self, parser: argparse.ArgumentParser, _space: Any, values: Any, _option: str | None = None) -> None:
        try:
            import shtab
        except ImportError as error:
            raise ThetadotError("completion needs shtab. Install it: pip install 'thetadot[completion]'.") from error
        print(shtab.complete(_parser([module.NAME for module in COMMANDS]), values))
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: of the command line; those of this process if None.

    Returns:
        0; 2 for bad input, or for output that cannot be written; 130 when interrupted, 143 by SIGTERM; 141 where the
        reader of standard output has gone.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with enduring() as streams:
        with ending() as asked:
            code = _exit_code(given)
        lost, why = streams.code()
        if why is not None and code == 0:
            _say(why)
        return asked.code or code or lost


def _exit_code(given: list[str]) -> int:
    """The exit code of one command, its errors in one sentence."""
    try:
        return _act(given)
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except SystemExit as end:  # of --help and --version
        return end.code if isinstance(end.code, int) else 0
    except (ThetadotError, OSError, MemoryError, RecursionError) as error:
        if "--debug" in given:
            raise
        _say(str(error) if isinstance(error, ThetadotError) else _unforeseen(error))
        return 2


def _act(given: list[str]) -> int:
    parser = _parser(given)
    if not given:
        parser.print_help()
        return 0
    options = parser.parse_args(given)
    action = importlib.import_module(f"thetadot.cli.actions.{options.action}")
    return int(action.act(options))


def _say(sentence: str) -> None:
    print(f"thetadot: {sentence}", file=sys.stderr)


def _unforeseen(error: Exception) -> str:
    """Describe an error that no command foresaw, with its remedy."""
    if isinstance(error, MemoryError):
        return f"out of memory ({str(error) or 'no more is available'}). Ask for less, or free some."
    if isinstance(error, RecursionError):
        return "the input is nested too deeply. Pass a flatter one."
    name = getattr(error, "filename", None)
    where = f"{name}: " if name else ""
    reason = getattr(error, "strerror", None) or str(error)
    return f"{where}{reason}. Make sure that there is room, and that it may be read and written; --debug shows where."


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Every command, with the options of the one that was given: what the others offer is loaded by them."""
    parser = _Parser(prog="thetadot", description="Training read as motion.")
    parser.add_argument("--version", action="version", version=_version_text())
    parser.add_argument(
        "--print-completion",
        action=_Completion,
        choices=("bash", "zsh", "tcsh"),
        help="print what this shell needs to complete commands and options",
    )
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
        sub.set_defaults(action=module.NAME, parser=sub)
    return parser


def _version_text() -> str:
    return f"thetadot {__version__}"
