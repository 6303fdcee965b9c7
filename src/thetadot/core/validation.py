"""Checks of argument types at public entry points: numbers, functions, tensors, concepts of ours.

Types are hints, and a string or two swapped arguments would else fail far from where they were given, or not at all.
Ranges are the door's own (:func:`thetadot.errors.require`). Functions are tried where they are first needed, so that
what they cannot take or give back wrongly is said with their name.

Torch is not loaded to ask: what is a tensor has loaded it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Rational, Real
from types import NoneType
from typing import TYPE_CHECKING, Any, NoReturn, cast

from thetadot.errors import InadmissibleValue, ThetadotError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeGuard

    from torch import Tensor


@dataclass(frozen=True)
class Kind:
    """A kind of argument: its name, its test, and the remedy in the refusal.

    Attributes:
        name: as in "is not a number".
        remedy: what to do, a sentence.
        fits: whether a value is one.
    """

    name: str
    remedy: str
    fits: Callable[[object], bool]


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether ``value`` is a tensor, without loading torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_number(value: object) -> bool:
    """Infinity is one, where a range says so; NaN and what floats cannot hold are none."""
    if type(value) is float:
        return value == value  # noqa: PLR0124 - only NaN is not itself
    if is_tensor(value):
        if value.numel() != 1 or value.is_complex() or value.is_meta or str(value.dtype) == "torch.bool":
            return False
        return value.device.type != "cpu" or not _none(value)  # to ask a device would stall it
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        number = float(value)
    except OverflowError:
        return False
    return number == number  # noqa: PLR0124 - only NaN is not itself


def _none(value: Tensor) -> bool:
    try:
        return bool(value.isnan())
    except RuntimeError:  # what is being traced has no value
        return False


NUMBER = Kind("a number", "Pass one, such as 1.0.", _is_number)
WHOLE = Kind(
    "a whole number",
    "Pass one, such as 100.",
    lambda x: isinstance(x, Integral) and not isinstance(x, bool),
)
FUNCTION = Kind(
    "a function",
    "Pass a function of positions (..., dim).",
    lambda x: callable(x) and not isinstance(x, type),
)
TENSOR = Kind(
    "a tensor of floating point",
    "Pass torch.tensor(..., dtype=torch.float64).",
    lambda x: is_tensor(x) and (x.is_floating_point() or x.is_complex()),
)


def require_finite(**values: object) -> None:
    """Each a number or a tensor that is finite throughout: asked at every door to linear algebra and to solvers.

    LAPACK and scipy do not ask: given NaN they end in a wrong number, an error of their own, or never.

    Example:
        >>> import torch
        >>> require_finite(point=torch.zeros(2), time=1.0)
        >>> require_finite(point=torch.tensor([0.0, torch.nan]))
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: point is not finite: 1 of 2 numbers. Pass finite ones.
    """
    for name, value in values.items():
        finite = _finite(value)
        bad = len(finite) - sum(finite)
        if bad and len(finite) == 1:
            raise InadmissibleValue(f"{name}={_only(value):g} is not finite. Pass a finite number.")
        if bad:
            raise InadmissibleValue(f"{name} is not finite: {bad} of {len(finite)} numbers. Pass finite ones.")


def _only(value: Any) -> Any:
    """The number of what holds one, whatever its shape."""
    if hasattr(value, "tolist"):
        return _only(value.detach().tolist() if is_tensor(value) else value.tolist())
    return _only(value[0]) if isinstance(value, Sequence) else value


def _finite(value: Any) -> list[bool]:
    """Whether each number in it is."""
    if is_tensor(value):
        return cast("list[bool]", value.detach().isfinite().reshape(-1).tolist())
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    if isinstance(value, Sequence):
        return [each for part in value for each in _finite(part)]
    return [isfinite(value.real) and isfinite(value.imag)]


def as_python(value: Any) -> Any:
    """Numpy's numbers and arrays of shape (), and fractions, as Python's; everything else as it is.

    numpy calculates with a float32 in float32, where Python has a double.

    Example:
        >>> import numpy as np
        >>> from fractions import Fraction
        >>> as_python(np.float32(0.5)), as_python(np.array(3)), as_python(Fraction(1, 4)), as_python("a")
        (0.5, 3, 0.25, 'a')
    """
    if type(value) in (float, int, str, bool, NoneType):
        return value
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray) and value.ndim == 0:
        return value.item()
    if isinstance(value, Rational) and not isinstance(value, Integral):
        try:
            return float(value)
        except OverflowError:
            return value
    return value


def is_nan(value: object) -> bool:
    """Whether a value is NaN, or a tensor that holds one NaN: of NaN a range has more to say."""
    if is_tensor(value):
        return value.numel() == 1 and value.device.type == "cpu" and _none(value)
    return isinstance(value, float) and value != value  # noqa: PLR0124 - only NaN is not itself


def require_numbers(**values: object) -> None:
    """Each a real number, or a tensor that holds one; not NaN.

    Example:
        >>> import torch
        >>> require_numbers(time=1.0, temperature=torch.tensor(0.5))
        >>> require_numbers(time="a")
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: time='a' is not a number. Pass one, such as 1.0.
    """
    for name, value in values.items():
        if not NUMBER.fits(as_python(value)):
            refuse(name, value, NUMBER.name, NUMBER.remedy)


def require_ranged(**values: object) -> None:
    """Require numbers, NaN let through: the range that is asked next says more of it."""
    require_numbers(**{name: value for name, value in values.items() if not is_nan(as_python(value))})


def require_whole(**values: object) -> None:
    """Each a whole number.

    Example:
        >>> require_whole(steps=1.5)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: steps=1.5 is not a whole number. Pass one, such as 100.
    """
    for name, value in values.items():
        if not WHOLE.fits(as_python(value)):
            refuse(name, value, WHOLE.name, WHOLE.remedy)


def require_count(least: int, most: int, **values: object) -> None:
    """Each a whole number within a range: an upper end makes of a typing error a sentence, not a loop without end.

    Example:
        >>> require_count(0, 10**7, steps=100)
        >>> require_count(1, 10**7, steps=0)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: steps=0 is below 1. Pass steps >= 1.
    """
    require_whole(**values)
    for name, value in values.items():
        if value < least:  # type: ignore[operator]
            said = "is negative" if least == 0 else f"is below {least}"
            raise InadmissibleValue(f"{name}={value} {said}. Pass {name} >= {least}.")
        if value > most:  # type: ignore[operator]
            raise InadmissibleValue(f"{name} is above {most:.3g}. Pass fewer.")


def require_word(choices: tuple[object, ...], **values: object) -> None:
    """Each one of some words, or of True, False and None where these are among them.

    Example:
        >>> require_word(("zero", "rest"), start="rest")
        >>> require_word(("zero", "rest"), start="a")
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: start='a' is unknown. Pass 'zero' or 'rest'.
    """
    for name, value in values.items():
        if not isinstance(value, str | bool | NoneType) or value not in choices:
            *some, last = map(repr, choices)
            said = said_of(value)
            raise InadmissibleValue(f"{name}={said} is unknown. Pass {', '.join(some)} or {last}.")


def require_functions(**values: object) -> None:
    """Each can be called, and is no class.

    Example:
        >>> import torch
        >>> require_functions(drift=torch.sin)
        >>> require_functions(potential=dict)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: potential is the class dict, which is not a function. Pass a function of \
positions (..., dim).
    """
    for name, value in values.items():
        if not FUNCTION.fits(value):
            refuse(name, value, FUNCTION.name, FUNCTION.remedy)


def require_tensors(**values: object) -> None:
    """Each a tensor of floating point numbers.

    Example:
        >>> require_tensors(points=[1.0, 2.0])
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: points=[1.0, 2.0] is not a tensor of floating point. Pass \
torch.tensor(..., dtype=torch.float64).
    """
    for name, value in values.items():
        if not is_tensor(value) or not value.is_floating_point():
            refuse(name, value, TENSOR.name, TENSOR.remedy)


def require_wide(**values: object) -> None:
    """Each a tensor of float32 or float64, in which linear algebra is done.

    Example:
        >>> import torch
        >>> require_wide(point=torch.zeros(2))
    """
    require_tensors(**values)
    for name, value in values.items():
        if is_tensor(value) and str(value.dtype) not in ("torch.float32", "torch.float64"):
            refuse(name, value, "wide enough for linear algebra", "Pass float32 or float64.")


def require_coordinates(**values: object) -> None:
    """Require each argument to be a number, a sequence of numbers, or a tensor of numbers.

    Example:
        >>> import torch
        >>> require_coordinates(start=(0.0, 1.0), end=torch.zeros(2))
    """
    for name, value in values.items():
        if not _coordinates(value):
            refuse(name, value, "a point", "Pass its coordinates, such as (0.0, 1.0).")


def require_instances(kind: Any, **values: object) -> None:
    """Each of a class of ours, or fits a protocol of ours; a class itself is none.

    Example:
        >>> import torch
        >>> require_instances(torch.device, where=torch.device)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: where is the class device, which is not of kind device. Pass a device.
    """
    for name, value in values.items():
        if isinstance(value, type) or not isinstance(value, kind):
            refuse(name, value, f"of kind {kind.__name__}", f"Pass {with_article(kind.__name__)}.")


def values_at(points: Tensor, **functions: Callable[[Tensor], Tensor]) -> Tensor:
    """Evaluate a function at each of the points: (...) of (..., dim).

    Example:
        >>> import torch
        >>> values_at(torch.ones(2, 3), potential=lambda x: (x * x).sum(-1))
        tensor([3., 3.])
        >>> values_at(torch.ones(2, 3), potential=lambda x: x)
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: potential gives (2, 3) for positions (2, 3). Let it return one value a \
position, such as (x * x).sum(-1).
    """
    ((name, function),) = functions.items()
    found = result_of(name, function, points)
    if not is_tensor(found) or found.shape != points.shape[:-1]:
        raise InadmissibleValue(
            f"{name} gives {_came(found)} for positions {tuple(points.shape)}. "
            "Let it return one value a position, such as (x * x).sum(-1)."
        )
    return found


def field_at(points: Tensor, **functions: Callable[[Tensor], Tensor]) -> Tensor:
    """Evaluate a field at each of the points, in their shape.

    Example:
        >>> import torch
        >>> field_at(torch.ones(1, 2), drift=lambda x: x[..., 2])
        Traceback (most recent call last):
        ...
        thetadot.errors.InadmissibleValue: drift does not take points of shape (1, 2) (IndexError: index 2 is out of \
bounds for dimension 1 with size 2). Pass a function of such points, or points of its dimension.
    """
    ((name, function),) = functions.items()
    found = result_of(name, function, points)
    if not is_tensor(found) or found.shape != points.shape:
        raise InadmissibleValue(
            f"{name} gives {_came(found)} for points {tuple(points.shape)}. Let it return their shape, (..., dim)."
        )
    return found


def each_at(points: Tensor, **functions: Callable[[Tensor], Tensor]) -> Tensor:
    """Evaluate a function at each of the points, with values of any shape: (..., *) of (..., dim)."""
    ((name, function),) = functions.items()
    found = result_of(name, function, points)
    if not is_tensor(found) or found.shape[: points.dim() - 1] != points.shape[:-1]:
        raise InadmissibleValue(
            f"{name} gives {_came(found)} for positions {tuple(points.shape)}. Let it return a tensor, (..., *)."
        )
    return found


def result_of(name: str, function: Callable[..., object], *points: Tensor) -> object:
    """Call a function at points; name the function in the error if it fails."""
    require_functions(**{name: function})
    try:
        return function(*points)
    except ThetadotError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        shapes = " and ".join(str(tuple(each.shape)) for each in points)
        raise InadmissibleValue(
            f"{name} does not take points of shape {shapes} ({type(error).__name__}: {error}). "
            "Pass a function of such points, or points of its dimension."
        ) from error


def _coordinates(value: object) -> bool:
    if is_tensor(value):
        return not (value.is_complex() or value.is_meta)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return all(_coordinates(part) for part in value)
    if isinstance(value, Real):
        return isinstance(value, bool) or _is_number(value) or value != value  # noqa: PLR0124 - NaN: the door says more
    return getattr(getattr(value, "dtype", None), "kind", None) in ("f", "i", "u")


def _came(value: object) -> str:
    return f"{tuple(value.shape)}" if is_tensor(value) else repr(value)


def with_article(noun: str) -> str:
    """The noun behind its indefinite article: "an Integrator".

    Example:
        >>> with_article("Integrator"), with_article("System")
        ('an Integrator', 'a System')
    """
    return f"{'an' if noun[:1] in 'AEIOaeio' else 'a'} {noun}"


def refuse(name: str, value: object, kind: str, remedy: str) -> NoReturn:
    """Raise InadmissibleValue: what came, what it is not, what to do."""
    if isinstance(value, type):
        raise InadmissibleValue(f"{name} is the class {value.__name__}, which is not {kind}. {remedy}")
    if is_tensor(value):
        raise InadmissibleValue(f"{name} of shape {tuple(value.shape)} and {value.dtype} is not {kind}. {remedy}")
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - only NaN is not itself
        raise InadmissibleValue(f"{name}=nan is not finite. {remedy}")
    raise InadmissibleValue(f"{name}={said_of(value)} is not {kind}. {remedy}")


def said_of(value: object) -> str:
    """A value in one line of at most 80 characters.

    Example:
        >>> said_of([1, "a"]), said_of(10**5000)
        ("[1, 'a']", 'a whole number of too many digits')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    try:
        said = " ".join(repr(value).split())
    except ValueError:  # as repr has a bound on digits
        return "a whole number of too many digits"
    return said if len(said) <= 80 else said[:77] + "..."
