"""``thetadot run``: train a task without tuning, and show it."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thetadot.errors import RunFolderError, ThetadotError

if TYPE_CHECKING:
    import argparse

    from thetadot.training import Result

NAME = "run"
HELP = "Train a task without tuning: a safe start, the rate decided on the way; show the run as motion."
EPILOG = """built-in tasks:
  digits    1,797 handwritten digits, a small convolutional network

your own: file.py:function, where function() returns
  thetadot.Task(model, loss, train, valid, metric=None)

The folder holds record.jsonl, checkpoint.pt and report.html."""

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


def act(options: argparse.Namespace) -> int:
    """Run, show, and print."""
    from thetadot.core.terminal import console
    from thetadot.training import run
    from thetadot.training.checkpoint import NAME as NAME_OF_CHECKPOINT
    from thetadot.training.display import Display, summary
    from thetadot.training.folder import fresh
    from thetadot.training.spec import resolve

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
            if (out / NAME_OF_CHECKPOINT).exists():
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
    from thetadot.training.checkpoint import NAME

    if isinstance(error, ThetadotError):
        return error
    kept = (folder / NAME).exists()
    remedy = f"Make room, and resume with:  {_resume(folder)}" if kept else "Make room, or name another --out."
    return RunFolderError(f"{error.filename or folder} cannot be written ({error.strerror or error}). {remedy}")


def _remembered(folder: Path, name: str | None, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The folder's own arguments; what is repeated must agree, which ``run`` checks."""
    from thetadot.training import checkpoint
    from thetadot.training.arguments import Arguments

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
