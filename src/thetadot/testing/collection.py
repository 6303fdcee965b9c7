"""Collection of all laws, by subject."""

from __future__ import annotations

from thetadot.core.signatures import checked
from thetadot.testing.law import Law
from thetadot.testing.laws import (
    closure,
    compilation,
    differentiation,
    gradients,
    groups,
    hyperparameters,
    loading,
    parameters,
    precision,
    randomness,
    scaling,
    schedules,
    state,
)

SUBJECTS = (
    groups,
    hyperparameters,
    gradients,
    parameters,
    closure,
    state,
    loading,
    schedules,
    precision,
    randomness,
    scaling,
    differentiation,
    compilation,
)


@checked
def laws() -> tuple[Law, ...]:
    """Return every law of the contract, in the order of reading.

    Example:
        >>> [law.name for law in laws() if law.about == "groups"][0]
        'groups_are_separate_optimizers'
    """
    return tuple(found for module in SUBJECTS for found in vars(module).values() if isinstance(found, Law))
