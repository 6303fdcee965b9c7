"""The state of modules kept and put back, in one process, bit for bit."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from thetadot.state.generators import generators, restore_generators
from thetadot.state.leaves import PLAIN, is_generator, is_leaf, put_back, same_bits, taken, unchanged
from thetadot.state.walk import Owner, Walk

if TYPE_CHECKING:
    from collections.abc import Container, Iterator


class Kept:
    """Copy of everything that a forward or backward pass may write.

    Of every module (and of what a loss function reaches: its closure, its object, modules it names): parameters,
    buffers, plain tensors, numbers and containers of them, random generators, modes; and the global generators. Objects
    stay the same objects: values are put back in place, and what was replaced is put back itself.

    Args:
        roots: modules and functions, by the name under which they are spoken of.
        parameters: those to copy: all, or those named (of :class:`~thetadot.state.passes.StateChange`); a copy of all
            takes their memory once more, and a forward pass rarely writes any.

    Example:
        >>> import torch
        >>> model = nn.BatchNorm1d(2)
        >>> state = Kept({"model": model})
        >>> _ = model(torch.ones(4, 2))
        >>> state.changes()
        ['model.num_batches_tracked', 'model.running_mean', 'model.running_var']
        >>> state.restore()
        >>> int(model.num_batches_tracked), state.changes()
        (0, [])
    """

    def __init__(self, roots: dict[str, Any], parameters: bool | Container[str] = True) -> None:  # noqa: FBT001, FBT002
        self.roots = roots
        walk = Walk.over(roots)
        self.owners = [(owner, owner.entries()) for owner in walk.owners]
        self.leaves: list[tuple[Owner, Any, Any, Any]] = []
        for owner, name, leaf in walk.leaves.values():
            skipped = isinstance(leaf, nn.Parameter) and not _wanted(parameters, owner.place(name))
            if not skipped:
                self.leaves.append((owner, name, leaf, taken(leaf)))
        self.wanted = [(p, p.requires_grad) for _, _, p in walk.leaves.values() if isinstance(p, nn.Parameter)]
        self.generators = generators()

    def restore(self) -> None:
        """Restore everything that was kept."""
        for owner, entries in self.owners:
            if _replaced(owner.entries(), entries):
                owner.put(entries)
        for _, _, leaf, value in self.leaves:
            if not unchanged(leaf, value):
                put_back(leaf, value)
        for parameter, wanted in self.wanted:
            parameter.requires_grad_(wanted)
        restore_generators(self.generators)

    def changes(self) -> list[str]:
        """List where values differ now from what was kept, bit for bit; the global generators aside."""
        return sorted({owner.place(name) for owner, name, _ in self.differing()})

    def differing(self) -> Iterator[tuple[Owner, Any, str]]:
        """Owner, name and kind of each value that differs: parameter, buffer, generator or attribute."""
        for owner, before in self.owners:
            now = owner.entries()
            for name in before.keys() | now.keys():
                if name not in now or name not in before or not _same(now[name], before[name]):
                    yield owner, name, _kind_of_leaf(owner, now.get(name, before.get(name)))
        for owner, name, leaf, value in self.leaves:
            if not unchanged(leaf, value):
                yield owner, name, _kind_of_leaf(owner, leaf)


@contextmanager
def kept(parameters: bool | Container[str] = True, **roots: Any) -> Iterator[Kept]:  # noqa: FBT001, FBT002
    """The state of the roots, and the global generators, are bit for bit as before afterwards.

    Example:
        >>> import torch
        >>> model = nn.BatchNorm1d(2)
        >>> with kept(model=model):
        ...     _ = model(torch.ones(4, 2))
        >>> int(model.num_batches_tracked)
        0
    """
    state = Kept(roots, parameters)
    try:
        yield state
    finally:
        state.restore()


def _wanted(parameters: bool | Container[str], place: str) -> bool:  # noqa: FBT001
    return parameters if isinstance(parameters, bool) else place in parameters


def _replaced(now: dict[Any, Any], before: dict[Any, Any]) -> bool:
    return list(now) != list(before) or any(not _same(now[name], value) for name, value in before.items())


def _same(now: Any, before: Any) -> bool:
    """Whether two values are one object or equal plain values; owners are compared elsewhere."""
    return now is before or (isinstance(now, PLAIN) and isinstance(before, PLAIN) and same_bits(now, before))


def _kind_of_leaf(owner: Owner, value: Any) -> str:
    named = {"_parameters": "parameter", "_buffers": "buffer"}.get(owner.space)
    if isinstance(value, nn.Parameter):
        return "parameter"
    return named or ("generator" if is_leaf(value) and is_generator(value) else "attribute")
