"""Argument checks at public functions, from the kinds that annotations name.

    @checked
    def action(path: Tensor, drift: Callable[[Tensor], Tensor], temperature: Scalar, time: float) -> Tensor: ...

    float, Scalar    a real number, not NaN, within floating point; or a tensor that holds one
    int              a whole number; True is none
    Tensor           of floating point, real or complex
    Callable[[X], Y] what can be called, and is no class; a class too where it is Callable[..., Y], a factory
    Sequence[X], tuple[X, Y], tuple[X, ...]      each of its kind; a string is none
    Mapping, dict    a mapping
    Path             a name of a file or folder: a string or what stands for one
    Literal[...]     one of these
    type[X]          a class that is X or derives from it
    a class          an instance of it, or what fits a protocol
    X | Y            either

numpy's numbers, and its arrays of shape (), reach the door as Python's.
What an annotation does not tell, as ranges and shapes, is the door's own. Names are those of the door's module and of
its package; one that is neither's is not asked for.
"""

from __future__ import annotations

import ast
import functools
import inspect
import os
import sys
import typing
from collections import ChainMap
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar

from thetadot.core.validation import FUNCTION, NUMBER, TENSOR, WHOLE, Kind, as_python, is_nan, refuse, with_article
from thetadot.errors import ThetadotError

if TYPE_CHECKING:
    from collections.abc import Callable

_Door = TypeVar("_Door", bound="Callable[..., Any]")

STEPPED = frozenset({"increment", "amplitude", "drift", "diffusion", "begin"})
"""What an engine calls at every step, with its own values and with symbols: no doors."""

ANYTHING = Kind("anything", "", lambda _: True)
_BOOLEAN = Kind("True or False", "Pass one of them.", lambda x: type(x).__name__ in ("bool", "bool_"))
_WORD = Kind("a word", "Pass a string.", lambda x: isinstance(x, str))
_NOTHING = Kind("None", "", lambda x: x is None)
_FACTORY = Kind("a function or a class", "Pass one that builds it.", callable)
_LONGEST_PATH = 4096  # characters, on Linux


def _is_path(value: object) -> bool:
    if not isinstance(value, str | os.PathLike):
        return False
    name = str(os.fspath(value))
    return 0 < len(name) < _LONGEST_PATH and "\0" not in name


_KNOWN = {
    "float": NUMBER,
    "Scalar": NUMBER,
    "int": WHOLE,
    "bool": _BOOLEAN,
    "str": _WORD,
    "None": _NOTHING,
    "Tensor": TENSOR,
    "Mapping": Kind("a mapping", "Pass a dictionary.", lambda x: isinstance(x, Mapping)),
    "dict": Kind("a mapping", "Pass a dictionary.", lambda x: isinstance(x, Mapping)),
    "Path": Kind("a path", "Pass the name of a file or folder.", _is_path),
    "Callable": FUNCTION,
    "Field": FUNCTION,
    "Force": FUNCTION,
}


def checked(door: _Door) -> _Door:
    """A function, or a class: its making and its public methods, but for those that an engine calls.

    Example:
        >>> @checked
        ... def twice(x: float, times: "int | None" = None) -> float:
        ...     return 2.0 * x
        >>> twice(1.5)
        3.0
        >>> twice("a")
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: x='a' is not a number. Pass one, such as 1.0.
        >>> twice(1.0, times=1.5)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: times=1.5 is not a whole number. Pass one, such as 100.
    """
    if not isinstance(door, type):
        return typing.cast("_Door", _asking(door))
    for name, method in list(vars(door).items()):
        if name != "__init__" and (name.startswith("_") or name in STEPPED):
            continue
        if isinstance(method, staticmethod | classmethod):
            setattr(door, name, type(method)(_asking(method.__func__)))
        elif inspect.isfunction(method):
            setattr(door, name, _asking(method))
    return door


def _asking(function: Callable[..., Any]) -> Callable[..., Any]:
    names = [*inspect.signature(function).parameters]
    kinds: dict[str, Kind] = {}

    @functools.wraps(function)
    def door(*args: object, **named: object) -> object:
        if not kinds:  # not before the first call: what the module imports last is known by then
            kinds.update(_kinds(function))
        args = tuple(map(as_python, args))
        named = {name: as_python(value) for name, value in named.items()}
        unknown: tuple[str, object, Kind] | None = None
        for name, value in (*zip(names, args, strict=False), *named.items()):
            kind = kinds.get(name, ANYTHING)
            if kind.fits(value):
                continue
            choice = kind.name.startswith("'") and isinstance(value, str)
            if not choice and not (is_nan(value) and kind.fits(0.0)):
                refuse(name, value, kind.name, kind.remedy)
            unknown = unknown or (name, value, kind)
        if unknown is None:
            return function(*args, **named)
        try:  # what the door has to say of NaN or of a word says more
            function(*args, **named)
        except ThetadotError:
            raise
        except Exception:  # noqa: BLE001, S110 - what they do where nothing asks
            pass
        return refuse(unknown[0], unknown[1], unknown[2].name, unknown[2].remedy)

    return door


def _kinds(function: Callable[..., Any]) -> dict[str, Kind]:
    module = inspect.unwrap(function)
    package = sys.modules.get(module.__module__.rpartition(".")[0])
    within = ChainMap(module.__globals__, vars(package) if package else {})
    found = {"": ANYTHING}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        note = parameter.annotation
        if note is not parameter.empty:
            found[name] = kind_of(note, within)
    return found


def kind_of(note: object, within: Mapping[str, object]) -> Kind:  # noqa: PLR0911 - a case each
    """The kind that an annotation names, a string or what it stands for.

    Args:
        note: as ``float | None``.
        within: names of the module where it is written.

    Example:
        >>> kind_of("Sequence[float] | None", {}).name
        'a sequence of numbers'
    """
    if isinstance(note, str):
        return _parsed(ast.parse(note.strip(), mode="eval").body, within)
    if note is None or note is NoneType:
        return _NOTHING
    origin, parts = typing.get_origin(note), typing.get_args(note)
    if origin is typing.Literal:
        return _choice_kind(parts)
    if isinstance(note, UnionType) or origin is typing.Union:
        return _either([kind_of(part, within) for part in parts])
    if origin is tuple:
        alike = len({part for part in parts if part is not ...}) == 1  # how many, the door says
        return _row_kind(kind_of(parts[0], within)) if alike else _several([kind_of(part, within) for part in parts])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(kind_of(parts[-1], within))
    if origin is not None:
        return _KNOWN["Callable"] if origin.__name__ == "Callable" else ANYTHING
    if isinstance(note, type):
        return _KNOWN.get(note.__name__) or _instance(note)
    return ANYTHING


def _parsed(node: ast.expr, within: Mapping[str, object]) -> Kind:  # noqa: C901, PLR0911 - a case each
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _either([_parsed(left, within), _parsed(right, within)])
        case ast.Constant(value=None):
            return _NOTHING
        case ast.Constant(value=str(quoted)):
            return kind_of(quoted, within)
        case ast.Name(id=name):
            return _KNOWN[name] if name in _KNOWN else kind_of(within.get(name, ANYTHING), within)
        case ast.Attribute(value=ast.Name(id=package), attr=name):
            return kind_of(getattr(within.get(package), name, ANYTHING), within)
        case ast.Subscript(value=ast.Name(id="Callable"), slice=ast.Tuple(elts=[ast.Constant(value=free), _])) if (
            free is ...
        ):
            return _FACTORY
        case ast.Subscript(value=ast.Name(id=("Callable" | "Mapping" | "dict") as name)):
            return _KNOWN[name]
        case ast.Subscript(value=ast.Name(id="type"), slice=inner):
            return _class(inner, within)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return _choice_kind(ast.literal_eval(ast.unparse(inner)))
        case ast.Subscript(value=ast.Name(id="Sequence"), slice=inner):
            return _row_kind(_parsed(inner, within))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[each, ast.Constant(value=end)])) if (
            end is ...
        ):
            return _row_kind(_parsed(each, within))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=several)):
            return _several([_parsed(each, within) for each in several])
    return ANYTHING


def _either(kinds: list[Kind]) -> Kind:
    if ANYTHING in kinds:
        return ANYTHING
    names = " or ".join(dict.fromkeys(kind.name for kind in kinds if kind is not _NOTHING))
    return Kind(names, kinds[0].remedy, lambda x: any(kind.fits(x) for kind in kinds))


def _choice_kind(words: object) -> Kind:
    choices = words if isinstance(words, tuple) else (words,)
    said = " or ".join(map(repr, choices))
    return Kind(said, f"Pass {said}.", lambda x: isinstance(x, str | int) and not isinstance(x, bool) and x in choices)


def _row_kind(each: Kind) -> Kind:
    plural = each.name.split(" ", 1)[-1] + "s" if each.name.startswith("a ") else each.name
    return Kind(
        f"a sequence of {plural}",
        "Pass a tuple.",
        lambda x: (parts := _listed(x)) is not None and all(map(each.fits, parts)),
    )


def _mapping(each: Kind) -> Kind:
    return Kind("a mapping", "Pass a dictionary.", lambda x: isinstance(x, Mapping) and all(map(each.fits, x.values())))


def _several(each: list[Kind]) -> Kind:
    def fits(value: object) -> bool:
        parts = _listed(value)
        return (
            parts is not None
            and len(parts) == len(each)
            and all(kind.fits(one) for kind, one in zip(each, parts, strict=True))
        )

    return Kind(f"({', '.join(kind.name for kind in each)})", f"Pass {len(each)} of them.", fits)


def _listed(value: Any) -> tuple[object, ...] | None:
    """The parts of a tuple, a list, or a row of numbers of numpy or torch; None of anything else."""
    if isinstance(value, tuple | list | range) or getattr(value, "ndim", 0) == 1:
        return tuple(value)
    return None


def _class(node: ast.expr, within: Mapping[str, object]) -> Kind:
    match node:
        case ast.Name(id=name):
            found = within.get(name)
        case ast.Attribute(value=ast.Name(id=package), attr=name):
            found = getattr(within.get(package), name, None)
        case _:
            found = None
    kind = found.__bound__ if isinstance(found, TypeVar) else found
    if not isinstance(kind, type):
        return Kind("a class", "Pass the class.", lambda x: isinstance(x, type))
    said = f"a class of kind {kind.__name__}"
    return Kind(said, "Pass the class itself.", lambda x: isinstance(x, type) and issubclass(x, kind))


def _instance(kind: type) -> Kind:
    said = kind.__name__

    def fits(value: object) -> bool:
        try:
            return not isinstance(value, type) and isinstance(value, kind)
        except TypeError:  # a protocol that is not for asking
            return True

    return Kind(f"of kind {said}", f"Pass {with_article(said)}.", fits)
