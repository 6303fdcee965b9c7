"""The state of modules as plain containers, for copies that are kept long and for files."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from thetadot.state.plain import NotPlain, fitted, plain_form
from thetadot.state.walk import Owner, Walk

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_CONTAINERS = (dict, list, tuple, deque, set, frozenset)


def pack(roots: Mapping[str, Any], without: Collection[int] = ()) -> dict[str, Any]:
    """Copy the roots' attributes into containers that ``torch.load(weights_only=True)`` accepts.

    Args:
        roots: modules and functions, by name.
        without: identities of tensors that are kept elsewhere, in a state dict say.

    Returns:
        ``{"path|space": {name: value}}``. What has no plain form is left out, and stays as it is in :func:`unpack`.

    Example:
        >>> from torch import nn
        >>> model = nn.Linear(1, 1)
        >>> model.calls = 3
        >>> found = pack({"model": model}, without=[id(p) for p in model.parameters()])
        >>> model.calls = 5
        >>> unpack(found, {"model": model})
        >>> model.calls
        3
    """
    found: dict[str, Any] = {}
    for owner in _named(Walk.over(roots)):
        entries = {}
        for name, value in owner.entries().items():
            if isinstance(name, str) and id(value) not in without:
                try:
                    entries[name] = plain_form(value)
                except NotPlain:
                    continue
        found[_key(owner)] = entries
    return found


def unpack(packed: Mapping[str, Any], roots: Mapping[str, Any], without: Collection[int] = ()) -> None:
    """Put back what :func:`pack` took, into the same roots or into those that were made anew.

    Tensors and generators are written in place where they fit; attributes that appeared since are taken away.
    """
    for owner in _named(Walk.over(roots)):
        if _key(owner) not in packed:
            continue
        wanted, now = packed[_key(owner)], owner.entries()
        entries = dict(now)
        for name, value in now.items():
            if name not in wanted and id(value) not in without and _packable(value):
                del entries[name]
        for name, value in wanted.items():
            if name in now or _admitted(owner, name):
                entries[name] = fitted(now.get(name), value)
        if list(entries) != list(now) or any(entries[name] is not value for name, value in now.items()):
            owner.put(entries)


def _named(walk: Walk) -> list[Owner]:
    """Owners whose values have names of their own; containers are values."""
    return [owner for owner in walk.owners if not isinstance(owner.held, _CONTAINERS) and owner.space != "_modules"]


def _key(owner: Owner) -> str:
    return f"{owner.path}|{owner.space}"


def _admitted(owner: Owner, name: str) -> bool:
    """An attribute of a file never hides a method."""
    found = getattr(type(owner.held), name, None)
    return not callable(found) and not hasattr(found, "__set__")


def _packable(value: Any) -> bool:
    try:
        plain_form(value)
    except NotPlain:
        return False
    return True
