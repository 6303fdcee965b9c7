"""Tasks to train on: the class, and built-in ones whose real data ship inside packages."""

from thetadot.tasks.digits import digits
from thetadot.tasks.task import Task

BUILT_IN = {"digits": digits}

__all__ = ["BUILT_IN", "Task", "digits"]
