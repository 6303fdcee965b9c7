"""What ``thetadot report`` does."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from thetadot.errors import ThetadotError, require
from thetadot.records import Follower
from thetadot.report import put
from thetadot.report.serve import LOOPBACK, FolderWatch, Server, gather
from thetadot.scenes.files import PAGE, RECORD

if TYPE_CHECKING:
    import argparse

    from thetadot.records import Record


def act(options: argparse.Namespace) -> int:
    """Write the page and say where, or serve it until interrupted."""
    _check_options(options)
    return _serve_page(options) if options.serve else _write_page(options)


def _check_options(options: argparse.Namespace) -> None:
    for run in options.runs:
        _require_run(Path(run))
    for name in ("port", "host"):
        if getattr(options, name) is not None and not options.serve:
            raise ThetadotError(f"--{name} is of a server. Add --serve, or leave it out.")
    if options.serve and options.out is not None:
        raise ThetadotError("--out and --serve exclude each other: a served page is not a file. Leave one out.")
    if options.port is not None:
        require(0 <= options.port < 2**16, f"port={options.port}", "is outside [0, 65535]", "Pass 0 for any free one.")


def _require_run(place: Path) -> None:
    """Say of a simulation where its own page is: it has no record of steps, losses and noise to be drawn from."""
    try:
        simulated = (place / RECORD).is_file() and not (place / "record.jsonl").exists()
        drawn = (place / PAGE).is_file()
    except (OSError, ValueError):  # told of where it is read
        return
    if simulated and drawn:
        raise ThetadotError(f"{place} holds a simulation, not a run. Its page is {place / PAGE}.")
    if simulated:
        raise ThetadotError(
            f"{place} holds a simulation, not a run. Draw its page with: thetadot simulate --resume {quote(str(place))}"
        )


def _write_page(options: argparse.Namespace) -> int:
    followers = [Follower(run) for run in options.runs]
    records, unreadable = gather(followers)
    beside = Path("report.html") if len(followers) > 1 else followers[0].file.parent / "report.html"
    place = Path(options.out) if options.out is not None else beside
    if any(_same_file(place, follower.file) for follower in followers):
        raise ThetadotError(f"--out {place} is one of the records, which a page would replace. Name another file.")
    try:
        put(place, records, options.title, unreadable=unreadable)
    except ThetadotError:  # of the runs, not of the file
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ThetadotError(f"{place} cannot be written ({reason}). Name another file with --out.") from error
    _warn(unreadable + [_damaged(record) for record in records if record.damage])
    print(place)
    return 0


def _same_file(place: Path, record: Path) -> bool:
    try:
        return place.samefile(record)
    except (OSError, ValueError):
        return False


def _serve_page(options: argparse.Namespace) -> int:
    watch: Any = FolderWatch(options.runs, options.title)
    watch.page()  # what cannot be read or drawn is said here, not in the browser
    host = options.host or LOOPBACK
    try:  # around all of it: whoever reads the address may interrupt at once
        with Server(watch, host, options.port or 0) as server:
            if host not in (LOOPBACK, "::1", "localhost"):
                _warn([f"whoever can reach {host} can read these runs"])
            print(f"{server.address}   (Ctrl-C ends)", flush=True)
            server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        print()
    return 0


def _damaged(record: Record) -> str:
    many = len(record.damage)
    return f"{record.path}: {many} damaged {'line was' if many == 1 else 'lines were'} left out"


def _warn(sentences: list[str]) -> None:
    for sentence in sentences:
        print(f"thetadot: {sentence}", file=sys.stderr)
