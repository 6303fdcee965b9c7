"""The task of a run, made where it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from thetadot.training.setting import device_of, seed_all
from thetadot.training.spec import checked, resolve, users_code

if TYPE_CHECKING:
    from thetadot.comparing.job import ComparisonJob
    from thetadot.tasks.task import Task


def made(job: ComparisonJob) -> Task:
    """Return the task of a job, made after the seeds are set, on the device where it is trained."""
    seed_all(job.seed)
    make = resolve(job.make) if isinstance(job.make, str) else job.make
    with users_code():
        task = checked(make())
    device = device_of(job.device)
    task.model.to(device)
    if isinstance(task.loss, nn.Module):
        task.loss.to(device)
    return task
