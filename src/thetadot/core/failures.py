"""Failures in a method that engines call at every step: arguments are checked where the method fails, not before.

    @explained
    class Euler(Direct): ...

A door that asks (:func:`thetadot.core.signatures.checked`) costs as much as a small step, and what is traced or
compiled is a symbol, which is of no kind. So these methods run as they are. Where one ends in an error that is Python's
or torch's, arguments are compared with the kinds that their annotations name, the state with the names that were looked
up, and tensors with each other; what does not fit is said in a sentence. What fits throughout, and what comes from a
function that was passed in, is raised as it is.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import sys
import typing
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from thetadot.core.signatures import ANYTHING, kind_of
from thetadot.core.validation import Kind, as_python, is_tensor, refuse, said_of
from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

_Named = TypeVar("_Named", bound=type)
_Called = TypeVar("_Called", bound="Callable[..., Any]")

_ERRORS = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError, NotImplementedError)
_OURS = str(Path(__file__).parents[1])


def explained(kind: _Named) -> _Named:
    """A class whose making and public methods say what they could not take.

    Example:
        >>> @explained
        ... class Halved:
        ...     def factor(self, step: float) -> float:
        ...         return 1 / (2 * step)
        >>> Halved().factor(0.25)
        2.0
        >>> Halved().factor("a")
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: step='a' is not a number. Pass one, such as 1.0.
        >>> Halved().factor(0)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: Halved.factor cannot be taken at step=0 (ZeroDivisionError: division by \
zero). Pass numbers within floating point.
    """
    for name, method in list(vars(kind).items()):
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(method, staticmethod | classmethod):
            setattr(kind, name, type(method)(answering(method.__func__)))
        elif inspect.isfunction(method):
            setattr(kind, name, answering(method))
    return kind


def answering(function: _Called) -> _Called:
    """Decorate a function, so that its arguments are checked where it fails."""

    @functools.wraps(function)
    def door(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except _ERRORS as error:
            if type(error).__module__.partition(".")[0] not in ("builtins", "numpy"):  # a tracer's own; full memory
                raise
            plainly, words = tuple(map(as_python, args)), {name: as_python(value) for name, value in named.items()}
            if any(a is not b for a, b in zip((*args, *named.values()), (*plainly, *words.values()), strict=True)):
                return door(*plainly, **words)
            _explain(function, args, named, error)
            raise

    return typing.cast("_Called", door)


def _explain(function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], error: Exception) -> None:
    try:
        given = inspect.signature(function).bind(*args, **named).arguments
    except TypeError:  # a word too many or too few, which Python says
        return
    given.pop("self", None)
    tensors = list(_tensors_within(given.values()))
    if not all(map(_has_own_values, tensors)) or any(_symbol(value) for value in given.values()):
        return
    kinds = _kinds_of_arguments(function)
    for name, value in given.items():
        kind = kinds.get(name, ANYTHING)
        if not kind.fits(value) and not (value is None and name == "draw"):
            _refuse(name, value, kind, error)
    if given.get("draw", error) is None and "NoneType" in str(error):
        raise InadmissibleValue("draw=None gives no noise. Pass a function that returns a standard normal.") from error
    called = function.__qualname__
    if isinstance(error, KeyError):
        known = next((value for value in given.values() if isinstance(value, Mapping)), {})
        raise InadmissibleValue(
            f"{called} looked for {error}, and found {', '.join(map(repr, known)) or 'nothing'}. "
            "Pass a state that has every variable, and the name of one."
        ) from error
    if not _in_ours(error.__traceback__):
        return
    if len({(tuple(each.shape), each.dtype, each.device) for each in tensors}) > 1:
        came = ", ".join(f"{tuple(each.shape)} {str(each.dtype).removeprefix('torch.')}" for each in tensors)
        raise InadmissibleValue(
            f"{called} cannot be taken at tensors {came} ({type(error).__name__}: {str(error)[:120]}). "
            "Pass them of one shape, dtype and device."
        ) from error
    if isinstance(error, ArithmeticError | ValueError):
        numbers = ", ".join(f"{n}={said_of(v)}" for n, v in given.items() if isinstance(v, int | float | complex))
        raise InadmissibleValue(
            f"{called} cannot be taken at {numbers or 'these settings'} ({type(error).__name__}: {error}). "
            "Pass numbers within floating point."
        ) from error


def _refuse(name: str, value: object, kind: Kind, error: Exception) -> None:
    try:
        refuse(name, value, kind.name, kind.remedy)
    except InadmissibleValue as said:
        raise said from error


def _tensors_within(values: Any) -> Iterator[Any]:
    for value in values:
        if is_tensor(value):
            yield value
        elif isinstance(value, Mapping):
            yield from _tensors_within(value.values())
        elif isinstance(value, tuple | list):
            yield from _tensors_within(value)


def _has_own_values(tensor: Any) -> bool:
    """Whether it has values of its own: not one of a tracer, of vmap or of a mesh."""
    torch = sys.modules["torch"]
    known = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    return known and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # noqa: SLF001 - torch has no name


def _symbol(value: object) -> bool:
    return type(value).__module__.startswith(("torch.fx", "torch._dynamo", "thetadot.fusion"))


def _in_ours(trace: TracebackType | None) -> bool:
    """Whether it was raised by a line of ours, or by what that line called of torch's."""
    files = []
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    last = next((file for file in reversed(files) if "/torch/" not in file), "")
    return last.startswith((_OURS, "<doctest"))


@functools.cache
def _kinds_of_arguments(function: Callable[..., Any]) -> dict[str, Kind]:
    module = sys.modules.get(function.__module__)
    within = ChainMap(function.__globals__, _for_typing(module))
    notes = {name: each.annotation for name, each in inspect.signature(function).parameters.items()}
    return {name: kind_of(note, within) for name, note in notes.items() if note is not inspect.Parameter.empty}


def _for_typing(module: object) -> dict[str, Any]:
    """What a module imports and names for its annotations alone, read off its source."""
    try:
        tree = ast.parse(inspect.getsource(typing.cast("Any", module)))
    except (OSError, TypeError):
        return {}
    found: dict[str, Any] = {}
    for block in tree.body:
        if not (isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"):
            continue
        for line in block.body:
            if isinstance(line, ast.ImportFrom) and (line.module or "").startswith("thetadot."):
                source = importlib.import_module(line.module or "")
                for name in line.names:
                    found[name.asname or name.name] = getattr(source, name.name, ANYTHING)
            elif isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                found[line.targets[0].id] = ast.unparse(line.value)
    return found
