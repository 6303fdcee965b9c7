"""Compare runs at equal budgets: choose from grids, score on other seeds, keep every run that has ended."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from thetadot import signatures
from thetadot.comparing.checks import tried_out
from thetadot.comparing.job import MEASURES, Job, Measure
from thetadot.comparing.page import page
from thetadot.comparing.result import Comparison
from thetadot.comparing.showing import shown
from thetadot.comparing.spec import Spec, parse
from thetadot.comparing.store import PAGE, RESULT, Store, place_result
from thetadot.comparing.work import Work
from thetadot.comparing.workers import Here, Processes, Workers
from thetadot.errors import InadmissibleValue, require
from thetadot.files import Claim
from thetadot.tasks.task import Task
from thetadot.training.arguments import EPOCHS

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[[], Task] | str

SEEDS, CHOOSING, BATCH = 5, 2, 32
CHOOSERS = 1 << 20
"""First of the seeds that choose; those that score begin at 0, so that more of them can be added."""
_MOST_SEEDS, _MOST_JOBS, _MOST_RUNS = 10_000, 1024, 100


@signatures.checked
def compare(
    task: Maker,
    runs: Sequence[str] | Mapping[str, str],
    *,
    seeds: int = SEEDS,
    choosing: int = CHOOSING,
    epochs: int = EPOCHS,
    batch_size: int = BATCH,
    by: Measure = "best",
    out: str | Path | None = None,
    jobs: int = 1,
    ray: str | None = None,
    device: str = "cpu",
    threads: int = 1,
    progress: bool | None = None,
) -> Comparison:
    """Train a task by several optimizers at equal budgets, and tell which differences are more than chance.

    Every run gets epochs × samples gradient evaluations; where thetadot's own run is among them, each seed gets what it
    cost there, measuring included. Of a grid the point with the lowest mean loss on ``choosing`` seeds is chosen and
    scored on others. Seed by seed all begin from the same parameters and, at one batch size, see the same batches:
    differences are paired, with 95% t-intervals. A run is a function of task, seed and settings; one that has ended is
    kept in the folder, so a comparison that was killed goes on, and more runs or seeds can be added, with the same
    numbers.

    Args:
        task: function that makes the task, a built-in name, or ``file.py:function``.
        runs: SPECs, or names with SPECs: ``"untuned"`` (:func:`thetadot.run` with nothing given),
            ``"adamw:lr=1e-3,schedule=cosine"``, a grid ``"sgd:lr=0.01|0.1|1,momentum=0.9"``, a peer's optimizer
            ``"prodigyopt:Prodigy(lr=1.0)"``. Differences are from the first.
        seeds: that score, from 0 on.
        choosing: seeds that choose from grids, none of them scores.
        epochs: passes over the training data that are the budget.
        batch_size: where a SPEC has none.
        by: loss that is compared: "best" (lowest validation loss after an epoch), "final" (validation loss after the
            last step), "test" (test loss at the lowest validation loss).
        out: folder of runs, table and page; runs/compare-TASK if None. One that was begun alike is continued.
        jobs: processes at a time; more than one need a task that can be sent to them.
        ray: address of a Ray cluster that does the runs; "local" for one of this machine, of ``jobs`` workers.
        device: where to train.
        threads: of torch, in each run; numbers depend on it, and on none of jobs and ray.
        progress: on stderr; None: in a terminal or a notebook.

    Raises:
        InadmissibleValue: a SPEC that is none, an unknown optimizer, a setting that it has not.
        TaskError, RunFolderError, DamagedFile: bad input; runs that have ended are kept.
        ThetadotError: a worker died again and again, or there is no such cluster.

    Example:
        >>> found = compare("digits", ["untuned", "adamw:lr=1e-3"], seeds=3)  # doctest: +SKIP
        >>> print(found)  # doctest: +SKIP
    """
    _require_maker(task)
    specs = _specs(runs)
    if by not in MEASURES:
        raise InadmissibleValue(f"by={by!r} is unknown. Pass one of: {', '.join(MEASURES)}.")
    _require_counts(seeds=(seeds, _MOST_SEEDS), choosing=(choosing, _MOST_SEEDS), jobs=(jobs, _MOST_JOBS))
    _require_counts(epochs=(epochs, None), batch_size=(batch_size, None), threads=(threads, _MOST_JOBS))
    name = (task if isinstance(task, str) else str(getattr(task, "__name__", "task"))).rpartition(":")[2]
    called = re.sub(r"[^\w-]+", "-", name).strip("-") or "task"
    folder = Path(out) if out is not None else Path("runs") / f"compare-{called}"
    asked = Job(task, name, specs[0].points[0], 0, epochs, 0, batch_size, device, threads)
    base, shared = tried_out(asked, specs, by)
    store = Store(folder, shared)
    with ExitStack() as held:
        held.enter_context(Claim(folder))
        work = Work(base, specs, store, range(seeds), range(CHOOSERS, CHOOSERS + choosing), by)
        say = held.enter_context(shown(name, work.total, folder, wanted=progress))
        workers = _workers(jobs, ray, threads)
        held.callback(workers.close)
        found = work.rows(workers, say)
    given: dict[str, object] = {
        "seeds": seeds,
        "choosing": choosing,
        "epochs": epochs,
        "batch-size": batch_size,
        "by": by,
    }
    given |= {"device": device, "threads": threads}
    tested = any(outcome.test is not None for row in found for outcome in row.outcomes)
    comparison = Comparison(
        name,
        tuple(found),
        by,
        epochs,
        base.budget // epochs,
        choosing if any(spec.grid for spec in specs) else 0,
        folder,
        ("best", "final", "test") if tested else ("best", "final"),
        _command(task, specs, given),
    )
    place_result(
        folder, RESULT, msgspec.json.format(msgspec.json.encode(comparison.to_dict()), indent=1).decode() + "\n"
    )
    place_result(folder, PAGE, page(comparison))
    return comparison


def _require_maker(task: object) -> None:
    if isinstance(task, Task):
        raise InadmissibleValue(
            "task is a Task. Pass the function that makes it: each run begins from parameters of its own."
        )
    if not isinstance(task, str) and not callable(task):
        raise InadmissibleValue(
            f"task is a {type(task).__name__}. Pass a function that makes a Task, a built-in name, or "
            "'file.py:function'."
        )


def _command(task: object, specs: Sequence[Spec], given: Mapping[str, object]) -> str:
    """The command that repeats the comparison; "" where the task is a function."""
    if not isinstance(task, str):
        return ""
    runs = " ".join(shlex.quote(spec.text) for spec in specs)
    options = " ".join(f"--{name} {value}" for name, value in given.items())
    return f"thetadot compare {shlex.quote(task)} --runs {runs} {options}"


def _specs(runs: Sequence[str] | Mapping[str, str]) -> list[Spec]:
    named = runs.items() if isinstance(runs, Mapping) else ((None, text) for text in runs)
    found = []
    for name, text in named:
        if not isinstance(text, str):
            raise InadmissibleValue(f"run {text!r} is a {type(text).__name__}. Pass a SPEC as text, as sgd:lr=0.1.")
        found.append(parse(text, name))
    require(bool(found), "no run", "leaves nothing to compare", "Pass at least one, as untuned or sgd:lr=0.1.")
    require(len(found) <= _MOST_RUNS, f"{len(found)} runs", f"are more than {_MOST_RUNS}", "Pass fewer.")
    seen: dict[frozenset[str], str] = {}
    for spec in found:
        identity = frozenset(point.identity for point in spec.points)
        if identity in seen or spec.name in seen.values():
            raise InadmissibleValue(f"run {spec.name!r} is given twice. Leave one of them out.")
        seen[identity] = spec.name
    return found


def _require_counts(**given: tuple[int, int | None]) -> None:
    for name, (value, most) in given.items():
        require(value >= 1, f"{name}={value}", "is below 1", f"Pass {name} >= 1.")
        require(most is None or value <= most, f"{name}={value}", f"is above {most}", "Pass fewer.")


def _workers(jobs: int, ray: str | None, threads: int) -> Workers:
    if ray is not None:
        from thetadot.comparing.cluster import Spread  # noqa: PLC0415 - an extra

        return Spread(ray, jobs, threads)
    return Processes(jobs) if jobs > 1 else Here()
