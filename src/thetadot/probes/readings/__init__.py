"""Any torch optimizer, read as mechanics: its own word where it gives one, else an adapter for torch's, one file each.

Example:
    >>> import torch
    >>> sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    >>> round(read(sgd, sgd.param_groups[0]).limit, 9)
    38.0
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

from thetadot.core.reading import Readable, Reading
from thetadot.probes.readings import adagrad, adam, nadam, rmsprop, sgd, unread

if TYPE_CHECKING:
    import torch

ADAPTERS: tuple[tuple[Any, Any], ...] = (
    *sgd.ADAPTERS,
    *adam.ADAPTERS,
    *nadam.ADAPTERS,
    *rmsprop.ADAPTERS,
    *adagrad.ADAPTERS,
    *unread.ADAPTERS,
)


def read(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
    """Read one of an optimizer's ``param_groups`` as mechanics.

    Weight decay is part of it: an optimizer of one's own reckons with it in ``reading``
    (:meth:`~thetadot.core.reading.Reading.decayed`).

    An optimizer that neither implements :class:`Readable` nor is known lacks limit, friction and rate, and says so in
    :attr:`Reading.lacks`. A subclass of torch's optimizers is read as what it is derived from only if it inherits
    ``step``: another rule is another motion.
    """
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrapper
    if isinstance(inner, Readable):
        return inner.reading(group)
    for kind, adapter in ADAPTERS:
        if isinstance(inner, kind) and _rule(type(inner)) is _rule(kind):
            reading: Reading = adapter(inner, group)
            return reading
    return _unknown(inner, group)


def _rule(kind: type[torch.optim.Optimizer]) -> object:
    """Return an optimizer's ``step`` without torch's wrappers."""
    return inspect.unwrap(kind.step)


def _unknown(optimizer: object, group: dict[str, Any]) -> Reading:
    name = type(optimizer).__name__
    why = (
        f"{name} is not known to thetadot. Give it a method reading(group) -> thetadot.core.reading.Reading, "
        "or watch one of torch.optim or of thetadot.optim"
    )
    lr = group.get("lr")
    step = float(lr) if lr is not None else math.nan
    return Reading(step, None, math.inf, lacks=dict.fromkeys(("limit", "friction", "temperature", "damping"), why))
