"""What ``thetadot compare`` does."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from thetadot.comparing import compare
from thetadot.comparing.store import PAGE
from thetadot.core.terminal import console
from thetadot.integrations.cluster import cores

if TYPE_CHECKING:
    import argparse

    from thetadot.comparing import Comparison

_GIVEN = ("seeds", "choosing", "epochs", "batch_size", "by", "out", "jobs", "ray", "device", "threads")


def act(options: argparse.Namespace) -> int:
    """Compare, write, and print."""
    given: dict[str, Any] = {name: getattr(options, name) for name in _GIVEN if getattr(options, name) is not None}
    given.setdefault("jobs", cores())
    try:
        found = compare(options.task, options.runs, progress=True, **given)
    except KeyboardInterrupt:
        print("\nthetadot: the runs that have ended are kept; the same command continues", file=sys.stderr)
        raise
    _print_comparison(found, sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps(found.to_dict()))
    return 0


def _print_comparison(found: Comparison, stream: Any) -> None:
    """Print the table, the sentence, and where the page is."""
    out = console(stream)

    def say(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    say(repr(found))
    for row in found.rows:
        for remark in found.remarks(row):
            say(f"{row.name}: {remark}")
    say(f"look at {found.out / PAGE}")
