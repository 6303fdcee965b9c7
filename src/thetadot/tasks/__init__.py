"""What is trained: the task, and built-in ones on real data that ship inside packages, nothing to download."""

from thetadot.tasks.digits import digits
from thetadot.tasks.task import Task

BUILT_IN = {"digits": digits}

__all__ = ["BUILT_IN", "Task", "digits"]
