"""Runs over a Ray cluster: each is a task of its own, retried elsewhere when its worker dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thetadot.comparing.conduct import conduct
from thetadot.comparing.workers import LIVES, error_of_lost_worker
from thetadot.errors import InadmissibleValue, ThetadotError
from thetadot.integrations.cluster import Cluster, last_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from thetadot.comparing.job import ComparisonJob
    from thetadot.comparing.workers import Done

_AHEAD = 2  # tasks a core that are handed over at a time


class ClusterSpread:
    """The workers of a Ray cluster.

    Args:
        address: as :class:`~thetadot.integrations.cluster.Cluster` takes it.
        workers: at a time, where the cluster is started here; all cores if None.
        threads: that each run takes.

    Raises:
        ThetadotError: Ray is not installed, or the address cannot be reached; later, when a run's workers die.
    """

    def __init__(self, address: str | None, workers: int | None, threads: int) -> None:
        self.cluster = Cluster(address, workers, "Runs over a cluster need")
        self.ray = self.cluster.connected()
        self.many = _AHEAD * max(1, int(self.ray.cluster_resources().get("CPU", 1)) // threads)
        self._conduct = self.ray.remote(num_cpus=threads, max_retries=LIVES - 1)(conduct)

    def done(self, jobs: Sequence[ComparisonJob]) -> Iterator[Done]:
        """Do all jobs, each by the next worker of the cluster that is free, and yield each with what came of it."""
        waiting, running = list(reversed(jobs)), dict[Any, "ComparisonJob"]()
        try:
            while waiting or running:
                while waiting and len(running) < self.many:
                    job = waiting.pop()
                    running[self._sent(job)] = job
                (ended,), _ = self.ray.wait(list(running), num_returns=1)
                outcome, record = self._fetch(ended, running[ended])
                yield running.pop(ended), outcome, record
        finally:
            for task in running:
                self.ray.cancel(task, force=True)

    def _sent(self, job: ComparisonJob) -> Any:
        try:
            return self._conduct.remote(job)
        except (TypeError, AttributeError, ValueError) as error:
            raise InadmissibleValue(
                f"the task cannot be sent to workers ({type(error).__name__}: {error}). Pass 'file.py:function', or a "
                "function without such objects."
            ) from error

    def _fetch(self, task: Any, job: ComparisonJob) -> Any:
        errors = self.ray.exceptions
        try:
            return self.ray.get(task)
        except errors.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from error
            raise ThetadotError(f"a worker failed: {last_line(error)}. Leave --ray out to see where.") from error
        except errors.RayError as error:
            raise error_of_lost_worker(job, type(error).__name__) from error

    def close(self) -> None:
        """End the cluster if it was started here, else leave it."""
        self.cluster.close()
