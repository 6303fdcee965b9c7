"""Search for the state of modules: owners of values, found from modules, functions and their closures."""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from thetadot.state.leaves import PLAIN, is_leaf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DEEPEST = 12  # containers and objects inside one another
_INTERNAL = frozenset(nn.Module().__dict__) - {"training"}
_SPACES = ("_parameters", "_buffers", "_modules")
_OTHERS = {  # their objects hold machinery (trainers, loggers, compiled code), or know nothing of a run
    "torch", "numpy", "scipy", "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities",
    "accelerate", "transformers", "deepspeed", "torchmetrics", "tensorboard", "wandb", "thetadot", "pytest", "_pytest",
}  # fmt: skip


@dataclass
class Owner:
    """Holder of named values: a module, another object, a container, a closure.

    Attributes:
        path: where it was found first, "model.encoder".
        held: the object.
        space: of a module: "" for plain attributes, else "_parameters", "_buffers", "_modules".
    """

    path: str
    held: Any
    space: str = ""

    def entries(self) -> dict[Any, Any]:  # noqa: PLR0911 - one kind a line
        """Return the held values by name; in a sequence, by place."""
        if isinstance(self.held, nn.Module):
            if self.space:
                return dict(self.held.__dict__[self.space])
            return {name: value for name, value in self.held.__dict__.items() if name not in _INTERNAL}
        if isinstance(self.held, types.CellType):
            try:
                return {"": self.held.cell_contents}
            except ValueError:  # empty
                return {}
        if isinstance(self.held, dict):
            return dict(self.held)
        if isinstance(self.held, list | tuple | deque | set | frozenset):
            return dict(enumerate(self.held))
        if isinstance(self.held, _Referred):
            return self.held.names
        return dict(self.held.__dict__)

    def put(self, entries: Mapping[Any, Any]) -> None:
        """Make these its values."""
        held: Any = self.held
        if isinstance(held, tuple | frozenset | _Referred):
            return
        if isinstance(held, types.CellType):
            held.cell_contents = entries[""]
        elif isinstance(held, list):
            held[:] = entries.values()
        elif isinstance(held, set | deque):
            held.clear()
            (held.update if isinstance(held, set) else held.extend)(entries.values())
        elif isinstance(held, dict):
            held.clear()  # its order is part of it
            held.update(entries)
        else:
            space = held.__dict__[self.space] if self.space else held.__dict__
            for name in self.entries().keys() - entries.keys():
                del space[name]
            space.update(entries)

    def place(self, name: object) -> str:
        """Describe where one of the values lies."""
        if isinstance(self.held, types.CellType | _Referred):
            return self.path
        container = isinstance(self.held, dict | list | tuple | deque | set | frozenset)
        return f"{self.path}[{name!r}]" if container else f"{self.path}.{name}"


@dataclass(frozen=True)
class _Referred:
    """Global values that a function names; they are looked into and never replaced."""

    names: dict[str, Any]


@dataclass
class Walk:
    """All owners reached from some roots, each once.

    Attributes:
        owners: in the order in which they were found.
        leaves: what changes in place, by identity, and where it was found first.
        opaque: objects that are not looked into.
    """

    owners: list[Owner] = field(default_factory=list)
    leaves: dict[int, tuple[Owner, Any, Any]] = field(default_factory=dict)
    opaque: dict[int, tuple[Owner, Any, Any]] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    @classmethod
    def over(cls, roots: Mapping[str, object]) -> Walk:
        """Walk from roots under their names."""
        walk = cls()
        for name, root in roots.items():
            walk._visit(name, root, 0)
        return walk

    def _visit(self, path: str, value: Any, depth: int) -> None:
        if id(value) in self.seen or isinstance(value, PLAIN) or depth > _DEEPEST:
            return
        self.seen.add(id(value))
        if isinstance(value, nn.Module):
            for space in ("", *_SPACES):
                self._enter(Owner(path, value, space), depth if space == "" else -1)
            self._refer(type(value).forward, depth)
        elif isinstance(value, dict | list | tuple | deque | set | frozenset | types.CellType):
            self._enter(Owner(path, value), depth)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self._visit(path, part, depth + 1)
        elif isinstance(value, types.MethodType):
            self._visit(path, value.__self__, depth + 1)
            self._visit(path, value.__func__, depth + 1)
        elif isinstance(value, types.FunctionType):
            self._function(path, value, depth)
        elif looked_into(value):
            self._enter(Owner(path, value), depth)
            self._refer(vars(type(value)).get("__call__"), depth)

    def _enter(self, owner: Owner, depth: int) -> None:
        self.owners.append(owner)
        for name, value in owner.entries().items():
            if is_leaf(value):
                self.leaves.setdefault(id(value), (owner, name, value))
            elif isinstance(value, PLAIN):
                continue
            elif _entered(value):
                self._visit(owner.place(name), value, depth + 1)
            else:
                self.opaque.setdefault(id(value), (owner, name, value))

    def _function(self, path: str, function: types.FunctionType, depth: int) -> None:
        names = function.__code__.co_freevars
        for name, cell in zip(names, function.__closure__ or (), strict=True):
            self._visit(f"{path}.{name}", cell, depth + 1)
        for part in (function.__defaults__, function.__kwdefaults__, getattr(function, "__wrapped__", None)):
            self._visit(path, part, depth + 1)
        self._refer(function, depth)

    def _refer(self, function: object, depth: int) -> None:
        """Follow a user's function to the modules, tensors, generators and functions it names globally."""
        if not isinstance(function, types.FunctionType) or _is_foreign(function.__module__):
            return
        found = {}
        for name in _names(function.__code__):
            value = function.__globals__.get(name)
            own = isinstance(value, types.FunctionType) and value.__module__ == function.__module__
            if own:
                self._visit(name, value, depth + 1)
            elif isinstance(value, nn.Module) or is_leaf(value):
                found[name] = value
        for name, value in found.items():
            self._enter(Owner(name, _Referred({name: value})), depth)


def is_machinery(value: object) -> bool:
    """Whether a value is data, an optimizer, or an object of a library that trains: no state of a pass, and large."""
    others = (type, types.ModuleType, Dataset, DataLoader, torch.optim.Optimizer)
    return isinstance(value, others) or type(value).__module__.partition(".")[0] in _OTHERS


def looked_into(value: object) -> bool:
    """Whether ``value`` is a plain object of a class that the user defined."""
    if is_machinery(value):
        return False
    return type(getattr(value, "__dict__", None)) is dict and not _is_foreign(type(value).__module__)


def _entered(value: object) -> bool:
    kinds = (nn.Module, dict, list, tuple, deque, set, frozenset, functools.partial, types.FunctionType)
    return isinstance(value, (*kinds, types.MethodType)) or looked_into(value)


def _is_foreign(module: object) -> bool:
    top = str(module).partition(".")[0]
    return top in _OTHERS or (top in sys.stdlib_module_names and top != "__main__")


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
