"""Built-in tasks: real data that ships inside packages, nothing to download."""

from thetadot.tasks.digits import digits

BUILT_IN = {"digits": digits}

__all__ = ["BUILT_IN", "digits"]
