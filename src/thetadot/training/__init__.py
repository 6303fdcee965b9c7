"""The main job: a task is trained without tuning, steered on the way, and the run is shown as motion."""

from thetadot.training.branching import BatchBranch, CriticalBatch, critical_batch
from thetadot.training.job import run
from thetadot.training.loading import load
from thetadot.training.loops import Checkpoint
from thetadot.training.result import Result
from thetadot.training.suggesting import suggest
from thetadot.training.suggestion import Suggestion

__all__ = [
    "BatchBranch",
    "Checkpoint",
    "CriticalBatch",
    "Result",
    "Suggestion",
    "critical_batch",
    "load",
    "run",
    "suggest",
]
