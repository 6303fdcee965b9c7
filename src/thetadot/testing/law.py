"""A law: a sentence about optimizers, and the experiment that would refute it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.signatures import checked
from thetadot.errors import ThetadotError

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.testing.subject import Subject
    from thetadot.testing.traits import Traits


class BrokenLaw(ThetadotError, AssertionError):  # noqa: N818 - a noun, as the other errors are
    """Error for an observation that breaks a law."""


@checked
def expect(condition: object, seen: str) -> None:
    """Raise :class:`BrokenLaw`, saying what was seen, unless ``condition`` holds.

    Example:
        >>> expect(1 + 1 == 2, "arithmetic fails")
    """
    if not condition:
        raise BrokenLaw(seen)


def _always(_: Traits) -> bool:
    return True


@dataclass(frozen=True)
class Law:
    """A law as data.

    Attributes:
        name: the sentence in a few words, an identifier.
        experiment: runs it on a subject; any exception means that the law is broken.
        applies: to which optimizers.
        slow: seconds rather than milliseconds.
    """

    name: str
    experiment: Callable[[Subject], None]
    applies: Callable[[Traits], bool] = _always
    slow: bool = False

    @property
    def sentence(self) -> str:
        """The law in words."""
        return (self.experiment.__doc__ or "").strip()

    @property
    def about(self) -> str:
        """The subject: the file that holds the law."""
        return self.experiment.__module__.rpartition(".")[2]

    def __call__(self, subject: Subject) -> None:
        """Run the law's experiment."""
        self.experiment(subject)


@checked
def law(
    *, applies: Callable[[Traits], bool] = _always, slow: bool = False
) -> Callable[[Callable[[Subject], None]], Law]:
    """Make a law of a function of a :class:`Subject`; its name is the law's, its docstring the sentence.

    Example:
        >>> @law()
        ... def steps_return_nothing(subject):
        ...     '''A step without closure returns None.'''
        >>> steps_return_nothing.sentence
        'A step without closure returns None.'
    """

    def make(experiment: Callable[[Subject], None]) -> Law:
        return Law(experiment.__name__, experiment, applies, slow)

    return make
