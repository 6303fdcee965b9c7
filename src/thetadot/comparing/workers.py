"""Who does the runs: this process, several, or a Ray cluster; a run is a function of its job, so any of them will do.

A worker that dies takes one run with it, which another does again; a run whose worker dies four times is given up.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Protocol

from thetadot.comparing.conduct import conduct
from thetadot.errors import InadmissibleValue, ThetadotError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from thetadot.comparing.job import Job, Outcome

LIVES = 4
"""Workers that may die of one run."""

Done = tuple["Job", "Outcome", bytes | None]


class Workers(Protocol):
    """Whoever does runs."""

    def done(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Do all of them, and give each back when it has ended."""

    def close(self) -> None:
        """End what was started; runs that have not ended are given up."""


class Here:
    """This process, one run after another."""

    def done(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Do all of them in order."""
        for job in jobs:
            outcome, record = conduct(job)
            yield job, outcome, record

    def close(self) -> None:
        """Nothing was started."""


class Processes:
    """Processes of this machine.

    Args:
        many: at a time.

    Raises:
        InadmissibleValue: when asked to do what cannot be sent to another process.
        ThetadotError: when a run's worker died again and again.
    """

    def __init__(self, many: int) -> None:
        self.many = many
        self._pool: ProcessPoolExecutor | None = None

    def done(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Do all of them, as workers are free."""
        _require_sent(jobs)
        waiting, deaths = deque(jobs), Counter[int]()
        running: dict[Future[Any], Job] = {}
        while waiting or running:
            try:
                while waiting and len(running) < self.many:
                    running[self._started().submit(conduct, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome, record = future.result()
                    yield running.pop(future), outcome, record
            except BrokenExecutor as error:  # which of them died is not told
                for job in running.values():
                    deaths[id(job)] += 1
                    if deaths[id(job)] >= LIVES:
                        raise lost(job, error) from error
                waiting.extendleft(reversed(running.values()))
                running.clear()
                self.close()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # threads of torch do not outlive a fork
            self._pool = ProcessPoolExecutor(self.many, mp_context=context, initializer=_begin)
        return self._pool

    def close(self) -> None:
        """End the processes, whatever they do."""
        pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):  # noqa: SLF001 - public from Python 3.14 on
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """In a worker: Ctrl-C is the parent's to answer, and a parent that was killed leaves none behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _require_sent(jobs: Sequence[Job]) -> None:
    for make in {id(job.make): job.make for job in jobs}.values():
        try:
            pickle.dumps(make)
        except Exception as error:  # whatever the user's objects throw at being copied
            raise InadmissibleValue(
                f"the task cannot be sent to other processes ({type(error).__name__}: {error}). Pass jobs=1, or "
                "'file.py:function', or a function of a module."
            ) from error


def lost(job: Job, error: BaseException) -> ThetadotError:
    """The error of a run whose worker died again and again."""
    return ThetadotError(
        f"run {job.point.label!r}, seed {job.seed}, was lost with its worker {LIVES} times ({type(error).__name__}). "
        "Is there memory enough? Pass fewer --jobs; the runs that have ended are kept."
    )
