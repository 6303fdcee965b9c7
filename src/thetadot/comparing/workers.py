"""Who does the runs: this process, several, or a Ray cluster; a run is a function of its job, so any of them will do.

A worker that dies takes one run with it, which another does again; a run whose worker dies four times is given up.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import Counter, deque
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Protocol, cast

from thetadot.comparing.conduct import conduct
from thetadot.errors import InadmissibleValue, ThetadotError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from thetadot.comparing.job import ComparisonJob, Outcome

LIVES = 4
"""Workers that may die of one run."""

Done = tuple["ComparisonJob", "Outcome", bytes | None]


class Workers(Protocol):
    """Protocol of what does the runs of a comparison: this process, several, or a cluster."""

    def done(self, jobs: Sequence[ComparisonJob]) -> Iterator[Done]:
        """Do all jobs, and yield each with what came of it when it has ended."""

    def close(self) -> None:
        """End the workers that were started; runs that have not ended are given up."""


class Here:
    """Workers that are none: the process that asks does one run after another."""

    def done(self, jobs: Sequence[ComparisonJob]) -> Iterator[Done]:
        """Do the jobs one after another, and yield each with what came of it."""
        for job in jobs:
            outcome, record = conduct(job)
            yield job, outcome, record

    def close(self) -> None:
        """Leave all as it is, since no worker was started."""


class Processes:
    """Workers that are processes of this machine, each with a pipe of its own, so that it is known whose run died.

    Args:
        many: at a time.

    Raises:
        InadmissibleValue: when asked to do what cannot be sent to another process.
        ThetadotError: when a run's worker died again and again.
    """

    def __init__(self, many: int) -> None:
        self.many = many
        self._workers: list[_Worker] = []

    def done(self, jobs: Sequence[ComparisonJob]) -> Iterator[Done]:
        """Do all jobs, each by the next process that is free, and yield each with what came of it."""
        _require_sent(jobs)
        waiting, deaths = deque(jobs), Counter[int]()
        while waiting or any(worker.job is not None for worker in self._workers):
            self._hand_out(waiting)
            busy = [worker for worker in self._workers if worker.job is not None]
            ready = wait([end for worker in busy for end in (worker.pipe, worker.process.sentinel)])
            for worker in busy:
                if worker.pipe not in ready and worker.process.sentinel not in ready:
                    continue
                job, answer = worker.job, worker.answer()
                if answer is not None:
                    outcome, record = answer
                    yield cast("ComparisonJob", job), outcome, record
                    continue
                self._workers.remove(worker)
                deaths[id(job)] += 1
                if deaths[id(job)] >= LIVES:
                    raise error_of_lost_worker(cast("ComparisonJob", job), f"exit code {worker.process.exitcode}")
                waiting.appendleft(cast("ComparisonJob", job))

    def _hand_out(self, waiting: deque[ComparisonJob]) -> None:
        while waiting:
            free = next((worker for worker in self._workers if worker.job is None), None)
            if free is None:
                if len(self._workers) == self.many:
                    return
                free = _Worker()
                self._workers.append(free)
            free.begin(waiting.popleft())

    def close(self) -> None:
        """End the processes that do runs, whatever they are at."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()


class _Worker:
    """A process, and the run that it does; None while it is free."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # threads of torch do not outlive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.job: ComparisonJob | None = None

    def begin(self, job: ComparisonJob) -> None:
        """Hand over a run; a worker that has died by now is found by its answer."""
        self.job = job
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(job)

    def answer(self) -> tuple[Outcome, bytes | None] | None:
        """What came of the run, its error raised; None where the process has died."""
        self.job = None
        try:
            found = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            self.pipe.close()
            return None
        if isinstance(found, BaseException):
            raise found
        return cast("tuple[Outcome, bytes | None]", found)


def _serve(pipe: Connection) -> None:
    """In a worker: do runs until there are none. Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()
    with suppress(EOFError):
        while True:
            job = pipe.recv()
            try:
                pipe.send(conduct(job))
            except Exception as error:  # noqa: BLE001 - raised where the run was asked for
                pipe.send(_sendable(error))


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as a note, or that text alone where it cannot be sent."""
    said = "".join(traceback.format_exception(error))
    try:
        error.__cause__ = error.__context__ = None
        error.add_note(said)
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    except Exception:  # noqa: BLE001 - whatever the user's objects throw at being copied
        return RuntimeError(said)
    return error


def _follow() -> None:
    """A parent that was killed leaves no worker behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _require_sent(jobs: Sequence[ComparisonJob]) -> None:
    for make in {id(job.make): job.make for job in jobs}.values():
        try:
            pickle.dumps(make)
        except Exception as error:  # whatever the user's objects throw at being copied
            raise InadmissibleValue(
                f"the task cannot be sent to other processes ({type(error).__name__}: {error}). Pass jobs=1, or "
                "'file.py:function', or a function of a module."
            ) from error


def error_of_lost_worker(job: ComparisonJob, why: str) -> ThetadotError:
    """The error of a run whose worker died again and again."""
    return ThetadotError(
        f"run {job.point.label!r}, seed {job.seed}, was lost with its worker {LIVES} times ({why}). "
        "Is there memory enough? Pass fewer --jobs; the runs that have ended are kept."
    )
