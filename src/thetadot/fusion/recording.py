"""Recordings of a function's torch operations in order, with their numbers and captured tensors.

Two functions whose recordings are equal do the same, wherever their numbers come from: a closure, an attribute, a
global, a default, a network's weights. So a recording is what a trace may be kept by. It is taken of real tensors
(a trace takes thirty times as long), and leaves no mark: tensors that the function holds are written to as copies, and
the generators that it draws from are put back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from thetadot.core.tensors import every_operation_seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LARGE = 20_000
"""Elements of a held tensor that no trace takes for numbers; what it holds is then none of the recording."""

_PRODUCTS = {"mm": 0, "addmm": 1, "bmm": 0, "baddbmm": 1, "mv": 0, "dot": 0, "addmv": 1}  # place of the left factor
_MOVES = frozenset({
    "detach", "alias", "view", "_unsafe_view", "reshape", "expand", "t", "transpose", "permute", "unsqueeze", "squeeze",
    "select", "slice", "unbind", "split", "split_with_sizes", "lift_fresh", "empty", "empty_like", "new_empty",
    "as_strided",
})  # fmt: skip
_SIMPLE = (Tensor, torch.nn.Parameter)
_READS = frozenset({"_local_scalar_dense", "item", "equal"})
_NORMS_IN_PLACE = {"native_batch_norm": (3, 4), "cudnn_batch_norm": (3, 4), "miopen_batch_norm": (3, 4)}


@dataclass
class Recording:
    """Recording of one call.

    Attributes:
        lines: operations, hashable.
        calls: those that compute something.
        elements: that they compute, products of matrices left out.
        products: multiplications in products of matrices.
        hindrance: why it cannot be traced, as far as it is seen here; empty if nothing is.
    """

    lines: list[Any] = field(default_factory=list)
    calls: int = 0
    elements: int = 0
    products: int = 0
    hindrance: str = ""


class Recorder(TorchDispatchMode):
    """While it is entered, operations are recorded in ``recording``.

    Args:
        seen: tensors that are the function's arguments, by name.
    """

    def __init__(self, seen: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recording = Recording()
        self._kept: list[tuple[Tensor, Any]] = []  # alive, so that no other tensor is taken for them
        self._places: dict[int, Any] = {}
        self._memories: dict[Any, Any] = {}  # of those kept first, so many as were looked into
        self._looked = 0
        self._held = 0
        self._copies: dict[int, Tensor] = {}
        self._generators: list[tuple[torch.Generator, Tensor]] = []
        self.know(seen or {})

    def know(self, seen: Mapping[str, Tensor]) -> None:
        """Register further arguments of the step that is recorded."""
        for name, value in seen.items():
            self._place(value, name)

    def place_of(self, value: Any) -> Any:
        """Return the place in the recording of a returned value."""
        return self._told(value)

    def __enter__(self) -> Self:
        self._beside = (random.getstate(), np.random.get_state(legacy=False))  # noqa: NPY002 - the user's, put back
        self._seen = every_operation_seen()
        self._seen.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *given: object) -> None:
        super().__exit__(*given)  # type: ignore[no-untyped-call]
        self._seen.__exit__(*cast("Any", given))
        for generator, state in reversed(self._generators):
            generator.set_state(state)
        python, numpy = self._beside
        if random.getstate() != python:
            random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, draws, writes = _traits(func)
        recording = self.recording
        line = (func, *map(self._told, args))
        if kwargs:
            line = (*line, tuple((key, self._told(value)) for key, value in kwargs.items()))
        if draws or name in _READS:
            self._hinder("it draws random numbers" if draws else "it reads a value")
        if draws:
            generator = (kwargs or {}).get("generator") or torch.default_generator
            self._generators.append((generator, generator.get_state()))
        written = self._written(func, name, args, kwargs or {}) if writes else None
        if self._copies:
            args, kwargs = self._own(args), {key: self._own(value) for key, value in (kwargs or {}).items()}
        result = func(*args, **kwargs) if kwargs else func(*args)
        recording.lines.append(line)
        place = len(recording.lines)
        if isinstance(result, Tensor):
            self._place(result, (place, 0))
            size = result.numel()
        else:
            several = result if isinstance(result, tuple | list) else ()  # else a number, or nothing
            found = [value for value in enumerate(several) if isinstance(value[1], Tensor)]
            for i, value in found:
                self._place(value, (place, i))
            size = max((value.numel() for _, value in found), default=0)
        if name not in _MOVES:
            self._count(name, args, size)
        return written if written is not None and isinstance(result, Tensor) else result

    def _count(self, name: str, args: Any, size: int) -> None:
        self.recording.calls += 1
        if name in _PRODUCTS:
            self.recording.products += size * args[_PRODUCTS[name]].shape[-1]
        else:
            self.recording.elements += size

    def _place(self, value: Tensor, name: Any) -> None:
        self._kept.append((value, name))
        self._places[id(value)] = name

    def _lying(self, value: Tensor) -> Any:
        """Return the recorded name of the memory that ``value`` occupies; None if there is none."""
        for own, name in self._kept[self._looked :]:
            self._memories.setdefault(_memory_key(own), name)
        self._looked = len(self._kept)
        return self._memories.get(_memory_key(value))

    def _told(self, value: Any) -> Any:  # noqa: PLR0911 - one for each kind
        """A value as part of a key."""
        if isinstance(value, Tensor):
            known = self._places.get(id(value))
            return known if known is not None else self._tensor(value)
        if isinstance(value, float):
            return value.hex()
        if isinstance(value, bool):
            return str(value)
        if isinstance(value, complex):
            return repr(value)
        if isinstance(value, list | tuple):
            return tuple(map(self._told, value))
        if isinstance(value, torch.Generator):
            return "generator"
        return value

    def _tensor(self, value: Tensor) -> Any:
        """One that no operation here has made: the function holds it."""
        known = self._lying(value)  # a view that autograd has made anew
        if known is not None:
            self._place(value, known)
            return known
        self._held += 1
        self._place(value, ("held", self._held))
        return ("holds", self._held, value.dtype, tuple(value.shape), str(value.device), self._content(value))

    def _content(self, value: Tensor) -> Any:
        if value.numel() > LARGE:
            return None
        if type(value) in _SIMPLE and value.device.type == "cpu" and value.is_contiguous():
            try:
                return value.detach().numpy().tobytes()
            except (RuntimeError, TypeError):  # bfloat16, a negative view: the long way
                pass
        try:
            flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            return flat.view(torch.uint8).numpy().tobytes()
        except (RuntimeError, TypeError, NotImplementedError) as error:
            self._hinder(f"it holds a tensor of a kind that cannot be traced ({error})")
            return object()  # equal to nothing

    def _own(self, value: Any) -> Any:
        """With copies where the function has written to what it holds."""
        if isinstance(value, Tensor):
            return self._copies.get(id(value), value)
        if isinstance(value, list | tuple):
            return type(value)(map(self._own, value))
        return value

    def _written(self, func: Any, name: str, args: Any, keywords: Mapping[str, Any]) -> Tensor | None:
        """Copy what the function holds and writes to; the first such tensor."""
        first = None
        for value in _targets(func, name, args, keywords):
            place = self._places.get(id(value))
            if isinstance(place, tuple) and place[0] == "held":
                self._hinder("it writes to a tensor that it holds")
                self._copies.setdefault(id(value), value.detach().clone())
                first = value if first is None else first
        return first

    def _hinder(self, said: str) -> None:
        self.recording.hindrance = self.recording.hindrance or said


@cache
def _traits(func: Any) -> tuple[str, bool, bool]:
    """Return an operation's name, whether it draws random numbers, whether it writes to its arguments."""
    name = func.__name__.partition(".")[0]
    writes = func._schema.is_mutable or name in _NORMS_IN_PLACE  # noqa: SLF001 - it has no public name
    return name, torch.Tag.nondeterministic_seeded in func.tags, writes


def _targets(func: Any, name: str, args: Any, keywords: Mapping[str, Any]) -> Iterable[Tensor]:
    """Tensors that an operation writes to."""
    if name in _NORMS_IN_PLACE:  # which its schema does not say
        training = args[5] if len(args) > 5 else keywords.get("training")
        return [args[i] for i in _NORMS_IN_PLACE[name] if training and isinstance(args[i], Tensor)]
    found: list[Any] = []
    for place, argument in enumerate(func._schema.arguments):  # noqa: SLF001
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else keywords.get(argument.name)
            found.extend(value if isinstance(value, list | tuple) else [value])
    return [value for value in found if isinstance(value, Tensor)]


def _memory_key(value: Tensor) -> Any:
    """Where it lies, as a key; of its own where it has no memory."""
    try:
        return (value.data_ptr(), value.dtype, value.shape, value.stride()) if value.numel() else id(value)
    except (RuntimeError, NotImplementedError):
        return id(value)


def recorded(function: Callable[[], Any]) -> tuple[Any, Recording]:
    """Call ``function`` and return its result with the recording of its operations.

    Example:
        >>> x, scale = torch.ones(2), 3.0
        >>> _, first = recorded(lambda: scale * x)
        >>> scale = 4.0
        >>> _, second = recorded(lambda: scale * x)
        >>> first.calls, first.elements, first.lines == second.lines
        (1, 2, False)
    """
    with Recorder() as recorder:
        result = function()
    return result, recorder.recording
