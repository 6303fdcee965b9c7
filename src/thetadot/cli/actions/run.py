"""What ``thetadot run`` does."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thetadot.core.terminal import console
from thetadot.errors import RunFolderError, ThetadotError
from thetadot.training import checkpoint, run
from thetadot.training.arguments import Arguments
from thetadot.training.display import Display, summary
from thetadot.training.folder import fresh
from thetadot.training.spec import resolve

if TYPE_CHECKING:
    import argparse

    from thetadot.training import Result

_REMEMBERED = (
    "epochs",
    "minutes",
    "seed",
    "optimizer",
    "lr",
    "momentum",
    "batch_size",
    "device",
    "workers",
    "threads",
    "annealing",
    "cure",
    "fork_memory",
    "prefer",
)


def act(options: argparse.Namespace) -> int:
    """Run, show, and print."""
    given: dict[str, Any] = {name: getattr(options, name) for name in _REMEMBERED if getattr(options, name) is not None}
    name = options.task
    if options.resume is not None:
        name, given = _remembered(Path(options.resume), name, given)
        if options.out is not None and Path(options.out).resolve() != Path(options.resume).resolve():
            raise ThetadotError(
                f"--out {options.out} contradicts --resume {options.resume}. Leave --out away to continue that run."
            )
        out = Path(options.resume)
    else:
        name = name or "digits"
        out = Path(options.out) if options.out else fresh(name.rpartition(":")[2])
    if options.new_data and options.resume is None:
        raise ThetadotError("--new-data is for a run that is resumed. Leave it out, or pass --resume DIR.")
    if options.extend is not None and options.resume is None:
        raise ThetadotError("--extend is for a run that has finished. Pass its folder too: --resume DIR.")
    make = resolve(name)
    with Display(console(sys.stderr), out) as show:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "the run is whole")  # said below, without a line of ours
                result = run(
                    make,
                    out=out,
                    name=name,
                    resume=options.resume is not None,
                    new_data=options.new_data,
                    extend=options.extend,
                    show=show,
                    **given,
                )
        except KeyboardInterrupt:
            if (out / checkpoint.NAME).exists():
                print(f"\nthetadot: continue exactly here with: {_resume(out)}", file=sys.stderr)
            raise
        except OSError as error:
            raise _unwritable(error, out) from error
    summary(console(sys.stderr if options.json else sys.stdout), result.record, out)
    if options.json:
        print(json.dumps(_object(result, out)))
    if result.unwritten is not None:
        raise RunFolderError(result.unwritten)
    return 0


def _resume(folder: Path) -> str:
    return f"thetadot run --resume {shlex.quote(str(folder))}"


def _unwritable(error: OSError, folder: Path) -> Exception:
    """A disk that is full, or gone, on the way; what was kept there can be resumed."""
    if isinstance(error, ThetadotError):
        return error
    kept = (folder / checkpoint.NAME).exists()
    remedy = f"Make room, and resume with:  {_resume(folder)}" if kept else "Make room, or name another --out."
    return RunFolderError(f"{error.filename or folder} cannot be written ({error.strerror or error}). {remedy}")


def _remembered(folder: Path, name: str | None, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The folder's own arguments; what is repeated must agree, which ``run`` checks."""
    place = folder / checkpoint.NAME
    saved = asdict(checkpoint.converted(checkpoint.load(folder)["arguments"], Arguments, place))
    task = saved.pop("task")
    del saved["extended"]  # which run() remembers itself
    if name is not None and name != task:
        raise ThetadotError(
            f"{folder} was begun with task {task!r}, not {name!r}. Leave the task out to resume it, or begin a new run."
        )
    return task, saved | given


def _object(result: Result, out: Path) -> dict[str, Any]:
    closing, header = result.record.result, result.record.header
    assert closing is not None  # noqa: S101 - a run that returns has its last line
    return {
        "task": header.task,
        "seed": header.seed,
        **{name: getattr(closing, name) for name in closing.__struct_fields__},
        "learned": closing.learned,
        "out": str(out),
    }
