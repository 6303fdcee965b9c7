"""Exceptions whose messages say how to put things right.

Every message has three parts: what came, what is admissible, what to do. State is unchanged when an error is raised.
"""

from __future__ import annotations


class ThetadotError(Exception):
    """Base of every error that thetadot raises on purpose."""


class InadmissibleValue(ThetadotError, ValueError):  # noqa: N818 - a noun of the field, as ValueError is
    """An argument lies outside its admissible range."""


class NoParameters(InadmissibleValue, TypeError):  # noqa: N818
    """Error for parameters that an optimizer cannot move; also a TypeError, as in torch.optim."""


class IncompatiblePair(ThetadotError, TypeError):  # noqa: N818
    """Error for an integrator that cannot step a given system."""


class MissingClosure(ThetadotError, RuntimeError):  # noqa: N818
    """A step needs more gradients than ``p.grad`` holds, and no closure was given."""


class NotConverged(ThetadotError, RuntimeError):  # noqa: N818
    """An iteration ended without reaching its tolerance.

    Attributes:
        last: of a simulation, the trajectory up to what was saved last.
    """

    last: object = None


class DamagedFile(ThetadotError, OSError):  # noqa: N818
    """A file that is not what it should be."""


class TaskError(ThetadotError):
    """A task that cannot be trained as it was given."""


class RunFolderError(ThetadotError, OSError):
    """A run folder that cannot be written, resumed or reused."""


class Diverged(ThetadotError, ArithmeticError):  # noqa: N818
    """Error for a state that is no longer finite.

    Attributes:
        last: of a simulation, the trajectory up to the last good step.
    """

    last: object = None


class TooLarge(ThetadotError, MemoryError):  # noqa: N818
    """Error for a request that exceeds memory, raised before allocation."""


def require(condition: bool, came: str, admissible: str, remedy: str) -> None:  # noqa: FBT001
    """Raise :class:`InadmissibleValue` unless ``condition`` holds.

    Example:
        >>> require(0.9 < 1, "momentum=0.9", "[0, 1)", "pass momentum < 1")
        >>> require(1.2 < 1, "momentum=1.2", "is outside [0, 1): the friction it stands for is negative",
        ...         "Pass momentum < 1.")
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: momentum=1.2 is outside [0, 1): the friction it stands for is negative. \
Pass momentum < 1.
    """
    if not condition:
        raise InadmissibleValue(f"{came} {admissible}. {remedy}")
