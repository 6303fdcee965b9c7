"""Compare runs at equal budgets: choose from grids, score on other seeds, keep every run that has ended."""

from __future__ import annotations

import re
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from thetadot.comparing.asking import MOST_JOBS, require_counts, require_maker, seeds_of, specs_of, text_of
from thetadot.comparing.checks import tried_out
from thetadot.comparing.job import MEASURES, ComparisonJob, Measure
from thetadot.comparing.page import comparison_page
from thetadot.comparing.result import Comparison
from thetadot.comparing.showing import shown
from thetadot.comparing.store import PAGE, RESULT, Store, place_result
from thetadot.comparing.work import Work
from thetadot.comparing.workers import Here, Processes, Workers
from thetadot.core import signatures
from thetadot.core.files import Claim
from thetadot.errors import InadmissibleValue
from thetadot.training.arguments import EPOCHS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from thetadot.comparing.compared_run import ComparedRun
    from thetadot.comparing.spec import Spec
    from thetadot.tasks.task import Task

    Maker = Callable[[], Task] | str

SEEDS, CHOOSING, BATCH = 5, 2, 32


@signatures.checked
def compare(
    task: Maker,
    runs: Sequence[str] | Mapping[str, str],
    *,
    seeds: int | range = SEEDS,
    choosing: int | range = CHOOSING,
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
            ``"adamw:lr=1e-3,schedule=cosine"``, a grid ``"sgd:lr=0.01|0.1|1,momentum=0.9"``, one over several
            optimizers ``"sgd:lr=0.01|0.1; adamw:lr=1e-3|1e-2"``, a peer's ``"prodigyopt:Prodigy(lr=1.0)"``.
            Differences are from the first.
        seeds: number of those that score, from 0 on; or a range of them.
        choosing: number of other seeds, that choose from grids; or a range of them.
        epochs: passes over the training data that are the budget.
        batch_size: where a SPEC has none.
        by: loss that is compared: "best" (lowest validation loss after an epoch), "final" (validation loss after the
            last step), "returned" (of the state that is given back: by thetadot's run the best, by a plain loop the
            last); "test", "final-test", "returned-test": the loss of the same states on test data.
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
    require_maker(task)
    specs = specs_of(runs)
    if by not in MEASURES:
        raise InadmissibleValue(f"by={by!r} is unknown. Pass one of: {', '.join(MEASURES)}.")
    scoring, choosers = seeds_of(seeds, choosing)
    require_counts(jobs=(jobs, MOST_JOBS), threads=(threads, MOST_JOBS))
    require_counts(epochs=(epochs, None), batch_size=(batch_size, None))
    name = (task if isinstance(task, str) else str(getattr(task, "__name__", "task"))).rpartition(":")[2]
    folder = Path(out) if out is not None else _default_folder(name)
    asked = ComparisonJob(task, name, specs[0].points[0], 0, epochs, 0, batch_size, device, threads)
    begun = tried_out(asked, specs, by)
    store = Store(folder, begun.shared)
    with ExitStack() as held:
        held.enter_context(Claim(folder))
        work = Work(begun.base, specs, store, scoring, choosers, by)
        say = held.enter_context(shown(name, work.total, folder, wanted=progress))
        workers = _workers(jobs, ray, threads)
        held.callback(workers.close)
        found = work.rows(workers, say)
    given = {"seeds": text_of(seeds), "choosing": text_of(choosing), "epochs": epochs, "batch-size": batch_size}
    comparison = Comparison(
        name,
        tuple(found),
        by,
        epochs,
        begun.base.budget // epochs,
        len(choosers) if any(spec.grid for spec in specs) else 0,
        folder,
        _measures(found, by),
        _repeating_command(task, specs, {**given, "by": by, "device": device, "threads": threads}),
        begun.constant,
    )
    _write_result(comparison)
    return comparison


def _default_folder(task: str) -> Path:
    """Where a comparison lies that was given no folder."""
    called = re.sub(r"[^\w-]+", "-", task).strip("-") or "task"
    return Path("runs") / f"compare-{called}"


def _measures(rows: Sequence[ComparedRun], by: Measure) -> tuple[Measure, ...]:
    """Losses that there are; those of states returned where a run gives its best one back."""
    tested = any(outcome.test is not None for row in rows for outcome in row.outcomes)
    own = any(row.point.own for row in rows)
    return tuple(
        each
        for each in MEASURES
        if each == by or ((tested or not each.endswith("test")) and (own or not each.startswith("returned")))
    )


def _write_result(comparison: Comparison) -> None:
    """Write the table and the page."""
    text = msgspec.json.format(msgspec.json.encode(comparison.to_dict()), indent=1).decode() + "\n"
    place_result(comparison.out, RESULT, text)
    place_result(comparison.out, PAGE, comparison_page(comparison))


def _repeating_command(task: object, specs: Sequence[Spec], given: Mapping[str, object]) -> str:
    """The command that repeats the comparison; "" where the task is a function."""
    if not isinstance(task, str):
        return ""
    runs = " ".join(shlex.quote(spec.text) for spec in specs)
    options = " ".join(f"--{name} {value}" for name, value in given.items())
    return f"thetadot compare {shlex.quote(task)} --runs {runs} {options}"


def _workers(jobs: int, ray: str | None, threads: int) -> Workers:
    if ray is not None:
        from thetadot.comparing.cluster import ClusterSpread  # noqa: PLC0415 - an extra

        return ClusterSpread(ray, jobs, threads)
    return Processes(jobs) if jobs > 1 else Here()
