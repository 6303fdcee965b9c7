"""Built-in tasks: real data that ships inside packages, nothing to download."""

from thetadot.tasks.digits import digits

__all__ = ["digits"]
